//! The state of shaping: rates, connections, suspensions and warm-up of all pools at all providers.

mod admit;
mod learn;
mod share;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use relevo_mailkit::classification::Classification;
use relevo_queue::Millis;

use super::pace::{Pace, SlowDown};
use super::rules::{Provider, ShapingRules};
use super::suspension::{Suspended, Suspension};
use super::warmup::{Warmup, WarmupCount};
use crate::clock::timestamp;
use crate::limits::LimitShares;
use crate::outcome::in_words;

const HOUR: Millis = 3_600_000;

/// From which pool, to which provider.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathKey {
    /// The name of the provider.
    pub provider: String,
    /// The name of the pool; empty: as `[delivery]` says.
    pub pool: String,
}

/// The addresses of a pool, or those of `[delivery]`.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The name of the pool; empty: `[delivery]`.
    pub pool: &'a str,
    /// For IPv4.
    pub ipv4: &'a [IpAddr],
    /// For IPv6.
    pub ipv6: &'a [IpAddr],
    /// The families of the hosts that are sent to: IPv4, IPv6.
    pub families: (bool, bool),
    /// The site's own number, which says from which address its first connection leaves.
    pub first: u64,
    /// Whether the addresses are warmed up.
    pub warmup: bool,
}

impl Sources<'_> {
    /// How many addresses share what is allowed: for limits that are for each address.
    fn count(&self) -> u32 {
        u32::try_from(self.ipv4.len().max(self.ipv6.len()).max(1)).unwrap_or(u32::MAX)
    }
}

/// The source addresses of a connection, by family. None: the system's choice, or none in this
/// family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChosenSources {
    /// For IPv4.
    pub ipv4: Option<IpAddr>,
    /// For IPv6.
    pub ipv6: Option<IpAddr>,
}

/// Why nothing goes now, and what ends that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShapingHold {
    /// Suspended until a time of day.
    Suspended(Arc<Suspension>),
    /// As many connections are open as the provider allows; ends when one of them is done.
    Connections {
        /// The provider.
        provider: String,
        /// The most that it gets.
        limit: u32,
        /// Those that are open.
        open: u32,
    },
    /// The next message goes in so many milliseconds.
    Rate {
        /// Milliseconds.
        left: Millis,
        /// Messages in a minute; 0: other nodes have them all.
        per_minute: u32,
        /// The refusal that slowed it down.
        slowed: Option<Arc<SlowDown>>,
    },
    /// What the day or the hour may have is used up, until a time of day.
    Warmup {
        /// The address.
        address: IpAddr,
        /// The provider.
        provider: String,
        /// Recipients in this day or this hour.
        cap: u32,
        /// Which of them.
        span: WarmupSpan,
        /// When the next one begins.
        until: Millis,
    },
    /// The count of warm-up is being stored; ends in a second or two.
    Unstored,
}

/// What a cap of warm-up is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarmupSpan {
    /// A day in UTC.
    Day,
    /// An hour.
    Hour,
}

impl fmt::Display for WarmupSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Day => "day",
            Self::Hour => "hour",
        })
    }
}

impl fmt::Display for ShapingHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suspended(suspension) => {
                write!(f, "{suspension} until {}", timestamp(suspension.until))
            }
            Self::Connections { provider, limit, open } => {
                write!(f, "waits for one of {limit} connections that {provider} gets ({open} open)")
            }
            Self::Rate { left, per_minute: 0, .. } => write!(
                f,
                "other nodes have all messages that may go there in a minute, this one asks again in {}",
                in_words(*left)
            ),
            Self::Rate { left, per_minute, slowed } => {
                write!(f, "{per_minute} messages a minute go there, the next one in {}", in_words(*left))?;
                match slowed {
                    Some(slowed) => write!(
                        f,
                        "; slowed down by the rule {} ({}), until it is back at {} a minute",
                        slowed.rule, slowed.reply, slowed.ceiling
                    ),
                    None => Ok(()),
                }
            }
            Self::Warmup { address, provider, cap, span, until } => write!(
                f,
                "{address} is being warmed up: the {cap} recipients of this {span} at {provider} are used up, \
                 the next {span} begins at {}",
                timestamp(*until)
            ),
            Self::Unstored => write!(f, "the count of warm-up is being stored, which takes a second or two"),
        }
    }
}

