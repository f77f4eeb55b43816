//! A network of scripted hosts, DNS included, and copies of fixed bytes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use relevo_mailkit::source::Source;
use relevo_queue::Lease;
use relevo_resolve::{Addresses, MailHost, MailRoute, Resolve, ResolveError};
use relevo_smtp::client::{
    Auth, DialogueStep, Envelope, Failure, RecipientOutcome, RemoteReply, Target, TlsFailure, TlsPolicy,
    TlsState, TransactionResult,
};
use tokio::time::{Instant, sleep};

use crate::copy::{Copy, CopyError, HopAbilities, MakeCopy};
use crate::dial::{Dial, Hop, HopOffer};
use crate::tls::{HostTls, NoTlsPolicies, TlsPlan, TlsPolicies, TlsQuestion, TlsSession};

/// What a host says to a recipient.
pub(super) type Script = Arc<dyn Fn(&str) -> RecipientOutcome + Send + Sync>;

#[derive(Clone)]
pub(super) enum Host {
    /// Answers by its script.
    Up(Script),
    /// No connection.
    Refuses,
    /// No connection, after so long.
    Blackhole(Duration),
    /// Only without TLS.
    BreaksTls,
    /// Takes so long for each transaction.
    Slow(Duration),
    /// Says 421 to MAIL.
    Closes,
    /// Greets with 521 (RFC 7504).
    NoMail,
    /// Takes so many recipients in a transaction.
    Takes(usize),
}

/// A transaction or an attempt to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) at: Duration,
    pub(super) host: String,
    pub(super) recipients: Vec<String>,
}

#[derive(Default)]
pub(super) struct Log {
    pub(super) opened: Vec<Seen>,
    pub(super) transactions: Vec<Seen>,
    pub(super) envelopes: Vec<Envelope>,
    pub(super) open_now: BTreeMap<String, usize>,
    pub(super) open_most: BTreeMap<String, usize>,
}

pub(super) struct Net {
    /// Domain to hosts.
    pub(super) mx: Mutex<BTreeMap<String, Result<Vec<String>, ResolveError>>>,
    pub(super) hosts: Mutex<BTreeMap<String, Host>>,
    pub(super) offer: Mutex<HopOffer>,
    /// Hosts that offer something else.
    pub(super) offers: Mutex<BTreeMap<String, HopOffer>>,
    /// Hosts have an IPv6 address, too, after the other one, and nobody answers there.
    pub(super) dual: AtomicBool,
    /// Sources of ours that nothing can be sent from.
    pub(super) lost_sources: Mutex<Vec<IpAddr>>,
    /// What hosts must do for mail to a domain, where that is not what they like.
    pub(super) policies: Arc<Mutex<BTreeMap<(String, String), HostTls>>>,
    /// Domains whose policies were asked for, and what came about: `domain host ok`.
    pub(super) tls_log: Arc<Mutex<Vec<String>>>,
    pub(super) log: Arc<Mutex<Log>>,
    pub(super) started: Instant,
}

pub(super) fn reply(code: u16, enhanced: Option<(u8, u16, u16)>, text: &str) -> RemoteReply {
    RemoteReply { code, enhanced: enhanced.map(Into::into), text: text.to_owned() }
}

pub(super) fn failed(command: DialogueStep, reply: RemoteReply) -> Failure {
    Failure::of_reply(command, reply)
}

fn unreachable() -> Failure {
    Failure::of_host(DialogueStep::Connect, (4, 4, 1), "connection refused")
}

pub(super) fn accepts() -> Host {
    Host::Up(Arc::new(|_| RecipientOutcome::Delivered(reply(250, Some((2, 0, 0)), "queued"))))
}

impl Net {
    pub(super) fn new() -> Self {
        Self {
            mx: Mutex::default(),
            hosts: Mutex::default(),
            offer: Mutex::new(HopOffer {
                abilities: HopAbilities { eight_bit: true, smtputf8: true },
                ..HopOffer::default()
            }),
            offers: Mutex::default(),
            dual: AtomicBool::default(),
            lost_sources: Mutex::default(),
            policies: Arc::default(),
            tls_log: Arc::default(),
            log: Arc::default(),
            started: Instant::now(),
        }
    }

