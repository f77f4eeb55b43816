//! What was promised and what arrived. Written by the load and by the sink, which are threads of
//! one process.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use relevo_bench::sink::{Arrival, Observer};
use relevo_queue::ItemId;

use crate::mail::{Mail, Sum, essence, serial_of, sum, unstuffed};
use crate::pulse::Pulse;

/// Everything that is known.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    book: Mutex<Book>,
    pulse: Pulse,
}

/// See [`Ledger`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Book {
    pub(crate) sent: HashMap<u64, Sent>,
    /// By recipient.
    pub(crate) copies: HashMap<String, Vec<Copy>>,
    /// By the recipient that they are about.
    pub(crate) bounces: HashMap<String, Vec<Duration>>,
    /// Recipients that the sink refused for good, and how often.
    pub(crate) refused: HashMap<String, u32>,
    /// Attempts that were put off.
    pub(crate) put_off: u64,
    /// Recipients that were promised and about whom nothing was heard yet.
    open: usize,
    /// What arrived and was never sent.
    pub(crate) strange: Vec<String>,
}

/// A message whose content was handed to the relay.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) recipients: Vec<String>,
    pub(crate) essence: Option<Sum>,
    pub(crate) tracked: bool,
    /// Its 250 was read; the id that it named.
    pub(crate) acknowledged: Option<ItemId>,
}

/// A message that arrived for a recipient.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    /// On the [`Pulse`].
    pub(crate) at: Duration,
    /// Of all of it, with what the relay put on top.
    pub(crate) sum: Sum,
    /// The essence is that of what was submitted.
    pub(crate) intact: bool,
}

impl Ledger {
    /// With the clock for arrivals.
    pub(crate) fn new(pulse: Pulse) -> Self {
        Self { book: Mutex::default(), pulse }
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock()
    }

    /// Before its first octet is written: the relay may have it even though no 250 comes.
    pub(crate) fn sends(&self, mail: &Mail) {
        let sent = Sent {
            recipients: mail.recipients.clone(),
            essence: essence(&mail.content, mail.tracked),
            tracked: mail.tracked,
            acknowledged: None,
        };
        self.book().sent.insert(mail.serial, sent);
    }

    pub(crate) fn acknowledged(&self, serial: u64, id: ItemId) {
        let mut book = self.book();
        let Some(sent) = book.sent.get_mut(&serial) else { return };
        sent.acknowledged = Some(id);
        let recipients = sent.recipients.clone();
        book.open += recipients.iter().filter(|r| !book.heard_of(r)).count();
    }

    /// How many recipients were promised and heard nothing yet.
    pub(crate) fn open(&self) -> usize {
        self.book().open
    }
}

impl Book {
    /// Whether a recipient got a copy, or its sender a bounce.
    pub(crate) fn heard_of(&self, recipient: &str) -> bool {
        self.copies.contains_key(recipient) || self.bounces.contains_key(recipient)
    }

    /// The first that is heard of a recipient.
    fn hears_of(&mut self, recipient: &str) {
        let sent = serial_of(recipient).and_then(|serial| self.sent.get(&serial));
        if sent.is_some_and(|s| s.acknowledged.is_some()) && !self.heard_of(recipient) {
            self.open = self.open.saturating_sub(1);
        }
    }

    fn message(&mut self, content: &[u8], recipients: &[String], at: Duration) {
        let sum = sum(content);
        for recipient in recipients {
            let sent = serial_of(recipient).and_then(|serial| self.sent.get(&serial));
            let Some(sent) = sent.filter(|s| s.recipients.contains(recipient)) else {
                self.strange.push(format!("a message for {recipient}, to whom none was sent"));
                continue;
            };
            let intact = sent.essence.is_some() && essence(content, sent.tracked) == sent.essence;
            self.hears_of(recipient);
            self.copies.entry(recipient.clone()).or_default().push(Copy { at, sum, intact });
        }
    }

    /// A report (RFC 3464) to the sender of a message.
    fn bounce(&mut self, content: &[u8], recipients: &[String], at: Duration) {
        let text = String::from_utf8_lossy(content);
        let about: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("Final-Recipient: rfc822;"))
            .map(str::trim)
            .collect();
        let serial = recipients.first().and_then(|to| serial_of(to));
        let known = serial.and_then(|serial| self.sent.get(&serial));
        let fits =
            known.is_some_and(|sent| about.iter().all(|r| sent.recipients.iter().any(|known| known == r)));
        if recipients.len() != 1 || about.is_empty() || !fits {
            self.strange.push(format!("a bounce to {recipients:?} about {about:?}"));
            return;
        }
        for recipient in about {
            self.hears_of(recipient);
            self.bounces.entry(recipient.to_owned()).or_default().push(at);
        }
    }
}

/// What the sink tells.
impl Observer for Ledger {
    fn keep(&self) -> usize {
        usize::MAX
    }

    fn recipient(&self, _address: &str) {}

    fn message(&self, arrival: &Arrival<'_>) {
        let (content, at) = (unstuffed(arrival.head), self.pulse.now());
        let mut book = self.book();
        match arrival.sender {
            "" => book.bounce(&content, arrival.recipients, at),
            _ => book.message(&content, arrival.recipients, at),
        }
    }

    fn refused(&self, address: &str, permanent: bool) {
        let mut book = self.book();
        if permanent {
            *book.refused.entry(address.to_owned()).or_default() += 1;
        } else {
            book.put_off += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_open_is_counted_whatever_comes_first() {
        let ledger = Ledger::default();
        let mail = |serial| Mail::new(1, serial, |_| "ok0.test".to_owned());
        let arrives = |mail: &Mail, times: usize| {
            for _ in 0..times {
                let head = mail.stuffed();
                let head = head.strip_suffix(b".\r\n").expect("the final dot");
                let (sender, recipients, octets) = (&*mail.sender, &*mail.recipients, 0);
                ledger.message(&Arrival { sender, recipients, head, octets });
            }
        };
        let (early, late) = (mail(1), mail(2));
        ledger.sends(&early);
        ledger.sends(&late);
        arrives(&early, 2);
        ledger.acknowledged(1, ItemId([1; 16]));
        assert_eq!(ledger.open(), 0, "its copy came before its 250");
        ledger.acknowledged(2, ItemId([2; 16]));
        assert_eq!(ledger.open(), late.recipients.len());
        arrives(&late, 2);
        assert_eq!(ledger.open(), 0, "a second copy does not count");
        let book = ledger.book();
        assert!(book.copies.values().flatten().all(|copy| copy.intact) && book.strange.is_empty());
    }
}
