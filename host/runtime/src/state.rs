//! What the store of a guest holds: its budget, its limits, and the little world it sees.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};

use crate::Blame;
use crate::config::StageLimits;
use crate::policy::granted::GrantedCapabilities;

/// Octets of standard output and error that are kept for the log.
const OUTPUT: usize = 4096;

/// Core instances, memories and tables of one store. Interpreted languages come as some twenty
/// modules.
const INSTANCES: usize = 128;
const MEMORIES: usize = 16;
const TABLES: usize = 64;

/// Handles to resources that a guest may hold at the same time.
const HANDLES: usize = 10_000;

/// The state beside a guest.
pub(crate) struct GuestState {
    /// Milliseconds since 1970: what the guest's wall clock shows.
    pub(crate) now: u64,
    /// A splitmix64 sequence, seeded from the call.
    pub(crate) random: u64,
    /// The monotonic clock: the number of times it was read.
    pub(crate) ticks: u64,
    /// Standard output and error together, bounded.
    pub(crate) output: Vec<u8>,
    pub(crate) budget: Budget,
    /// The memory or table growth that was refused.
    pub(crate) refused: Option<RefusedGrowth>,
    /// What a plugin was granted; first-party components are granted nothing.
    pub(crate) granted: GrantedCapabilities,
    used: Used,
    limits: Bounds,
}

/// A growth that was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefusedGrowth {
    #[error("{0}")]
    Memory(String),
    #[error("{0}")]
    Table(String),
}

/// What the limiter has let an instance have, all its memories and tables together.
#[derive(Default)]
struct Used {
    memory: usize,
    table_elements: usize,
    /// What was added last, in case the growth fails for another reason.
    last: (usize, usize),
}

/// What a store is held to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Octets of linear memory.
    pub(crate) memory: usize,
    /// Elements of tables.
    pub(crate) table_elements: usize,
    /// Of one exported call.
    pub(crate) call: TimeUse,
    /// Of all calls for one message.
    pub(crate) message: TimeUse,
}

/// CPU time of the thread, and elapsed time: used, or a limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeUse {
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
}

impl From<&StageLimits> for Bounds {
    fn from(limits: &StageLimits) -> Self {
        Self {
            memory: limits.memory,
            table_elements: limits.table_elements,
            call: TimeUse { cpu: limits.call_cpu, wall: limits.message_wall },
            message: TimeUse { cpu: limits.message_cpu, wall: limits.message_wall },
        }
    }
}

impl GuestState {
    pub(crate) fn new(limits: Bounds, began: Moment) -> Self {
        Self {
            now: 0,
            random: 0,
            ticks: 0,
            output: Vec::new(),
            budget: Budget::new(&limits, began),
            refused: None,
            granted: GrantedCapabilities::default(),
            used: Used::default(),
            limits,
        }
    }

    /// Makes the state that of a new message, which has the budget from `began` on.
    pub(crate) fn begin(&mut self, now: u64, seed: u64, began: Moment) {
        self.now = now;
        self.random = seed;
        self.ticks = 0;
        self.output.clear();
        self.budget = Budget::new(&self.limits, began);
        self.refused = None;
    }

    /// Octets of linear memory that the instance has.
    pub(crate) fn memory(&self) -> usize {
        self.used.memory
    }

    /// Keeps what fits of something written to standard output or error.
    pub(crate) fn print(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(&bytes[..bytes.len().min(self.room())]);
    }

    /// Octets of standard output and error that would still be kept.
    pub(crate) fn room(&self) -> usize {
        OUTPUT.saturating_sub(self.output.len())
    }

    /// The next octets of the sequence.
    pub(crate) fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A growth that was granted did not happen.
    fn give_back(&mut self) {
        let (memory, elements) = std::mem::take(&mut self.used.last);
        self.used.memory -= memory;
        self.used.table_elements -= elements;
    }
}

impl ResourceLimiter for GuestState {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let total = self.used.memory.saturating_add(more);
        let granted = total <= self.limits.memory;
        if granted {
            self.used.memory = total;
            self.used.last = (more, 0);
        } else {
            let detail = format!("{total} octets of memory, {} are allowed", self.limits.memory);
            self.refused = Some(RefusedGrowth::Memory(detail));
            self.used.last = (0, 0);
        }
        Ok(granted)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.give_back();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let total = self.used.table_elements.saturating_add(more);
        let granted = total <= self.limits.table_elements;
        if granted {
            self.used.table_elements = total;
            self.used.last = (0, more);
        } else {
            let detail = format!("tables of {total} elements, {} are allowed", self.limits.table_elements);
            self.refused = Some(RefusedGrowth::Table(detail));
            self.used.last = (0, 0);
        }
        Ok(granted)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.give_back();
        Ok(())
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }

    fn tables(&self) -> usize {
        TABLES
    }
}

