//! What a receiver does with mail of an address that it does not know yet.

use std::collections::HashMap;
use std::net::IpAddr;

use super::chance::Chance;
use super::habits::{GREYLISTED, Habits, NO_SUCH_USER, SESSION_OVER, Words};

pub(super) const MINUTE: i64 = 60_000;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;

/// Time for which a greylisted message waits.
const GREYLIST: i64 = 5 * MINUTE;
/// Recipients in a day that an unknown address is trusted with.
const START: u32 = 200;
/// In an hour, an address may send so much of its day: one part of these.
const HOURLY: u32 = 2;
/// An address is blocked once so many attempts of a day were deferred, and twice its day's mail.
const PATIENCE: u32 = 500;
/// A block at first; each further one is twice as long.
const FIRST_BLOCK: i64 = DAY;
const LONGEST_BLOCK: i64 = 7 * DAY;
/// The share of complaints in a day at which an address is blocked, of a thousand: the limit that
/// Gmail and Yahoo publish for bulk senders. Fewer complaints than `COMPLAINTS_AT_ALL` are none.
const COMPLAINTS_BORNE: u32 = 3;
const COMPLAINTS_AT_ALL: u32 = 4;
/// Of 100,000 recipients: those that do not exist.
const UNKNOWN: u64 = 1_000;

/// What a receiver answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted {
        complains: bool,
    },
    /// With this reply, and whether it is for good.
    Refused(Words),
    /// The same, and the connection is closed.
    Closed(Words),
}

/// Messages of one day, and attempts that were deferred.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct DayCounts {
    pub(crate) delivered: u32,
    /// Attempts.
    pub(crate) deferred: u32,
    /// Refused for good because of the sender.
    pub(crate) blocked: u32,
    /// Given up after five days.
    pub(crate) expired: u32,
    pub(crate) no_such_user: u32,
    pub(crate) complaints: u32,
}

impl DayCounts {
    pub(super) fn add(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.deferred += other.deferred;
        self.blocked += other.blocked;
        self.expired += other.expired;
        self.no_such_user += other.no_such_user;
        self.complaints += other.complaints;
    }
}

/// What a receiver thinks of an address.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    /// Recipients on a good day, so far.
    trusted: u32,
    day: i64,
    /// Of the day.
    pub(super) accepted: u32,
    deferred: u32,
    complaints: u32,
    hour: i64,
    in_hour: u32,
    /// So far.
    pub(super) blocks: u32,
    blocked_until: i64,
    connections: u32,
}

impl Standing {
    /// Twice what went well so far.
    fn allowance(&self) -> u32 {
        self.trusted.saturating_mul(2).max(START)
    }

    fn has_complaints(&self) -> bool {
        self.complaints >= COMPLAINTS_AT_ALL
            && self.complaints.saturating_mul(1_000) > self.accepted.saturating_mul(COMPLAINTS_BORNE)
    }

    fn roll(&mut self, now: i64) {
        let (day, hour) = (now.div_euclid(DAY), now.div_euclid(HOUR));
        if hour != self.hour {
            (self.hour, self.in_hour) = (hour, 0);
        }
        if day == self.day {
            return;
        }
        let is_clean = self.deferred.saturating_mul(10) <= self.accepted && !self.has_complaints();
        self.trusted = match is_clean {
            true => self.trusted.max(self.accepted),
            false => self.trusted / 5 * 4,
        };
        (self.day, self.accepted, self.deferred, self.complaints) = (day, 0, 0, 0);
    }

    fn block(&mut self, now: i64) {
        self.blocked_until = now + (FIRST_BLOCK << self.blocks.min(3)).min(LONGEST_BLOCK);
        self.blocks += 1;
        self.trusted /= 2;
    }

    /// One more attempt is put off. An address that does not listen is blocked.
    fn defer(&mut self, now: i64, words: Words) -> Answer {
        self.deferred += 1;
        if self.deferred > PATIENCE + 2 * self.allowance() {
            self.block(now);
        }
        Answer::Closed(words)
    }
}

