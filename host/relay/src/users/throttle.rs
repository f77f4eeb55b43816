//! Slows guessing down: by client that tries, by address that is tried, and by both together.
//!
//! One client that guesses at an address is soon stopped, and keeps nobody else from signing in at it.
//! Many clients together still get no more than some thousand guesses a day at one address, and its
//! owner never waits for more than a minute because of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

/// The wait behind the first failure that is not free; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Failures are forgotten after this time.
const FORGOTTEN: Duration = Duration::from_secs(3_600);
/// Subjects that are remembered: some megabytes.
const REMEMBERED: usize = 20_000;

/// What failures are counted for. An address is in lower case, whether there is such a user or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// An address, tried by one client; by a session of the user when there is none.
    Pair(String, Option<IpAddr>),
    /// An address, whoever tries.
    Address(String),
    /// A client, whatever it tries.
    Client(IpAddr),
}

/// How many failures are free, and how long one waits after more of them.
struct Limit {
    free: u32,
    longest_wait: Duration,
}

impl Subject {
    /// What an attempt at an address counts for. A session of the user itself is not a stranger: what it
    /// gets wrong keeps nobody from signing in.
    pub(super) fn of(address: &str, client: Option<IpAddr>) -> Vec<Self> {
        let client = client.map(network);
        let pair = Self::Pair(address.to_owned(), client);
        match client {
            Some(client) => vec![pair, Self::Address(address.to_owned()), Self::Client(client)],
            None => vec![pair],
        }
    }

    const fn limit(&self) -> Limit {
        let (free, longest_wait) = match self {
            Self::Pair(..) => (5, 900),
            Self::Address(_) => (50, 60),
            // Many people may share one.
            Self::Client(_) => (30, 900),
        };
        Limit { free, longest_wait: Duration::from_secs(longest_wait) }
    }
}

/// An IPv4 address, or the first 64 bits of an IPv6 address: those a subscriber has.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & (u128::MAX << 64)).into()),
        v4 => v4,
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Failures {
    count: u32,
    last: Duration,
}

impl Failures {
    fn waits_until(self, limit: &Limit) -> Duration {
        match self.count.checked_sub(limit.free) {
            None => Duration::ZERO,
            Some(more) => self.last + FIRST_WAIT.saturating_mul(1 << more.min(20)).min(limit.longest_wait),
        }
    }
}

/// Counts failures.
#[derive(Default)]
pub(super) struct Throttle {
    failures: Mutex<HashMap<Subject, Failures>>,
}

impl Throttle {
    /// Begins an attempt, which counts as a failure until it is known to be none: attempts at the
    /// same time are counted, too. `now` is monotonic.
    ///
    /// # Errors
    /// The time to wait. The attempt does not count then.
    pub(super) fn begin(&self, subjects: &[Subject], now: Duration) -> Result<(), Duration> {
        let mut failures = self.failures.lock();
        for subject in subjects {
            let Some(found) = failures.get(subject) else { continue };
            if found.last + FORGOTTEN <= now {
                failures.remove(subject);
                continue;
            }
            if let Some(wait) = found.waits_until(&subject.limit()).checked_sub(now)
                && !wait.is_zero()
            {
                return Err(wait);
            }
        }
        for subject in subjects {
            if failures.len() >= REMEMBERED && !failures.contains_key(subject) {
                make_room(&mut failures, now);
            }
            let found = failures.entry(subject.clone()).or_default();
            *found = Failures { count: found.count.saturating_add(1), last: now };
        }
        Ok(())
    }

    /// The attempt was neither right nor wrong: it no longer counts.
    pub(super) fn take_back(&self, subjects: &[Subject]) {
        let mut failures = self.failures.lock();
        for subject in subjects {
            if let Entry::Occupied(mut found) = failures.entry(subject.clone()) {
                found.get_mut().count -= 1;
                if found.get().count == 0 {
                    found.remove();
                }
            }
        }
    }

    /// The attempt was right: failures of the address are forgotten, those of the client are not. A
    /// client with one account could otherwise guess at others for ever.
    pub(super) fn succeed(&self, subjects: &[Subject]) {
        self.take_back(subjects);
        let mut failures = self.failures.lock();
        for subject in subjects.iter().filter(|subject| !matches!(subject, Subject::Client(_))) {
            failures.remove(subject);
        }
    }
}

