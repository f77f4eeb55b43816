//! Policies of recipient domains for TLS, and reports about them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use relevo_fetch::{FetchLimits, FetchRequest, Fetcher, Method};
use relevo_queue::{ItemMeta, NewDelivery, NewItem, Queue, QueueKey, Recipient, SpooledBody};
use relevo_relay::clock::{Clock, IdSource as _, RandomIds};
use relevo_relay::delivery::{
    HostTls, REPORT_SOURCE, Recipe, Signing, TlsPlan, TlsPolicies, TlsQuestion, TlsSession,
};
use relevo_relay::settings::SettingsHandle;
use relevo_resolve::Resolve;
use relevo_resolve::secure::{DaneLookUp, SecureConfig, SecureLookUp, SecureResolver};
use relevo_smtp::client::{DialogueStep, Failure, TlsFailure, root_certificates};
use relevo_store::{ControlStore, TlsStore};
use relevo_tls::decision::HostDecision;
use relevo_tls::domain::{DomainPlan, DomainPolicies, Session};
use relevo_tls::mta_sts::{HttpsSource, StsPolicies, StsSettings};
use relevo_tls::report::{ReportCarrier, Reporter, Tallies};

use super::Base;
use crate::config::ServerParts;

/// Between two writes of counts.
const WRITE: Duration = Duration::from_secs(60);
/// Writes between two rounds of renewals and reports.
const ROUND: u32 = 60;
/// Time for a report over HTTPS, and octets of the answer.
const POST_TIME: Duration = Duration::from_secs(60);
const POST_ANSWER: usize = 16 * 1024;
/// How long a report by mail is tried: a day (RFC 8460 section 5.3).
const EXPIRE: i64 = 86_400_000;

/// The policies of a configuration.
///
/// # Errors
/// Root certificates, name servers or trust anchors cannot be read.
pub(crate) fn domain_policies(
    parts: &ServerParts,
    port: u16,
    resolve: Arc<dyn Resolve>,
    store: Arc<dyn TlsStore>,
    tallies: Arc<Tallies>,
) -> anyhow::Result<DomainPolicies> {
    let config = &parts.tls;
    let dane = if config.dane {
        let config = SecureConfig {
            nameservers: parts.dns.nameservers.clone(),
            trust_anchor: config.trust_anchor.clone(),
            timeout: None,
        };
        let resolver = SecureResolver::new(&config).context("[dns]")?;
        Some(DaneLookUp::new(Arc::new(resolver) as Arc<dyn SecureLookUp>, port))
    } else {
        None
    };
    let sts = if config.mta_sts {
        let fetcher = fetcher(parts, resolve.clone())?;
        let source = Arc::new(HttpsSource::new(resolve, fetcher));
        Some(Arc::new(StsPolicies::new(source, store, StsSettings::default())))
    } else {
        None
    };
    Ok(DomainPolicies { dane, sts, wanted: config.wanted.clone(), tallies })
}

fn fetcher(parts: &ServerParts, resolve: Arc<dyn Resolve>) -> anyhow::Result<Fetcher> {
    let roots = root_certificates(parts.ca_file.as_deref()).context("[delivery] ca_file")?;
    Fetcher::new(resolve, roots, parts.tls.allow_networks.clone()).context("TLS for policies")
}

/// How long an attempt waits for policies. Meanwhile it has a place at its site, which mail of other
/// domains waits for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Policies for delivery, and what keeps them.
pub(super) struct TlsServices {
    policies: Arc<DomainPolicies>,
    store: Arc<ControlStore>,
    node: String,
    clock: Arc<dyn Clock>,
    reports: Option<(Reporter, Arc<dyn ReportCarrier>)>,
}