    pub(super) fn offers(&self, host: &str, smtputf8: bool, max_size: Option<u64>) {
        let offer = HopOffer {
            abilities: HopAbilities { eight_bit: true, smtputf8 },
            max_size,
            ..HopOffer::default()
        };
        self.offers.lock().expect("lock").insert(host.to_owned(), offer);
    }

    pub(super) fn domain(&self, domain: &str, hosts: &[(&str, Host)]) {
        let names = hosts.iter().map(|(name, _)| (*name).to_owned()).collect();
        self.mx.lock().expect("lock").insert(domain.to_owned(), Ok(names));
        for (name, host) in hosts {
            self.hosts.lock().expect("lock").insert((*name).to_owned(), host.clone());
        }
    }

    pub(super) fn transactions(&self) -> Vec<Seen> {
        self.log.lock().expect("lock").transactions.clone()
    }

    pub(super) fn opened(&self, host: &str) -> Vec<Duration> {
        let log = self.log.lock().expect("lock");
        log.opened.iter().filter(|s| s.host == host).map(|s| s.at).collect()
    }
}

#[async_trait]
impl TlsPolicies for Net {
    async fn plan(&self, question: TlsQuestion<'_>) -> Arc<dyn TlsPlan> {
        let (domain, policies, log) =
            (question.domain.to_owned(), self.policies.clone(), self.tls_log.clone());
        log.lock().expect("lock").push(format!("{domain} asked"));
        Arc::new(NetPlan { domain, usual: NoTlsPolicies.plan(question).await, policies, log })
    }

    /// What was demanded of the host `*` of a domain.
    fn least(&self, domain: &str) -> TlsPolicy {
        match self.policies.lock().expect("lock").get(&(domain.to_owned(), "*".to_owned())) {
            Some(HostTls::Connect(needed)) => needed.mode,
            _ => TlsPolicy::None,
        }
    }
}

struct NetPlan {
    domain: String,
    usual: Arc<dyn TlsPlan>,
    policies: Arc<Mutex<BTreeMap<(String, String), HostTls>>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl TlsPlan for NetPlan {
    fn of(&self, host: &str) -> HostTls {
        let key = (self.domain.clone(), host.to_owned());
        self.policies.lock().expect("lock").get(&key).cloned().unwrap_or_else(|| self.usual.of(host))
    }

    fn note(&self, session: &TlsSession<'_>) {
        let result = match session.result {
            Ok(_) => "ok",
            Err(failure) => failure.tls.expect("a failure of TLS").result_type(),
        };
        self.log.lock().expect("lock").push(format!("{} {} {result}", self.domain, session.host));
    }
}

#[async_trait]
impl Resolve for Net {
    async fn route(&self, domain: &str) -> Result<MailRoute, ResolveError> {
        let found = self.mx.lock().expect("lock").get(domain).cloned();
        let names = found.unwrap_or_else(|| Err(ResolveError::NoSuchDomain(domain.to_owned())))?;
        let dual = self.dual.load(Ordering::Relaxed);
        let host = |(n, name): (u16, &String)| {
            let mut addresses = vec![IpAddr::V4(Ipv4Addr::new(203, 1, 113, u8::try_from(n).expect("few")))];
            if dual {
                addresses.push(IpAddr::V6(Ipv6Addr::new(0x2a00, 0, 0, 0, 0, 0, 0, n)));
            }
            MailHost { name: name.clone(), preference: n, addresses, temporary: false }
        };
        Ok(MailRoute {
            hosts: (0..).zip(&names).map(host).collect(),
            site: names.join(","),
            ttl: Duration::from_secs(300),
            implicit: false,
        })
    }

    async fn addresses(&self, host: &str) -> Result<Addresses, ResolveError> {
        let ip = IpAddr::V4(Ipv4Addr::new(203, 1, 113, 9));
        match self.mx.lock().expect("lock").get(host).cloned() {
            Some(Ok(_)) => Ok(Addresses { addresses: vec![ip], ttl: Duration::from_secs(300) }),
            Some(Err(error)) => Err(error),
            None => Err(ResolveError::NoSuchDomain(host.to_owned())),
        }
    }

