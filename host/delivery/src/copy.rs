//! The seam to the maker of copies.

use std::sync::Arc;

use async_trait::async_trait;
use relevo_mailkit::event::Blame;
use relevo_mailkit::reply::EnhancedCode;
use relevo_mailkit::source::Source;
use relevo_queue::Lease;
use relevo_runtime::Fault;

/// What the next hop can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HopAbilities {
    /// 8BITMIME (RFC 6152). Without it the copy is turned into 7bit before it is signed.
    pub eight_bit: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
}

/// A finished copy for the recipients of one delivery.
pub struct Copy {
    /// Received, signatures, fields and body, as they go over the wire before dot-stuffing.
    pub source: Arc<dyn Source>,
    /// BODY=8BITMIME is needed.
    pub eight_bit: bool,
    /// SMTPUTF8 is needed for the header.
    pub utf8_header: bool,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The next hop cannot take it and it cannot be converted: permanent, with this status (5.6.3,
    /// 5.6.9).
    #[error("{text}")]
    NotConvertible {
        /// RFC 3463.
        status: EnhancedCode,
        /// For the bounce.
        text: String,
    },
    /// A stage broke: temporary.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Key, store or the checker: temporary.
    #[error("{0}")]
    Host(String),
}

/// Makes copies. Called just before the first attempt of a delivery and again on every retry, with
/// the same result.
#[async_trait]
pub trait MakeCopy: Send + Sync {
    /// The copy for the pending recipients of `lease`.
    async fn make(&self, lease: &Lease, hop: HopAbilities) -> Result<Copy, CopyError>;

    /// The return path of the recipient at this index: the envelope sender of a transaction of its
    /// own. None: the sender of the message.
    fn return_path(&self, lease: &Lease, recipient: u32) -> Option<String> {
        let _ = (lease, recipient);
        None
    }
}

/// What broke, for `email.failed` and `email.delivery_delayed`. The details are for the log.
#[must_use]
pub fn blame(fault: &Fault) -> Blame {
    Blame {
        stage: fault.stage.name().to_owned(),
        who: format!("{:?}", fault.blame).to_ascii_lowercase(),
        kind: format!("{:?}", fault.kind).to_ascii_lowercase(),
    }
}
