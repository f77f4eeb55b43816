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

use crate::clock::{Clock, timestamp};
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
    /// Of its new mail, a few recipients an hour are taken.
    SlowDown,
    /// Its new mail is refused.
    Stop,
}

impl OnFail {
    /// The name in the configuration and the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::SlowDown => "slow_down",
            Self::Stop => "stop",
        }
    }
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

/// A domain whose rates are too high.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct FailingDomain {
    /// Why.
    reason: String,
    /// Recipients in an hour, where it is slowed down.
    hourly: usize,
    /// Recipients that were taken in this hour of the clock.
    taken: (i64, usize),
}

/// Asks block lists, keeps what is imported, and slows down or stops domains.
pub struct Reputation {
    config: ReputationConfig,
    look_up: Arc<dyn LookUp>,
    settings: SettingsHandle,
    clock: Arc<dyn Clock>,
    file: PathBuf,
    state: Mutex<ReputationState>,
    rates: Mutex<HashMap<String, TenantRates>>,
    /// By tenant and domain.
    failing: Mutex<BTreeMap<(String, String), FailingDomain>>,
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
        let (rates, failing, writing) = Default::default();
        Self { config, look_up, settings, clock, file, state, rates, failing, metrics, writing }
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
        let mut before = self.failing.lock();
        let mut failing = BTreeMap::new();
        for (tenant, of_tenant) in &rates {
            for (domain, rate) in &of_tenant.domains {
                let reasons: Vec<String> = failures(rate);
                if reasons.is_empty() {
                    continue;
                }
                let key = (tenant.clone(), domain.clone());
                let taken = before.get(&key).map_or((0, 0), |known| known.taken);
                let known = FailingDomain { reason: reasons.join("; "), hourly: hourly(rate), taken };
                failing.insert(key, known);
            }
        }
        let on_fail = self.config.on_fail.name();
        for ((tenant, domain), known) in failing.iter().filter(|(key, _)| !before.contains_key(*key)) {
            warn!(
                tenant,
                domain,
                reason = known.reason,
                on_fail,
                "the rates of a sending domain are too high"
            );
        }
        for (tenant, domain) in before.keys().filter(|key| !failing.contains_key(*key)) {
            info!(tenant, domain, "the rates of a sending domain are no longer too high");
        }
        *before = failing;
        drop(before);
        *self.rates.lock() = rates;
    }

    /// Takes recipients of new mail of a domain, or says why not.
    fn take(&self, tenant: &str, domain: &str, recipients: usize, now: i64) -> Result<(), Refused> {
        let mut failing = self.failing.lock();
        let Some(known) = failing.get_mut(&(tenant.to_owned(), domain.to_owned())) else { return Ok(()) };
        let (code, enhanced, what) = match self.config.on_fail {
            OnFail::Warn => return Ok(()),
            OnFail::Stop => (550, (5, 7, 1), "is stopped".to_owned()),
            OnFail::SlowDown => {
                let hour = now.div_euclid(HOUR);
                if known.taken.0 != hour {
                    known.taken = (hour, 0);
                }
                // The first message of an hour goes, however many recipients it has.
                if known.taken.1 == 0 || known.taken.1 + recipients <= known.hourly {
                    known.taken.1 += recipients;
                    return Ok(());
                }
                let next = timestamp((hour + 1).saturating_mul(HOUR));
                let what = format!(
                    "is slowed down to {} recipients an hour, the next begins at {next}",
                    known.hourly
                );
                (450, (4, 7, 1), what)
            }
        };
        let reason = known.reason.clone();
        let text = format!("mail of {domain} {what}: {reason}. GET /domains/{domain}/health tells more");
        Err(Refused { reply: Reply::new(code, enhanced, text), reason })
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
        let failing = self.failing.lock();
        let own = failing.iter().filter(|((owner, _), _)| owner == tenant);
        (rates, own.map(|((_, domain), known)| (domain.clone(), known.reason.clone())).collect())
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

/// Why new mail is not taken.
#[derive(Debug)]
struct Refused {
    reply: Reply,
    reason: String,
}

/// Recipients in an hour that a domain with too high rates may have: a tenth of what it had in an
/// average hour of the last seven days, and ten at least.
fn hourly(rate: &ProviderRate) -> usize {
    let tenth = rate.delivered / (7 * 24 * 10);
    usize::try_from(tenth).unwrap_or(usize::MAX).max(10)
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
        self.config.on_fail != OnFail::Warn
            && self.failing.lock().keys().any(|(owner, _)| *owner == tenant.id)
    }

    fn reads_fields(&self) -> bool {
        false
    }

    async fn check(&self, request: &PolicyRequest) -> PolicyResult {
        let recipients = request.envelope.recipients.len();
        let mut result = PolicyResult::accept_all(recipients);
        let directory = &request.settings.directory;
        let of_authors = request.report.authors.iter().filter_map(|author| directory.domain(&author.domain));
        let now = self.clock.now();
        let taken = of_authors
            .map(|domain| self.take(&request.tenant.id, &domain.name, recipients, now))
            .collect::<Result<Vec<()>, Refused>>();
        if let Err(Refused { reply, reason }) = taken {
            let verdict = Verdict::Reject(reply);
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
