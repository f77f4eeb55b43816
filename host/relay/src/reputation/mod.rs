//! What others think of us: block lists about our addresses, rates of complaints and hard bounces, and
//! what large receivers report.
//!
//! Block lists are asked once an hour at most for each address, restarts included: answers are kept in a
//! file. A list is tried with its test entries before it is believed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use relevo_doctor::blocklist::{self, Listing};
use relevo_doctor::imports::{PostmasterRow, SndsRow};
use relevo_doctor::{Check as Finding, ProviderRate, Status, rate_checks};
use relevo_mailkit::event::PluginAnswer;
use relevo_mailkit::policy::Verdict;
use relevo_mailkit::reply::Reply;
use relevo_resolve::{Found, LookUp, RecordKind};
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::policy::{Check, PolicyRequest, PolicyResult, RecipientDecision};
use crate::settings::{SettingsHandle, Tenant};

mod metrics;
mod state;

pub use metrics::ReputationMetrics;
use state::ReputationState;
pub use state::{KnownListing, ReputationState as KeptReputation, read};

/// An address is asked for again after this.
const HOUR: i64 = 3_600_000;
/// How often it is looked whether something is to be asked.
const LOOK: Duration = Duration::from_secs(60);
/// The name of the check in traces and answers.
const CHECK: &str = "reputation";
/// The file in the data directory.
pub const FILE: &str = "reputation.json";

/// What happens to a domain whose rates are too high.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFail {
    /// It is shown.
    #[default]
    Warn,
    /// Its new mail is refused.
    Stop,
}

/// `[reputation]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReputationConfig {
    /// Zones of block lists.
    pub blocklists: Vec<String>,
    /// What happens to a domain whose rates are too high.
    pub on_fail: OnFail,
}

/// The rates of a tenant.
#[derive(Debug, Clone, Default)]
pub struct TenantRates {
    /// By sending domain, over all providers.
    pub domains: BTreeMap<String, ProviderRate>,
    /// By provider, over all domains.
    pub providers: Vec<ProviderRate>,
}

/// What is known of a domain besides DNS.
#[derive(Debug, Clone, Default)]
pub struct KnownReputation {
    /// Rates of the domain, and of its tenant by provider.
    pub rates: Vec<ProviderRate>,
    /// Block lists: list, address, answer.
    pub listings: Vec<(String, IpAddr, Listing)>,
    /// What Microsoft reports.
    pub snds: Vec<SndsRow>,
}

/// Asks block lists, keeps what is imported, and stops domains.
pub struct Reputation {
    config: ReputationConfig,
    look_up: Arc<dyn LookUp>,
    settings: SettingsHandle,
    clock: Arc<dyn Clock>,
    file: PathBuf,
    state: Mutex<ReputationState>,
    rates: Mutex<HashMap<String, TenantRates>>,
    /// Why a domain is stopped, by tenant and domain.
    stopped: Mutex<BTreeMap<(String, String), String>>,
    metrics: ReputationMetrics,
    /// One writer of the file at a time.
    writing: tokio::sync::Mutex<()>,
}

impl Reputation {
    /// Reads what an earlier process kept. A file that cannot be read counts as if it were not there.
    #[must_use]
    pub fn open(
        config: ReputationConfig,
        look_up: Arc<dyn LookUp>,
        settings: SettingsHandle,
        clock: Arc<dyn Clock>,
        file: PathBuf,
        metrics: ReputationMetrics,
    ) -> Self {
        let state = Mutex::new(read(&file).unwrap_or_else(|problem| {
            error!(problem, file = %file.display(), "what is known of the reputation cannot be read");
            ReputationState::default()
        }));
        let (rates, stopped, writing) = Default::default();
        Self { config, look_up, settings, clock, file, state, rates, stopped, metrics, writing }
    }

