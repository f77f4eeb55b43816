//! From a message with its envelope to a promise: validate, authorise, track, and then one durable
//! commit. Everything that can refuse happens before the commit. Not tied to SMTP: a session, the
//! HTTP API and `relevo dev --once` all call it.

use std::sync::Arc;
use std::time::Duration;

use relevo_queue::{EventHistory, ItemId, Millis, Queue, StoreError};
use tracing::{info, warn};

mod authority;
mod checks;
mod commit;
mod deliveries;
mod feedback;
mod judge;
mod metrics;
mod options;
mod policy;
mod preparing;
mod quota;
mod submission;
mod template;
mod unsubscribe;

pub(crate) use authority::{is_within, reverse_path};
pub(crate) use commit::{KnownKey, to_its_end};
pub use metrics::PipelineMetrics;
#[cfg(test)]
pub(crate) use options::digest;
pub use relevo_submission::{Origin, Protocol, SubmissionOptions, TrackingOverride, Via};
pub use submission::{Accepted, PolicyRefusal, PreparedMessage, PreparedRecipient, Rejection, Submission};

use self::preparing::Run;
use crate::clock::{Clock, IdSource};
use crate::events;
use crate::policy::Check;
use crate::quota::Quotas;
use crate::sandbox::Sandbox;
use crate::templates::Templates;
use crate::trace::{TraceObserver, TraceStep};

/// What the pipeline works with.
#[derive(Clone)]
pub struct Pipeline {
    /// Where accepted mail goes.
    pub queue: Arc<dyn Queue>,
    /// Where refusals and faults are written.
    pub events: Arc<dyn EventHistory>,
    /// The sandbox, shared with the maker of copies.
    pub sandbox: Sandbox,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ids of items.
    pub ids: Arc<dyn IdSource>,
    /// Counters.
    pub metrics: PipelineMetrics,
    /// Is told about every step.
    pub observer: Option<Arc<dyn TraceObserver>>,
    /// The templates that messages by SMTP may name; none: there are none.
    pub templates: Option<Templates>,
    /// Asked one after the other about each authorised message.
    pub checks: Vec<Arc<dyn Check>>,
    /// Count the recipients of each message. None: nobody counts them.
    pub quotas: Option<Arc<Quotas>>,
    /// Called when a message is on disk of which a recipient was refused: its sender is to be told.
    pub recipient_refused: Arc<dyn Fn() + Send + Sync>,
}

impl Pipeline {
    /// Judges the message and makes it durable.
    ///
    /// A refusal is written to the event log (`email.rejected`; `email.failed` with blame when a
    /// stage broke) before this returns; if that cannot be written, it is still refused.
    ///
    /// # Errors
    /// The reply for the sender. Nothing is kept of the message.
    pub async fn submit(&self, submission: Submission) -> Result<Accepted, Rejection> {
        let prepared = self.prepare(submission).await?;
        let pipeline = self.clone();
        to_its_end(async move { pipeline.accept(prepared).await }).await
    }

    /// Judges the message. Nothing of it is on disk when this returns, but the event of a refusal.
    ///
    /// # Errors
    /// As for [`Self::submit`].
    pub async fn prepare(&self, submission: Submission) -> Result<PreparedMessage, Rejection> {
        let (id, now, facts, judged) = self.judge(submission).await?;
        match judged {
            Ok(prepared) => Ok(prepared),
            Err(rejection) => {
                self.refused(id, now, &facts, &rejection).await;
                Err(rejection)
            }
        }
    }

    /// Judges the message and writes no event: for a trial run.
    ///
    /// # Errors
    /// As for [`Self::submit`].
    pub async fn try_out(&self, submission: Submission) -> Result<PreparedMessage, Rejection> {
        let (.., judged) = self.judge(submission).await?;
        judged
    }

    async fn judge(&self, submission: Submission) -> Result<Judged, Rejection> {
        let now = self.clock.now();
        let id = match submission.id {
            Some(id) => id,
            None => self.ids.item_id(now).map_err(|e| store_failed(&e.to_string()))?,
        };
        let mut facts = events::Facts::of(&submission);
        let mut run = Run { pipeline: self, id, now, domain: String::new() };
        let judged = run.prepare(submission, facts.clone()).await;
        if !run.domain.is_empty() {
            facts.labels.domain = run.domain;
        }
        Ok((id, now, facts, judged))
    }

    fn step(&self, id: ItemId, stage: &'static str, began: Duration, changes: Vec<String>) {
        if let Some(observer) = &self.observer {
            let took = self.clock.monotonic().saturating_sub(began);
            observer.step(id, &TraceStep { stage, took, changes });
        }
    }

    async fn refused(&self, id: ItemId, now: Millis, facts: &events::Facts, rejection: &Rejection) {
        self.metrics.refused(rejection);
        match &rejection.fault {
            Some(fault) => {
                warn!(id = %id, tenant = facts.tenant, from = facts.sender, %fault, "a stage broke")
            }
            None if rejection.rule == "disk-full" => warn!(id = %id, "no room: less than min_free"),
            None => info!(id = %id, tenant = facts.tenant, from = facts.sender, rule = rejection.rule,
                code = rejection.reply.code, "refused"),
        }
        let event = events::refused(id, now, facts, rejection);
        if let Err(e) = self.events.append(vec![event]).await {
            warn!(id = %id, error = %e, "the refusal could not be written to the event log");
        }
    }
}

/// The id, the time, and the outcome of a message that was judged.
type Judged = (ItemId, Millis, events::Facts, Result<PreparedMessage, Rejection>);

/// The store's word for the sender: less than the reserve is free, or it broke.
pub(crate) fn not_stored(error: &StoreError) -> Rejection {
    match error {
        StoreError::Full | StoreError::NoInodes => {
            Rejection::new(452, (4, 3, 1), "disk-full", "insufficient system storage, try again later")
        }
        // Another one came first: nothing broke.
        StoreError::KnownKey => try_again(),
        other => store_failed(&other.to_string()),
    }
}

fn store_failed(detail: &str) -> Rejection {
    warn!(detail, "a message could not be stored");
    try_again()
}

fn try_again() -> Rejection {
    Rejection::new(451, (4, 3, 0), "store-error", "the message cannot be stored now, try again later")
}

#[cfg(test)]
mod tests;
