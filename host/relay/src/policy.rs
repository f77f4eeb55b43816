//! Checks of an authorised message: what the pipeline asks, and what it is answered. A tenant's
//! plugins are one check.

use std::sync::Arc;

use async_trait::async_trait;
pub use relevo_delivery::{OutcomeEvent, OutcomeListener};
use relevo_mailkit::envelope::Envelope;
pub use relevo_mailkit::event::PluginAnswer;
use relevo_mailkit::model::Report;
use relevo_mailkit::policy::Verdict;
use relevo_mailkit::source::Source;
use relevo_queue::{ItemId, Millis};

use crate::pipeline::{Origin, SubmissionOptions, Via};
use crate::settings::{EgressGrants, Settings, Tenant};

/// One entry of [`crate::pipeline::Pipeline::checks`]. The pipeline asks the checks one after the
/// other, after the first-party validation and after the sender is authorised. The strictest
/// verdict for a recipient wins; every answer is recorded in the message's events.
#[async_trait]
pub trait Check: Send + Sync {
    /// The name of the step in traces.
    fn name(&self) -> &'static str;

    /// Returns true if mail of the tenant is to be checked. Called for each message, so it must be
    /// cheap.
    fn applies_to(&self, tenant: &Tenant) -> bool;

    /// Returns true if [`PolicyRequest::report`] must list the header fields.
    fn reads_fields(&self) -> bool;

    /// Checks a message. Never fails: a check that breaks answers by a failure policy of its own.
    async fn check(&self, request: &PolicyRequest) -> PolicyResult;
}

/// A message that has arrived whole, has passed validation, and whose sender is authorised.
pub struct PolicyRequest {
    /// The settings of the session.
    pub settings: Arc<Settings>,
    /// The owner of the message.
    pub tenant: Arc<Tenant>,
    /// The effects that attributes may have.
    pub grants: Arc<EgressGrants>,
    /// The id of the message.
    pub id: ItemId,
    /// When the message arrived.
    pub now: Millis,
    /// The authority on which the message came.
    pub origin: Origin,
    /// The protocol and the peer.
    pub via: Arc<Via>,
    /// The envelope with all recipients.
    pub envelope: Arc<Envelope>,
    /// The report of `validate`.
    pub report: Arc<Report>,
    /// The octets as submitted.
    pub message: Arc<dyn Source>,
    /// What the sender asks for beyond the envelope.
    pub options: Arc<SubmissionOptions>,
}

/// The decision for a recipient, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientDecision {
    /// The strictest verdict.
    pub verdict: Verdict,
    /// Index of the answer that it comes from; none when every answer was to accept.
    pub decided_by: Option<usize>,
}

/// The answers of all checks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyResult {
    /// One for each recipient, in the order of the envelope.
    pub decisions: Vec<RecipientDecision>,
    /// Whole header fields that go in front of the message.
    pub prepend: Vec<u8>,
    /// Attributes that are kept with the message.
    pub attributes: Vec<(String, String)>,
    /// Attributes whose effect was not granted. They are recorded, not kept.
    pub denied_attributes: Vec<(String, String)>,
    /// What each check or plugin answered, in the order in which they were asked.
    pub answers: Vec<PluginAnswer>,
    /// True if a fault decided: nothing is wrong with the message.
    pub faulted: bool,
}

impl PolicyResult {
    /// The result before anybody is asked.
    #[must_use]
    pub fn accept_all(recipients: usize) -> Self {
        let decision = RecipientDecision { verdict: Verdict::Accept, decided_by: None };
        Self { decisions: vec![decision; recipients], ..Self::default() }
    }

    /// The verdict for a recipient; accept if there is no decision.
    #[must_use]
    pub fn verdict(&self, index: usize) -> &Verdict {
        self.decisions.get(index).map_or(&Verdict::Accept, |d| &d.verdict)
    }

    /// The answer that decided for a recipient.
    #[must_use]
    pub fn decided_by(&self, index: usize) -> Option<&PluginAnswer> {
        self.answers.get(self.decisions.get(index)?.decided_by?)
    }

    /// Returns true if every recipient is rejected for good, so that no later check could change
    /// anything.
    #[must_use]
    pub fn all_rejected(&self) -> bool {
        self.decisions.iter().all(|d| matches!(&d.verdict, Verdict::Reject(reply) if reply.code >= 500))
    }

    /// Adds the result of a later check about the same recipients. Of two equally strict verdicts
    /// the earlier one stands.
    pub fn merge(&mut self, later: Self) {
        let before = self.answers.len();
        for (mine, theirs) in self.decisions.iter_mut().zip(later.decisions) {
            if theirs.verdict.strictness() > mine.verdict.strictness() {
                let decided_by = theirs.decided_by.map(|index| before + index);
                *mine = RecipientDecision { verdict: theirs.verdict, decided_by };
            }
        }
        self.prepend.extend(later.prepend);
        self.attributes.extend(later.attributes);
        self.denied_attributes.extend(later.denied_attributes);
        self.answers.extend(later.answers);
        self.faulted |= later.faulted;
    }
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::reply::Reply;

    use super::*;

    fn result(name: &str, verdicts: &[Verdict]) -> PolicyResult {
        let answer = PluginAnswer {
            plugin: name.into(),
            digest: String::new(),
            verdict: "x".into(),
            reason: String::new(),
        };
        let decision = |v: &Verdict| RecipientDecision { verdict: v.clone(), decided_by: Some(0) };
        PolicyResult {
            decisions: verdicts.iter().map(decision).collect(),
            answers: vec![answer],
            prepend: format!("X-{name}: 1\r\n").into(),
            ..PolicyResult::default()
        }
    }

    #[test]
    fn the_strictest_verdict_wins_and_each_answer_is_recorded() {
        let reject = |code| Verdict::Reject(Reply::new(code, (5, 7, 1), "no"));
        let (hold, discard) = (Verdict::Hold("h".into()), Verdict::Discard("d".into()));
        let mut all = PolicyResult::accept_all(4);
        all.merge(result("a", &[Verdict::Accept, hold.clone(), reject(450), reject(550)]));
        assert!(!all.all_rejected());
        all.merge(result("b", &[hold, discard.clone(), reject(550), reject(551)]));
        let found: Vec<_> = (0..4)
            .map(|i| (all.verdict(i).strictness(), all.decided_by(i).map(|a| a.plugin.as_str())))
            .collect();
        assert_eq!(found, [(1, Some("b")), (2, Some("b")), (4, Some("b")), (4, Some("a"))]);
        assert_eq!(all.prepend, b"X-a: 1\r\nX-b: 1\r\n");
        assert_eq!(all.answers.len(), 2);
        assert_eq!(all.verdict(4), &Verdict::Accept, "no decision");
        all.merge(result("c", &[reject(550), reject(550), reject(550), reject(550)]));
        assert!(all.all_rejected());
    }
}
