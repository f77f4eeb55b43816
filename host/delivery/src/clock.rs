//! Time and randomness, so that everything else can take them as arguments.

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use relevo_queue::{ItemId, Millis};

/// What time it is. Only wrappers (a session's callbacks, the delivery loop) ask; functions beneath
/// take `now`.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970.
    fn now(&self) -> Millis;

    /// Time since some fixed moment, never going back: for durations.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Monotonic time counts from here.
    #[must_use]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// RFC 3339 in UTC with milliseconds, such as `2026-11-22T06:00:00.123Z`.
#[must_use]
pub fn timestamp(at: Millis) -> String {
    match jiff::Timestamp::from_millisecond(at) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => at.to_string(),
    }
}

/// Makes the ids of items.
pub trait IdSource: Send + Sync {
    /// A new id, never given before.
    ///
    /// # Errors
    /// The system gives no randomness.
    fn item_id(&self, now: Millis) -> io::Result<ItemId>;

    /// Unguessable octets.
    ///
    /// # Errors
    /// The system gives no randomness.
    fn random(&self) -> io::Result<[u8; 16]> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|e| io::Error::other(e.to_string()))?;
        Ok(random)
    }
}

/// Ids of one shard, from the system's randomness otherwise.
#[derive(Debug, Clone, Copy)]
pub struct ShardIds(pub u16);

impl IdSource for ShardIds {
    fn item_id(&self, now: Millis) -> io::Result<ItemId> {
        Ok(RandomIds.item_id(now)?.in_shard(self.0))
    }
}

/// Ids from the system's randomness.
#[derive(Debug, Default, Clone, Copy)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn item_id(&self, now: Millis) -> io::Result<ItemId> {
        let mut random = [0; 10];
        getrandom::fill(&mut random).map_err(|e| io::Error::other(e.to_string()))?;
        Ok(ItemId::new(now, random))
    }
}