impl TlsServices {
    /// With the counts of an earlier run.
    pub(super) async fn open(
        base: &Base,
        store: &Arc<ControlStore>,
        resolve: Arc<dyn Resolve>,
    ) -> anyhow::Result<Arc<Self>> {
        let node = format!("{:016x}", base.store.id());
        let records = store.tls_tallies(&node).await.context("counts of TLS cannot be read")?;
        let tallies = Arc::new(Tallies::restored(records));
        let port = base.settings.get().delivery.port;
        let policies = domain_policies(&base.parts, port, resolve.clone(), store.clone(), tallies)?;
        let policies = Arc::new(policies);
        let reports = match &base.parts.tls.report {
            Some(report) => {
                let reporter = Reporter {
                    organization: report.organization.clone(),
                    contact: report.contact.clone(),
                    from: report.from.clone(),
                    node: node.clone(),
                };
                let carrier = Carrier {
                    fetcher: fetcher(&base.parts, resolve.clone())?,
                    resolve,
                    queue: base.queue.clone(),
                    settings: base.settings.clone(),
                    clock: base.clock.clone(),
                    from: report.from.clone(),
                };
                Some((reporter, Arc::new(carrier) as Arc<dyn ReportCarrier>))
            }
            None => None,
        };
        Ok(Arc::new(Self { policies, store: store.clone(), node, clock: base.clock.clone(), reports }))
    }

    /// Writes counts, renews policies and sends reports, for ever.
    pub(super) async fn run(self: Arc<Self>) {
        for round in 0_u32.. {
            tokio::time::sleep(WRITE).await;
            self.write().await;
            if round % ROUND == ROUND - 1 {
                self.round().await;
            }
        }
    }

    async fn write(&self) {
        // Without reports nobody reads what is counted, so it does not outlive the day.
        let Some(_) = &self.reports else {
            let today = relevo_tls::report::day_of(self.clock.now());
            for (day, domain, _) in self.policies.tallies.due(today + 1) {
                self.policies.tallies.forget(day, &domain);
            }
            return;
        };
        let changes = self.policies.tallies.take_changes(&self.node);
        if changes.is_empty() {
            return;
        }
        if let Err(error) = self.store.put_tls_tallies(&changes).await {
            tracing::error!(target: "relevo::tls", %error, "counts of TLS cannot be stored");
        }
    }

    async fn round(&self) {
        let now = self.clock.now();
        if let Some(sts) = &self.policies.sts {
            sts.renew(now).await;
        }
        if let Some((reporter, carrier)) = &self.reports {
            let counted = (&*self.policies.tallies, &*self.store as &dyn TlsStore);
            let random = || {
                let mut octets = [0; 8];
                getrandom::fill(&mut octets).map_or(0, |()| u64::from_ne_bytes(octets))
            };
            reporter.send_due(counted, carrier, now, &random).await;
        }
    }
}

#[async_trait]
impl TlsPolicies for TlsServices {
    async fn plan(&self, question: TlsQuestion<'_>) -> Arc<dyn TlsPlan> {
        let TlsQuestion { domain, hosts, is_demanded, is_exempt } = question;
        let clock = self.clock.clone();
        if is_exempt {
            let plan = self.policies.exempt(domain, &hosts, is_demanded);
            return Arc::new(CountedPlan { plan, clock, is_counted: false });
        }
        let (policies, now) = (self.policies.clone(), clock.now());
        let domain = domain.to_owned();
        let hosts: Vec<String> = hosts.into_iter().map(str::to_owned).collect();
        // It goes on when nobody waits any more: a later attempt finds the answer.
        let asked = tokio::spawn(async move {
            let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
            policies.plan(&domain, &hosts, is_demanded, now).await
        });
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(plan)) => Arc::new(CountedPlan { plan, clock, is_counted: true }),
            Ok(Err(_)) | Err(_) => Arc::new(UnknownPlan),
        }
    }
}

/// The policies could not be had in time: mail waits.
struct UnknownPlan;

impl TlsPlan for UnknownPlan {
    fn of(&self, _: &str) -> HostTls {
        refuse(TlsFailure::Unproved, "the TLS policies of the domain are not known yet")
    }
}

struct CountedPlan {
    plan: DomainPlan,
    clock: Arc<dyn Clock>,
    is_counted: bool,
}

