//! The division of a message into deliveries.

use std::collections::HashMap;

use relevo_mailkit::envelope::Recipient;
use relevo_mailkit::reply::Reply;

/// Recipients of one delivery. A domain with more gets several deliveries.
pub const MAX_RECIPIENTS: usize = 1000;

/// What becomes of a recipient at submission.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// It is due at once.
    Send,
    /// It is kept until somebody releases it; the reason is for people.
    Hold(String),
    /// It is refused after the message was accepted for others. The sender is told this reply.
    Refuse(Reply),
    /// Nothing is sent, and nobody is told.
    Discard,
}

/// Recipients that are delivered together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedDelivery {
    /// The domain of the recipients, in lower case A-labels.
    pub domain: String,
    /// The disposition that the recipients share. It is never [`Disposition::Discard`].
    pub disposition: Disposition,
    /// Indexes in the envelope, ascending.
    pub recipients: Vec<u32>,
}

/// Divides the recipients of a message.
///
/// With `own_copies` each recipient has a copy, and so a delivery, of its own. Otherwise there is
/// one for each domain and disposition, in the order in which they were first named. Refused
/// recipients have no copy; with `no_bounce` nobody can be told of them, and they are in no
/// delivery.
#[must_use]
pub fn divide(
    recipients: &[Recipient],
    own_copies: bool,
    no_bounce: bool,
    disposition: impl Fn(usize) -> Disposition,
) -> Vec<PlannedDelivery> {
    let mut deliveries: Vec<PlannedDelivery> = Vec::new();
    let mut latest: HashMap<(&str, Disposition), usize> = HashMap::new();
    for (number, recipient) in recipients.iter().enumerate() {
        let disposition = disposition(number);
        let refused = matches!(disposition, Disposition::Refuse(_));
        if disposition == Disposition::Discard || (refused && no_bounce) {
            continue;
        }
        let index = u32::try_from(number).unwrap_or(u32::MAX);
        let most = if own_copies && !refused { 1 } else { MAX_RECIPIENTS };
        let key = (recipient.domain.as_str(), disposition);
        let open = latest.get(&key).and_then(|at| deliveries.get_mut(*at));
        match open.filter(|delivery| delivery.recipients.len() < most) {
            Some(delivery) => delivery.recipients.push(index),
            None => {
                let (domain, disposition) = (recipient.domain.clone(), key.1.clone());
                latest.insert(key, deliveries.len());
                deliveries.push(PlannedDelivery { domain, disposition, recipients: vec![index] });
            }
        }
    }
    deliveries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(domain: &str) -> Recipient {
        Recipient::new(format!("x@{domain}"), domain)
    }

    fn plain(recipients: &[Recipient], own_copies: bool) -> Vec<PlannedDelivery> {
        divide(recipients, own_copies, false, |_| Disposition::Send)
    }

    fn shape(deliveries: &[PlannedDelivery]) -> Vec<(&str, &[u32])> {
        deliveries.iter().map(|d| (d.domain.as_str(), d.recipients.as_slice())).collect()
    }

    #[test]
    fn one_for_each_domain() {
        let all = [to("a.example"), to("b.example"), to("a.example")];
        assert_eq!(shape(&plain(&all, false)), [("a.example", &[0, 2][..]), ("b.example", &[1])]);
    }

    #[test]
    fn one_for_each_recipient_when_copies_differ() {
        let all = [to("a.example"), to("a.example")];
        assert_eq!(shape(&plain(&all, true)), [("a.example", &[0][..]), ("a.example", &[1])]);
    }

    #[test]
    fn a_long_list_is_split() {
        let all = vec![to("a.example"); MAX_RECIPIENTS * 2 + 1];
        let sizes: Vec<_> = plain(&all, false).iter().map(|d| d.recipients.len()).collect();
        assert_eq!(sizes, [MAX_RECIPIENTS, MAX_RECIPIENTS, 1]);
    }

    #[test]
    fn dispositions_part_the_recipients_of_a_domain() {
        let refuse = || Disposition::Refuse(Reply::new(550, (5, 7, 1), "no"));
        let hold = Disposition::Hold("later".into());
        let of =
            [Disposition::Send, refuse(), hold.clone(), Disposition::Discard, refuse(), Disposition::Send];
        let all = vec![to("a.example"); of.len()];
        let divided = |no_bounce| divide(&all, true, no_bounce, |index| of[index].clone());
        let found: Vec<_> = divided(false).into_iter().map(|d| (d.disposition, d.recipients)).collect();
        let want = [
            (Disposition::Send, vec![0]),
            (refuse(), vec![1, 4]),
            (hold, vec![2]),
            (Disposition::Send, vec![5]),
        ];
        assert_eq!(found, want);
        assert_eq!(divided(true).len(), 3, "nobody can be told of the refused ones");
    }
}
