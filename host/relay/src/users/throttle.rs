//! Slows guessing down: by address that is tried, and by client that tries.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

/// Failures of an address before the next one has to wait.
const FREE_OF_ADDRESS: u32 = 5;
/// Failures of a client: many people may share one.
const FREE_OF_CLIENT: u32 = 20;
/// The wait behind the first failure that is not free; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait: some hundred guesses a day.
const LONGEST_WAIT: Duration = Duration::from_secs(900);
/// Failures are forgotten after this time.
const FORGOTTEN: Duration = Duration::from_secs(3_600);
/// Addresses and clients that are remembered: some megabytes.
const REMEMBERED: usize = 20_000;

/// Who is tried, or who tries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// An address in lower case, whether there is such a user or not.
    Address(String),
    /// An IPv4 address, or the first 64 bits of an IPv6 address.
    Client(IpAddr),
}

impl Subject {
    pub(super) fn client(address: IpAddr) -> Self {
        Self::Client(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & (u128::MAX << 64)).into()),
            v4 => v4,
        })
    }

    fn free(&self) -> u32 {
        match self {
            Self::Address(_) => FREE_OF_ADDRESS,
            Self::Client(_) => FREE_OF_CLIENT,
        }
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Failures {
    count: u32,
    last: Duration,
}

impl Failures {
    fn waits_until(self, free: u32) -> Duration {
        match self.count.checked_sub(free) {
            None => Duration::ZERO,
            Some(more) => self.last + FIRST_WAIT.saturating_mul(1 << more.min(20)).min(LONGEST_WAIT),
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
            if let Some(wait) = found.waits_until(subject.free()).checked_sub(now)
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
        for subject in subjects.iter().filter(|subject| matches!(subject, Subject::Address(_))) {
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

    fn address(name: &str) -> [Subject; 1] {
        [Subject::Address(name.to_owned())]
    }

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn waits_double_and_end() {
        let throttle = Throttle::default();
        let mut now = seconds(0);
        for _ in 0..5 {
            assert_eq!(throttle.begin(&address("a"), now), Ok(()));
        }
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            assert_eq!(throttle.begin(&address("a"), now), Err(seconds(wait)));
            assert_eq!(throttle.begin(&address("b"), now), Ok(()), "another address");
            throttle.succeed(&address("b"));
            now += seconds(wait);
            assert_eq!(throttle.begin(&address("a"), now), Ok(()), "after {wait} s");
        }
        assert!(throttle.begin(&address("a"), now).is_err());
        now += FORGOTTEN;
        for _ in 0..5 {
            assert_eq!(throttle.begin(&address("a"), now), Ok(()));
        }
    }

    #[test]
    fn success_clears_an_address_and_not_a_client() {
        let throttle = Throttle::default();
        let client = Subject::client("2001:db8::1".parse().expect("an address"));
        let same = Subject::client("2001:db8::2".parse().expect("an address"));
        for n in 0..20 {
            let who = [Subject::Address(format!("a{n}")), client.clone()];
            assert_eq!(throttle.begin(&who, seconds(0)), Ok(()));
        }
        let who = [Subject::Address("b".to_owned()), same];
        assert_eq!(throttle.begin(&who, seconds(0)), Err(seconds(1)));
        assert_eq!(throttle.begin(&who, seconds(1)), Ok(()));
        throttle.succeed(&who);
        assert_eq!(throttle.begin(&who, seconds(1)), Err(seconds(1)), "as before");
        let mapped = Subject::client("::ffff:192.0.2.1".parse().expect("an address"));
        assert_eq!(mapped, Subject::client("192.0.2.1".parse().expect("an address")));
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::default();
        for n in 0..REMEMBERED as u64 + 3 {
            throttle.begin(&address(&format!("a{n}")), Duration::from_millis(n)).expect("the first");
        }
        let failures = throttle.failures.lock();
        assert_eq!(failures.len(), REMEMBERED);
        assert!(!failures.contains_key(&address("a0")[0]) && failures.contains_key(&address("a20002")[0]));
    }
}
