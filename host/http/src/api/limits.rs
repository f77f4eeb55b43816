//! Bounds of what callers may do at once: requests of a tenant, failed keys of an address, octets of
//! bodies in memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use relevo_relay::clock::Clock;
use relevo_relay::settings::{Network, Settings};
use relevo_relay::token_buckets::TokenBuckets;

use crate::error::RequestError;

/// The window of rates: a tenant may send its requests of a second at once.
const SECOND: Duration = Duration::from_secs(1);
/// The window of failed keys.
const MINUTE: Duration = Duration::from_secs(60);
/// Requests without a good key that one address may send in a minute. More are told so instead.
///
/// A good key from the same address still counts: nobody guesses a key, and behind a proxy one
/// client with a wrong key would shut out all others.
const FAILED_PER_MINUTE: f64 = 120.0;
/// Buckets of each kind that are kept: some 100 octets each.
const MAX_BUCKETS: usize = 100_000;

/// Bounds of the API that are fixed from start to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiLimits {
    /// Requests of a tenant in a second, unless the tenant has a number of its own.
    pub requests_per_second: u32,
    /// Octets of bodies in memory, all together. One tenant may have half of them.
    pub body_memory: u64,
}

impl Default for ApiLimits {
    fn default() -> Self {
        // A program that repeats itself is stopped, one that sends as fast as a core can is not.
        Self { requests_per_second: 5_000, body_memory: 256 << 20 }
    }
}

/// Enforces the bounds.
pub(super) struct Limiter {
    limits: ApiLimits,
    requests: TokenBuckets<String>,
    failures: TokenBuckets<Network>,
    pub(super) bodies: Arc<BodyMemory>,
}

impl Limiter {
    pub(super) fn new(limits: ApiLimits) -> Self {
        Self {
            limits,
            requests: TokenBuckets::new(SECOND, MAX_BUCKETS),
            failures: TokenBuckets::new(MINUTE, MAX_BUCKETS),
            bodies: Arc::new(BodyMemory { total: limits.body_memory, used: Mutex::default() }),
        }
    }

    /// Counts a request of a tenant.
    pub(super) fn request(&self, tenant: &str, settings: &Settings, clock: &dyn Clock) -> RequestRate {
        let own = settings.directory.tenant(tenant).and_then(|tenant| tenant.requests_per_second);
        let limit = own.unwrap_or(self.limits.requests_per_second);
        let level = self.requests.spend(&tenant.to_owned(), f64::from(limit), clock.monotonic());
        #[allow(clippy::cast_possible_truncation, reason = "0 to a u32")]
        let remaining = level.left.floor().max(0.0) as u32;
        let reset_seconds = seconds(level.full_in);
        RequestRate { limit, remaining, reset_seconds, exceeded: (!level.is_taken).then_some(level.next_in) }
    }

    /// Counts a request without a good key. Refuses it in other words if there are too many.
    pub(super) fn failed(&self, client: Option<IpAddr>, now: Duration) -> Result<(), RequestError> {
        let Some(client) = client else { return Ok(()) };
        let level = self.failures.spend(&Network::of_client(client), FAILED_PER_MINUTE, now);
        match level.is_taken {
            true => Ok(()),
            false => Err(RequestError::TooMany { retry_after: level.next_in }),
        }
    }
}

/// How many requests a tenant has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestRate {
    pub(super) limit: u32,
    pub(super) remaining: u32,
    pub(super) reset_seconds: u64,
    /// This request is one too many: time until the next one may come.
    exceeded: Option<Duration>,
}

impl RequestRate {
    pub(super) fn is_within(&self) -> bool {
        self.exceeded.is_none()
    }

    pub(super) fn check(&self) -> Result<(), RequestError> {
        match self.exceeded {
            Some(retry_after) => Err(RequestError::TooMany { retry_after }),
            None => Ok(()),
        }
    }
}

/// Whole seconds, rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Octets of bodies that are in memory, or may come to be.
pub(super) struct BodyMemory {
    total: u64,
    used: Mutex<UsedMemory>,
}

#[derive(Default)]
struct UsedMemory {
    total: u64,
    by_tenant: HashMap<String, u64>,
}

/// Room for a body, until it is dropped.
pub(super) struct BodyReservation {
    memory: Arc<BodyMemory>,
    tenant: String,
    octets: u64,
}

impl BodyMemory {
    /// Makes room for a body.
    ///
    /// # Errors
    /// 503 when all memory is in use, 429 when the tenant has its half.
    pub(super) fn reserve(
        self: &Arc<Self>,
        tenant: &str,
        octets: u64,
    ) -> Result<Option<BodyReservation>, RequestError> {
        if octets == 0 {
            return Ok(None);
        }
        let mut used = self.used.lock();
        if used.total.saturating_add(octets) > self.total {
            return Err(RequestError::Overloaded);
        }
        let of_tenant = used.by_tenant.get(tenant).copied().unwrap_or(0);
        if of_tenant > 0 && of_tenant.saturating_add(octets) > self.total / 2 {
            return Err(RequestError::TooMany { retry_after: SECOND });
        }
        used.total += octets;
        *used.by_tenant.entry(tenant.to_owned()).or_default() += octets;
        Ok(Some(BodyReservation { memory: Arc::clone(self), tenant: tenant.to_owned(), octets }))
    }
}

impl Drop for BodyReservation {
    fn drop(&mut self) {
        let mut used = self.memory.used.lock();
        used.total = used.total.saturating_sub(self.octets);
        let left = used.by_tenant.get(&self.tenant).copied().unwrap_or(0).saturating_sub(self.octets);
        match left {
            0 => drop(used.by_tenant.remove(&self.tenant)),
            left => drop(used.by_tenant.insert(self.tenant.clone(), left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_one_tenant_leave_room_for_others() {
        let limiter = Limiter::new(ApiLimits { body_memory: 100, ..ApiLimits::default() });
        let reserve = |tenant, octets| limiter.bodies.reserve(tenant, octets);
        let first = reserve("a", 40).expect("room");
        assert!(matches!(reserve("a", 11), Err(RequestError::TooMany { .. })));
        let second = reserve("a", 10).expect("its half");
        let third = reserve("b", 50).expect("the other half");
        assert!(matches!(reserve("c", 1), Err(RequestError::Overloaded)));
        assert!(matches!(reserve("c", 0), Ok(None)));
        drop((first, third));
        assert!(reserve("b", 90).is_ok(), "one body may have more than half");
        drop(second);
        assert!(limiter.bodies.used.lock().by_tenant.is_empty());
        assert_eq!(limiter.bodies.used.lock().total, 0);
    }

    #[test]
    fn failed_keys_of_an_address_are_bounded() {
        let limiter = Limiter::new(ApiLimits::default());
        let failed = |ip: &str| limiter.failed(ip.parse().ok(), Duration::ZERO).is_err();
        let refused = (0..200).filter(|_| failed("192.0.2.1")).count();
        assert_eq!(refused, 80);
        assert!(!failed("192.0.2.2"));
        assert!((0..200).any(|n| failed(&format!("2001:db8::{n}"))), "a /64 is one client");
        assert!(limiter.failed(None, Duration::ZERO).is_ok());
    }
}
