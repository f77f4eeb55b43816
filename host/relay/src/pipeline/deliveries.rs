//! How the recipients of a message are divided into deliveries.

use std::collections::HashMap;

use relevo_queue::{Millis, NewDelivery, Recipient, RecipientState};

use super::submission::ForwardPath;

/// Recipients of one delivery: a domain with more gets several.
pub(crate) const MAX_TOGETHER: usize = 1000;

/// One delivery for each recipient when each has a copy of its own; otherwise one for each domain, in the order in which the
/// domains were first named.
pub(crate) fn divide(recipients: &[ForwardPath], own_copies: bool, due_at: Millis) -> Vec<NewDelivery> {
    let most = if own_copies { 1 } else { MAX_TOGETHER };
    let mut deliveries: Vec<NewDelivery> = Vec::new();
    let mut open: HashMap<&str, usize> = HashMap::new();
    for (index, to) in (0_u32..).zip(recipients) {
        let recipient = Recipient { index, address: to.address.clone(), state: RecipientState::Pending };
        let place = open.get(to.domain.as_str()).copied();
        match place.and_then(|at| deliveries.get_mut(at)).filter(|d| d.recipients.len() < most) {
            Some(delivery) => delivery.recipients.push(recipient),
            None => {
                open.insert(&to.domain, deliveries.len());
                deliveries.push(NewDelivery {
                    domain: to.domain.clone(),
                    recipients: vec![recipient],
                    due_at,
                });
            }
        }
    }
    deliveries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(domain: &str) -> ForwardPath {
        ForwardPath { address: format!("x@{domain}"), domain: domain.into() }
    }

    fn shape(deliveries: &[NewDelivery]) -> Vec<(&str, Vec<u32>)> {
        deliveries
            .iter()
            .map(|d| (d.domain.as_str(), d.recipients.iter().map(|r| r.index).collect()))
            .collect()
    }

    #[test]
    fn one_for_each_domain() {
        let all = [to("a.example"), to("b.example"), to("a.example")];
        assert_eq!(shape(&divide(&all, false, 0)), [("a.example", vec![0, 2]), ("b.example", vec![1])]);
    }

    #[test]
    fn one_for_each_recipient_when_copies_differ() {
        let all = [to("a.example"), to("a.example")];
        assert_eq!(shape(&divide(&all, true, 0)), [("a.example", vec![0]), ("a.example", vec![1])]);
    }

    #[test]
    fn a_long_list_is_split() {
        let all = vec![to("a.example"); MAX_TOGETHER * 2 + 1];
        let deliveries = divide(&all, false, 7);
        let sizes: Vec<_> = deliveries.iter().map(|d| d.recipients.len()).collect();
        assert_eq!(sizes, [MAX_TOGETHER, MAX_TOGETHER, 1]);
        assert!(deliveries.iter().all(|d| d.due_at == 7));
    }
}
