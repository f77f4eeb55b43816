//! Addresses that are asked about before anything is sent to them.
//!
//! `relevo_addresses` judges. This module finds out: it looks each domain up once for a request,
//! with a bound for each tenant and for all, and reads what earlier mail to an address says.

mod bounces;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use relevo_addresses::{BouncedBefore, SuppressedBefore};
pub use relevo_addresses::{Candidate, Deliverability, DomainFinding, History, Judgement, Reason};
use relevo_mailkit::address::Address;
use relevo_resolve::{MailRoute, Resolve, ResolveError};
use relevo_store::{ALL_STREAMS, SuppressionRecord};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

pub use self::bounces::RecentBounces;
use crate::clock::{Clock, timestamp};
use crate::suppressions::{SuppressionError, Suppressions, canonical};
use crate::token_buckets::{BucketLevel, TokenBuckets};

/// Lookups at once: for all tenants, and for one.
const MAX_LOOKUPS: usize = 128;
const MAX_LOOKUPS_OF_TENANT: usize = 32;
/// The time of one lookup, and of all lookups of a request.
const LOOKUP_TIME: Duration = Duration::from_secs(8);
const REQUEST_TIME: Duration = Duration::from_secs(20);
/// The window of the rate.
const MINUTE: Duration = Duration::from_secs(60);
/// Tenants whose rates are kept.
const MAX_TENANTS: usize = 100_000;
/// Names of MX hosts in an answer.
const MAX_HOSTS: usize = 10;

/// What earlier mail to an address says.
#[async_trait]
pub trait AddressHistory: Send + Sync {
    /// The history of an address with a tenant.
    ///
    /// # Errors
    /// The store's.
    async fn history(&self, tenant: &str, address: &Address) -> Result<History, SuppressionError>;
}

/// The history that a running relay has: its lists, and bounces of late.
pub struct RelayHistory {
    /// The lists of suppressed addresses.
    pub suppressions: Arc<Suppressions>,
    /// Bounces of late.
    pub bounces: Arc<RecentBounces>,
}

#[async_trait]
impl AddressHistory for RelayHistory {
    async fn history(&self, tenant: &str, address: &Address) -> Result<History, SuppressionError> {
        // In lower case it may be longer than an address may be: then nothing is known of it.
        let Ok(address) = canonical(&address.to_string()) else { return Ok(History::default()) };
        let suppressed = self.suppressions.of(tenant, &address).await?;
        let bounced = self.bounces.of(tenant, &address).map(|bounce| BouncedBefore {
            day: timestamp(bounce.at).split('T').next().unwrap_or_default().to_owned(),
            reply: bounce.reply,
        });
        Ok(History { suppressed: suppressed_before(&suppressed), bounced })
    }
}

/// Entries of the list, as a judgement reads them.
#[must_use]
pub fn suppressed_before(entries: &[SuppressionRecord]) -> Vec<SuppressedBefore> {
    let entry = |record: &SuppressionRecord| SuppressedBefore {
        all_streams: record.stream == ALL_STREAMS,
        reason: record.reason.clone(),
    };
    entries.iter().map(entry).collect()
}

/// The answer about one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validation {
    /// What was asked about.
    pub candidate: Candidate,
    /// What DNS says about its domain.
    pub domain: DomainFinding,
    /// The judgement.
    pub judgement: Judgement,
}

