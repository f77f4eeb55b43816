//! The seam to plugins that hear of outcomes.

use relevo_queue::NewEvent;

/// Hears what became of messages, after it is on disk.
pub trait OutcomeListener: Send + Sync {
    /// Whether any plugin of the tenant wants to hear of outcomes.
    fn listening(&self, tenant: &str) -> bool;

    /// What became of messages of tenants: events as they were stored, each with the attributes of
    /// its message. Never blocks; what is too much is dropped and counted.
    fn observe(&self, outcomes: Vec<OutcomeEvent>);
}

/// An event of a delivery or of a notification about one, for plugins that listen.
#[derive(Debug, Clone, PartialEq)]
pub struct OutcomeEvent {
    /// As stored.
    pub event: NewEvent,
    /// Those of the message.
    pub attributes: Vec<(String, String)>,
}
