//! The gate in front of every connection to a site: backoff, and how many connections the site
//! gets.
//!
//! Pure: no clock, no IO. Times are of the clock that never goes back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use relevo_queue::Millis;
use relevo_smtp::client::Failure;

use super::outcome::{RecipientResult, in_words};
use super::schedule;
use super::shaping::ShapingHold;
use super::text::remote_text;

/// Connections to a site of which nothing is known yet.
const FIRST_CONNECTIONS: usize = 2;
/// Accepted transactions after which a site that was slowed down gets one more connection.
const TRANSACTIONS_PER_STEP: u32 = 20;
/// The longest time between two probes of a site that is down.
pub(crate) const MAX_BACKOFF: Duration = Duration::from_secs(15 * 60);

/// Decides when a site gets another connection. Every "not now" has a reason, and an end that can
/// be told.
pub(crate) trait Shaper {
    /// Whether the site may have one more connection than `open`, of at most `most`.
    fn admit(&self, open: usize, most: usize, now: Millis) -> Admission;

    /// A transaction ended like this.
    fn learned(&mut self, result: TransactionSummary, most: usize);
}

/// Whether a connection may be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Now.
    Go,
    /// Not now.
    Wait(Hold),
}

/// Why there is no further connection, and what ends that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hold {
    /// No host of the site could be reached; ends in so many milliseconds.
    Backoff { left: Millis, strikes: u32, failure: Arc<Failure> },
    /// One connection is probing a site that could not be reached; ends with its attempt.
    Probe { failure: Arc<Failure> },
    /// As many connections are open as the site may have; ends when one of them is done.
    Connections { limit: usize, open: usize },
    /// The provider's limits, a suspension or warm-up; each says what ends it.
    Shaping(ShapingHold),
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backoff { left, strikes, failure } => write!(
                f,
                "no host can be reached ({} {}, {strikes} times in a row), the next try is in {}",
                failure.status,
                remote_text(&failure.detail),
                in_words(*left)
            ),
            Self::Probe { failure } => write!(
                f,
                "no host could be reached ({}), one connection is trying again",
                remote_text(&failure.detail)
            ),
            Self::Connections { limit, open } => {
                write!(f, "waits for one of {limit} connections ({open} open)")
            }
            Self::Shaping(hold) => hold.fmt(f),
        }
    }
}

/// What a transaction says about the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionSummary {
    /// Recipients were accepted.
    Accepted,
    /// Nobody was accepted, and the site asks to come back later (4xx).
    Deferred,
    /// Nothing about the site: recipients were refused for good, or the reason is ours.
    Neutral,
}

impl TransactionSummary {
    /// Of these results.
    pub(crate) fn of(results: &[RecipientResult]) -> Self {
        let deferred = |r: &RecipientResult| {
            r.result.as_ref().is_err_and(|failure| !failure.permanent && failure.reply.is_some())
        };
        if results.iter().any(|r| r.result.is_ok()) {
            Self::Accepted
        } else if results.iter().any(deferred) {
            Self::Deferred
        } else {
            Self::Neutral
        }
    }
}

/// How a site has been doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    /// No connection has succeeded or failed yet.
    Unproven,
    /// The last connection succeeded.
    Proven,
    /// No connection could be made.
    Failing {
        /// In a row.
        strikes: u32,
        /// Nothing is tried before.
        until: Millis,
        /// The last one.
        failure: Arc<Failure>,
    },
}

/// The shaper of one site: additive increase with what the site accepts, multiplicative decrease
/// with what it defers or refuses, and backoff while it cannot be reached.
#[derive(Debug)]
pub(crate) struct SiteShaper {
    /// How the site has been doing.
    pub(crate) health: Health,
    /// Connections it may have now.
    window: usize,
    /// Accepted transactions since the window last changed.
    accepted: u32,
    /// Transactions until the window may shrink again: those under way when it shrank say the same
    /// thing.
    settling: usize,
    /// It never asked for less: the window grows with every transaction.
    slow_start: bool,
}

impl Default for SiteShaper {
    fn default() -> Self {
        Self {
            health: Health::Unproven,
            window: FIRST_CONNECTIONS,
            accepted: 0,
            settling: 0,
            slow_start: true,
        }
    }
}

