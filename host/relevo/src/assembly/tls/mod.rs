//! Policies of recipient domains for TLS, and reports about them.

mod carrier;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use relevo_fetch::Fetcher;
use relevo_relay::clock::Clock;
use relevo_relay::delivery::{HostTls, TlsPlan, TlsPolicies, TlsQuestion, TlsSession};
use relevo_resolve::Resolve;
use relevo_resolve::secure::{DaneLookUp, SecureConfig, SecureLookUp, SecureResolver};
use relevo_smtp::client::{DialogueStep, Failure, TlsFailure, TlsPolicy, root_certificates};
use relevo_store::{ControlStore, TlsStore};
use relevo_tls::decision::{HostDecision, Wanted};
use relevo_tls::domain::{DomainPlan, DomainPolicies, Session};
use relevo_tls::mta_sts::{HttpsSource, StsPolicies, StsSettings};
use relevo_tls::report::{ReportCarrier, Reporter, ReporterName, Tallies};

use self::carrier::Carrier;
use super::Base;
use crate::config::ServerParts;

/// Between two writes of counts, and between two looks for renewals and reports that are due.
const ROUND: Duration = Duration::from_secs(60);

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
    store: Arc<dyn TlsStore>,
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
                let reporter = Reporter::new(ReporterName {
                    organization: report.organization.clone(),
                    contact: report.contact.clone(),
                    from: report.from.clone(),
                    node: node.clone(),
                });
                let carrier = Carrier {
                    fetcher: fetcher(&base.parts, resolve.clone())?,
                    resolve,
                    queue: base.queue.clone(),
                    settings: base.settings.clone(),
                    clock: base.clock.clone(),
                    ids: base.ids.clone(),
                    from: report.from.clone(),
                };
                Some((reporter, Arc::new(carrier) as Arc<dyn ReportCarrier>))
            }
            None => None,
        };
        Ok(Arc::new(Self { policies, store: store.clone(), node, clock: base.clock.clone(), reports }))
    }

    /// Writes counts, renews policies and sends reports, for ever. None of the three waits for
    /// another: strangers' hosts decide how long renewals and reports take.
    pub(super) async fn run(self: Arc<Self>) {
        tokio::join!(self.write_counts(), self.renew_policies(), self.send_reports());
    }

    async fn write_counts(&self) {
        loop {
            tokio::time::sleep(ROUND).await;
            self.write().await;
        }
    }

    /// Writes what was counted since the last time. Also at a stop, so that a day is reported whole.
    pub(super) async fn write(&self) {
        // Without reports nobody reads what is counted.
        if self.reports.is_none() {
            self.policies.tallies.clear();
            return;
        }
        let changes = self.policies.tallies.take_changes(&self.node);
        if changes.is_empty() {
            return;
        }
        if let Err(error) = self.store.put_tls_tallies(&changes).await {
            tracing::error!(target: "relevo::tls", %error, "counts of TLS cannot be stored");
            self.policies.tallies.give_back(&changes);
        }
    }

    async fn renew_policies(&self) {
        let Some(sts) = &self.policies.sts else { return };
        loop {
            tokio::time::sleep(ROUND).await;
            while sts.renew(self.clock.now()).await {}
        }
    }

    async fn send_reports(&self) {
        let Some((reporter, carrier)) = &self.reports else { return };
        let random = || {
            let mut octets = [0; 8];
            getrandom::fill(&mut octets).map_or(0, |()| u64::from_ne_bytes(octets))
        };
        let counted = (&*self.policies.tallies, &*self.store);
        loop {
            tokio::time::sleep(ROUND).await;
            while reporter.send_due(counted, &**carrier, self.clock.now(), &random).await {}
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

    /// TLSA records of a smarthost are not asked for: its certificate must be valid then.
    fn least(&self, domain: &str) -> TlsPolicy {
        match self.policies.wanted.of(domain) {
            None | Some(Wanted::Opportunistic) => TlsPolicy::None,
            Some(Wanted::Required) => TlsPolicy::Required,
            Some(Wanted::Verified | Wanted::Dane) => TlsPolicy::Verified,
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