/// The time that a guest may use, and what it used.
///
/// Looked at when the epoch advances, so entering a call costs no system call. A call is counted
/// from the first tick that finds it running, so it can overrun by two.
pub(crate) struct Budget {
    call_limit: TimeUse,
    message_limit: TimeUse,
    /// When the message began.
    began: Moment,
    /// Counts exported calls.
    call: u64,
    /// The call that was running at the last tick, and when that was.
    seen: (u64, Moment),
    /// Elapsed time in host calls of this exported call.
    host: Duration,
    /// Which limit was passed, and whose doing it is.
    pub(crate) exceeded: Option<(Blame, String)>,
}

impl Budget {
    fn new(limits: &Bounds, began: Moment) -> Self {
        Self {
            call_limit: limits.call,
            message_limit: limits.message,
            began,
            call: 0,
            seen: (0, began),
            host: Duration::ZERO,
            exceeded: None,
        }
    }

    /// From here on it is as if the message had just begun.
    pub(crate) fn restart(&mut self) {
        self.began = Moment::now();
    }

    /// A host call took this long. False: the exported call has no time left.
    pub(crate) fn host_call(&mut self, took: Duration) -> bool {
        self.host += took;
        if self.host > self.call_limit.wall {
            self.exceeded = Some((Blame::Guest, over("time in one call", self.call_limit.wall)));
        }
        self.exceeded.is_none()
    }

    fn check(&mut self) -> UpdateDeadline {
        let now = Moment::now();
        if self.seen.0 != self.call {
            self.seen = (self.call, now);
        }
        let (call, message) = (now.since(self.seen.1), now.since(self.began));
        self.exceeded = if call.cpu > self.call_limit.cpu {
            Some((Blame::Guest, over("CPU time in one call", self.call_limit.cpu)))
        } else if message.cpu > self.message_limit.cpu {
            Some((Blame::Guest, over("CPU time for one message", self.message_limit.cpu)))
        } else if call.wall > self.call_limit.wall {
            Some((self.blame(call, self.call_limit), over("time in one call", self.call_limit.wall)))
        } else if message.wall > self.message_limit.wall {
            Some((
                self.blame(message, self.message_limit),
                over("time for one message", self.message_limit.wall),
            ))
        } else {
            return UpdateDeadline::Continue(1);
        };
        UpdateDeadline::Interrupt
    }

    /// A guest that neither computed nor asked the host for half of the time, and has not used half
    /// of its CPU time either, was kept waiting by the machine.
    fn blame(&self, spent: TimeUse, limit: TimeUse) -> Blame {
        let busy = spent.cpu + self.host >= spent.wall / 2 || spent.cpu >= limit.cpu / 2;
        if busy { Blame::Guest } else { Blame::Host }
    }
}

fn over(what: &str, limit: Duration) -> String {
    format!("over {} ms of {what}", limit.as_millis())
}

/// Arms a new store.
pub(crate) fn guard(store: &mut Store<GuestState>) {
    store.limiter(|state| state);
    store.epoch_deadline_callback(|mut context| Ok(context.data_mut().budget.check()));
    store.set_max_component_handles(HANDLES);
    enter(store);
}

/// To be called before every exported call.
pub(crate) fn enter(store: &mut Store<GuestState>) {
    store.set_epoch_deadline(1);
    let state = store.data_mut();
    state.budget.call += 1;
    state.budget.host = Duration::ZERO;
    state.granted.enter();
}

/// What the clocks show to a thread. Reading them costs a system call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    wall: Instant,
    /// Of the thread, since it began.
    cpu: Duration,
}

impl Moment {
    pub(crate) fn now() -> Self {
        let cpu = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
        Self { wall: Instant::now(), cpu }
    }

    /// What was used after `before`, on the same thread.
    pub(crate) fn since(self, before: Self) -> TimeUse {
        TimeUse { cpu: self.cpu.saturating_sub(before.cpu), wall: self.wall - before.wall }
    }
}
