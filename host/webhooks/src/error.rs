//! What can be wrong with a request about webhooks.

use relevo_store::ControlStoreError;

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// A value is wrong.
    #[error("{message}")]
    Field {
        /// Its path, such as `events[1]`.
        param: String,
        /// The mistake.
        message: String,
    },
    /// The tenant has no such webhook or delivery.
    #[error("{0}")]
    NotFound(&'static str),
    /// It can be done only later, or not in this state.
    #[error("{0}")]
    Conflict(String),
    /// The tenant does too much of it at the same time.
    #[error("one at a time: wait for the one under way")]
    Busy,
    /// The store failed. The log has the details.
    #[error("webhooks are not available now, try again later")]
    Unavailable,
}

impl WebhookError {
    pub(crate) fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Field { param: param.into(), message: message.into() }
    }

    pub(crate) fn no_webhook() -> Self {
        Self::NotFound("there is no such webhook")
    }

    pub(crate) fn no_delivery() -> Self {
        Self::NotFound("there is no such delivery")
    }
}

impl From<ControlStoreError> for WebhookError {
    fn from(error: ControlStoreError) -> Self {
        tracing::error!(%error, "the store of webhooks failed");
        Self::Unavailable
    }
}
