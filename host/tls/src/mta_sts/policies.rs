//! Policies of domains: found, remembered, renewed before they lapse.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use relevo_resolve::secure::SingleFlight;
use relevo_store::{StsPolicyRecord, TlsStore};

use super::fetch::PolicySource;
use super::policy::{StsMode, StsPolicy};
use super::record::find_record;
use crate::report::{PolicyKind, TallyPolicy};

/// Domains that are remembered in memory.
const MEMORY: usize = 20_000;
/// Policies that are stored. Beyond them new ones hold only while they are in memory.
const STORED: u64 = 100_000;
/// The TXT record is asked for again after this.
const CHECK: Duration = Duration::from_secs(600);
/// A failure is remembered for this.
const FAILED: Duration = Duration::from_secs(300);
/// As long as the store does not say whether there is a policy, it is asked again after this.
const UNKNOWN: Duration = Duration::from_secs(15);
/// A policy that was fetched this long ago is fetched again (RFC 8461 section 3.3: daily), one that
/// holds for less than two days when half of that is over. In milliseconds.
const RENEW: i64 = 86_400_000;
/// A renewal is tried again after this, in milliseconds.
const RETRY: i64 = 3_600_000;
/// Policies that one round takes from the store.
const ROUND: u32 = 64;
/// Policies that are renewed at the same time.
const AT_ONCE: usize = 16;
/// Time for the renewal of one. Whoever hangs holds up one of [`AT_ONCE`] for that.
const RENEW_TIME: Duration = Duration::from_secs(60);

/// Why there is no policy, or an older one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StsFailure {
    /// The policy could not be fetched.
    #[error("{0}")]
    Fetch(String),
    /// The certificate of the policy host is not valid.
    #[error("{0}")]
    Certificate(String),
    /// The policy file is no policy.
    #[error("{0}")]
    Invalid(String),
}

impl StsFailure {
    /// The result type of RFC 8460 section 4.3.2.2.
    #[must_use]
    pub fn result_type(&self) -> &'static str {
        match self {
            Self::Fetch(_) => "sts-policy-fetch-error",
            Self::Certificate(_) => "sts-webpki-invalid",
            Self::Invalid(_) => "sts-policy-invalid",
        }
    }
}

/// What is known of the policy of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsAnswer {
    /// The policy in force; none, and policies with [`StsMode::None`], ask for nothing.
    pub policy: Option<Arc<StsPolicy>>,
    /// The policy as reports quote it: one text for all connections under it.
    pub reported: Arc<TallyPolicy>,
    /// The last fetch failed. The policy is an older one, if there is one.
    pub failure: Option<StsFailure>,
    /// The store did not say whether there is a policy. There is none here, and there may be one.
    pub is_unknown: bool,
}

impl Default for StsAnswer {
    /// No policy.
    fn default() -> Self {
        let none = TallyPolicy { kind: PolicyKind::Sts, lines: Vec::new(), mx: Vec::new() };
        Self { policy: None, reported: Arc::new(none), failure: None, is_unknown: false }
    }
}

impl StsAnswer {
    /// The policy, if it asks for something.
    #[must_use]
    pub fn in_force(&self) -> Option<&StsPolicy> {
        self.policy.as_deref().filter(|policy| policy.mode != StsMode::None)
    }
}

/// Times, for tests.
#[derive(Debug, Clone, Copy)]
pub struct StsSettings {
    /// The TXT record is asked for again after this.
    pub check: Duration,
    /// A failure is remembered for this.
    pub failed: Duration,
}

impl Default for StsSettings {
    fn default() -> Self {
        Self { check: CHECK, failed: FAILED }
    }
}

/// Policies of domains. One task at a time asks for a domain; what it finds is shared.
pub struct StsPolicies {
    source: Arc<dyn PolicySource>,
    store: Arc<dyn TlsStore>,
    known: SingleFlight<String, StsAnswer>,
    settings: StsSettings,
}

impl StsPolicies {
    /// With a source and a store.
    #[must_use]
    pub fn new(source: Arc<dyn PolicySource>, store: Arc<dyn TlsStore>, settings: StsSettings) -> Self {
        Self { source, store, known: SingleFlight::new(MEMORY), settings }
    }

    /// The policy of a domain in A-labels. `now` is in milliseconds since 1970.
    pub async fn of(&self, domain: &str, now: i64) -> StsAnswer {
        self.known.get(domain.to_owned(), self.find(domain, now)).await
    }

    /// The policy, and for how long it is not asked for again.
    async fn find(&self, domain: &str, now: i64) -> (StsAnswer, Duration) {
        let stored = self.store.sts_policy(domain, now).await.inspect_err(|error| {
            tracing::error!(target: "relevo::tls", %error, %domain, "the stored policy cannot be read");
        });
        let (answer, time) = self.published(domain, stored.as_ref().ok().and_then(Option::as_ref), now).await;
        // Without the store nobody can tell a domain without a policy from one whose policy is hidden
        // by whoever is on the way.
        match stored {
            Err(_) if answer.policy.is_none() => (StsAnswer { is_unknown: true, ..answer }, UNKNOWN),
            _ => (answer, time),
        }
    }

