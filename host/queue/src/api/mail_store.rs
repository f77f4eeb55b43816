//! Queue and event log of one relay.

use super::{EventHistory, Queue};

/// What keeps mail and its events together.
pub trait MailStore: Queue + EventHistory {
    /// The id of the event log: what keeps a cursor keeps this, too.
    fn id(&self) -> u64;
}
