//! Policies of domains: found, remembered, renewed before they lapse.

use std::sync::Arc;
use std::time::Duration;

use relevo_resolve::secure::SingleFlight;
use relevo_store::{StsPolicyRecord, TlsStore};

use super::fetch::PolicySource;
use super::policy::{StsMode, StsPolicy};
use super::record::find_record;

/// Domains that are remembered in memory.
const MEMORY: usize = 20_000;
/// Policies that are stored. Beyond them new ones hold only while they are in memory.
const STORED: u64 = 100_000;
/// The TXT record is asked for again after this.
const CHECK: Duration = Duration::from_secs(600);
/// A failure is remembered for this.
const FAILED: Duration = Duration::from_secs(300);
/// A policy that was fetched this long ago is fetched again (RFC 8461 section 3.3: daily).
const RENEW: Duration = Duration::from_secs(86_400);
/// Policies that one round renews.
const ROUND: u32 = 200;

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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StsAnswer {
    /// The policy in force; none, and policies with [`StsMode::None`], ask for nothing.
    pub policy: Option<Arc<StsPolicy>>,
    /// The file that it was read from, without line ends: for reports.
    pub lines: Arc<[String]>,
    /// The last fetch failed. The policy is an older one, if there is one.
    pub failure: Option<StsFailure>,
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
        let stored = match self.store.sts_policy(domain, now).await {
            Ok(stored) => stored,
            Err(error) => {
                tracing::error!(target: "relevo::tls", %error, %domain, "the stored policy cannot be read");
                None
            }
        };
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
            return bounded(stored.as_ref().map(read).unwrap_or_default(), stored.as_ref(), time, now);
        };
        if let Some(stored) = stored.as_ref().filter(|stored| stored.id == record.id) {
            return bounded(read(stored), Some(stored), self.settings.check, now);
        }
        match self.fetch(domain, &record.id, now).await {
            Ok(fetched) => {
                self.put(&fetched).await;
                bounded(read(&fetched), Some(&fetched), self.settings.check, now)
            }
            Err(failure) => {
                tracing::warn!(target: "relevo::tls", %domain, %failure, "the MTA-STS policy cannot be had");
                let answer = stored.as_ref().map(read).unwrap_or_default();
                let answer = StsAnswer { failure: Some(failure), ..answer };
                bounded(answer, stored.as_ref(), self.settings.failed, now)
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
        })
    }

    async fn put(&self, policy: &StsPolicyRecord) {
        let stored = match self.store.count_sts_policies().await {
            Ok(count) if count >= STORED => return,
            Ok(_) => self.store.put_sts_policy(policy).await,
            Err(error) => Err(error),
        };
        if let Err(error) = stored {
            tracing::error!(target: "relevo::tls", %error, domain = %policy.domain, "a policy cannot be stored");
        }
    }

    /// Fetches policies again that were fetched a day ago, so that none lapses while its domain
    /// still has it. Returns how many were renewed. To be called every hour or so.
    pub async fn renew(&self, now: i64) -> usize {
        let before = now.saturating_sub(i64::try_from(RENEW.as_millis()).unwrap_or(i64::MAX));
        let stale = match self.store.stale_sts_policies(before, now, ROUND).await {
            Ok(stale) => stale,
            Err(error) => {
                tracing::error!(target: "relevo::tls", %error, "stored policies cannot be read");
                return 0;
            }
        };
        let mut renewed = 0;
        for old in stale {
            let texts = self.source.txt(&format!("_mta-sts.{}", old.domain)).await.unwrap_or_default();
            let id = find_record(&texts).map_or(old.id, |record| record.id);
            match self.fetch(&old.domain, &id, now).await {
                Ok(fetched) => {
                    self.put(&fetched).await;
                    self.known.forget(&old.domain);
                    renewed += 1;
                }
                Err(failure) => {
                    tracing::info!(target: "relevo::tls", domain = %old.domain, %failure, "a policy is not renewed");
                }
            }
        }
        renewed
    }
}

/// Lines of a policy that reports quote, and characters of each: strangers write them, and they are
/// kept for many domains.
const MAX_LINES: usize = 50;
const MAX_LINE: usize = 200;

fn read(stored: &StsPolicyRecord) -> StsAnswer {
    let policy = StsPolicy::parse(stored.body.as_bytes());
    let lines = stored.body.lines().filter(|line| !line.trim().is_empty());
    let lines = lines.take(MAX_LINES).map(|line| line.chars().take(MAX_LINE).collect()).collect();
    StsAnswer { policy: policy.ok().map(Arc::new), lines, failure: None }
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
