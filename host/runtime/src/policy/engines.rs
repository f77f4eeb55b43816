//! The engines for plugins: one configuration of code, two ways to hold memory.

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::config::{Class, EngineConfig, PluginLimits};
use super::error::{CompileError, EngineError};

/// Core instances of one component of class `small`: the program and the shims that `wit-component`
/// puts round it.
pub(crate) const CORE_INSTANCES: u32 = 16;
pub(crate) const MEMORIES: u32 = 2;
const TABLES: u32 = 4;
/// Memory that a slot keeps between instances; it is cleared instead of given back and faulted in
/// again.
const KEEP_RESIDENT: usize = 512 << 10;
/// Native stack of a guest. The rest of a guest thread's 2 MiB is the host's.
const STACK: usize = 768 << 10;

/// What shapes the code. The same everywhere: a plugin is compiled once, elsewhere, for both
/// classes.
fn code() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(STACK)
        .concurrency_support(false)
        .wasm_memory64(false)
        // Where a component is made of several, wasmtime's own adapters between them use the
        // memories of both.
        .wasm_multi_memory(true)
        .wasm_relaxed_simd(false)
        .native_unwind_info(false)
        .generate_address_map(false)
        // Names of functions are stripped as a rule, and taking one costs time that the plugin
        // decides how often to spend.
        .wasm_backtrace_max_frames(None)
        .allocation_strategy(InstanceAllocationStrategy::OnDemand);
    config
}

/// Native code of a component. A function of the octets, the program's version and the machine's
/// features.
///
/// A compiler is a large program and its input a stranger's. It uses all the time and memory that a
/// stranger's component makes a compiler use: run it in a child process that has limits of both and
/// a low priority, after [`super::Inventory::check`]. The answer goes to
/// [`super::PolicyEngine::keep`].
///
/// # Errors
/// It is not valid, or uses what is switched off.
pub fn compile(wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
    let wrong = |error: wasmtime::Error| CompileError(format!("{error:#}"));
    let engine = Engine::new(&code()).map_err(wrong)?;
    engine.precompile_component(wasm).map_err(wrong)
}

/// One engine for each class.
pub(crate) struct Engines {
    small: Engine,
    large: Engine,
}

impl Engines {
    pub(crate) fn new(config: &EngineConfig) -> Result<Self, EngineError> {
        let wrong = |error: wasmtime::Error| EngineError::Engine(format!("{error:#}"));
        let large = Engine::new(&code()).map_err(wrong)?;
        let mut pooled = code();
        pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(config)));
        Ok(Self { small: Engine::new(&pooled).map_err(wrong)?, large })
    }

    pub(crate) fn of(&self, class: Class) -> &Engine {
        match class {
            Class::Small => &self.small,
            Class::Large => &self.large,
        }
    }

    pub(crate) fn all(&self) -> Vec<Engine> {
        vec![self.small.clone(), self.large.clone()]
    }
}

/// Each thread runs one guest, and a fresh one replaces the one before.
fn pool(config: &EngineConfig) -> PoolingAllocationConfig {
    let instances = u32::try_from(config.threads.max(1)).unwrap_or(u32::MAX).saturating_add(1);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES))
        .total_memories(instances.saturating_mul(MEMORIES))
        .total_tables(instances.saturating_mul(TABLES))
        .total_stacks(0)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_memories_per_module(1)
        .max_tables_per_component(TABLES)
        .max_tables_per_module(TABLES)
        .max_memory_size(config.small_memory)
        .table_elements(PluginLimits::of(Class::Small).table_elements)
        .max_unused_warm_slots(instances)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    pool
}