/// Answers about addresses.
pub struct AddressValidation {
    resolve: Arc<dyn Resolve>,
    history: Arc<dyn AddressHistory>,
    clock: Arc<dyn Clock>,
    addresses_per_minute: u32,
    rates: TokenBuckets<String>,
    lookups: Arc<Semaphore>,
    /// Lookups of each tenant. Callers are tenants of the directory, so it does not grow.
    of_tenants: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl AddressValidation {
    /// Answers with these sources. One tenant may ask about `addresses_per_minute`.
    #[must_use]
    pub fn new(
        resolve: Arc<dyn Resolve>,
        history: Arc<dyn AddressHistory>,
        clock: Arc<dyn Clock>,
        addresses_per_minute: u32,
    ) -> Self {
        Self {
            resolve,
            history,
            clock,
            addresses_per_minute,
            rates: TokenBuckets::new(MINUTE, MAX_TENANTS),
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            of_tenants: Mutex::default(),
        }
    }

    /// Addresses that one tenant may ask about in a minute.
    #[must_use]
    pub fn addresses_per_minute(&self) -> u32 {
        self.addresses_per_minute
    }

    /// Counts addresses of a tenant.
    ///
    /// # Errors
    /// They are too many now: the time until they may be asked about.
    pub fn admit(&self, tenant: &str, addresses: usize) -> Result<(), Duration> {
        #[allow(clippy::cast_precision_loss, reason = "at most some thousands")]
        let count = addresses as f64;
        let capacity = f64::from(self.addresses_per_minute);
        let level = self.rates.spend_many(&tenant.to_owned(), capacity, count, self.clock.monotonic());
        let BucketLevel { is_taken, next_in, .. } = level;
        if is_taken { Ok(()) } else { Err(next_in) }
    }

    /// The answers about addresses, in their order.
    ///
    /// # Errors
    /// The history cannot be read.
    pub async fn validate(
        &self,
        tenant: &str,
        emails: &[String],
    ) -> Result<Vec<Validation>, SuppressionError> {
        let candidates: Vec<Candidate> = emails.iter().map(|email| Candidate::parse(email)).collect();
        let found = self.look_up(tenant, candidates.iter().filter_map(Candidate::domain)).await;
        let mut answers = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            let domain = candidate.domain().and_then(|domain| found.get(domain)).cloned();
            let domain = domain.unwrap_or(DomainFinding::NotLookedUp);
            let history = match candidate.address() {
                Some(address) => self.history.history(tenant, address).await?,
                None => History::default(),
            };
            let judgement = candidate.judge(&domain, &history);
            answers.push(Validation { candidate, domain, judgement });
        }
        Ok(answers)
    }

    /// Looks each domain up once. Domains for which there was no time are missing.
    async fn look_up<'c>(
        &self,
        tenant: &str,
        domains: impl Iterator<Item = &'c str>,
    ) -> HashMap<String, DomainFinding> {
        let of_tenant = self.lookups_of(tenant);
        let distinct: HashSet<&str> = domains.collect();
        let mut lookups = JoinSet::new();
        for domain in distinct {
            let (of_tenant, of_all) = (of_tenant.clone(), self.lookups.clone());
            let (resolve, domain) = (self.resolve.clone(), domain.to_owned());
            lookups.spawn(async move {
                let _permits = (of_tenant.acquire_owned().await, of_all.acquire_owned().await);
                let route = timeout(LOOKUP_TIME, resolve.route(&domain)).await;
                (domain, route.map_or(DomainFinding::Failed, finding))
            });
        }
        let mut found = HashMap::new();
        let deadline = Instant::now() + REQUEST_TIME;
        // What is still under way then is aborted with the set.
        while let Ok(Some(looked_up)) = timeout_at(deadline, lookups.join_next()).await {
            match looked_up {
                Ok((domain, finding)) => drop(found.insert(domain, finding)),
                Err(error) => tracing::error!(%error, "a lookup for a validation broke"),
            }
        }
        found
    }

    fn lookups_of(&self, tenant: &str) -> Arc<Semaphore> {
        let mut of_tenants = self.of_tenants.lock();
        let new = || Arc::new(Semaphore::new(MAX_LOOKUPS_OF_TENANT));
        of_tenants.entry(tenant.to_owned()).or_insert_with(new).clone()
    }
}

/// What a route says. A failure that may pass says nothing about the domain.
fn finding(route: Result<MailRoute, ResolveError>) -> DomainFinding {
    match route {
        Ok(route) if route.implicit => DomainFinding::ImplicitMx,
        Ok(mut route) => {
            // Equals come in random order, and an answer should not change with each request.
            route.hosts.sort_by(|a, b| (a.preference, &a.name).cmp(&(b.preference, &b.name)));
            DomainFinding::Mx(route.hosts.into_iter().take(MAX_HOSTS).map(|host| host.name).collect())
        }
        Err(ResolveError::NoSuchDomain(_)) => DomainFinding::NoSuchDomain,
        Err(ResolveError::NoMailHost(_)) => DomainFinding::NoMailHost,
        Err(ResolveError::NullMx(_)) => DomainFinding::NullMx,
        Err(ResolveError::LoopsBack(_)) => DomainFinding::LoopsBack,
        Err(ResolveError::Temporary { .. }) => DomainFinding::Failed,
    }
}

#[cfg(test)]
mod tests;
