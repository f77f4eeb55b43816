//! The stages on wasmtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use relevo_mailkit::model::{
    MessageEnvelope, Part, Refusal, Rendered, Report, Rewrite, SignatureRequest, SignatureVerdict,
    TemplateError, TemplateLimits, TemplateSource, TrackOptions, Txt, Unsigned, ValidateOptions,
};
use relevo_mailkit::source::Source;

use crate::call::Sandbox;
use crate::config::{LoadError, RuntimeConfig};
use crate::lanes::Lane;
use crate::load::Prepared;
use crate::pool::Pool;
use crate::slots::Slots;
use crate::state::Moment;
use crate::ticker::Ticker;
use crate::{Blame, Fault, FaultKind, Sign, Stage, StageStats, Stages, engine, stage_calls};

/// Added to the nice value of the guest threads. They have most of the work; where a thread that answers a client or writes
/// the queue has to wait for them, everybody does.
const NICE: i32 = 5;

/// The sandbox with the first-party components in it. One for a process.
pub struct Runtime {
    shared: Arc<Shared>,
    pool: Pool<Slots>,
    /// Whose turn it is was decided before.
    lane: Arc<Lane>,
}

struct Shared {
    sandbox: Sandbox,
    ticker: Ticker,
    counters: [Counters; 4],
    busy: AtomicU64,
}

#[derive(Default)]
struct Counters {
    calls: AtomicU64,
    faults: AtomicU64,
    cpu_nanos: AtomicU64,
}

impl Runtime {
    /// Compiles the components, or takes them from the cache, and starts the guest threads. Blocks for as long as the compiler
    /// runs: a second or two the first time, milliseconds later.
    ///
    /// # Errors
    /// A component that is missing, does not load or imports what it is not granted; an engine or a thread that cannot start.
    pub fn new(config: RuntimeConfig) -> Result<Arc<Self>, LoadError> {
        Self::with_components(config, crate::components::embedded)
    }

    pub(crate) fn with_components(
        config: RuntimeConfig,
        component: impl Fn(Stage) -> Option<crate::components::Embedded> + Sync,
    ) -> Result<Arc<Self>, LoadError> {
        let threads = config.threads.max(1);
        // Each thread runs one guest and may keep one of each stage.
        let instances = u32::try_from(threads.saturating_mul(Stage::ALL.len() + 1)).unwrap_or(u32::MAX);
        let engine = engine::lean(&config.limits, instances)?;
        let prepared = Prepared::load(&engine, &config, component)?;
        let ticker = Ticker::start(vec![engine.clone()]).map_err(LoadError::Thread)?;
        let sandbox = Sandbox {
            engine,
            prepared,
            limits: config.limits,
            calls_per_instance: config.calls_per_instance,
        };
        let shared = Shared { sandbox, ticker, counters: Default::default(), busy: AtomicU64::default() };
        let pool = Pool::start(threads, "guest", NICE).map_err(LoadError::Thread)?;
        Ok(Arc::new(Self { shared: Arc::new(shared), pool, lane: Arc::new(Lane::unbounded()) }))
    }

    /// CPU time that the guest threads spent on calls, the checks of answers included.
    #[must_use]
    pub fn engine_threads_cpu(&self) -> Duration {
        Duration::from_nanos(self.shared.busy.load(Ordering::Relaxed))
    }

    async fn run<T: Send + 'static>(
        &self,
        stage: Stage,
        call: impl FnOnce(&Sandbox, &mut Slots) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        self.run_then(stage, call, |answer| answer).await
    }

    async fn signing_input_then<U: Send + 'static>(
        &self,
        requests: Vec<SignatureRequest>,
        copy: Arc<dyn Source>,
        now: i64,
        then: impl FnOnce(Vec<Unsigned>) -> U + Send + 'static,
    ) -> Result<U, Fault> {
        if requests.is_empty() {
            return Ok(then(Vec::new()));
        }
        let call = move |sandbox: &Sandbox, slots: &mut Slots| {
            stage_calls::signing_input(sandbox, slots, requests, copy.as_ref(), now)
        };
        self.run_then(Stage::Dkim, call, then).await
    }

    /// Does `then` with the answer on the guest thread, where the guest no longer runs.
    async fn run_then<T: 'static, U: Send + 'static>(
        &self,
        stage: Stage,
        call: impl FnOnce(&Sandbox, &mut Slots) -> Result<T, Fault> + Send + 'static,
        then: impl FnOnce(T) -> U + Send + 'static,
    ) -> Result<U, Fault> {
        let shared = Arc::clone(&self.shared);
        let job = move |slots: &mut Slots| shared.measured(stage, slots, call).map(then);
        let result = self.pool.run(&self.lane, None, job).await;
        let result = result.unwrap_or_else(|not_run| {
            let detail = not_run.reason().to_owned();
            Err(Fault { stage, blame: Blame::Host, kind: FaultKind::Host, detail })
        });
        result.inspect_err(report)
    }
}