impl TlsPlan for CountedPlan {
    fn of(&self, host: &str) -> HostTls {
        match self.plan.of(host) {
            Some(HostDecision::Connect(needed)) => HostTls::Connect(needed.clone()),
            Some(HostDecision::Refuse { failure, detail, .. }) => refuse(*failure, detail),
            None => refuse(TlsFailure::Unproved, &format!("{host} is not a mail host of the domain")),
        }
    }

    fn note(&self, session: &TlsSession<'_>) {
        if !self.is_counted {
            return;
        }
        let result = match session.result {
            Ok(state) => Ok(state),
            Err(failure) => match failure.tls {
                Some(kind) => Err((kind, failure.detail.as_str())),
                None => return,
            },
        };
        let TlsSession { host, ip, source, .. } = *session;
        self.plan.count(&Session { host, ip, source, result }, self.clock.now());
    }
}

fn refuse(failure: TlsFailure, detail: &str) -> HostTls {
    HostTls::Refuse(Failure::of_tls(failure, DialogueStep::Connect, detail))
}

/// Takes reports to where they go.
struct Carrier {
    fetcher: Fetcher,
    resolve: Arc<dyn Resolve>,
    queue: Arc<dyn Queue>,
    settings: SettingsHandle,
    clock: Arc<dyn Clock>,
    from: String,
}

#[async_trait]
impl ReportCarrier for Carrier {
    async fn txt(&self, name: &str) -> Result<Vec<String>, String> {
        self.resolve.txt(name).await.map_err(|error| error.to_string())
    }

    async fn mail(&self, to: &str, bytes: Vec<u8>, id: &str, subject: &str) -> Result<(), String> {
        let domain = to.rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase()).unwrap_or_default();
        let now = self.clock.now();
        let id_of_item = RandomIds.item_id(now).map_err(|error| error.to_string())?;
        let recipe = Recipe { signing: self.signing(), ..Recipe::default() };
        let item = NewItem {
            id: id_of_item,
            meta: ItemMeta {
                // Nobody's mail, like a bounce; a report that fails is told to nobody.
                tenant: String::new(),
                sender: String::new(),
                accepted_at: now,
                expires_at: now.saturating_add(EXPIRE),
                size: bytes.len() as u64,
                no_bounce: true,
                source: REPORT_SOURCE.to_owned(),
                message_id: format!("<{id}>"),
                subject: subject.to_owned(),
                recipe: recipe.encode().map_err(|error| error.to_string())?,
                ..ItemMeta::default()
            },
            body: SpooledBody::in_memory(bytes),
            deliveries: vec![NewDelivery {
                key: QueueKey::of_domain(domain),
                recipients: vec![Recipient::pending(0, to.to_owned())],
                due_at: now,
                ..NewDelivery::default()
            }],
        };
        self.queue.accept(vec![item], Vec::new()).await.map_err(|error| error.to_string())
    }

    async fn post(&self, url: &str, gzip: &[u8]) -> Result<(), String> {
        let request = FetchRequest {
            method: Method::Post,
            url: url.to_owned(),
            headers: vec![("Content-Type".to_owned(), "application/tlsrpt+gzip".to_owned())],
            body: gzip.to_vec(),
        };
        let limits = FetchLimits { time: POST_TIME, body: POST_ANSWER, cut: true, clear: false };
        match self.fetcher.send(request, limits).await {
            Ok(answer) if answer.status / 100 == 2 => Ok(()),
            Ok(answer) => Err(format!("{url} answered {}", answer.status)),
            Err(error) => Err(format!("{url}: {error}")),
        }
    }
}

impl Carrier {
    /// Signed by the domain of the address that reports come from, if it is a tenant's with keys.
    fn signing(&self) -> Option<Signing> {
        let (_, name) = self.from.rsplit_once('@')?;
        let settings = self.settings.get();
        let domain = settings.directory.domain(&name.to_ascii_lowercase())?;
        (!domain.dkim.is_empty()).then(|| Signing {
            domain: domain.name.clone(),
            selectors: domain.dkim.iter().map(|key| key.selector.clone()).collect(),
            from_field: format!("From: <{}>", self.from).into_bytes(),
        })
    }
}
