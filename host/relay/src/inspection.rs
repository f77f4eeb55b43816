//! A look at the content of a message before it is sent: what the `content` component finds, and
//! the scores of spam filters that the configuration names.

mod rspamd;
mod spamassassin;

use std::sync::Arc;
use std::time::Duration;

use relevo_fetch::Fetcher;
pub use relevo_mailkit::model::{ContentOptions, Finding, Severity};
use relevo_mailkit::source::Source;
use relevo_runtime::{Fault, FaultKind};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::sandbox::{Sandbox, WorkClass};

/// Octets of a message that is looked at; the component takes no more.
pub const MAX_MESSAGE: usize = 16 << 20;
/// Octets of a message that spam filters score. Filters skip larger mail by themselves, too.
const MAX_SCORED: usize = 2 << 20;
/// The time for a score, with the wait for a permit.
const SCORE_TIME: Duration = Duration::from_secs(15);
/// Messages that are scored at once: SpamAssassin has five children unless set otherwise.
const MAX_SCORING: usize = 4;
/// Messages that the component looks at at once: one may take a second of a processor, which mail that
/// is accepted needs.
const MAX_LOOKING: usize = 1;
/// Points and thresholds are below.
const MAX_POINTS: f64 = 1e6;
/// Rules of a score that are reported.
const MAX_RULES: usize = 50;

/// Spam filters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpamFilters {
    /// `host:port` of a spamd.
    pub spamassassin: Option<String>,
    /// The URL of an Rspamd worker, without a path.
    pub rspamd: Option<String>,
}

/// What a spam filter says about a message.
#[derive(Debug, Clone, PartialEq)]
pub struct SpamScore {
    /// `spamassassin` or `rspamd`.
    pub filter: &'static str,
    /// Points. More are worse.
    pub score: f64,
    /// From here on the filter calls a message spam.
    pub threshold: f64,
    /// Rules that matched, harmless.
    pub rules: Vec<String>,
}

/// What was found in a message.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inspection {
    /// Findings, those that weigh most first.
    pub findings: Vec<Finding>,
    /// Scores of the filters that answered.
    pub scores: Vec<SpamScore>,
    /// Filters that did not answer, and why.
    pub unanswered: Vec<(&'static str, String)>,
}

/// Why there is no inspection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectionError {
    /// It is no message, or one that takes too much to be looked at.
    #[error("{0}")]
    Message(String),
    /// The component failed. The log has the details.
    #[error("the content cannot be looked at now, try again later")]
    Unavailable,
}

/// Looks at messages.
pub struct ContentInspection {
    sandbox: Sandbox,
    /// The filters, and how they are connected to.
    spam: Option<(SpamFilters, Fetcher)>,
    scoring: Semaphore,
    looking: Semaphore,
}

impl ContentInspection {
    /// Looks at messages in the sandbox, without spam filters.
    #[must_use]
    pub fn new(sandbox: Sandbox) -> Self {
        let (scoring, looking) = (Semaphore::new(MAX_SCORING), Semaphore::new(MAX_LOOKING));
        Self { sandbox, spam: None, scoring, looking }
    }

    /// Asks these filters, too. `fetcher` may connect to them.
    #[must_use]
    pub fn with_spam_filters(self, filters: SpamFilters, fetcher: Fetcher) -> Self {
        Self { spam: Some((filters, fetcher)), ..self }
    }

    /// Looks at a message. The answer names the filters that gave no score.
    ///
    /// # Errors
    /// The component gave no findings.
    pub async fn inspect(
        &self,
        tenant: &str,
        message: Vec<u8>,
        options: ContentOptions,
    ) -> Result<Inspection, InspectionError> {
        let message = Arc::new(message);
        let source: Arc<dyn Source> = message.clone();
        let turn = self.looking.acquire().await;
        let looked = self
            .sandbox
            .run(WorkClass::Accept, tenant, &source, move |stages, source| stages.inspect(options, source));
        let looked = looked.await;
        drop(turn);
        let findings = match looked {
            Ok(Ok(findings)) => findings,
            Ok(Err(reason)) => return Err(InspectionError::Message(reason)),
            Err(fault) => return Err(of_fault(&fault)),
        };
        let mut inspection = Inspection { findings, ..Inspection::default() };
        for (filter, answer) in self.scores(&message).await {
            match answer {
                Ok(score) => inspection.scores.push(score),
                Err(reason) => inspection.unanswered.push((filter, reason)),
            }
        }
        inspection.findings.splice(0..0, inspection.scores.iter().filter_map(of_score));
        inspection.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Ok(inspection)
    }

    /// The answer of each filter that is configured. They are asked at the same time.
    async fn scores(&self, message: &[u8]) -> Vec<(&'static str, Result<SpamScore, String>)> {
        let Some((filters, fetcher)) = &self.spam else { return Vec::new() };
        let spamassassin = async {
            let address = filters.spamassassin.as_deref()?;
            let answer = self.within_bounds(message, spamassassin::ask(address, message)).await;
            Some((spamassassin::NAME, answer))
        };
        let rspamd = async {
            let url = filters.rspamd.as_deref()?;
            let answer = self.within_bounds(message, rspamd::ask(fetcher, url, message, SCORE_TIME)).await;
            Some((rspamd::NAME, answer))
        };
        let (spamassassin, rspamd) = tokio::join!(spamassassin, rspamd);
        spamassassin.into_iter().chain(rspamd).collect()
    }

    async fn within_bounds(
        &self,
        message: &[u8],
        scored: impl Future<Output = Result<SpamScore, String>>,
    ) -> Result<SpamScore, String> {
        if message.len() > MAX_SCORED {
            return Err(format!("the message has more than {MAX_SCORED} octets"));
        }
        let scored = async {
            let _permit = self.scoring.acquire().await;
            scored.await
        };
        let slow = |_| Err(format!("it did not answer in {} seconds", SCORE_TIME.as_secs()));
        timeout(SCORE_TIME, scored).await.unwrap_or_else(slow).and_then(believed)
    }
}

/// A fault for want of memory or time is due to the message.
fn of_fault(fault: &Fault) -> InspectionError {
    match fault.kind {
        FaultKind::Deadline | FaultKind::Memory | FaultKind::Table | FaultKind::Stack => {
            InspectionError::Message("the content takes too much memory or time to be looked at".to_owned())
        }
        _ => InspectionError::Unavailable,
    }
}

/// A score, unless it says nothing: a threshold of 0 would make spam of everything.
fn believed(score: SpamScore) -> Result<SpamScore, String> {
    let is_sound = |points: f64| points.abs() < MAX_POINTS;
    match score.threshold > 0.0 && is_sound(score.threshold) && is_sound(score.score) {
        true => Ok(score),
        false => Err("its score and its threshold make no sense".to_owned()),
    }
}

/// The finding about a score, from half of the threshold on.
fn of_score(score: &SpamScore) -> Option<Finding> {
    let SpamScore { filter, score: points, threshold, rules } = score;
    let severity = match points {
        points if points >= threshold => Severity::Error,
        points if *points >= threshold / 2.0 => Severity::Warning,
        _ => return None,
    };
    let rules: Vec<&str> = rules.iter().take(10).map(String::as_str).collect();
    let mut message = format!("{filter} gives {points:.1} points, and {threshold:.1} make spam.");
    if !rules.is_empty() {
        message += &format!(" Change what its rules found: {}.", rules.join(", "));
    }
    Some(Finding { check: "spam_score".to_owned(), severity, message, location: None })
}

#[cfg(test)]
mod tests;