/// A receiver, and what it knows of each address.
pub(super) struct Receiver {
    pub(super) habits: &'static Habits,
    known: HashMap<IpAddr, Standing>,
    /// Messages that were greylisted, and since when.
    greylisted: HashMap<u64, i64>,
    seed: u64,
    /// Of 100,000 accepted messages: those that are complained about.
    complaints: u64,
    /// When the simulation begins, and what became of its days.
    start: i64,
    pub(super) days: Vec<DayCounts>,
}

impl Receiver {
    pub(super) fn new(
        habits: &'static Habits,
        (start, days): (i64, usize),
        seed: u64,
        complaints: u64,
    ) -> Self {
        let days = vec![DayCounts::default(); days];
        let (known, greylisted) = (HashMap::new(), HashMap::new());
        Self { habits, known, greylisted, seed, complaints, start, days }
    }

    /// An address wants a connection. What it is told instead, if it has too many.
    pub(super) fn connect(&mut self, from: IpAddr, now: i64) -> Option<Words> {
        let standing = self.known.entry(from).or_default();
        if standing.connections >= self.habits.connections {
            self.count(now, |day| day.deferred += 1);
            return Some(self.habits.too_many);
        }
        standing.connections += 1;
        None
    }

    pub(super) fn disconnect(&mut self, from: IpAddr) {
        let standing = self.known.entry(from).or_default();
        standing.connections = standing.connections.saturating_sub(1);
    }

    /// Message number `message` comes from an address, as number `nth` over its connection.
    pub(super) fn attempt(&mut self, from: IpAddr, message: u64, nth: u32, now: i64) -> Answer {
        let answer = match nth > self.habits.per_connection {
            true => Answer::Closed(SESSION_OVER),
            false => self.answer(from, message, now),
        };
        self.count(now, |day| match &answer {
            Answer::Accepted { complains } => {
                day.delivered += 1;
                day.complaints += u32::from(*complains);
            }
            Answer::Refused(NO_SUCH_USER) => day.no_such_user += 1,
            Answer::Refused(words) | Answer::Closed(words) if words.0 >= 500 => day.blocked += 1,
            Answer::Refused(_) | Answer::Closed(_) => day.deferred += 1,
        });
        answer
    }

    fn answer(&mut self, from: IpAddr, message: u64, now: i64) -> Answer {
        let standing = self.known.entry(from).or_default();
        standing.roll(now);
        if now < standing.blocked_until {
            return Answer::Refused(self.habits.blocked);
        }
        let allowance = standing.allowance();
        if standing.accepted >= allowance {
            return standing.defer(now, self.habits.too_much);
        }
        if standing.in_hour >= allowance / HOURLY {
            return standing.defer(now, self.habits.too_fast);
        }
        if self.habits.greylists && now - *self.greylisted.entry(message).or_insert(now) < GREYLIST {
            return Answer::Refused(GREYLISTED);
        }
        if Chance::Unknown.hits(self.seed, message, UNKNOWN) {
            return Answer::Refused(NO_SUCH_USER);
        }
        (standing.accepted, standing.in_hour) = (standing.accepted + 1, standing.in_hour + 1);
        let complains = Chance::Complains.hits(self.seed, message, self.complaints);
        standing.complaints += u32::from(complains);
        if standing.has_complaints() {
            standing.block(now);
        }
        self.greylisted.remove(&message);
        Answer::Accepted { complains }
    }

    fn count(&mut self, now: i64, count: impl FnOnce(&mut DayCounts)) {
        let day = usize::try_from((now - self.start).div_euclid(DAY)).ok();
        if let Some(day) = day.and_then(|day| self.days.get_mut(day)) {
            count(day);
        }
    }

    /// Messages given up at these times.
    pub(super) fn expired(&mut self, at: &[i64]) {
        at.iter().for_each(|at| self.count(*at, |day| day.expired += 1));
    }

    /// Accepted in this day, by address.
    pub(super) fn accepted(&self, from: IpAddr) -> u32 {
        self.known.get(&from).map_or(0, |standing| standing.accepted)
    }

    /// How often addresses were blocked.
    pub(super) fn blocks(&self) -> u32 {
        self.known.values().map(|standing| standing.blocks).sum()
    }
}