impl Shaper for SiteShaper {
    fn admit(&self, open: usize, most: usize, now: Millis) -> Admission {
        let limit = self.limit(now, most);
        match &self.health {
            Health::Failing { until, failure, strikes } if *until > now => {
                let (left, strikes, failure) = (until - now, *strikes, failure.clone());
                Admission::Wait(Hold::Backoff { left, strikes, failure })
            }
            Health::Failing { failure, .. } if open >= limit => {
                Admission::Wait(Hold::Probe { failure: failure.clone() })
            }
            _ if open >= limit => Admission::Wait(Hold::Connections { limit, open }),
            _ => Admission::Go,
        }
    }

    fn learned(&mut self, result: TransactionSummary, most: usize) {
        self.settling = self.settling.saturating_sub(1);
        match result {
            TransactionSummary::Accepted => {
                self.accepted += 1;
                let enough = self.slow_start || self.accepted >= TRANSACTIONS_PER_STEP;
                if self.window < most && enough {
                    self.window += 1;
                    self.accepted = 0;
                }
            }
            TransactionSummary::Deferred if self.settling == 0 => self.shrink(self.window / 2),
            TransactionSummary::Deferred | TransactionSummary::Neutral => {}
        }
    }
}

impl SiteShaper {
    /// Connections the site may have now, of at most `most`.
    pub(crate) fn limit(&self, now: Millis, most: usize) -> usize {
        match self.health {
            Health::Failing { until, .. } if until > now => 0,
            Health::Failing { .. } => 1,
            Health::Unproven | Health::Proven => self.window.min(most).max(1),
        }
    }

    /// Connections that the site could use: somewhat more than it has now.
    pub(crate) fn wanted(&self) -> usize {
        self.window.saturating_add(FIRST_CONNECTIONS)
    }

    /// A connection succeeded.
    pub(crate) fn connected(&mut self, most: usize) {
        if self.health == Health::Proven {
            return;
        }
        self.window = match self.health {
            Health::Failing { .. } => FIRST_CONNECTIONS,
            Health::Unproven | Health::Proven => self.window.saturating_mul(2),
        }
        .min(most)
        .max(1);
        self.slow_start = true;
        self.health = Health::Proven;
    }

    /// No connection could be made while `others` stand. Returns true if the site is down: other
    /// connections show that it only wants fewer.
    pub(crate) fn refused(
        &mut self,
        others: usize,
        now: Millis,
        retry: &[Duration],
        random: u64,
        failure: Failure,
    ) -> bool {
        if others > 0 && self.health == Health::Proven {
            self.shrink(others.min(self.window / 2));
            return false;
        }
        // Workers that failed together count once.
        let again = self.is_backing_off(now);
        let strikes = match &self.health {
            Health::Failing { strikes, .. } => strikes.saturating_add(u32::from(!again)),
            Health::Unproven | Health::Proven => 1,
        };
        let position = usize::try_from(strikes - 1).unwrap_or(usize::MAX);
        let base = retry.get(position).or(retry.last()).copied().unwrap_or(MAX_BACKOFF).min(MAX_BACKOFF);
        let until = now.saturating_add(schedule::millis(schedule::jitter(base, random)));
        self.window = 1;
        self.health = Health::Failing { strikes, until, failure: Arc::new(failure) };
        true
    }

    /// Returns true if nothing is tried now because the site could not be reached.
    pub(crate) fn is_backing_off(&self, now: Millis) -> bool {
        matches!(self.health, Health::Failing { until, .. } if until > now)
    }

    /// An operator wants it tried now.
    pub(crate) fn reset_backoff(&mut self) {
        if let Health::Failing { until, .. } = &mut self.health {
            *until = 0;
        }
    }

    fn shrink(&mut self, to: usize) {
        self.window = to.max(1);
        self.settling = self.window;
        self.accepted = 0;
        self.slow_start = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::failure;
    use super::*;

    const RETRY: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(24 * 3600)];

    fn down() -> Failure {
        failure::ours(failure::NO_ANSWER, "down")
    }

