//! Queue and event log of one relay.

use super::{EventLog, Queue};

/// What keeps mail and its events together.
pub trait MailStore: Queue + EventLog {
    /// The id of the event log: what keeps a cursor keeps this, too.
    fn id(&self) -> u64;
}
