//! The circuit breaker of a plugin: after repeated faults it is not called for a while, then once,
//! to see.
//!
//! A pure state machine: the caller says what time it is and what came of a call. It is not shared
//! between threads by itself.

use std::time::Duration;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Faults in a row that open it.
    pub faults: u32,
    /// How long it stays open the first time.
    pub open: Duration,
    /// The most that it stays open: each probe that fails doubles the time.
    pub longest: Duration,
    /// How long a probe may take before another one is let through: its answer may never come.
    pub probe: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            faults: 5,
            open: Duration::from_secs(10),
            longest: Duration::from_secs(600),
            probe: Duration::from_secs(30),
        }
    }
}

/// What a breaker says of a call that is about to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// Make it, and tell [`Breaker::done`].
    Call,
    /// Make it, and tell [`Breaker::done`]: on it depends whether there will be others.
    Probe,
    /// Do not make it. The failure policy answers.
    Refused,
}

/// Where a breaker is, for metrics and listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls are made.
    Closed,
    /// No calls are made before this time.
    Open {
        /// On the caller's clock.
        until: Duration,
    },
    /// One call is under way.
    HalfOpen,
}

#[derive(Debug, Clone, Copy)]
enum BreakerPhase {
    Closed { faults: u32 },
    Open { until: Duration, lasted: Duration },
    HalfOpen { since: Duration, lasted: Duration },
}

/// A circuit breaker. `now` is the time since any fixed moment, on a clock that does not go back.
#[derive(Debug, Clone)]
pub struct Breaker {
    config: BreakerConfig,
    phase: BreakerPhase,
    opened: u64,
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub fn new(config: BreakerConfig) -> Self {
        Self { config, phase: BreakerPhase::Closed { faults: 0 }, opened: 0 }
    }

    /// Asks before each call.
    pub fn permit(&mut self, now: Duration) -> Permit {
        match self.phase {
            BreakerPhase::Closed { .. } => Permit::Call,
            BreakerPhase::Open { until, lasted } if now >= until => {
                self.phase = BreakerPhase::HalfOpen { since: now, lasted };
                Permit::Probe
            }
            BreakerPhase::HalfOpen { since, lasted } if now.saturating_sub(since) >= self.config.probe => {
                self.phase = BreakerPhase::HalfOpen { since: now, lasted };
                Permit::Probe
            }
            BreakerPhase::Open { .. } | BreakerPhase::HalfOpen { .. } => Permit::Refused,
        }
    }

    /// Tells what came of a call that was permitted. `fault` is true for faults of the plugin only:
    /// for the host's, use [`Breaker::undone`].
    ///
    /// Calls that began before it opened may end while it is open; they change nothing.
    pub fn done(&mut self, permit: Permit, fault: bool, now: Duration) {
        match (permit, self.phase, fault) {
            (Permit::Call, BreakerPhase::Closed { .. }, false)
            | (Permit::Probe, BreakerPhase::HalfOpen { .. }, false) => {
                self.phase = BreakerPhase::Closed { faults: 0 };
            }
            (Permit::Call, BreakerPhase::Closed { faults }, true) => {
                let faults = faults + 1;
                if faults < self.config.faults {
                    self.phase = BreakerPhase::Closed { faults };
                } else {
                    self.open(now, self.config.open);
                }
            }
            (Permit::Probe, BreakerPhase::HalfOpen { lasted, .. }, true) => {
                self.open(now, lasted.saturating_mul(2).min(self.config.longest));
            }
            _ => {}
        }
    }

    /// A permitted call was not made, or the host could not run it: nothing is known of the plugin.
    /// A probe is due again.
    pub fn undone(&mut self, permit: Permit, now: Duration) {
        if let (Permit::Probe, BreakerPhase::HalfOpen { lasted, .. }) = (permit, self.phase) {
            self.phase = BreakerPhase::Open { until: now, lasted };
        }
    }

    fn open(&mut self, now: Duration, lasts: Duration) {
        self.opened += 1;
        self.phase = BreakerPhase::Open { until: now.saturating_add(lasts), lasted: lasts };
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.phase {
            BreakerPhase::Closed { .. } => BreakerState::Closed,
            BreakerPhase::Open { until, .. } => BreakerState::Open { until },
            BreakerPhase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// How often it has opened.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn breaker() -> Breaker {
        Breaker::new(BreakerConfig { faults: 3, open: s(10), longest: s(35), probe: s(5) })
    }

    fn call(breaker: &mut Breaker, fault: bool, now: Duration) -> Permit {
        let permit = breaker.permit(now);
        if permit != Permit::Refused {
            breaker.done(permit, fault, now);
        }
        permit
    }

    #[test]
    fn faults_in_a_row_open_it() {
        let mut breaker = breaker();
        for fault in [true, true, false, true, true] {
            assert_eq!(call(&mut breaker, fault, s(0)), Permit::Call);
        }
        assert_eq!(breaker.state(), BreakerState::Closed, "an answer between begins the count anew");
        assert_eq!(call(&mut breaker, true, s(1)), Permit::Call);
        assert_eq!(breaker.state(), BreakerState::Open { until: s(11) });
        assert_eq!(call(&mut breaker, false, s(10)), Permit::Refused);
        assert_eq!(breaker.opened(), 1);
    }

    #[test]
    fn one_probe_closes_it_or_opens_it_for_longer() {
        let mut breaker = breaker();
        for _ in 0..3 {
            call(&mut breaker, true, s(0));
        }
        let mut now = s(0);
        for lasts in [10, 20, 35, 35] {
            assert_eq!(breaker.state(), BreakerState::Open { until: now + s(lasts) });
            now += s(lasts);
            assert_eq!(call(&mut breaker, true, now - Duration::from_nanos(1)), Permit::Refused);
            assert_eq!(call(&mut breaker, true, now), Permit::Probe);
        }
        now += s(35);
        assert_eq!(breaker.permit(now), Permit::Probe);
        assert_eq!(breaker.permit(now), Permit::Refused, "one at a time");
        breaker.done(Permit::Probe, false, now);
        assert_eq!(breaker.state(), BreakerState::Closed);
        for _ in 0..3 {
            call(&mut breaker, true, now);
        }
        assert_eq!(breaker.state(), BreakerState::Open { until: now + s(10) }, "as short as the first time");
    }

    #[test]
    fn a_lost_probe_is_followed_by_another() {
        let mut breaker = breaker();
        for _ in 0..3 {
            call(&mut breaker, true, s(0));
        }
        assert_eq!(breaker.permit(s(10)), Permit::Probe);
        assert_eq!(breaker.permit(s(14)), Permit::Refused);
        assert_eq!(breaker.permit(s(15)), Permit::Probe);
        breaker.undone(Permit::Probe, s(16));
        assert_eq!(breaker.permit(s(16)), Permit::Probe, "the host's fault says nothing of the plugin");
    }

    #[test]
    fn late_answers_change_nothing() {
        let mut breaker = breaker();
        let early = breaker.permit(s(0));
        for _ in 0..3 {
            call(&mut breaker, true, s(0));
        }
        breaker.done(early, false, s(1));
        assert_eq!(breaker.state(), BreakerState::Open { until: s(10) });
        assert_eq!(breaker.permit(s(10)), Permit::Probe);
        breaker.done(early, true, s(10));
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }
}
