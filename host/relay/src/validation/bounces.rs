//! Recipients whose last mail failed for good, kept in memory.
//!
//! A reader follows the event log. At its start it begins some way back from the end, so that a
//! restart forgets little. A delivery, or a suppression that somebody removes, takes an entry away.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use relevo_mailkit::classification::{BounceType, Subject};
use relevo_mailkit::event::{Attempt, Event};
use relevo_mailkit::text::one_line;
use relevo_queue::{EventError, EventLog, Millis, StoredEvent};

use crate::suppressions::canonical;

/// Recipients that are kept: some 200 octets each.
const MAX_RECIPIENTS: usize = 50_000;
/// Events before the newest one that are read at the start.
const READ_BACK: u64 = 200_000;
/// Events that are read at once.
const PAGE: usize = 1_000;
/// Time between two attempts to read.
const AGAIN: Duration = Duration::from_secs(10);
/// Octets of a reply.
const MAX_REPLY: usize = 200;

/// A failure for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentBounce {
    /// When it happened.
    pub at: Millis,
    /// The words of the receiver, harmless.
    pub reply: String,
}

/// Recipients whose last mail failed for good, by tenant and address.
#[derive(Debug, Default)]
pub struct RecentBounces {
    by_recipient: Mutex<HashMap<(String, String), RecentBounce>>,
}

impl RecentBounces {
    /// The failure of an address that [`canonical`] wrote.
    #[must_use]
    pub fn of(&self, tenant: &str, address: &str) -> Option<RecentBounce> {
        self.by_recipient.lock().get(&(tenant.to_owned(), address.to_owned())).cloned()
    }

    /// Reads events for ever.
    pub async fn run(&self, events: Arc<dyn EventLog>) {
        let mut cursor = events.wait_after(0).await.saturating_sub(READ_BACK);
        loop {
            match events.events(None, cursor, PAGE).await {
                Ok(page) if page.is_empty() => drop(events.wait_after(cursor).await),
                Ok(page) => {
                    cursor = page.last().map_or(cursor, |stored| stored.cursor);
                    page.iter().for_each(|stored| self.learn(stored));
                }
                Err(EventError::Pruned { oldest }) => cursor = oldest,
                Err(error) => {
                    tracing::error!(%error, "bounces of late cannot be read from the event log");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    fn learn(&self, stored: &StoredEvent) {
        let tenant = &stored.event.tenant;
        match &stored.event.event {
            Event::Bounced(attempt) if is_hard(attempt) => {
                let words = attempt.reply.as_ref().or(attempt.reason.as_ref());
                let reply = one_line(words.map_or(&attempt.status, |words| words), MAX_REPLY);
                self.insert(tenant, &attempt.recipient, RecentBounce { at: stored.event.at, reply });
            }
            Event::Delivered(attempt) => self.forget(tenant, &attempt.recipient),
            Event::SuppressionRemoved(change) => self.forget(tenant, &change.recipient),
            _ => {}
        }
    }

    fn insert(&self, tenant: &str, recipient: &str, bounce: RecentBounce) {
        let Ok(address) = canonical(recipient) else { return };
        let mut all = self.by_recipient.lock();
        all.insert((tenant.to_owned(), address), bounce);
        if all.len() > MAX_RECIPIENTS {
            // The older half goes, so that this is rare.
            let mut times: Vec<Millis> = all.values().map(|bounce| bounce.at).collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            all.retain(|_, bounce| bounce.at > median);
        }
    }

    fn forget(&self, tenant: &str, recipient: &str) {
        if let Ok(address) = canonical(recipient) {
            self.by_recipient.lock().remove(&(tenant.to_owned(), address));
        }
    }
}

/// Returns true for a failure about the recipient. Without a classification the status decides: no
/// such mailbox or domain, or a mailbox that takes no mail (RFC 3463 sections 3.2 and 3.3).
fn is_hard(attempt: &Attempt) -> bool {
    const STATUSES: [&str; 7] = ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.9", "5.1.10", "5.2.1"];
    match &attempt.classification {
        Some(known) => known.bounce_type == BounceType::Hard && known.about == Subject::Recipient,
        None => STATUSES.contains(&attempt.status.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::event::SuppressionChange;
    use relevo_queue::NewEvent;

    use super::*;

    fn stored(at: Millis, event: Event) -> StoredEvent {
        let event = NewEvent { tenant: "acme".to_owned(), item: None, at, labels: Default::default(), event };
        StoredEvent { cursor: 1, event }
    }

    fn attempt(recipient: &str, status: &str) -> Attempt {
        Attempt {
            recipient: recipient.to_owned(),
            status: status.to_owned(),
            reply: Some("no such user\r\nhere".to_owned()),
            ..Attempt::default()
        }
    }

    #[test]
    fn only_failures_about_the_recipient_are_kept() {
        let bounces = RecentBounces::default();
        bounces.learn(&stored(5, Event::Bounced(attempt("Ana@Example.com", "5.1.1"))));
        bounces.learn(&stored(5, Event::Bounced(attempt("ben@example.com", "5.7.1"))));
        bounces.learn(&stored(5, Event::DeliveryDelayed(attempt("cid@example.com", "4.2.2"))));
        let known = bounces.of("acme", "ana@example.com").expect("it bounced");
        assert_eq!((known.at, known.reply.as_str()), (5, "no such user here"));
        assert_eq!(bounces.of("other", "ana@example.com"), None, "of another tenant");
        assert_eq!(bounces.of("acme", "ben@example.com"), None, "a block says nothing about the recipient");
        assert_eq!(bounces.of("acme", "cid@example.com"), None);
    }

    #[test]
    fn a_delivery_and_a_removed_suppression_take_it_back() {
        let bounces = RecentBounces::default();
        for recipient in ["ana@example.com", "ben@example.com"] {
            bounces.learn(&stored(5, Event::Bounced(attempt(recipient, "5.1.1"))));
        }
        bounces.learn(&stored(6, Event::Delivered(attempt("ana@example.com", "2.0.0"))));
        let change = SuppressionChange { recipient: "ben@example.com".to_owned(), ..Default::default() };
        bounces.learn(&stored(6, Event::SuppressionRemoved(change)));
        assert!(bounces.by_recipient.lock().is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let bounces = RecentBounces::default();
        for number in 0..=MAX_RECIPIENTS {
            let at = Millis::try_from(number).expect("small");
            bounces.learn(&stored(at, Event::Bounced(attempt(&format!("u{number}@example.com"), "5.1.1"))));
        }
        assert!(bounces.by_recipient.lock().len() <= MAX_RECIPIENTS);
        assert!(bounces.of("acme", &format!("u{MAX_RECIPIENTS}@example.com")).is_some(), "the newest stays");
        assert_eq!(bounces.of("acme", "u0@example.com"), None, "the oldest goes");
    }
}
