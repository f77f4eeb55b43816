//! Processor time that somebody else takes: what the machine makes of it, whatever the relay does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Threads of this process, which is also that of the generator and the sink, that do nothing but
/// compute.
pub(crate) struct Computing {
    threads: usize,
    /// What each computes, and how often it begins with it.
    burst: Duration,
    every: Duration,
    nice: i32,
}

impl Computing {
    /// What the plugin `busy` takes of a processor when it is asked twenty times a second, on a
    /// thread that runs plugins.
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
        let burst = rounds_in(self.burst);
        while !over.load(Ordering::Relaxed) {
            let began = Instant::now();
            compute(burst);
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

/// Without a system call, as a guest does: where the kernel is asked something, it looks at whether
/// somebody else's turn has come.
fn compute(rounds: u64) {
    for n in 0..rounds {
        std::hint::black_box(n.wrapping_mul(n));
    }
}

/// What this processor does in so much time of its own.
fn rounds_in(time: Duration) -> u64 {
    const SAMPLE: u32 = 1_000_000;
    let began = thread_cpu();
    compute(SAMPLE.into());
    let took = (thread_cpu() - began).max(Duration::from_nanos(1));
    u64::try_from(u128::from(SAMPLE) * time.as_nanos() / took.as_nanos()).unwrap_or(u64::MAX)
}

fn thread_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_computes() {
        let before = thread_cpu();
        compute(rounds_in(Duration::from_millis(3)));
        assert!(thread_cpu() > before);
        assert_eq!(Computing::everywhere().beside(|| 7), 7);
    }
}