fn report(fault: &Fault) {
    let Fault { stage, blame, kind, detail } = fault;
    tracing::warn!(stage = stage.name(), ?blame, ?kind, detail, "fault");
}

impl Shared {
    fn measured<T>(
        &self,
        stage: Stage,
        slots: &mut Slots,
        call: impl FnOnce(&Sandbox, &mut Slots) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let began = Moment::now();
        let ticking = self.ticker.run();
        let result = call(&self.sandbox, slots);
        drop(ticking);
        let spent = Moment::now().since(began).cpu;
        let nanos = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        let counters = &self.counters[stage.index()];
        counters.cpu_nanos.fetch_add(nanos, Ordering::Relaxed);
        self.busy.fetch_add(nanos, Ordering::Relaxed);
        let count = if result.is_ok() { &counters.calls } else { &counters.faults };
        count.fetch_add(1, Ordering::Relaxed);
        result
    }
}

#[async_trait]
impl Stages for Runtime {
    async fn validate(
        &self,
        options: ValidateOptions,
        message: Arc<dyn Source>,
    ) -> Result<Result<Report, Refusal>, Fault> {
        let call = move |sandbox: &Sandbox, slots: &mut Slots| {
            stage_calls::validate(sandbox, slots, options, message.as_ref())
        };
        self.run(Stage::Validate, call).await
    }

    async fn track(
        &self,
        options: TrackOptions,
        parts: Vec<Part>,
        message: Arc<dyn Source>,
    ) -> Result<Rewrite, Fault> {
        if !stage_calls::could_want(&options, &parts) {
            return Ok(Rewrite { edits: Vec::new(), links: Vec::new(), notes: Vec::new() });
        }
        let call = move |sandbox: &Sandbox, slots: &mut Slots| {
            stage_calls::track(sandbox, slots, options, &parts, message.as_ref())
        };
        self.run(Stage::Track, call).await
    }

    async fn signing_input(
        &self,
        requests: Vec<SignatureRequest>,
        copy: Arc<dyn Source>,
        now: i64,
    ) -> Result<Vec<Unsigned>, Fault> {
        self.signing_input_then(requests, copy, now, |unsigned| unsigned).await
    }

    async fn sign(
        &self,
        requests: Vec<SignatureRequest>,
        copy: Arc<dyn Source>,
        now: i64,
        sign: Sign,
    ) -> Result<(), Fault> {
        self.signing_input_then(requests, copy, now, sign).await
    }

    async fn verify(
        &self,
        records: Vec<Txt>,
        message: Arc<dyn Source>,
        now: i64,
    ) -> Result<Vec<SignatureVerdict>, Fault> {
        let call = move |sandbox: &Sandbox, slots: &mut Slots| {
            stage_calls::verify(sandbox, slots, records, message.as_ref(), now)
        };
        self.run(Stage::Dkim, call).await
    }

    async fn render(
        &self,
        source: TemplateSource,
        variables: String,
        limits: TemplateLimits,
    ) -> Result<Result<Rendered, TemplateError>, Fault> {
        let call = move |sandbox: &Sandbox, slots: &mut Slots| {
            stage_calls::render(sandbox, slots, source, &variables, limits)
        };
        self.run(Stage::Template, call).await
    }

    async fn build(
        &self,
        envelope: MessageEnvelope,
        content: Rendered,
    ) -> Result<Result<Vec<u8>, TemplateError>, Fault> {
        let call =
            move |sandbox: &Sandbox, slots: &mut Slots| stage_calls::build(sandbox, slots, envelope, content);
        self.run(Stage::Template, call).await
    }

    fn stats(&self) -> Vec<(Stage, StageStats)> {
        let read = |stage: Stage| {
            let counters = &self.shared.counters[stage.index()];
            let stats = StageStats {
                calls: counters.calls.load(Ordering::Relaxed),
                faults: counters.faults.load(Ordering::Relaxed),
                cpu: Duration::from_nanos(counters.cpu_nanos.load(Ordering::Relaxed)),
            };
            (stage, stats)
        };
        Stage::ALL.map(read).to_vec()
    }
}
