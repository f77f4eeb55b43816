//! What each stage of a message took and did: for the capture inbox and for `--once`.

use std::time::Duration;

use relevo_queue::ItemId;

/// One stage of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceStep {
    /// `validate`, `authorise`, `track`, `commit`, `copy`, `dkim`.
    pub stage: &'static str,
    /// Elapsed time, waiting for a permit included.
    pub took: Duration,
    /// What changed, for people; nothing when nothing did.
    pub changes: Vec<String>,
}

/// An observer of every step. The message waits for it, so it should do no more than remember.
pub trait TraceObserver: Send + Sync {
    /// A step of `item` ended. An item that is not accepted in the end may have had steps.
    fn step(&self, item: ItemId, step: &TraceStep);
}
