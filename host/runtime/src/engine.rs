//! The lean engine: what the first-party stages need and nothing else.

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::config::{LoadError, StageLimits};

/// Core instances of one component: the program and the shims that `wit-component` puts round it.
const CORE_INSTANCES: u32 = 8;
/// Memory that a slot keeps between instances; it is cleared instead of given back and faulted in
/// again.
const KEEP_RESIDENT: usize = 2 << 20;

/// An engine with room for `instances` at the same time.
pub(crate) fn lean(limits: &StageLimits, instances: u32) -> Result<Engine, LoadError> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances * CORE_INSTANCES)
        .total_memories(instances)
        .total_tables(instances * 4)
        .total_stacks(0)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(1)
        .max_memories_per_module(1)
        .max_tables_per_component(4)
        .max_tables_per_module(2)
        .max_memory_size(limits.memory)
        .table_elements(limits.table_elements)
        .max_unused_warm_slots(instances)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);

    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .max_wasm_stack(512 << 10)
        .concurrency_support(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_relaxed_simd(false)
        .native_unwind_info(false)
        .generate_address_map(false);
    Engine::new(&config).map_err(|error| LoadError::Engine(format!("{error:#}")))
}
