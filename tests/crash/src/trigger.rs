//! A kill at the very moment at which something happens, from the thread that sees it happen.

use std::thread::sleep;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

/// What the harness itself sees of the relay's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// A message was handed over and waits for its 250.
    Accept,
    /// A receiver has a message and is about to acknowledge it.
    Delivery,
    /// A receiver refused a recipient for good: a bounce is written next.
    Bounce,
}

/// Armed for one kill.
#[derive(Debug, Default)]
pub(crate) struct Trigger(Mutex<Option<Armed>>);

#[derive(Debug)]
struct Armed {
    moment: Moment,
    relay: u32,
    /// Of such moments, how many pass first.
    skip: u32,
    after: Duration,
}

impl Trigger {
    pub(crate) fn arm(&self, moment: Moment, relay: u32, skip: u32, after: Duration) {
        *self.0.lock() = Some(Armed { moment, relay, skip, after });
    }

    pub(crate) fn disarm(&self) {
        *self.0.lock() = None;
    }

    /// Kills if armed for this. Holds the caller up for as long as the kill is to come later.
    pub(crate) fn at(&self, moment: Moment) {
        let mut slot = self.0.lock();
        let Some(armed) = slot.as_mut().filter(|armed| armed.moment == moment) else { return };
        if armed.skip > 0 {
            armed.skip -= 1;
            return;
        }
        sleep(armed.after);
        if let Some(pid) = i32::try_from(armed.relay).ok().and_then(Pid::from_raw) {
            // Only this process waits for it, and not before it is disarmed: the number is still
            // the relay's.
            let _ = kill_process(pid, Signal::KILL);
        }
        *slot = None;
    }
}
