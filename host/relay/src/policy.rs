//! The hook for tenants' policy plugins: what the pipeline asks, and what it is answered. Which plugins there are, how they
//! are called, and what their faults mean is behind [`Policies`].

use std::sync::Arc;

use async_trait::async_trait;
pub use relevo_delivery::{OutcomeEvent, OutcomeListener};
use relevo_mailkit::model::Report;
use relevo_mailkit::policy::Verdict;
use relevo_mailkit::source::Source;
use relevo_queue::{ItemId, Millis};
use serde::Serialize;

use crate::pipeline::{Envelope, Origin, Via};
use crate::settings::{Grants, Settings, Tenant};

/// A message, when all of it has arrived, the first-party checks have passed and its sender is authorised.
pub struct Question {
    /// Those of the session.
    pub settings: Arc<Settings>,
    /// Whose message it is.
    pub tenant: Arc<Tenant>,
    /// What attributes may bring about.
    pub grants: Arc<Grants>,
    /// Its id.
    pub id: ItemId,
    /// When it was taken over.
    pub now: Millis,
    /// On whose authority it came.
    pub origin: Origin,
    /// How it came.
    pub via: Arc<Via>,
    /// Everybody it is for.
    pub envelope: Arc<Envelope>,
    /// What `validate` found.
    pub report: Arc<Report>,
    /// The octets as submitted.
    pub message: Arc<dyn Source>,
    /// No thread was free for the first plugin when it was its turn: its failure policy answers.
    pub too_late: bool,
}

/// Why plugins were not asked together with what comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAsked {
    /// The first one cannot be asked now, or there was no question.
    Nothing,
    /// No thread was free in time.
    TooLate,
}

/// Does what comes before the plugins are asked, and says what they are asked; none when there is nothing left to ask.
pub type First = Box<dyn FnOnce() -> Option<Question> + Send>;

/// What one plugin said about a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Opinion {
    /// Its name in the configuration.
    pub plugin: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// Its strictest verdict, or `fault`.
    pub verdict: &'static str,
    /// The reason or the reply that goes with it; of a fault, its kind. Escaped.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// The verdict for a recipient, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// The strictest of all plugins.
    pub verdict: Verdict,
    /// Index of the opinion that it comes from; none when nobody minds.
    pub by: Option<usize>,
}

/// All plugins' answers put together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judgement {
    /// One for each recipient, in the order of the envelope.
    pub rulings: Vec<Ruling>,
    /// Whole header fields to be put on top, checked.
    pub top: Vec<u8>,
    /// To be kept with the message.
    pub attributes: Vec<(String, String)>,
    /// Attributes with an effect that was not granted: left out.
    pub left_out: Vec<(String, String)>,
    /// What each plugin that was asked said, in declared order.
    pub opinions: Vec<Opinion>,
    /// A fault decided: nothing is wrong with the message.
    pub faulted: bool,
}

impl Judgement {
    /// The verdict of a recipient; one that has none is accepted.
    #[must_use]
    pub fn verdict(&self, index: usize) -> &Verdict {
        self.rulings.get(index).map_or(&Verdict::Accept, |r| &r.verdict)
    }

    /// Whose verdict it is.
    #[must_use]
    pub fn opinion(&self, index: usize) -> Option<&Opinion> {
        self.opinions.get(self.rulings.get(index)?.by?)
    }
}

/// The plugins of all tenants.
#[async_trait]
pub trait Policies: OutcomeListener {
    /// Whether any plugin of the tenant is to be asked. Called for each message; cheap.
    fn concern(&self, tenant: &Tenant) -> bool;

    /// Asks them, one after the other. Takes as long as they take, within their limits; never fails: a fault is answered by
    /// its failure policy.
    async fn judge(&self, question: Question) -> Judgement;

    /// As [`Self::judge`], of what `first` says, which is called on the thread where the first plugin runs: one hand-over less for each
    /// message.
    ///
    /// # Errors
    /// They were not asked: `first` was not called, or said nothing.
    async fn judge_after(&self, tenant: &Tenant, first: First) -> Result<Judgement, NotAsked>;
}