    #[test]
    fn a_site_that_defers_everything_ends_with_one_connection_and_recovers_by_steps() {
        let mut shaper = SiteShaper::default();
        shaper.connected(20);
        for _ in 0..30 {
            shaper.learned(TransactionSummary::Accepted, 20);
        }
        assert_eq!(shaper.limit(0, 20), 20);
        shaper.learned(TransactionSummary::Deferred, 20);
        assert_eq!(shaper.limit(0, 20), 10);
        // Those that were under way say the same thing.
        for _ in 0..9 {
            shaper.learned(TransactionSummary::Deferred, 20);
        }
        assert_eq!(shaper.limit(0, 20), 10);
        for _ in 0..40 {
            shaper.learned(TransactionSummary::Deferred, 20);
        }
        assert_eq!(shaper.limit(0, 20), 1);
        for _ in 0..TRANSACTIONS_PER_STEP {
            shaper.learned(TransactionSummary::Accepted, 20);
        }
        assert_eq!(shaper.limit(0, 20), 2);
    }

    #[test]
    fn a_hold_says_what_ends_it() {
        let mut shaper = SiteShaper::default();
        assert_eq!(shaper.admit(1, 20, 0), Admission::Go);
        let Admission::Wait(hold) = shaper.admit(2, 20, 0) else { unreachable!("two are open") };
        assert_eq!(hold.to_string(), "waits for one of 2 connections (2 open)");
        assert!(shaper.refused(0, 0, &RETRY, 100, down()));
        let Admission::Wait(hold) = shaper.admit(0, 20, 0) else { unreachable!("it is down") };
        let words = hold.to_string();
        assert!(words.contains("4.4.1 down, 1 times in a row") && words.ends_with("in 1 minute"), "{words}");
        assert_eq!(shaper.admit(0, 20, 60_000), Admission::Go);
        assert!(matches!(shaper.admit(1, 20, 60_000), Admission::Wait(Hold::Probe { .. })));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Learned(TransactionSummary),
        Connected,
        Refused(usize),
        Later(Millis),
    }

    fn step() -> impl Strategy<Value = Step> {
        use TransactionSummary::{Accepted, Deferred, Neutral};
        prop_oneof![
            prop_oneof![Just(Accepted), Just(Deferred), Just(Neutral)].prop_map(Step::Learned),
            Just(Step::Connected),
            (0..30_usize).prop_map(Step::Refused),
            (0..2_000_000_i64).prop_map(Step::Later),
        ]
    }

    proptest! {
        #[test]
        fn the_window_stays_in_bounds_and_moves_the_right_way(
            steps in proptest::collection::vec(step(), 0..200),
            most in 1..50_usize,
        ) {
            let (mut shaper, mut now) = (SiteShaper::default(), 0);
            for step in steps {
                let before = shaper.window.min(most);
                let was_failing = matches!(shaper.health, Health::Failing { .. });
                match step {
                    Step::Learned(result) => {
                        shaper.learned(result, most);
                        let after = shaper.window.min(most);
                        match result {
                            TransactionSummary::Accepted => prop_assert!((before..=before + 1).contains(&after)),
                            TransactionSummary::Deferred => prop_assert!(after <= before.max(1)),
                            TransactionSummary::Neutral => prop_assert_eq!(before, after),
                        }
                    }
                    Step::Connected => {
                        shaper.connected(most);
                        prop_assert_eq!(&shaper.health, &Health::Proven);
                    }
                    Step::Refused(others) => {
                        let is_down = shaper.refused(others, now, &RETRY, 100, down());
                        prop_assert_eq!(is_down, shaper.is_backing_off(now));
                        prop_assert!(is_down || !was_failing);
                    }
                    Step::Later(by) => now += by,
                }
                prop_assert!(shaper.limit(now, most) <= most);
                // Backoff ends, and then there is always one connection.
                let after = now + schedule::millis(MAX_BACKOFF) * 2;
                prop_assert!(shaper.limit(after, most) >= 1);
                prop_assert_eq!(shaper.admit(0, most, after), Admission::Go);
            }
        }
    }
}
