//! The judgement over a ledger: what was lost, altered, repeated without reason.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::ledger::{Book, Copy};

/// What a run showed.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) violations: Vec<String>,
    pub(crate) sent: usize,
    pub(crate) acknowledged: usize,
    /// No 250 was read, and yet the relay had it.
    pub(crate) unacknowledged_arrived: usize,
    pub(crate) recipients: usize,
    pub(crate) delivered: usize,
    pub(crate) bounced: usize,
    /// Copies and bounces beyond the first one.
    pub(crate) repeated: usize,
    pub(crate) repeated_bounces: usize,
    /// From a first copy to the kill that excuses the second, at most.
    pub(crate) longest: Duration,
}

/// Judges when everything has come to rest. A recipient may get a second copy when the relay was
/// killed within `in_flight` of the first: the attempt was then not settled yet.
pub(crate) fn judge(book: &Book, kills: &[Duration], in_flight: Duration) -> Verdict {
    let mut verdict = Verdict { sent: book.sent.len(), ..Verdict::default() };
    verdict.violations.extend(book.strange.iter().map(|what| format!("STRANGE: {what}")));
    for (serial, sent) in &book.sent {
        let heard = sent.recipients.iter().filter(|recipient| book.heard_of(recipient)).count();
        if sent.acknowledged.is_some() {
            verdict.acknowledged += 1;
        } else if heard == 0 {
            continue;
        } else {
            verdict.unacknowledged_arrived += 1;
        }
        verdict.recipients += sent.recipients.len();
        for recipient in &sent.recipients {
            verdict.recipient(book, *serial, recipient, sent.acknowledged.is_some());
            verdict.copies(book, recipient, kills, in_flight);
        }
    }
    verdict.violations.sort();
    verdict
}

impl Verdict {
    /// One of the two must have come: a copy, or, when the receiver refused, a bounce.
    fn recipient(&mut self, book: &Book, serial: u64, recipient: &str, acknowledged: bool) {
        let copies = book.copies.get(recipient).map_or(0, Vec::len);
        let bounces = book.bounces.get(recipient).map_or(0, Vec::len);
        let refused = book.refused.contains_key(recipient);
        self.delivered += usize::from(copies > 0);
        self.bounced += usize::from(bounces > 0);
        let promise = if acknowledged { "accepted" } else { "half accepted" };
        let what = match (copies, bounces, refused) {
            (0, 0, true) => {
                format!("LOST: {promise} message {serial}: {recipient} was refused, and no bounce came")
            }
            (0, 0, false) => format!("LOST: {promise} message {serial}: {recipient} got nothing"),
            (0, _, false) => {
                format!("LOST: {promise} message {serial}: {recipient} bounced without being refused")
            }
            (1.., 1.., _) => format!("STRANGE: message {serial}: {recipient} got it and bounced"),
            _ => return,
        };
        self.violations.push(what);
    }

    fn copies(&mut self, book: &Book, recipient: &str, kills: &[Duration], in_flight: Duration) {
        let copies: &[Copy] = book.copies.get(recipient).map_or(&[], Vec::as_slice);
        if copies.iter().any(|copy| !copy.intact) {
            self.violations.push(format!("ALTERED: what {recipient} got is not what was sent"));
        }
        if copies.iter().map(|copy| copy.sum).collect::<BTreeSet<_>>().len() > 1 {
            self.violations.push(format!("ALTERED: {recipient} got copies that differ"));
        }
        let times: Vec<Duration> = copies.iter().map(|copy| copy.at).collect();
        self.repeated += times.len().saturating_sub(1);
        self.repeats(&times, recipient, kills, in_flight);
        let bounces: &[Duration] = book.bounces.get(recipient).map_or(&[], Vec::as_slice);
        self.repeated_bounces += bounces.len().saturating_sub(1);
        self.repeats(bounces, &format!("the sender of {recipient}'s bounce"), kills, in_flight);
    }

    fn repeats(&mut self, times: &[Duration], who: &str, kills: &[Duration], in_flight: Duration) {
        for pair in times.windows(2) {
            let [first, second] = pair else { continue };
            let kill = kills.iter().find(|kill| *kill >= first && *kill <= second);
            match kill.map(|kill| kill.saturating_sub(*first)) {
                Some(waited) if waited <= in_flight => self.longest = self.longest.max(waited),
                Some(waited) => {
                    let violation =
                        format!("REPEATED: {who} got a copy {waited:?} before a kill, and another after it");
                    self.violations.push(violation);
                }
                None => self
                    .violations
                    .push(format!("REPEATED: {who} got two copies without a kill between them")),
            }
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "messages sent                {:>9}", self.sent)?;
        writeln!(f, "  with a 250                 {:>9}", self.acknowledged)?;
        writeln!(f, "  without one, and yet taken {:>9}", self.unacknowledged_arrived)?;
        writeln!(f, "recipients of both           {:>9}", self.recipients)?;
        writeln!(f, "  delivered                  {:>9}", self.delivered)?;
        writeln!(f, "  bounced                    {:>9}", self.bounced)?;
        writeln!(f, "copies repeated by a kill    {:>9}", self.repeated)?;
        writeln!(f, "bounces repeated by a kill   {:>9}", self.repeated_bounces)?;
        writeln!(f, "  longest from copy to kill  {:>9.3} s", self.longest.as_secs_f64())?;
        let count = |what: &str| self.violations.iter().filter(|v| v.starts_with(what)).count();
        write!(
            f,
            "lost {}, altered {}, repeated without a kill {}, strange {}",
            count("LOST"),
            count("ALTERED"),
            count("REPEATED"),
            count("STRANGE")
        )
    }
}

