//! One attempt of one delivery: addresses in order, transactions, until every recipient has an outcome.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use relevo_mailkit::address::to_ascii;
use relevo_mailkit::source::Source;
use relevo_queue::{Lease, Millis};
use relevo_smtp::client::{Command, Envelope, Failure, Outcome, Target, TlsPolicy, TransactionResult};

use super::dial::{Dial, Hop};
use super::failure::{self, judged};
use super::hosts::{Candidates, NextHop};
use super::outcome::{Finding, Via, pending};
use super::schedule::millis;
use crate::copies::{Copy, CopyError, HopAbilities, MakeCopy};
use crate::settings::Settings;

/// After this no further address is tried: the rest waits for the next attempt.
const CONNECTING: Duration = Duration::from_secs(300);
/// How long a host that broke TLS is spoken to in clear.
const WITHOUT_TLS: Duration = Duration::from_secs(3600);
/// Hosts that are remembered for that.
const MEMORY: usize = 10_000;

/// An open connection.
pub(crate) struct Live {
    pub(crate) hop: Box<dyn Hop>,
    pub(crate) via: Arc<Via>,
    /// Transactions over it.
    pub(crate) used: usize,
}

/// Addresses whose TLS handshake failed or stalled: for a while opportunistic TLS goes without.
#[derive(Debug, Default)]
pub(crate) struct TlsMemory(Mutex<HashMap<IpAddr, Millis>>);

impl TlsMemory {
    fn goes_without(&self, ip: IpAddr, now: Millis) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&ip).is_some_and(|until| *until > now)
    }

    fn remember(&self, ip: IpAddr, now: Millis) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.len() >= MEMORY {
            memory.retain(|_, until| *until > now);
        }
        if memory.len() < MEMORY {
            memory.insert(ip, now.saturating_add(millis(WITHOUT_TLS)));
        }
    }
}

/// What all attempts use.
pub(crate) struct Tools<'a> {
    pub(crate) dial: &'a dyn Dial,
    pub(crate) copies: &'a dyn MakeCopy,
    pub(crate) memory: &'a TlsMemory,
    pub(crate) now: &'a (dyn Fn() -> Millis + Send + Sync),
}

/// What an attempt found.
pub(crate) struct Found {
    /// One for each pending recipient; empty when `refused`.
    pub(crate) findings: Vec<Finding>,
    /// No address answered, and nothing was said to anybody.
    pub(crate) refused: Option<(Failure, Option<Arc<Via>>)>,
    /// Connections were opened.
    pub(crate) connected: bool,
    /// A stage broke: whose fault it was.
    pub(crate) blame: Option<serde_json::Value>,
}

/// An attempt under way.
pub(crate) struct Attempt<'a> {
    tools: &'a Tools<'a>,
    settings: &'a Settings,
    lease: &'a Lease,
    next_hop: &'a NextHop,
    targets: Vec<Target>,
    position: usize,
    /// Why the last address was no good.
    trouble: Option<(Failure, Option<Arc<Via>>)>,
    copy: Option<(HopAbilities, Copy)>,
    findings: Vec<Finding>,
    left: Vec<Todo>,
    connected: bool,
    /// The stage that broke while the copy was made.
    blame: Option<serde_json::Value>,
}

/// A recipient without an outcome.
struct Todo {
    index: u32,
    address: String,
    /// What the last host said about it that another may not.
    failure: Option<(Failure, Arc<Via>)>,
}

/// How a conversation over a connection ended.
#[derive(PartialEq, Eq)]
enum Ended {
    /// The connection stands.
    Open,
    /// It is of no more use.
    Gone,
}