/// Forgets what is old, or what failed least recently.
fn make_room(failures: &mut HashMap<Subject, Failures>, now: Duration) {
    failures.retain(|_, found| found.last + FORGOTTEN > now);
    if failures.len() >= REMEMBERED
        && let Some(oldest) = failures.iter().min_by_key(|(_, found)| found.last).map(|(who, _)| who.clone())
    {
        failures.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str) -> [Subject; 1] {
        [Subject::Pair(name.to_owned(), None)]
    }

    fn by(name: &str, client: &str) -> Vec<Subject> {
        Subject::of(name, Some(client.parse().expect("an address")))
    }

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn waits_double_and_end() {
        let throttle = Throttle::default();
        let mut now = seconds(0);
        for _ in 0..5 {
            assert_eq!(throttle.begin(&pair("a"), now), Ok(()));
        }
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            assert_eq!(throttle.begin(&pair("a"), now), Err(seconds(wait)));
            assert_eq!(throttle.begin(&pair("b"), now), Ok(()), "another address");
            throttle.succeed(&pair("b"));
            now += seconds(wait);
            assert_eq!(throttle.begin(&pair("a"), now), Ok(()), "after {wait} s");
        }
        assert!(throttle.begin(&pair("a"), now).is_err());
        now += FORGOTTEN;
        for _ in 0..5 {
            assert_eq!(throttle.begin(&pair("a"), now), Ok(()));
        }
    }

    #[test]
    fn a_client_that_guesses_locks_nobody_out() {
        let throttle = Throttle::default();
        let mut guesses = 0;
        while throttle.begin(&by("a", "192.0.2.1"), seconds(0)).is_ok() {
            guesses += 1;
        }
        assert_eq!(guesses, 5);
        assert_eq!(throttle.begin(&by("a", "192.0.2.2"), seconds(0)), Ok(()), "the owner, elsewhere");
        assert_eq!(throttle.begin(&Subject::of("a", None), seconds(0)), Ok(()), "the owner, signed in");
    }

    #[test]
    fn many_clients_wait_together_and_no_longer_than_a_minute() {
        let throttle = Throttle::default();
        let (mut guesses, mut longest) = (0, Duration::ZERO);
        for n in 0..200_u64 {
            match throttle.begin(&by("a", &format!("198.51.100.{n}")), seconds(0)) {
                Ok(()) => guesses += 1,
                Err(wait) => longest = longest.max(wait),
            }
        }
        assert_eq!((guesses, longest), (50, seconds(1)));
        for n in 0..40_u64 {
            throttle.begin(&by("a", &format!("203.0.113.{n}")), seconds(60 * n + 1)).expect("a minute later");
        }
        let wait = throttle.begin(&by("a", "192.0.2.1"), seconds(60 * 39 + 1));
        assert_eq!(wait, Err(seconds(60)));
    }

    #[test]
    fn success_clears_an_address_and_not_a_client() {
        let throttle = Throttle::default();
        for n in 0..30 {
            assert_eq!(throttle.begin(&by(&format!("a{n}"), "2001:db8::1"), seconds(0)), Ok(()));
        }
        let who = by("b", "2001:db8::2");
        assert_eq!(throttle.begin(&who, seconds(0)), Err(seconds(1)));
        assert_eq!(throttle.begin(&who, seconds(1)), Ok(()));
        throttle.succeed(&who);
        assert_eq!(throttle.begin(&who, seconds(1)), Err(seconds(1)), "as before");
        assert_eq!(by("a", "::ffff:192.0.2.1"), by("a", "192.0.2.1"));
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::default();
        for n in 0..REMEMBERED as u64 + 3 {
            throttle.begin(&pair(&format!("a{n}")), Duration::from_millis(n)).expect("the first");
        }
        let failures = throttle.failures.lock();
        assert_eq!(failures.len(), REMEMBERED);
        assert!(!failures.contains_key(&pair("a0")[0]) && failures.contains_key(&pair("a20002")[0]));
    }
}