/// An address at a provider.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WarmupKey {
    /// The source address.
    pub address: IpAddr,
    /// The name of the provider.
    pub provider: String,
}

/// What a transaction came to.
#[derive(Debug, Clone)]
pub struct Outcome<'a> {
    /// The address that it left from, as far as it was chosen.
    pub source: Option<IpAddr>,
    /// Whose mail it was.
    pub tenant: &'a str,
    /// Recipients that were accepted.
    pub accepted: u32,
    /// The other ones, as far as they were classified.
    pub refusals: Vec<Refusal<'a>>,
}

/// What a receiver said of a recipient.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'a> {
    /// The meaning.
    pub classification: &'a Classification,
    /// The words.
    pub reply: &'a str,
}

/// What is to be stored and reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShapingChange {
    /// A suspension began, or has another end.
    Suspended(Arc<Suspension>),
    /// A suspension is over: at its end, or earlier by this operator.
    Resumed(Arc<Suspension>, Option<String>),
    /// A suspension that was to end at this time of day ends earlier: what was put off until then is
    /// due, also after a restart.
    EndsEarlier(Millis),
}

/// One pool at one provider.
#[derive(Debug, Default)]
struct PathState {
    open: u32,
    pace: Pace,
}

/// Whose refusals of one rule are counted.
type MatchKey = (String, String, Suspended);

/// All of it.
#[derive(Debug, Default)]
pub struct Shaping {
    paths: HashMap<Arc<PathKey>, PathState>,
    /// By provider.
    suspensions: HashMap<String, Vec<Arc<Suspension>>>,
    /// Times of refusals within the last hour, as many as the rule needs.
    matches: HashMap<MatchKey, VecDeque<Millis>>,
    warmups: HashMap<WarmupKey, (Warmup, Arc<Provider>)>,
    /// Of addresses that were not used since the start.
    stored_warmups: HashMap<WarmupKey, WarmupCount>,
    changes: Vec<ShapingChange>,
    /// Ends of suspensions that ended earlier, of which the queue does not know since the start.
    early_ends: Vec<Millis>,
    /// The time of day less the time that never goes back.
    offset: Millis,
    /// The latest hour that was heard of, since 1970.
    hour: i64,
    /// Divides caps among nodes; none: this node has them for itself.
    shares: Option<Arc<dyn LimitShares>>,
}

impl Shaping {
    /// With what the store has of an earlier run: `early_ends` are the times of day of
    /// [`ShapingChange::EndsEarlier`].
    #[must_use]
    pub fn restored(
        suspensions: Vec<Suspension>,
        early_ends: Vec<Millis>,
        warmups: Vec<(WarmupKey, WarmupCount)>,
    ) -> Self {
        let mut shaping = Self { early_ends, ..Self::default() };
        for suspension in suspensions {
            let of = shaping.suspensions.entry(suspension.provider.clone()).or_default();
            of.push(Arc::new(suspension));
        }
        shaping.stored_warmups = warmups.into_iter().collect();
        shaping
    }

    /// Relates the two clocks: at `now` of the one that never goes back it is `time_of_day`.
    pub fn set_time_of_day(&mut self, now: Millis, time_of_day: Millis) {
        self.offset = time_of_day.saturating_sub(now);
        self.hour = self.hour.max(time_of_day.div_euclid(HOUR));
    }

    /// The time of day at `now`.
    #[must_use]
    pub fn time_of_day(&self, now: Millis) -> Millis {
        now.saturating_add(self.offset)
    }

    /// The time of the clock that never goes back, at which it will be `time_of_day`.
    #[must_use]
    pub fn steady(&self, time_of_day: Millis) -> Millis {
        time_of_day.saturating_sub(self.offset)
    }

    /// A connection was begun.
    pub fn opened(&mut self, path: &Arc<PathKey>) {
        let state = self.paths.entry(path.clone()).or_default();
        state.open = state.open.saturating_add(1);
    }

    /// It is gone.
    pub fn closed(&mut self, path: &PathKey) {
        if let Some(state) = self.paths.get_mut(path) {
            state.open = state.open.saturating_sub(1);
        }
    }

    /// Forgets what is stale.
    pub fn sweep(&mut self, now: Millis) {
        self.paths.retain(|_, state| state.open > 0 || !state.pace.is_forgettable(now));
        self.matches.retain(|_, times| times.back().is_some_and(|last| now.saturating_sub(*last) < HOUR));
    }