impl<'a> Attempt<'a> {
    /// For the pending recipients of `lease`.
    pub(crate) fn new(
        tools: &'a Tools<'a>,
        settings: &'a Settings,
        lease: &'a Lease,
        next_hop: &'a NextHop,
    ) -> Self {
        let Candidates { targets, refused } =
            next_hop.candidates(&settings.delivery, tools.dial.is_network());
        Self {
            tools,
            settings,
            lease,
            next_hop,
            targets,
            position: 0,
            trouble: refused.map(|failure| (failure, None)),
            copy: None,
            findings: Vec::new(),
            left: pending(lease)
                .map(|r| Todo { index: r.index, address: r.address.clone(), failure: None })
                .collect(),
            connected: false,
            blame: None,
        }
    }

    /// Over the connection in `live`, or a new one, which stays there if it can be used again.
    pub(crate) async fn run(mut self, live: &mut Option<Live>) -> Found {
        let deadline = (self.tools.now)().saturating_add(millis(CONNECTING));
        while !self.left.is_empty() {
            let kept = match live.take() {
                Some(mut kept) => kept.hop.is_alive().await.then_some(kept),
                None => None,
            };
            let mut connection = match kept {
                Some(connection) => connection,
                None => match self.connect(deadline).await {
                    Some(connection) => connection,
                    None => return self.give_up(),
                },
            };
            let was_used = connection.used > 0;
            let before = self.left.len();
            if self.converse(&mut connection).await == Ended::Open {
                *live = Some(connection);
            } else if was_used || self.left.len() < before {
                // An old connection that the remote closed says nothing about the host, and one that took recipients may
                // take more: from the first address again. Progress bounds it.
                self.position = 0;
            }
        }
        Found { findings: self.findings, refused: None, connected: self.connected, blame: self.blame }
    }

    /// The next address that answers.
    async fn connect(&mut self, deadline: Millis) -> Option<Live> {
        while let Some(target) = self.targets.get(self.position).cloned() {
            self.position += 1;
            let now = (self.tools.now)();
            if now >= deadline {
                break;
            }
            match self.open(target.clone(), now).await {
                Ok(live) => {
                    self.connected = true;
                    return Some(live);
                }
                Err(failure) => {
                    let via = Via { host: target.host, ip: target.addr.ip(), tls: Default::default() };
                    let stop = failure.permanent && !failure.try_next_host;
                    self.trouble = Some((failure, Some(Arc::new(via))));
                    if stop {
                        break;
                    }
                }
            }
        }
        None
    }

    /// Opens one address. Opportunistic TLS that breaks is done without, at once and for a while; never where credentials
    /// would go in clear.
    async fn open(&self, mut target: Target, now: Millis) -> Result<Live, Failure> {
        let auth = self.next_hop.auth();
        let may_go_without = target.tls == TlsPolicy::Opportunistic && auth.is_none();
        if may_go_without && self.tools.memory.goes_without(target.addr.ip(), now) {
            target.tls = TlsPolicy::None;
        }
        let ehlo = &self.settings.delivery.ehlo;
        let mut opened = self.tools.dial.open(&target, auth, ehlo).await;
        if let Err(failure) = &opened
            && matches!(failure.command, Command::StartTls | Command::Handshake)
            && may_go_without
            && target.tls != TlsPolicy::None
        {
            self.tools.memory.remember(target.addr.ip(), now);
            target.tls = TlsPolicy::None;
            opened = self.tools.dial.open(&target, auth, ehlo).await;
        }
        let hop = opened?;
        if hop.broke_tls() {
            self.tools.memory.remember(target.addr.ip(), now);
        }
        let via = Arc::new(Via { host: target.host, ip: target.addr.ip(), tls: hop.tls() });
        Ok(Live { hop, via, used: 0 })
    }

