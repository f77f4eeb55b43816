//! How the recipients of a message are divided into deliveries.

use std::collections::HashMap;

use relevo_mailkit::envelope::Recipient as To;
use relevo_mailkit::policy::Verdict;
use relevo_mailkit::reply::Reply;
use relevo_queue::{LastAttempt, Millis, NewDelivery, QueueKey, Recipient, RecipientState};

use crate::policy::PolicyResult;

/// Recipients of one delivery: a domain with more gets several.
pub(crate) const MAX_TOGETHER: usize = 1000;

/// What recipients of one delivery have in common besides their domain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Standing {
    Due,
    /// With what `queue why` says.
    Held(String),
    /// With the reply that their sender is told.
    Refused(Reply),
}

/// One delivery for each recipient when each has a copy of its own; otherwise one for each domain and standing, in the order in
/// which they were first named. Discarded recipients are in none; refused ones neither when nobody can be told.
pub(crate) fn divide(
    recipients: &[To],
    result: &PolicyResult,
    own_copies: bool,
    no_bounce: bool,
    at: Millis,
) -> Vec<NewDelivery> {
    let mut deliveries: Vec<NewDelivery> = Vec::new();
    let mut open: HashMap<(&str, Standing), usize> = HashMap::new();
    for (number, to) in recipients.iter().enumerate() {
        let Some(standing) = standing(result, number) else { continue };
        let refused = matches!(standing, Standing::Refused(_));
        if refused && no_bounce {
            continue;
        }
        let state = match refused {
            true => RecipientState::Failed { reported: false },
            false => RecipientState::Pending,
        };
        let index = u32::try_from(number).unwrap_or(u32::MAX);
        let recipient = Recipient { index, address: to.address.clone(), state };
        // A refused one has no copy at all.
        let most = if own_copies && !refused { 1 } else { MAX_TOGETHER };
        let key = (to.domain.as_str(), standing);
        let place = open.get(&key).copied();
        match place.and_then(|place| deliveries.get_mut(place)).filter(|d| d.recipients.len() < most) {
            Some(delivery) => delivery.recipients.push(recipient),
            None => {
                let (hold_reason, last) = notes(&key.1, at);
                open.insert(key, deliveries.len());
                deliveries.push(NewDelivery {
                    key: QueueKey::of_domain(&to.domain),
                    recipients: vec![recipient],
                    due_at: at,
                    held: hold_reason.is_some(),
                    hold_reason,
                    last,
                    ..NewDelivery::default()
                });
            }
        }
    }
    deliveries
}

fn standing(result: &PolicyResult, index: usize) -> Option<Standing> {
    match result.verdict(index) {
        Verdict::Accept => Some(Standing::Due),
        Verdict::Discard(_) => None,
        Verdict::Hold(reason) => Some(Standing::Held(match result.decided_by(index) {
            Some(by) => format!("by plugin {} ({:.12}): {reason}", by.plugin, by.digest),
            None => reason.clone(),
        })),
        Verdict::Reject(reply) => Some(Standing::Refused(reply.clone())),
    }
}

/// Why it is held, and the reply that its sender is told.
fn notes(standing: &Standing, at: Millis) -> (Option<String>, Option<LastAttempt>) {
    match standing {
        Standing::Due => (None, None),
        Standing::Held(why) => (Some(why.clone()), None),
        Standing::Refused(reply) => {
            let last = LastAttempt {
                at,
                text: reply.text.clone(),
                status: reply.status().to_string(),
                code: Some(reply.code),
                ..LastAttempt::default()
            };
            (None, Some(last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::RecipientDecision;

    fn to(domain: &str) -> To {
        To::new(format!("x@{domain}"), domain)
    }

    fn plain(recipients: &[To], own_copies: bool, at: Millis) -> Vec<NewDelivery> {
        divide(recipients, &PolicyResult::default(), own_copies, false, at)
    }

    fn shape(deliveries: &[NewDelivery]) -> Vec<(&str, Vec<u32>)> {
        deliveries
            .iter()
            .map(|d| (d.key.domain.as_str(), d.recipients.iter().map(|r| r.index).collect()))
            .collect()
    }

    #[test]
    fn one_for_each_domain() {
        let all = [to("a.example"), to("b.example"), to("a.example")];
        assert_eq!(shape(&plain(&all, false, 0)), [("a.example", vec![0, 2]), ("b.example", vec![1])]);
    }

    #[test]
    fn one_for_each_recipient_when_copies_differ() {
        let all = [to("a.example"), to("a.example")];
        assert_eq!(shape(&plain(&all, true, 0)), [("a.example", vec![0]), ("a.example", vec![1])]);
    }

    #[test]
    fn a_long_list_is_split() {
        let all = vec![to("a.example"); MAX_TOGETHER * 2 + 1];
        let deliveries = plain(&all, false, 7);
        let sizes: Vec<_> = deliveries.iter().map(|d| d.recipients.len()).collect();
        assert_eq!(sizes, [MAX_TOGETHER, MAX_TOGETHER, 1]);
        assert!(deliveries.iter().all(|d| d.due_at == 7));
    }

    #[test]
    fn verdicts_part_the_recipients_of_a_domain() {
        let reply = || Verdict::Reject(Reply::new(550, (5, 7, 1), "no"));
        let verdicts = [
            Verdict::Accept,
            reply(),
            Verdict::Hold("later".into()),
            Verdict::Discard("gone".into()),
            reply(),
            Verdict::Accept,
        ];
        let result = PolicyResult {
            decisions: verdicts.map(|verdict| RecipientDecision { verdict, decided_by: None }).to_vec(),
            ..PolicyResult::default()
        };
        let all = vec![to("a.example"); 6];
        let deliveries = divide(&all, &result, true, false, 7);
        let shape: Vec<_> = deliveries
            .iter()
            .map(|d| (d.recipients.iter().map(|r| r.index).collect::<Vec<_>>(), d.held, d.last.is_some()))
            .collect();
        let want = [
            (vec![0], false, false),
            (vec![1, 4], false, true),
            (vec![2], true, false),
            (vec![5], false, false),
        ];
        assert_eq!(shape, want);
        assert_eq!(deliveries[2].hold_reason.as_deref(), Some("later"));
        let refused = &deliveries[1];
        assert!(refused.recipients.iter().all(|r| r.state == RecipientState::Failed { reported: false }));
        let last = refused.last.as_ref().expect("the reply");
        assert_eq!((last.code, last.status.as_str(), last.text.as_str()), (Some(550), "5.7.1", "no"));
        // Nobody to tell: they are in events only.
        assert_eq!(divide(&all, &result, true, true, 7).len(), 3);
    }
}
