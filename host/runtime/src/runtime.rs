//! The first-party stages on wasmtime: what they need, and one call of a stage.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasmtime::{Engine, Store};

use crate::call::{Broken, explain};
use crate::config::{LoadError, RuntimeConfig, StageLimits};
use crate::load::{Guest, Prepared, new_store};
use crate::state::{GuestState, Moment};
use crate::ticker::Ticker;
use crate::{Blame, Fault, FaultKind, Stage, StageStats, engine};

/// Instances that may exist at the same time for each call that runs: a call whose caller panicked
/// may still hold one.
const INSTANCES_PER_CALL: usize = 2;

/// The sandbox with the first-party components in it. One for a process.
///
/// A call runs on the thread of the caller.
pub struct Runtime {
    engine: Engine,
    prepared: Prepared,
    limits: StageLimits,
    ticker: Ticker,
    counters: [StageCounters; Stage::ALL.len()],
}

#[derive(Default)]
pub(crate) struct StageCounters {
    calls: AtomicU64,
    faults: AtomicU64,
    cpu_nanos: AtomicU64,
}

impl Runtime {
    /// Compiles the components, or takes them from the cache. Blocks for as long as the compiler
    /// runs: a second or two the first time, milliseconds later.
    ///
    /// # Errors
    /// A component that is missing, does not load or imports what it is not granted; an engine or a
    /// thread that cannot start.
    pub fn new(config: RuntimeConfig) -> Result<Arc<Self>, LoadError> {
        Self::with_components(config, crate::components::embedded)
    }

    pub(crate) fn with_components(
        config: RuntimeConfig,
        component: impl Fn(Stage) -> Option<crate::components::Embedded> + Sync,
    ) -> Result<Arc<Self>, LoadError> {
        let instances = config.calls.max(1).saturating_mul(INSTANCES_PER_CALL);
        let engine = engine::lean(&config.limits, u32::try_from(instances).unwrap_or(u32::MAX))?;
        let prepared = Prepared::load(&engine, &config, component)?;
        let ticker = Ticker::start(vec![engine.clone()]).map_err(LoadError::Thread)?;
        Ok(Arc::new(Self { engine, prepared, limits: config.limits, ticker, counters: Default::default() }))
    }

    /// Runs `calls` with a fresh instance of `G`, which is dropped afterwards. `now` is in seconds.
    pub(crate) fn run<G: Guest, T>(
        &self,
        now: i64,
        seed: u64,
        calls: impl FnOnce(&mut Store<GuestState>, &G) -> Result<T, Broken>,
    ) -> Result<T, Fault> {
        let began = Moment::now();
        let ticking = self.ticker.run();
        // A panic of the host, such as one of a source, is this message's: the worker goes on.
        let result = catch_unwind(AssertUnwindSafe(|| self.instance(began, now, seed, calls)));
        drop(ticking);
        let result = result.unwrap_or_else(|_| {
            let detail = "the host panicked while running it".to_owned();
            Err(Fault { stage: G::STAGE, blame: Blame::Host, kind: FaultKind::Host, detail })
        });
        self.counters[G::STAGE.index()].count(result.is_ok(), Moment::now().since(began).cpu);
        result.inspect_err(report)
    }

    fn instance<G: Guest, T>(
        &self,
        began: Moment,
        now: i64,
        seed: u64,
        calls: impl FnOnce(&mut Store<GuestState>, &G) -> Result<T, Broken>,
    ) -> Result<T, Fault> {
        let mut store = new_store(&self.engine, (&self.limits).into(), began);
        let milliseconds = u64::try_from(now).unwrap_or(0).saturating_mul(1_000);
        store.data_mut().begin(milliseconds, seed, began);
        let result = G::instantiate(&self.prepared, &mut store).map_err(Broken::Engine);
        result.and_then(|guest| calls(&mut store, &guest)).map_err(|broken| {
            let (blame, kind, detail) = explain(broken, store.data());
            Fault { stage: G::STAGE, blame, kind, detail }
        })
    }

    /// The cost of each stage since the start.
    pub(crate) fn counted(&self) -> Vec<(Stage, StageStats)> {
        Stage::ALL.map(|stage| (stage, self.counters[stage.index()].read())).to_vec()
    }
}

impl StageCounters {
    pub(crate) fn count(&self, answered: bool, cpu: Duration) {
        let nanos = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
        self.cpu_nanos.fetch_add(nanos, Ordering::Relaxed);
        let count = if answered { &self.calls } else { &self.faults };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> StageStats {
        StageStats {
            calls: self.calls.load(Ordering::Relaxed),
            faults: self.faults.load(Ordering::Relaxed),
            cpu: Duration::from_nanos(self.cpu_nanos.load(Ordering::Relaxed)),
        }
    }
}

pub(crate) fn report(fault: &Fault) {
    let Fault { stage, blame, kind, detail } = fault;
    tracing::warn!(stage = stage.name(), ?blame, ?kind, detail, "fault");
}
