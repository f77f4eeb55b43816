//! When messages are due.

use std::time::Duration;

/// Closed loop: each session sends its next message when the last one is answered. Open loop:
/// messages are due at a fixed rate, whatever the answers do, and the time that one waits for a
/// free session counts as its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Schedule {
    /// As fast as answers come.
    Closed,
    /// Messages per second over all sessions.
    Open(f64),
}

impl Schedule {
    /// When the message with this number is due, from the beginning of the load; in a closed loop
    /// at once.
    pub fn due(self, number: u64) -> Option<Duration> {
        match self {
            Self::Closed => None,
            #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 messages")]
            Self::Open(rate) => Some(Duration::from_secs_f64(number as f64 / rate)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_loop_does_not_wait() {
        let schedule = Schedule::Open(250.0);
        assert_eq!(schedule.due(0), Some(Duration::ZERO));
        assert_eq!(schedule.due(1), Some(Duration::from_millis(4)));
        assert_eq!(schedule.due(250 * 3600), Some(Duration::from_secs(3600)));
        assert_eq!(Schedule::Closed.due(9), None);
    }
}