    /// Every address was tried: what is left fails with what was heard last.
    fn give_up(mut self) -> Found {
        let trouble = self.trouble.take().unwrap_or_else(|| {
            (failure::ours(failure::NO_ANSWER, "no address could be tried in time"), None)
        });
        let untouched = self.findings.is_empty() && self.left.iter().all(|t| t.failure.is_none());
        // Facts about the recipients (a loop, no address at all) are not the site's health.
        if untouched && !self.connected && !trouble.0.permanent {
            return Found { findings: Vec::new(), refused: Some(trouble), connected: false, blame: None };
        }
        for todo in self.left.drain(..) {
            let (failure, via) = match todo.failure {
                Some((failure, via)) => (failure, Some(via)),
                None => trouble.clone(),
            };
            self.findings.push(Finding { index: todo.index, result: Err(failure), via });
        }
        Found { findings: self.findings, refused: None, connected: self.connected, blame: self.blame }
    }

    /// Transactions over one connection until nothing is left for it.
    async fn converse(&mut self, live: &mut Live) -> Ended {
        let offer = live.hop.offer();
        let (source, eight_bit, utf8_header) = match self.copy(offer.abilities).await {
            Ok(copy) => copy,
            Err(failure) => return self.all(&failure, live),
        };
        if offer.max_size.is_some_and(|max| max > 0 && source.size() > max) {
            let detail = format!("{} octets are more than {} takes", source.size(), live.via.host);
            return self.all(&failure::ours(failure::TOO_BIG, detail), live);
        }
        if !offer.abilities.smtputf8 && self.refuse_utf8(utf8_header, live) && self.left.is_empty() {
            return Ended::Open;
        }
        let per_transaction = self.settings.delivery.recipients_per_transaction.max(1);
        let mut rest = std::mem::take(&mut self.left);
        while !rest.is_empty() {
            let tail = rest.split_off(rest.len().min(per_transaction));
            let group = std::mem::replace(&mut rest, tail);
            let envelope = self.envelope(&group, source.size(), eight_bit, utf8_header);
            let result = live.hop.transact(&envelope, source.clone()).await;
            live.used += 1;
            let (again, ended) = self.sort(group, result, live);
            rest.splice(0..0, again);
            if ended == Ended::Gone {
                self.left.append(&mut rest);
                return Ended::Gone;
            }
        }
        if self.left.is_empty() { Ended::Open } else { Ended::Gone }
    }

    /// The copy for a hop with these abilities.
    async fn copy(&mut self, abilities: HopAbilities) -> Result<(Arc<dyn Source>, bool, bool), Failure> {
        if self.copy.as_ref().is_none_or(|(made_for, _)| *made_for != abilities) {
            let made = self.tools.copies.make(self.lease, abilities).await;
            if let Err(CopyError::Fault(fault)) = &made {
                self.blame = Some(crate::events::blame(fault));
            }
            self.copy = Some((abilities, made.map_err(|e| no_copy(&e))?));
        }
        match &self.copy {
            Some((_, copy)) => Ok((copy.source.clone(), copy.eight_bit, copy.utf8_header)),
            None => Err(failure::ours(failure::INTERNAL, "no copy")),
        }
    }

    fn all(&mut self, failure: &Failure, live: &Live) -> Ended {
        for todo in self.left.drain(..) {
            let via = Some(live.via.clone());
            self.findings.push(Finding { index: todo.index, result: Err(failure.clone()), via });
        }
        Ended::Open
    }

    /// Without SMTPUTF8 at the next hop (RFC 6531 section 3.2): who cannot be written to. ASCII local parts at
    /// internationalised domains can: the domain has an A-label form.
    fn refuse_utf8(&mut self, utf8_header: bool, live: &Live) -> bool {
        let refusal = if utf8_header {
            Some((failure::UTF8_HEADER, "its header"))
        } else if needs_utf8(&self.lease.meta.sender) {
            Some((failure::UTF8_ADDRESS, "its reverse-path"))
        } else {
            None
        };
        let mut refused = false;
        for todo in std::mem::take(&mut self.left) {
            let why = refusal
                .or(needs_utf8(&todo.address).then_some((failure::UTF8_ADDRESS, "the recipient's address")));
            let Some((status, what)) = why else {
                self.left.push(todo);
                continue;
            };
            refused = true;
            let failure = failure::ours(
                status,
                format!("{what} needs SMTPUTF8, which {} does not offer", live.via.host),
            );
            self.findings.push(Finding {
                index: todo.index,
                result: Err(failure),
                via: Some(live.via.clone()),
            });
        }
        refused
    }