/// Spoils a clean ledger in every way that must be found, and returns what was not. Each is a
/// harness that cannot fail.
pub(crate) fn controls(book: &Book, kills: &[Duration], in_flight: Duration) -> Vec<&'static str> {
    let delivered = book.copies.iter().find(|(_, copies)| copies.len() == 1).map(|(r, _)| r.clone());
    let bounced = book.bounces.keys().next().cloned();
    let spoil = |change: &dyn Fn(&mut Book) -> Option<()>| {
        let mut book = book.clone();
        change(&mut book).map(|()| judge(&book, kills, in_flight).violations)
    };
    let copies = |book: &mut Book, change: &dyn Fn(&mut Vec<Copy>)| {
        book.copies.get_mut(delivered.as_ref()?).map(change)
    };
    let tries: [(&'static str, &str, Option<Vec<String>>); 5] = [
        ("a copy is missing", "LOST", spoil(&|book| book.copies.remove(delivered.as_ref()?).map(drop))),
        ("a bounce is missing", "LOST", spoil(&|book| book.bounces.remove(bounced.as_ref()?).map(drop))),
        (
            "an octet is altered",
            "ALTERED",
            spoil(&|book| copies(book, &|c| c.iter_mut().for_each(|c| c.intact = false))),
        ),
        (
            "a copy differs from the one before",
            "ALTERED",
            spoil(&|book| {
                copies(book, &|c| {
                    let again = c.last().map(|last| Copy { sum: [0; 32], ..last.clone() });
                    c.extend(again);
                })
            }),
        ),
        (
            "a copy comes twice",
            "REPEATED",
            spoil(&|book| {
                copies(book, &|c| {
                    let again = c.last().cloned();
                    c.extend(again);
                })
            }),
        ),
    ];
    let unfound = |(_, kind, violations): &(&str, &str, Option<Vec<String>>)| {
        !violations.as_ref().is_some_and(|all| all.iter().any(|v| v.starts_with(kind)))
    };
    tries.iter().filter(|t| unfound(t)).map(|(name, _, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use relevo_queue::ItemId;

    use crate::ledger::Sent;

    const WINDOW: Duration = Duration::from_secs(2);

    fn copy(at: Duration) -> Copy {
        Copy { at, sum: [1; 32], intact: true }
    }

    fn book(now: Duration) -> Book {
        let mut book = Book::default();
        let recipients = vec!["r1-0@ok0.test".to_owned(), "r1-1@never0.test".to_owned()];
        book.sent.insert(
            1,
            Sent { recipients, essence: None, tracked: false, acknowledged: Some(ItemId([0; 16])) },
        );
        book.copies.insert("r1-0@ok0.test".to_owned(), vec![copy(now)]);
        book.refused.insert("r1-1@never0.test".to_owned(), 1);
        book.bounces.insert("r1-1@never0.test".to_owned(), vec![now]);
        book
    }

    #[test]
    fn a_clean_ledger_passes_and_every_spoiled_one_is_found() {
        let now = Duration::from_secs(60);
        let verdict = judge(&book(now), &[], WINDOW);
        assert_eq!(verdict.violations, Vec::<String>::new());
        assert_eq!((verdict.recipients, verdict.delivered, verdict.bounced), (2, 1, 1));
        assert_eq!(controls(&book(now), &[], WINDOW), Vec::<&str>::new());
    }

    #[test]
    fn a_second_copy_needs_a_kill_soon_after_the_first() {
        let now = Duration::from_secs(60);
        let mut book = book(now);
        let second = now + Duration::from_secs(9);
        book.copies.insert("r1-0@ok0.test".to_owned(), vec![copy(now), copy(second)]);
        let found = |after: Option<u64>| {
            let kills: Vec<Duration> = after.map(|s| now + Duration::from_secs(s)).into_iter().collect();
            judge(&book, &kills, WINDOW).violations.len()
        };
        assert_eq!(found(Some(1)), 0);
        for wrong in [None, Some(5), Some(10)] {
            assert_eq!(found(wrong), 1, "{wrong:?}");
        }
    }

    #[test]
    fn half_a_message_is_worse_than_none() {
        let now = Duration::from_secs(60);
        let mut half = book(now);
        half.sent.get_mut(&1).expect("sent").acknowledged = None;
        half.bounces.clear();
        assert_eq!(judge(&half, &[], WINDOW).violations.len(), 1);
        half.copies.clear();
        assert_eq!(judge(&half, &[], WINDOW).violations.len(), 0, "it was never accepted");
    }
}