    /// As [`Self::find`], where the stored policy is known.
    async fn published(
        &self,
        domain: &str,
        stored: Option<&StsPolicyRecord>,
        now: i64,
    ) -> (StsAnswer, Duration) {
        let texts = self.source.txt(&format!("_mta-sts.{domain}")).await;
        let record = match &texts {
            Ok(texts) => find_record(texts),
            Err(error) => {
                tracing::debug!(target: "relevo::tls", %error, %domain, "no TXT record of MTA-STS");
                None
            }
        };
        // A record that vanished, or that nobody can see, ends no policy (RFC 8461 section 3.1).
        let Some(record) = record else {
            let time = if texts.is_ok() { self.settings.check } else { self.settings.failed };
            return bounded(stored.map(read).unwrap_or_default(), stored, time, now);
        };
        if let Some(stored) = stored.filter(|stored| stored.id == record.id) {
            return bounded(read(stored), Some(stored), self.settings.check, now);
        }
        match self.fetch(domain, &record.id, now).await {
            Ok(fetched) => {
                self.put(&fetched, stored.is_some()).await;
                bounded(read(&fetched), Some(&fetched), self.settings.check, now)
            }
            Err(failure) => {
                tracing::warn!(target: "relevo::tls", %domain, %failure, "the MTA-STS policy cannot be had");
                let answer = StsAnswer { failure: Some(failure), ..stored.map(read).unwrap_or_default() };
                bounded(answer, stored, self.settings.failed, now)
            }
        }
    }

    async fn fetch(&self, domain: &str, id: &str, now: i64) -> Result<StsPolicyRecord, StsFailure> {
        let octets = self.source.policy(domain).await?;
        let invalid = |error: &dyn std::fmt::Display| StsFailure::Invalid(error.to_string());
        let policy = StsPolicy::parse(&octets).map_err(|error| invalid(&error))?;
        let body = String::from_utf8(octets).map_err(|error| invalid(&error))?;
        let age = i64::try_from(policy.max_age.as_millis()).unwrap_or(i64::MAX);
        Ok(StsPolicyRecord {
            domain: domain.to_owned(),
            id: id.to_owned(),
            body,
            fetched_at: now,
            expires_at: now.saturating_add(age),
            renew_at: now.saturating_add(RENEW.min(age / 2)),
        })
    }

    /// Stores a policy. One that takes the place of an older one is stored however many there are.
    async fn put(&self, policy: &StsPolicyRecord, is_known: bool) {
        let count = if is_known { Ok(0) } else { self.store.count_sts_policies().await };
        let stored = match count {
            Ok(count) if count >= STORED => return,
            Ok(_) => self.store.put_sts_policy(policy).await,
            Err(error) => Err(error),
        };
        if let Err(error) = stored {
            tracing::error!(target: "relevo::tls", %error, domain = %policy.domain, "a policy cannot be stored");
        }
    }

    /// Fetches policies again that were fetched a day ago, so that none lapses while its domain
    /// still has it. Some at a time, and at most [`ROUND`] in a call; those that fail are due again
    /// in an hour. Returns true if there may be more.
    pub async fn renew(&self, now: i64) -> bool {
        let taken = self.store.take_stale_sts_policies(now, now.saturating_add(RETRY), ROUND).await;
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) => {
                tracing::error!(target: "relevo::tls", %error, "stored policies cannot be read");
                return false;
            }
        };
        let is_full = taken.len() == ROUND as usize;
        let each = taken.into_iter().map(|old| async move {
            let domain = old.domain.clone();
            let renewed = match tokio::time::timeout(RENEW_TIME, self.renewed(old, now)).await {
                Ok(renewed) => renewed,
                Err(_) => Err(StsFailure::Fetch("it was too slow".to_owned())),
            };
            match renewed {
                Ok(fetched) => {
                    self.put(&fetched, true).await;
                    self.known.forget(&domain);
                }
                Err(failure) => {
                    tracing::info!(target: "relevo::tls", %domain, %failure, "a policy is not renewed");
                }
            }
        });
        futures::stream::iter(each).for_each_concurrent(AT_ONCE, |one| one).await;
        is_full
    }

    async fn renewed(&self, old: StsPolicyRecord, now: i64) -> Result<StsPolicyRecord, StsFailure> {
        let texts = self.source.txt(&format!("_mta-sts.{}", old.domain)).await.unwrap_or_default();
        let id = find_record(&texts).map_or(old.id, |record| record.id);
        self.fetch(&old.domain, &id, now).await
    }
}

/// Lines of a policy that reports quote, and characters of each: strangers write them, and they are
/// kept for many domains.
const MAX_LINES: usize = 50;
const MAX_LINE: usize = 200;

fn read(stored: &StsPolicyRecord) -> StsAnswer {
    let policy = StsPolicy::parse(stored.body.as_bytes()).ok();
    let lines = stored.body.lines().filter(|line| !line.trim().is_empty());
    let lines = lines.take(MAX_LINES).map(|line| line.chars().take(MAX_LINE).collect()).collect();
    let mx = policy.as_ref().map(|policy| policy.mx.clone()).unwrap_or_default();
    let reported = Arc::new(TallyPolicy { kind: PolicyKind::Sts, lines, mx });
    StsAnswer { policy: policy.map(Arc::new), reported, ..StsAnswer::default() }
}

/// An answer is not remembered for longer than its policy holds.
fn bounded(
    answer: StsAnswer,
    stored: Option<&StsPolicyRecord>,
    time: Duration,
    now: i64,
) -> (StsAnswer, Duration) {
    let left = stored.map(|stored| u64::try_from(stored.expires_at.saturating_sub(now)).unwrap_or(0));
    (answer, left.map_or(time, |left| time.min(Duration::from_millis(left))))
}
