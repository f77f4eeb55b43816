//! A version beside the active one: it is asked the same, its answers have no effect, and what
//! differs is reported.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use relevo_mailkit::policy::Decision;
use relevo_queue::ItemId;
use relevo_runtime::Blame;
use relevo_runtime::policy::{Case, Policy};
use serde_json::{Value, json};

use crate::allowance::Allowance;
use crate::record::{RecordedAnswer, difference};

/// Differences that are kept with the message they were about.
const KEPT: usize = 50;
/// See the module.
pub(crate) struct Shadow {
    pub(crate) digest: String,
    policy: Arc<dyn Policy>,
    report: Mutex<ShadowReport>,
}

#[derive(Default)]
struct ShadowReport {
    /// Messages on which both answered.
    compared: u64,
    /// Of these, with another verdict for some recipient.
    differing: u64,
    /// The shadow broke.
    faults: u64,
    /// The tenant's threads were busy, its CPU time was needed, or the host could not run it.
    skipped: u64,
    last: VecDeque<Value>,
}

impl Shadow {
    pub(crate) fn new(digest: String, policy: Arc<dyn Policy>) -> Self {
        Self { digest, policy, report: Mutex::default() }
    }

    /// Asks in its tenant's share of the threads, and compares with what the active version said.
    /// The sender does not wait for it. While the share is busy, and while less than half of a
    /// second's CPU time is left, messages are skipped.
    pub(crate) fn compare(
        self: &Arc<Self>,
        id: ItemId,
        case: Case,
        active: Decision,
        cpu: &Arc<Allowance>,
        now: Duration,
    ) {
        if !cpu.has_half(now) {
            self.report().skipped += 1;
            return;
        }
        let cpu = Arc::clone(cpu);
        let shadow = Arc::clone(self);
        tokio::spawn(async move {
            let recipients = case.message.envelope.recipients.len();
            let outcome = shadow.policy.judge_if_idle(case).await;
            let mut report = shadow.report();
            let Some(outcome) = outcome else {
                report.skipped += 1;
                return;
            };
            cpu.spend(u64::try_from(outcome.cost.cpu.as_nanos()).unwrap_or(u64::MAX), now);
            match outcome.result {
                Ok(answer) => report.note(id, recipients, &active, &answer.decision),
                // The host could not run it: that says nothing of the version.
                Err(fault) if fault.blame == Blame::Host => report.skipped += 1,
                Err(fault) => {
                    report.faults += 1;
                    report.keep(json!({ "message": id.to_string(), "fault": fault.to_string() }));
                }
            }
        });
    }

    /// For `relevo plugin list`.
    pub(crate) fn listed(&self) -> Value {
        let report = self.report();
        json!({
            "digest": self.digest,
            "compared": report.compared,
            "differing": report.differing,
            "faults": report.faults,
            "skipped": report.skipped,
            "last": report.last,
        })
    }

    fn report(&self) -> MutexGuard<'_, ShadowReport> {
        // Counts and a list; nothing can be half done.
        self.report.lock()
    }
}

impl ShadowReport {
    fn note(&mut self, id: ItemId, recipients: usize, active: &Decision, shadow: &Decision) {
        self.compared += 1;
        let recipients = u32::try_from(recipients).unwrap_or(u32::MAX);
        let (active, shadow) =
            (RecordedAnswer::Verdicts(active.into()), RecordedAnswer::Verdicts(shadow.into()));
        let Some((first, differing)) = difference(recipients, &active, &shadow) else { return };
        self.differing += 1;
        self.keep(json!({
            "message": id.to_string(),
            "recipient": first,
            "recipients": differing,
            "active": active.in_short(first),
            "shadow": shadow.in_short(first),
        }));
    }

    fn keep(&mut self, difference: Value) {
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(difference);
    }
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::policy::{Override, Verdict};
    use relevo_mailkit::reply::Reply;

    use super::*;

    #[test]
    fn differences_are_counted_and_the_last_are_kept() {
        let mut report = ShadowReport::default();
        let accept = Decision::from(Verdict::Accept);
        let mut other = accept.clone();
        other.overrides = vec![Override { recipient: 1, verdict: Verdict::Hold("why".into()) }];
        let id = ItemId::new(1, [0; 10]);
        report.note(id, 2, &accept, &accept);
        report.note(id, 1, &accept, &other);
        for _ in 0..KEPT + 5 {
            report.note(id, 2, &accept, &other);
        }
        assert_eq!((report.compared, report.differing), (KEPT as u64 + 7, KEPT as u64 + 5));
        assert_eq!(report.last.len(), KEPT);
        let last = report.last.back().expect("kept");
        assert_eq!(
            (&last["recipient"], &last["active"], &last["shadow"]),
            (&json!(1), &json!("accept"), &json!("hold"))
        );
    }

    #[test]
    fn refusals_for_now_and_for_good_differ() {
        let reject = |code: u16, text: &str| {
            let enhanced = format!("{}.7.1", code / 100).parse().ok();
            Decision::from(Verdict::Reject(Reply { code, enhanced, text: text.into() }))
        };
        let (mut report, id) = (ShadowReport::default(), ItemId::new(1, [0; 10]));
        report.note(id, 1, &reject(550, "no"), &reject(550, "never"));
        assert_eq!((report.compared, report.differing), (1, 0), "words are not compared");
        report.note(id, 1, &reject(450, "no"), &reject(550, "no"));
        let last = report.last.back().expect("kept");
        assert_eq!(
            (&last["active"], &last["shadow"]),
            (&json!("reject 450 4.7.1"), &json!("reject 550 5.7.1"))
        );
    }
}
