//! What the store of a guest holds: its budget, its limits, and the little world it sees.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};

use crate::config::Limits;

/// Octets of standard output and error that are kept for the log.
const OUTPUT: usize = 4096;

/// The state beside a guest.
pub(crate) struct State {
    /// Seconds since 1970: what the guest's wall clock shows.
    pub(crate) now: i64,
    /// A splitmix64 sequence, seeded from the call.
    pub(crate) random: u64,
    /// The monotonic clock: the number of times it was read.
    pub(crate) ticks: u64,
    /// Standard output and error together, bounded.
    pub(crate) output: Vec<u8>,
    pub(crate) budget: Budget,
    /// The memory or table growth that was refused.
    pub(crate) refused: Option<String>,
    limits: Limits,
}

impl State {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            now: 0,
            random: 0,
            ticks: 0,
            output: Vec::new(),
            budget: Budget::new(&limits),
            refused: None,
            limits,
        }
    }

    /// Makes the state that of a new message.
    pub(crate) fn begin(&mut self, now: i64, seed: u64) {
        self.now = now;
        self.random = seed;
        self.ticks = 0;
        self.output.clear();
        self.budget = Budget::new(&self.limits);
        self.refused = None;
    }

    /// Keeps what fits of something written to standard output or error.
    pub(crate) fn print(&mut self, bytes: &[u8]) {
        let room = OUTPUT.saturating_sub(self.output.len());
        self.output.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The next octets of the sequence.
    pub(crate) fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = desired <= self.limits.memory;
        if !granted {
            self.refused = Some(format!("{desired} octets of memory, {} are allowed", self.limits.memory));
        }
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = desired <= self.limits.table_elements;
        if !granted {
            self.refused =
                Some(format!("a table of {desired} elements, {} are allowed", self.limits.table_elements));
        }
        Ok(granted)
    }
}

/// The time that a guest may use, and what it used.
///
/// Looked at when the epoch advances, so entering a call costs no system call; a call can overrun by one tick.
pub(crate) struct Budget {
    call_limit: Duration,
    message_limit: Duration,
    wall_limit: Duration,
    started: Instant,
    message_start: Duration,
    /// Counts exported calls.
    call: u64,
    /// The call that was running at the last tick, and the thread's CPU time then.
    seen: (u64, Duration),
    /// Which limit was passed.
    pub(crate) exceeded: Option<String>,
}

impl Budget {
    fn new(limits: &Limits) -> Self {
        let cpu = thread_cpu();
        Self {
            call_limit: limits.call_cpu,
            message_limit: limits.message_cpu,
            wall_limit: limits.message_wall,
            started: Instant::now(),
            message_start: cpu,
            call: 0,
            seen: (0, cpu),
            exceeded: None,
        }
    }

    fn check(&mut self) -> UpdateDeadline {
        let cpu = thread_cpu();
        if self.seen.0 != self.call {
            self.seen = (self.call, cpu);
        }
        let over = |what: &str, limit: Duration| Some(format!("over {} ms of {what}", limit.as_millis()));
        if cpu.saturating_sub(self.seen.1) > self.call_limit {
            self.exceeded = over("CPU time in one call", self.call_limit);
        } else if cpu.saturating_sub(self.message_start) > self.message_limit {
            self.exceeded = over("CPU time for one message", self.message_limit);
        } else if self.started.elapsed() > self.wall_limit {
            self.exceeded = over("time for one message", self.wall_limit);
        } else {
            return UpdateDeadline::Continue(1);
        }
        UpdateDeadline::Interrupt
    }
}

/// Arms a new store.
pub(crate) fn guard(store: &mut Store<State>) {
    store.limiter(|state| state);
    store.epoch_deadline_callback(|mut context| Ok(context.data_mut().budget.check()));
    enter(store);
}

/// To be called before every exported call.
pub(crate) fn enter(store: &mut Store<State>) {
    store.set_epoch_deadline(1);
    store.data_mut().budget.call += 1;
}

/// CPU time of the calling thread.
pub(crate) fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}
