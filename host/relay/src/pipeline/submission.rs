//! A submission and its outcome.

use std::sync::Arc;

use relevo_mailkit::envelope::Envelope;
use relevo_mailkit::policy::Verdict;
use relevo_mailkit::reply::{EnhancedCode, Reply};
use relevo_mailkit::text::printable;
use relevo_queue::{DeliveryId, IdempotentRequest, ItemId, Millis, NewEvent, NewItem, SpooledBody};
use relevo_runtime::Fault;
use relevo_submission::{NotAuthorised, Origin, SubmissionOptions, Via};

use crate::directory::QuotaSettings;
use crate::events::Facts;
use crate::policy::PluginAnswer;
use crate::quota::QuotaExceeded;
use crate::settings::Settings;

/// A message with its envelope, from wherever it came.
pub struct Submission {
    /// Those of the session.
    pub settings: Arc<Settings>,
    /// On whose authority.
    pub origin: Origin,
    /// Reverse-path and forward-paths.
    pub envelope: Envelope,
    /// For the Received field.
    pub via: Via,
    /// The bytes.
    pub body: SpooledBody,
    /// What the sender asks for beyond the envelope.
    pub options: SubmissionOptions,
    /// The id of the message; none: a new one.
    pub id: Option<ItemId>,
    /// The domain that every author's must be, or be below. None: as the tenant may.
    pub authors_within: Option<String>,
}

/// A message that was judged and can be queued. Nothing of it is on disk yet.
pub struct PreparedMessage {
    /// Its id.
    pub id: ItemId,
    /// Its owner; none: mail of trusted peers that belongs to no tenant.
    pub tenant: Option<String>,
    /// What becomes of each recipient, in the order of the envelope.
    pub recipients: Vec<PreparedRecipient>,
    /// None: every recipient is discarded, or refused with nobody to tell.
    pub(super) item: Option<NewItem>,
    /// That of its owner.
    pub(super) quota: QuotaSettings,
    pub(super) events: Vec<NewEvent>,
    /// Set when the message has an idempotency key in a header field.
    pub(super) request: Option<IdempotentRequest>,
    /// A recipient is refused whose sender is to be told.
    pub(super) has_refused: bool,
    pub(super) facts: Facts,
}

/// What becomes of a recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedRecipient {
    /// The address.
    pub address: String,
    /// The delivery; none for one that is discarded.
    pub delivery: Option<DeliveryId>,
    /// The verdict of the checks.
    pub verdict: Verdict,
}

/// A message that is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its id.
    pub id: ItemId,
    /// Its owner; none: mail of trusted peers that belongs to no tenant.
    pub tenant: Option<String>,
}

/// A message that is not accepted. Nothing of it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// For the sender.
    pub reply: Reply,
    /// The rule that was broken, lower case with hyphens: for events and metrics.
    pub rule: String,
    /// Set when a stage broke: the message is not to blame.
    pub fault: Option<Fault>,
    /// Set when a check refused it: what each of them answered, and which one decided.
    pub policy: Option<Box<PolicyRefusal>>,
    /// Set when the tenant has sent as much as it may.
    pub quota: Option<Box<QuotaExceeded>>,
}

/// Why checks refused a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRefusal {
    /// Its owner, which is proven by then.
    pub tenant: String,
    /// What each check or plugin answered.
    pub answers: Vec<PluginAnswer>,
    /// The one whose reply it is.
    pub by: Option<PluginAnswer>,
    /// A fault decided.
    pub faulted: bool,
}

impl PreparedMessage {
    /// Returns true if a header field of the message gives an idempotency key.
    pub(crate) fn has_own_key(&self) -> bool {
        self.request.is_some()
    }

    /// When it is released, by a header field or by what it came with; none: now.
    pub(crate) fn scheduled_at(&self) -> Option<Millis> {
        self.item.as_ref().and_then(|item| item.meta.scheduled_at)
    }
}

impl Rejection {
    pub(crate) fn new(code: u16, enhanced: impl Into<EnhancedCode>, rule: &str, text: &str) -> Self {
        let text = printable(text, 400);
        let (reply, rule) = (Reply::new(code, enhanced, text), rule.to_owned());
        Self { reply, rule, fault: None, policy: None, quota: None }
    }
}

impl From<QuotaExceeded> for Rejection {
    fn from(exceeded: QuotaExceeded) -> Self {
        let rejection = Self::new(452, (4, 7, 1), "quota-exceeded", &exceeded.to_string());
        Self { quota: Some(Box::new(exceeded)), ..rejection }
    }
}

impl From<NotAuthorised> for Rejection {
    fn from(refused: NotAuthorised) -> Self {
        Self::new(550, (5, 7, 1), refused.rule, &refused.text)
    }
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        let text = "the message cannot be processed now, try again later";
        Self { fault: Some(fault), ..Self::new(451, (4, 3, 0), "component-fault", text) }
    }
}