    /// Begins a suspension, or gives the one of the same subject another end.
    pub fn suspend(&mut self, suspension: Suspension) -> Arc<Suspension> {
        let of = self.suspensions.entry(suspension.provider.clone()).or_default();
        let before = of.iter().find(|other| other.subject == suspension.subject).map(|other| other.until);
        of.retain(|other| other.subject != suspension.subject);
        let suspension = Arc::new(suspension);
        of.push(suspension.clone());
        if let Some(before) = before.filter(|before| *before > suspension.until) {
            self.changes.push(ShapingChange::EndsEarlier(before));
        }
        self.changes.push(ShapingChange::Suspended(suspension.clone()));
        suspension
    }

    /// Ends the suspension with this name early. None: there is none.
    pub fn resume(&mut self, id: &str, operator: &str) -> Option<Arc<Suspension>> {
        let ended = self.remove(|suspension| suspension.id() == id);
        for suspension in &ended {
            let by = Some(operator.to_owned());
            self.changes.push(ShapingChange::EndsEarlier(suspension.until));
            self.changes.push(ShapingChange::Resumed(suspension.clone(), by));
        }
        ended.into_iter().next()
    }

    /// Ends the suspensions whose time is over.
    pub fn end_suspensions(&mut self, now: Millis) -> Vec<Arc<Suspension>> {
        if self.suspensions.is_empty() {
            return Vec::new();
        }
        let time_of_day = self.time_of_day(now);
        let ended = self.remove(|suspension| suspension.until <= time_of_day);
        for suspension in &ended {
            self.changes.push(ShapingChange::Resumed(suspension.clone(), None));
        }
        ended
    }

    /// When the next suspension ends.
    #[must_use]
    pub fn next_end(&self) -> Option<Millis> {
        self.suspensions.values().flatten().map(|suspension| self.steady(suspension.until)).min()
    }

    fn remove(&mut self, is_over: impl Fn(&Suspension) -> bool) -> Vec<Arc<Suspension>> {
        let mut ended = Vec::new();
        self.suspensions.retain(|_, of| {
            of.retain(|suspension| {
                let over = is_over(suspension);
                if over {
                    ended.push(suspension.clone());
                }
                !over
            });
            !of.is_empty()
        });
        ended
    }

    /// Ends of suspensions that an earlier run ended before.
    pub fn take_early_ends(&mut self) -> Vec<Millis> {
        std::mem::take(&mut self.early_ends)
    }

    /// What is to be stored and reported since the last call.
    pub fn take_changes(&mut self) -> Vec<ShapingChange> {
        std::mem::take(&mut self.changes)
    }

    /// Whether [`Self::take_changes`] has anything.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// All suspensions, those that end first before the others.
    #[must_use]
    pub fn suspensions(&self) -> Vec<Arc<Suspension>> {
        let mut all: Vec<_> = self.suspensions.values().flatten().cloned().collect();
        all.sort_by_key(|suspension| (suspension.until, suspension.id()));
        all
    }

    /// Pools at providers, with their connections and rates.
    pub(super) fn paths(&self) -> impl Iterator<Item = (&PathKey, u32, &Pace)> {
        self.paths.iter().map(|(path, state)| (&**path, state.open, &state.pace))
    }

    /// Addresses at providers.
    pub(super) fn warmups(&self) -> impl Iterator<Item = (&WarmupKey, &Warmup, &Arc<Provider>)> {
        self.warmups.iter().map(|(key, (warmup, provider))| (key, warmup, provider))
    }

    /// Addresses at providers that were not used since the start, with the rules in force.
    pub(super) fn unused_warmups(
        &self,
        rules: &ShapingRules,
    ) -> impl Iterator<Item = (&WarmupKey, Warmup, Arc<Provider>)> {
        self.stored_warmups
            .iter()
            .map(|(key, count)| (key, Warmup::stored(count.clone()), rules.by_name(&key.provider)))
    }

    /// An operator wants the usual rate at a provider.
    pub fn reset_rates(&mut self, provider: &str) {
        for (_, state) in self.paths.iter_mut().filter(|(path, _)| path.provider == provider) {
            state.pace.reset();
        }
    }
}
