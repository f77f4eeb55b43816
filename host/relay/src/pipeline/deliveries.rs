//! Planned deliveries as the queue stores them.

use relevo_mailkit::dsn::RecipientDsn;
use relevo_mailkit::envelope::Recipient as EnvelopeRecipient;
use relevo_mailkit::policy::Verdict;
use relevo_mailkit::reply::Reply;
use relevo_queue::{LastAttempt, Millis, NewDelivery, Recipient, RecipientState};
use relevo_submission::{Disposition, EgressChoice, PlannedDelivery};

use crate::policy::PolicyResult;
use crate::queue_key::queue_key;
use crate::settings::Domain;

/// What the checks say about a recipient.
pub(super) fn disposition(result: &PolicyResult, index: usize) -> Disposition {
    match result.verdict(index) {
        Verdict::Accept => Disposition::Send,
        Verdict::Discard(_) => Disposition::Discard,
        Verdict::Hold(reason) => Disposition::Hold(match result.decided_by(index) {
            Some(by) => format!("by plugin {} ({:.12}): {reason}", by.plugin, by.digest),
            None => reason.clone(),
        }),
        Verdict::Reject(reply) => Disposition::Refuse(reply.clone()),
    }
}

/// What the deliveries of a message have in common.
pub(super) struct Common<'a> {
    pub(super) recipients: &'a [EnvelopeRecipient],
    /// The configured domain of the author; none: mail of no tenant.
    pub(super) sending: Option<&'a Domain>,
    pub(super) egress: &'a EgressChoice,
    /// When the message was accepted.
    pub(super) now: Millis,
    /// When all of them are due.
    pub(super) due_at: Millis,
}

/// A delivery with its recipients. A refused one carries the reply that its sender is told.
pub(super) fn queued(planned: &PlannedDelivery, common: &Common<'_>) -> NewDelivery {
    let (state, hold_reason, last) = match &planned.disposition {
        Disposition::Hold(reason) => (RecipientState::Pending, Some(reason.clone()), None),
        Disposition::Refuse(reply) => {
            (RecipientState::Failed { reported: false }, None, Some(refusal(reply, common.now)))
        }
        Disposition::Send | Disposition::Discard => (RecipientState::Pending, None, None),
    };
    let recipient = |&index: &u32| {
        let named = usize::try_from(index).ok().and_then(|number| common.recipients.get(number))?;
        let dsn = RecipientDsn::of_parameters(&named.parameters);
        let mut state = state.clone();
        if let RecipientState::Failed { reported } = &mut state {
            *reported = !dsn.wants_failure();
        }
        Some(Recipient { index, address: named.address.clone(), state, dsn })
    };
    NewDelivery {
        key: queue_key(common.sending, common.egress, &planned.domain),
        priority: common.egress.priority,
        recipients: planned.recipients.iter().filter_map(recipient).collect(),
        due_at: common.due_at,
        held: hold_reason.is_some(),
        hold_reason,
        last,
    }
}

fn refusal(reply: &Reply, at: Millis) -> LastAttempt {
    LastAttempt {
        at,
        text: reply.text.clone(),
        status: reply.status().to_string(),
        code: Some(reply.code),
        ..LastAttempt::default()
    }
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::dsn::Notify;
    use relevo_mailkit::envelope::Parameter;
    use relevo_submission::deliveries::divide;

    use super::*;
    use crate::policy::RecipientDecision;

    #[test]
    fn verdicts_become_states_of_the_queue() {
        let verdicts = [
            Verdict::Accept,
            Verdict::Reject(Reply::new(550, (5, 7, 1), "no")),
            Verdict::Hold("later".into()),
            Verdict::Discard("gone".into()),
        ];
        let result = PolicyResult {
            decisions: verdicts.map(|verdict| RecipientDecision { verdict, decided_by: None }).to_vec(),
            ..PolicyResult::default()
        };
        let mut all = vec![EnvelopeRecipient::new("x@a.example", "a.example"); 4];
        all[0].parameters.push(Parameter { keyword: "NOTIFY".into(), value: "NEVER".into() });
        let planned = divide(&all, false, false, |index| disposition(&result, index));
        let egress = EgressChoice::default();
        let common = Common { recipients: &all, sending: None, egress: &egress, now: 7, due_at: 9 };
        let made: Vec<_> = planned.iter().map(|delivery| queued(delivery, &common)).collect();
        let [sent, refused, held] = made.try_into().expect("three");
        assert!([&sent, &refused, &held].iter().all(|d| d.due_at == 9 && d.key.domain == "a.example"));
        assert_eq!(sent.recipients[0].dsn.notify, Some(Notify::NEVER));
        assert_eq!((sent.held, sent.hold_reason, sent.last), (false, None, None));
        assert_eq!((held.held, held.hold_reason.as_deref(), held.last), (true, Some("later"), None));
        assert_eq!(refused.recipients[0].state, RecipientState::Failed { reported: false });
        let last = refused.last.expect("the reply");
        assert_eq!((last.code, last.status.as_str(), last.text.as_str()), (Some(550), "5.7.1", "no"));
    }
}
