//! Planned deliveries as the queue stores them.

use relevo_mailkit::dsn::RecipientDsn;
use relevo_mailkit::envelope::Recipient as EnvelopeRecipient;
use relevo_mailkit::policy::Verdict;
use relevo_mailkit::reply::Reply;
use relevo_mailkit::urgency::ByMode;
use relevo_queue::{ItemMeta, LastAttempt, Millis, NewDelivery, Recipient, RecipientState};
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
    pub(super) delays: DelayTimes,
}

/// When senders are told that their message still waits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct DelayTimes {
    /// Where a report of delay was asked for (RFC 3461). None: nobody is told about this message.
    pub(super) usual: Option<Millis>,
    /// The time that the sender gave is over (RFC 2852).
    pub(super) deliver_by: Option<Millis>,
}

impl DelayTimes {
    /// Of a message without a sender that could be told, these are none.
    pub(super) fn of(meta: &ItemMeta, delay_report: Millis) -> Self {
        if meta.no_bounce || meta.sender.is_empty() {
            return Self::default();
        }
        let by = meta.options.deliver_by.filter(|by| by.mode == ByMode::Notify);
        Self {
            usual: Some(meta.released_at().saturating_add(delay_report)),
            deliver_by: by.map(|by| by.ends_at(meta.accepted_at)),
        }
    }

    /// When the sender is told about a recipient for whom it asked for these reports. The end of
    /// the time that it gave is told unless it named other reports than that of delay.
    fn of_recipient(self, dsn: &RecipientDsn) -> Option<Millis> {
        let usual = self.usual.filter(|_| dsn.wants_delay());
        let deliver_by = self.deliver_by.filter(|_| dsn.notify.is_none() || dsn.wants_delay());
        usual.into_iter().chain(deliver_by).min()
    }
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
        let delay_report_at = common.delays.of_recipient(&dsn);
        Some(Recipient { index, address: named.address.clone(), state, dsn, delay_report_at })
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
    use relevo_mailkit::options::MailOptions;
    use relevo_mailkit::urgency::DeliverBy;
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
        let delays = DelayTimes::default();
        let common = Common { recipients: &all, sending: None, egress: &egress, now: 7, due_at: 9, delays };
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

    #[test]
    fn senders_are_told_of_a_delay_as_they_asked() {
        let asked =
            |notify: Option<&str>| RecipientDsn { notify: notify.and_then(Notify::parse), orcpt: None };
        let options = MailOptions { deliver_by: DeliverBy::parse("60;N"), ..MailOptions::default() };
        let usual = ItemMeta { sender: "a@b.test".into(), accepted_at: 1_000, ..ItemMeta::default() };
        let urgent = ItemMeta { options, ..usual.clone() };
        let returned = DeliverBy::parse("60;R");
        let returned = MailOptions { deliver_by: returned, ..MailOptions::default() };
        let returned = ItemMeta { options: returned, ..usual.clone() };
        let silent = ItemMeta { no_bounce: true, ..urgent.clone() };
        let null = ItemMeta { sender: String::new(), ..urgent.clone() };
        let later = ItemMeta { scheduled_at: Some(2_000), ..usual.clone() };
        let report = 3_600_000;
        for (meta, notify, expected) in [
            (&usual, None, None),
            (&usual, Some("FAILURE"), None),
            (&usual, Some("DELAY"), Some(3_601_000)),
            (&later, Some("SUCCESS,DELAY"), Some(3_602_000)),
            (&urgent, None, Some(61_000)),
            (&urgent, Some("DELAY"), Some(61_000)),
            (&urgent, Some("FAILURE"), None),
            (&urgent, Some("NEVER"), None),
            (&returned, None, None),
            (&returned, Some("DELAY"), Some(3_601_000)),
            (&silent, Some("DELAY"), None),
            (&null, Some("DELAY"), None),
        ] {
            let at = DelayTimes::of(meta, report).of_recipient(&asked(notify));
            assert_eq!(at, expected, "{notify:?} {meta:?}");
        }
    }
}
