//! A clock that stands still while this process does: on a machine that is too busy, or stopped by
//! somebody, the time that a receiver took to acknowledge is then not counted against the relay.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, sleep};
use std::time::{Duration, Instant};

/// How often it is looked at.
const TICK: Duration = Duration::from_millis(5);
/// What a tick counts at most.
const MOST: Duration = Duration::from_millis(25);

/// See the module. Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// Starts it; it goes as long as anybody has it.
    pub(crate) fn start() -> std::io::Result<Self> {
        let pulse = Self::default();
        let weak = Arc::downgrade(&pulse.0);
        Builder::new().name("pulse".to_owned()).spawn(move || {
            let mut before = Instant::now();
            while let Some(count) = weak.upgrade() {
                sleep(TICK);
                let now = Instant::now();
                let counted = now.duration_since(before).min(MOST);
                count.fetch_add(u64::try_from(counted.as_micros()).unwrap_or(0), Ordering::Relaxed);
                before = now;
            }
        })?;
        Ok(pulse)
    }

    /// Time since the start that this process was running.
    pub(crate) fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_and_never_ahead_of_the_time() {
        let (pulse, began) = (Pulse::start().expect("a thread"), Instant::now());
        while pulse.now() < Duration::from_millis(30) {
            assert!(began.elapsed() < Duration::from_secs(20), "it stands still");
            sleep(TICK);
        }
        assert!(pulse.now() <= began.elapsed() + MOST);
    }
}
