//! A plugin as one tenant uses it.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use wasmtime::Store;

use super::api::{Batch, CallOutcome, Case, Data, Digest, Export, Judgement, PluginFault, Policy};
use super::bindings::policy::relevo::policy::types::Attribute;
use super::code::Code;
use super::config::{Class, PluginConfig};
use super::engine::EngineParts;
use super::granted::GrantedCapabilities;
use super::metrics::{PluginCounters, PluginMetrics};
use super::pool::NotRun;
use super::session::{self, ten_times};
use super::warm::Instance;
use crate::state::{Bounds, GuestState, Moment, TimeUse};
use crate::{Blame, FaultKind};

/// What the guest process may move to the host in one host call or answer. Answers have a limit of
/// their own, which is looked at afterwards; what is asked of `relevo:host` is refused politely
/// below this, and with a trap above.
const CROSSING: usize = 4 << 20;

/// What operations of a plugin need on a guest thread.
pub(crate) struct LoadedPlugin {
    pub(crate) id: u64,
    pub(crate) engine: Arc<EngineParts>,
    pub(crate) code: Arc<Code>,
    pub(crate) config: PluginConfig,
    /// As `configure` gets them.
    pub(crate) settings: Vec<Attribute>,
    pub(crate) counters: PluginCounters,
}

impl LoadedPlugin {
    pub(crate) fn keeps_instances(&self) -> bool {
        self.config.class == Class::Large
    }

    pub(crate) fn keep(&self, instance: Instance) {
        if self.keeps_instances() {
            self.engine.warm.put(self.id, instance, Instant::now());
        }
    }

    /// A store with the limits armed and nothing in it.
    pub(crate) fn new_store(&self, began: Moment) -> Store<GuestState> {
        let limits = &self.config.limits;
        let bounds = Bounds {
            memory: limits.memory,
            table_elements: limits.table_elements,
            call: TimeUse { cpu: limits.call_cpu, wall: limits.call_wall },
            message: TimeUse { cpu: ten_times(limits.call_cpu), wall: ten_times(limits.call_wall) },
        };
        let mut state = GuestState::new(bounds, began);
        state.granted = GrantedCapabilities::new(&self.config.grants, limits);
        let mut store = Store::new(self.engine.engines.of(self.config.class), state);
        store.set_hostcall_fuel(CROSSING.max(limits.result.saturating_mul(2)));
        store
    }

    /// Of what an instance does before it sees a message.
    pub(crate) fn start_seed(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.code.digest;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// Of a message. The same message gets the same in every replay, another one nothing that can
    /// be foreseen from it.
    pub(crate) fn seed(&self, id: &[u8], now: u64) -> u64 {
        let hash = Sha256::new().chain_update(now.to_le_bytes()).chain_update(id).finalize();
        hash.iter().take(8).fold(0, |seed, octet| seed << 8 | u64::from(*octet))
    }
}

impl Drop for LoadedPlugin {
    fn drop(&mut self) {
        self.engine.warm.remove(self.id);
    }
}

/// A [`Policy`] in the sandbox.
pub struct SandboxedPlugin {
    shared: Arc<LoadedPlugin>,
    /// Whose share of the threads it has.
    tenant: Arc<str>,
}

impl SandboxedPlugin {
    pub(crate) fn new(shared: LoadedPlugin) -> Self {
        Self { tenant: shared.config.tenant.as_str().into(), shared: Arc::new(shared) }
    }

    /// Whether both run the same compiled code in memory.
    #[must_use]
    pub fn shares_code_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared.code, &other.shared.code)
    }

    /// Runs an operation on a guest thread, when it is the tenant's turn.
    async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&LoadedPlugin) -> CallOutcome<T> + Send + 'static,
    ) -> CallOutcome<T> {
        let engine = &self.shared.engine;
        let shared = Arc::clone(&self.shared);
        let job = move || operation(&shared);
        let outcome = engine.pool.run(&self.tenant, Some(engine.wait), job).await;
        self.ended(outcome)
    }

    fn ended<T>(&self, outcome: Result<CallOutcome<T>, NotRun>) -> CallOutcome<T> {
        let outcome = outcome.unwrap_or_else(|not_run| self.not_run(&not_run));
        if let Err(fault) = &outcome.result {
            let PluginConfig { tenant, name, .. } = &self.shared.config;
            tracing::debug!(tenant, plugin = name, %fault, "fault of a plugin");
        }
        outcome
    }

    fn not_run<T>(&self, why: &NotRun) -> CallOutcome<T> {
        let detail = why.reason().to_owned();
        let fault = PluginFault { export: Export::Start, blame: Blame::Host, kind: FaultKind::Host, detail };
        self.shared.counters.fault(&fault);
        CallOutcome::unspent(Err(fault))
    }
}

#[async_trait]
impl Policy for SandboxedPlugin {
    fn config(&self) -> &PluginConfig {
        &self.shared.config
    }

    fn digest(&self) -> Digest {
        self.shared.code.digest
    }

    fn exports(&self, export: Export) -> bool {
        self.shared.code.has(export)
    }

    async fn configure(&self, now: u64, data: Data) -> CallOutcome<()> {
        self.run(move |plugin| session::configure(plugin, now, data)).await
    }

    async fn judge(&self, case: Case) -> CallOutcome<Judgement> {
        self.run(move |plugin| session::judge(plugin, case)).await
    }

    async fn judge_if_idle(&self, case: Case) -> Option<CallOutcome<Judgement>> {
        let shared = Arc::clone(&self.shared);
        let job = move || session::judge(&shared, case);
        let outcome = self.shared.engine.pool.run_if_idle(&self.tenant, job)?.await;
        Some(self.ended(outcome))
    }

    async fn observe(&self, batch: Batch) -> CallOutcome<()> {
        if !self.exports(Export::Observe) {
            return CallOutcome::unspent(Ok(()));
        }
        self.run(move |plugin| session::observe(plugin, batch)).await
    }

    fn metrics(&self) -> PluginMetrics {
        self.shared.counters.read()
    }
}
