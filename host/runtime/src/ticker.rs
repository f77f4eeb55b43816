//! Advances the epoch of engines while guests run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::Engine;

/// How often a running guest can be looked at. It can overrun a budget by two of these.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Ticks without a guest after which the thread sleeps until there is one.
const IDLE_TICKS: u32 = 100;

#[derive(Default)]
struct TickerState {
    running: AtomicUsize,
    parked: AtomicBool,
    stop: AtomicBool,
}

/// The thread that advances the epoch. An idle relay is not woken by it.
pub(crate) struct Ticker {
    shared: Arc<TickerState>,
    thread: Option<JoinHandle<()>>,
}

/// While it exists the epoch advances.
pub(crate) struct Ticking<'a>(&'a TickerState);

impl Ticker {
    pub(crate) fn start(engines: Vec<Engine>) -> std::io::Result<Self> {
        let shared = Arc::new(TickerState::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name("epoch".into()).spawn(move || tick(&engines, &theirs))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub(crate) fn run(&self) -> Ticking<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst) {
            self.unpark();
        }
        Ticking(&self.shared)
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.unpark();
        if let Some(thread) = self.thread.take() {
            // It does nothing that can fail; there is nobody to tell if it did.
            let _ = thread.join();
        }
    }
}

fn tick(engines: &[Engine], shared: &TickerState) {
    let mut idle = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        if shared.running.load(Ordering::SeqCst) > 0 {
            idle = 0;
        } else {
            idle += 1;
        }
        if idle < IDLE_TICKS {
            thread::sleep(TICK);
            engines.iter().for_each(Engine::increment_epoch);
            continue;
        }
        // Parked is set before running is read again, and a starting guest does the two in the
        // other order: one of them sees the other.
        shared.parked.store(true, Ordering::SeqCst);
        if shared.running.load(Ordering::SeqCst) == 0 && !shared.stop.load(Ordering::SeqCst) {
            thread::park();
        }
        shared.parked.store(false, Ordering::SeqCst);
        idle = 0;
    }
}