    fn envelope(&self, group: &[Todo], size: u64, eight_bit: bool, utf8_header: bool) -> Envelope {
        let sender = &self.lease.meta.sender;
        let smtputf8 = utf8_header || needs_utf8(sender) || group.iter().any(|t| needs_utf8(&t.address));
        let form = |address: &str| if smtputf8 { address.to_owned() } else { with_a_labels(address) };
        Envelope {
            sender: form(sender),
            recipients: group.iter().map(|t| form(&t.address)).collect(),
            size,
            eight_bit,
            smtputf8,
        }
    }

    /// Files the outcomes of a transaction: final ones as findings, those that another host may better in `left`. Returns
    /// what is to be sent at once in another transaction.
    fn sort(&mut self, group: Vec<Todo>, result: TransactionResult, live: &Live) -> (Vec<Todo>, Ended) {
        let mut outcomes: HashMap<usize, Outcome> = result.outcomes.into_iter().collect();
        let progress = outcomes.values().any(|o| !matches!(o, Outcome::NextTransaction));
        let mut again = Vec::new();
        let mut elsewhere = false;
        for (position, mut todo) in group.into_iter().enumerate() {
            let outcome = outcomes.remove(&position);
            let result = match outcome {
                Some(Outcome::Delivered(reply)) => Ok(reply),
                Some(Outcome::NextTransaction) if progress => {
                    again.push(todo);
                    continue;
                }
                Some(Outcome::NextTransaction) => {
                    Err(failure::ours((4, 5, 3), "the host takes no recipient for now (too many recipients)"))
                }
                Some(Outcome::Failed(failure)) if goes_elsewhere(&failure) => {
                    elsewhere = true;
                    todo.failure = Some((failure, live.via.clone()));
                    self.left.push(todo);
                    continue;
                }
                Some(Outcome::Failed(failure)) => Err(failure),
                None => {
                    Err(failure::ours(failure::INTERNAL, "the transaction had no outcome for this recipient"))
                }
            };
            self.findings.push(Finding { index: todo.index, result, via: Some(live.via.clone()) });
        }
        let ended = if result.reusable && !elsewhere { Ended::Open } else { Ended::Gone };
        (again, ended)
    }
}

/// Another host may do better at once. Not after the final dot was sent without an answer: the message may have been taken,
/// and so it waits for the next attempt.
fn goes_elsewhere(failure: &Failure) -> bool {
    let in_doubt = failure.command == Command::EndOfData && failure.reply.is_none();
    failure.try_next_host && !in_doubt && !judged(failure.clone()).permanent
}

fn no_copy(error: &CopyError) -> Failure {
    match error {
        CopyError::NotConvertible { status, text } => failure::ours(*status, text.clone()),
        CopyError::Fault(_) | CopyError::Host(_) => {
            tracing::warn!(target: "relevo::delivery", error = %error, "no copy could be made");
            failure::ours(failure::INTERNAL, "the copy could not be made; see the log")
        }
    }
}

/// Whether the address can only be written under SMTPUTF8: its local part is not ASCII.
fn needs_utf8(address: &str) -> bool {
    let local = address.rsplit_once('@').map_or(address, |(local, _)| local);
    !local.is_ascii() || !with_a_labels(address).is_ascii()
}

/// The address with its domain in A-labels.
fn with_a_labels(address: &str) -> String {
    if address.is_ascii() {
        return address.to_owned();
    }
    match address.rsplit_once('@') {
        Some((local, domain)) => match to_ascii(domain) {
            Ok(ascii) => format!("{local}@{ascii}"),
            Err(_) => address.to_owned(),
        },
        None => address.to_owned(),
    }
}