    async fn txt(&self, _: &str) -> Result<Vec<String>, ResolveError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Dial for Net {
    async fn open(&self, target: &Target, _: Option<&Auth>, _: &str) -> Result<Box<dyn Hop>, Failure> {
        let host = self.hosts.lock().expect("lock").get(&target.host).cloned().expect("a host of the test");
        let seen = Seen { at: self.started.elapsed(), host: target.host.clone(), recipients: Vec::new() };
        self.log.lock().expect("lock").opened.push(seen);
        if let Some(source) = target.source
            && self.lost_sources.lock().expect("lock").contains(&source)
        {
            let detail = format!("cannot send from {source}: no such address");
            return Err(Failure::of_host(DialogueStep::Connect, (4, 3, 5), detail));
        }
        match &host {
            _ if target.addr.is_ipv6() => return Err(unreachable()),
            Host::Refuses => return Err(unreachable()),
            Host::NoMail => return Err(failed(DialogueStep::Greeting, reply(521, None, "no mail here"))),
            Host::Blackhole(time) => {
                sleep(*time).await;
                return Err(unreachable());
            }
            Host::BreaksTls if target.tls.mode != TlsPolicy::None => {
                return Err(Failure::of_tls(TlsFailure::Handshake, DialogueStep::Handshake, "handshake"));
            }
            _ => sleep(Duration::from_millis(1)).await,
        }
        let mut log = self.log.lock().expect("lock");
        let now = log.open_now.entry(target.host.clone()).or_default();
        *now += 1;
        let now = *now;
        let most = log.open_most.entry(target.host.clone()).or_default();
        *most = now.max(*most);
        drop(log);
        let offer = *self.offer.lock().expect("lock");
        Ok(Box::new(FakeHop {
            name: target.host.clone(),
            host,
            offer: self.offers.lock().expect("lock").get(&target.host).copied().unwrap_or(offer),
            log: self.log.clone(),
            started: self.started,
        }))
    }
}

struct FakeHop {
    name: String,
    host: Host,
    offer: HopOffer,
    log: Arc<Mutex<Log>>,
    started: Instant,
}

impl Drop for FakeHop {
    fn drop(&mut self) {
        if let Some(now) = self.log.lock().expect("lock").open_now.get_mut(&self.name) {
            *now -= 1;
        }
    }
}

#[async_trait]
impl Hop for FakeHop {
    fn offer(&self) -> HopOffer {
        self.offer
    }

    fn tls(&self) -> TlsState {
        TlsState::default()
    }

    async fn transact(&mut self, envelope: &Envelope, _: Arc<dyn Source>) -> TransactionResult {
        let at = self.started.elapsed();
        sleep(if let Host::Slow(time) = self.host { time } else { Duration::from_millis(2) }).await;
        let recipients: Vec<_> = envelope.recipients.iter().map(|r| r.address.clone()).collect();
        let seen = Seen { at, host: self.name.clone(), recipients: recipients.clone() };
        let mut log = self.log.lock().expect("lock");
        log.transactions.push(seen);
        log.envelopes.push(envelope.clone());
        drop(log);
        let accepted = || RecipientOutcome::Delivered(reply(250, Some((2, 0, 0)), "queued"));
        let outcomes = recipients.iter().enumerate().map(|(n, r)| {
            let outcome = match &self.host {
                Host::Up(script) => script(r),
                Host::Closes => RecipientOutcome::Failed(failed(
                    DialogueStep::Mail,
                    reply(421, Some((4, 3, 2)), "closing"),
                )),
                Host::Takes(most) if n >= *most => RecipientOutcome::NextTransaction,
                _ => accepted(),
            };
            (n, outcome)
        });
        TransactionResult { outcomes: outcomes.collect(), reusable: !matches!(self.host, Host::Closes) }
    }

    async fn quit(self: Box<Self>) {}
}

/// The same bytes for everybody; a panic for the tenant `panics`, and no copy for the tenant
/// `broken`.
pub(super) struct FixedCopies;

#[async_trait]
impl MakeCopy for FixedCopies {
    async fn make(&self, lease: &Lease, _: HopAbilities) -> Result<Copy, CopyError> {
        assert!(lease.meta.tenant != "panics", "a bug in a copy");
        if lease.meta.tenant == "broken" {
            return Err(CopyError::Host("no key".into()));
        }
        Ok(Copy { source: Arc::new(b"A: b\r\n\r\nx\r\n".to_vec()), eight_bit: false, utf8_header: false })
    }
}