    /// Asks block lists for as long as the relay runs.
    pub async fn run(&self) {
        loop {
            self.ask_lists().await;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Asks what is due.
    async fn ask_lists(&self) {
        if self.config.blocklists.is_empty() {
            return;
        }
        let addresses = self.addresses().await;
        self.state.lock().keep(&self.config.blocklists, &addresses);
        for list in &self.config.blocklists {
            for is_ipv6 in [false, true] {
                let of_family: Vec<IpAddr> =
                    addresses.iter().copied().filter(|address| address.is_ipv6() == is_ipv6).collect();
                let is_due = of_family.iter().any(|address| self.is_due(list, *address));
                if is_due {
                    self.ask_list(list, is_ipv6, &of_family).await;
                }
            }
        }
        self.show();
    }

    /// The addresses that mail leaves from. Without configured ones, those of the host's name.
    async fn addresses(&self) -> Vec<IpAddr> {
        let settings = self.settings.get();
        let delivery = &settings.delivery;
        let of_pools =
            delivery.pools.values().flat_map(|pool| pool.source_ipv4.iter().chain(&pool.source_ipv6));
        let all = delivery.source_ipv4.iter().chain(&delivery.source_ipv6).chain(of_pools);
        let mut addresses: BTreeSet<IpAddr> = all.copied().collect();
        if addresses.is_empty() && delivery.smarthost.is_none() {
            for kind in [RecordKind::A, RecordKind::Aaaa] {
                if let Found::Records(found) = self.look_up.look_up(kind, &settings.hostname).await {
                    addresses.extend(found.iter().filter_map(|text| text.parse::<IpAddr>().ok()));
                }
            }
        }
        addresses.into_iter().collect()
    }

    fn is_due(&self, list: &str, address: IpAddr) -> bool {
        let now = self.clock.now();
        let at = self.state.lock().listing(list, address).map(|known| known.at);
        // A clock that was set back does not wait for ever.
        at.is_none_or(|at| now >= at + HOUR || now < at - HOUR)
    }

    async fn ask_list(&self, list: &str, is_ipv6: bool, addresses: &[IpAddr]) {
        let tests = blocklist::test_entries(is_ipv6);
        let due: Vec<IpAddr> =
            tests.iter().chain(addresses).copied().filter(|address| self.is_due(list, *address)).collect();
        // On disk before the first question: a restart in between does not ask again.
        self.state.lock().begin(list, &due, self.clock.now());
        self.write().await;
        let [listed, unlisted] = tests;
        for test in tests.into_iter().filter(|test| due.contains(test)) {
            self.ask(list, test).await;
        }
        let known = |address| self.state.lock().listing(list, address).map(|known| known.answer.clone());
        let never = || Listing::Unknown("was never asked".to_owned());
        let (first, second) = (known(listed).unwrap_or_else(never), known(unlisted).unwrap_or_else(never));
        match blocklist::believed(&first, &second) {
            Ok(()) => {
                for address in addresses.iter().filter(|address| due.contains(address)) {
                    self.ask(list, *address).await;
                }
            }
            Err(why) => {
                for address in addresses.iter().filter(|address| due.contains(address)) {
                    self.note(list, *address, Listing::Unknown(format!("the list is not believed: {why}")));
                }
            }
        }
        self.write().await;
    }

    async fn ask(&self, list: &str, address: IpAddr) {
        let found = self.look_up.look_up(RecordKind::A, &blocklist::query_name(address, list)).await;
        self.note(list, address, blocklist::listing(list, &crate::health::answer(found)));
    }

    /// Keeps an answer. A change is logged.
    fn note(&self, list: &str, address: IpAddr, answer: Listing) {
        let is_test = blocklist::test_entries(address.is_ipv6()).contains(&address);
        let was_listed = self.state.lock().put(list, address, answer.clone());
        match (&answer, was_listed) {
            _ if is_test => {}
            (Listing::Listed(codes), false) => {
                warn!(%address, list, ?codes, "a block list has one of our addresses");
            }
            (Listing::NotListed, true) => info!(%address, list, "a block list no longer has our address"),
            (Listing::Unknown(why), _) => warn!(%address, list, why, "a block list gives no answer"),
            _ => {}
        }
    }

    fn show(&self) {
        let listed = |known: &KnownListing| match known.answer {
            Listing::Listed(_) => 1,
            Listing::NotListed => 0,
            Listing::Unknown(_) => -1,
        };
        self.metrics
            .set(self.listings().iter().map(|known| ((known.list.clone(), known.address), listed(known))));
    }

    /// What block lists said last of our addresses.
    #[must_use]
    pub fn listings(&self) -> Vec<KnownListing> {
        self.state.lock().listings()
    }

    async fn write(&self) {
        let _one = self.writing.lock().await;
        let (text, file) = (self.state.lock().text(), self.file.clone());
        let written = tokio::task::spawn_blocking(move || state::write(&file, &text)).await;
        if let Err(problem) = written.map_err(|error| error.to_string()).flatten() {
            error!(problem, "what is known of the reputation cannot be written");
        }
    }

    /// Puts the rates of all tenants in force, as they were just counted.
    pub fn set_rates(&self, rates: HashMap<String, TenantRates>) {
        let mut stopped = BTreeMap::new();
        for (tenant, of_tenant) in &rates {
            for (domain, rate) in &of_tenant.domains {
                let reasons: Vec<String> = failures(rate);
                if !reasons.is_empty() {
                    stopped.insert((tenant.clone(), domain.clone()), reasons.join("; "));
                }
            }
        }
        let acts = self.config.on_fail == OnFail::Stop;
        let mut before = self.stopped.lock();
        for ((tenant, domain), reason) in stopped.iter().filter(|(key, _)| !before.contains_key(*key)) {
            warn!(tenant, domain, reason, is_stopped = acts, "the rates of a sending domain are too high");
        }
        for (tenant, domain) in before.keys().filter(|key| !stopped.contains_key(*key)) {
            info!(tenant, domain, "the rates of a sending domain are no longer too high");
        }
        *before = stopped;
        drop(before);
        *self.rates.lock() = rates;
    }

    /// What is known of a domain of a tenant.
    #[must_use]
    pub fn of(&self, tenant: &str, domain: &str) -> KnownReputation {
        let mut known = self.state.lock().of(tenant, domain);
        if let Some(of_tenant) = self.rates.lock().get(tenant) {
            let own = of_tenant.domains.get(domain).into_iter();
            known.rates.extend(own.chain(&of_tenant.providers).cloned());
        }
        known
    }

    /// The rates of a tenant, and why its domains are too high.
    #[must_use]
    pub fn of_tenant(&self, tenant: &str) -> (TenantRates, Vec<(String, String)>) {
        let rates = self.rates.lock().get(tenant).cloned().unwrap_or_default();
        let stopped = self.stopped.lock();
        let own = stopped.iter().filter(|((owner, _), _)| owner == tenant);
        (rates, own.map(|((_, domain), reason)| (domain.clone(), reason.clone())).collect())
    }

    /// The rule for domains whose rates are too high.
    #[must_use]
    pub fn on_fail(&self) -> OnFail {
        self.config.on_fail
    }

    /// Keeps rows of Google Postmaster Tools of a tenant: those of the latest day of each domain.
    pub async fn import_postmaster(&self, tenant: &str, rows: Vec<PostmasterRow>) {
        self.state.lock().add_postmaster(tenant, rows);
        self.write().await;
    }

    /// Keeps rows of Microsoft SNDS of a tenant: those of the latest day of each address.
    pub async fn import_snds(&self, tenant: &str, rows: Vec<SndsRow>) {
        self.state.lock().add_snds(tenant, rows);
        self.write().await;
    }
}

/// Why a domain is failing, in words.
fn failures(rate: &ProviderRate) -> Vec<String> {
    let failed = |check: &Finding| check.status == Status::Fail;
    rate_checks(rate).into_iter().filter(failed).map(|check| check.message).collect()
}

#[async_trait]
impl Check for Reputation {
    fn name(&self) -> &'static str {
        CHECK
    }

    fn applies_to(&self, tenant: &Tenant) -> bool {
        self.config.on_fail == OnFail::Stop
            && self.stopped.lock().keys().any(|(owner, _)| *owner == tenant.id)
    }

    fn reads_fields(&self) -> bool {
        false
    }

    async fn check(&self, request: &PolicyRequest) -> PolicyResult {
        let recipients = request.envelope.recipients.len();
        let mut result = PolicyResult::accept_all(recipients);
        let directory = &request.settings.directory;
        let of_authors = request.report.authors.iter().filter_map(|author| directory.domain(&author.domain));
        let stopped = self.stopped.lock();
        let reason = |name: &str| stopped.get(&(request.tenant.id.clone(), name.to_owned())).cloned();
        let found = of_authors.filter_map(|domain| Some((domain.name.clone(), reason(&domain.name)?))).next();
        drop(stopped);
        if let Some((domain, reason)) = found {
            let text =
                format!("mail of {domain} is stopped: {reason}. GET /domains/{domain}/health tells more");
            let verdict = Verdict::Reject(Reply::new(550, (5, 7, 1), text));
            result.decisions = vec![RecipientDecision { verdict, decided_by: Some(0) }; recipients];
            result.answers = vec![PluginAnswer {
                plugin: CHECK.to_owned(),
                digest: String::new(),
                verdict: "reject".to_owned(),
                reason,
            }];
        }
        result
    }
}

#[cfg(test)]
mod tests;
