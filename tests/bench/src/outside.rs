//! Processor time that somebody else takes: what the machine makes of it, whatever the relay does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Threads of this process, which is also that of the generator and the sink, that do nothing but compute.
pub(crate) struct Computing {
    threads: usize,
    /// What each computes, and how often it begins with it.
    burst: Duration,
    every: Duration,
    nice: i32,
}

impl Computing {
    /// What the plugin `busy` takes of a processor when it is asked twenty times a second, on a thread that runs plugins.
    pub(crate) const AS_BUSY: Self =
        Self { threads: 1, burst: Duration::from_millis(30), every: Duration::from_millis(50), nice: 5 };

    /// All processors, as a relay does that has as much mail as it can take.
    pub(crate) fn everywhere() -> Self {
        let burst = Duration::from_millis(30);
        Self { threads: processors(), burst, every: burst, nice: 0 }
    }

    /// What comes of `seen` meanwhile.
    pub(crate) fn beside<T>(&self, seen: impl FnOnce() -> T) -> T {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| self.run(&over));
            }
            // Also when it panics: the scope waits for its threads.
            let _end = OnDrop(&over);
            seen()
        })
    }

    fn run(&self, over: &AtomicBool) {
        // A thread's own on Linux. Where it is refused, the thread has more weight.
        let _ = rustix::process::nice(self.nice);
        while !over.load(Ordering::Relaxed) {
            let began = Instant::now();
            compute(self.burst);
            thread::sleep(self.every.saturating_sub(began.elapsed()));
        }
    }
}

/// Says that it is over.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn compute(time: Duration) {
    let until = thread_cpu() + time;
    while thread_cpu() < until {
        for n in 0..10_000_u64 {
            std::hint::black_box(n.wrapping_mul(n));
        }
    }
}

fn thread_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_computes_for_so_long() {
        let before = thread_cpu();
        compute(Duration::from_millis(3));
        assert!(thread_cpu() - before >= Duration::from_millis(3));
        assert_eq!(Computing::everywhere().beside(|| 7), 7);
    }
}
