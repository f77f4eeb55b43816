//! Plugins: components that tenants bring. An engine of their own, beside that of the first-party
//! stages.
//!
//! # From an upload to a verdict
//!
//! 1. [`inspect`] looks at the octets without compiling: imports, exports, sizes. [`audit`] names
//!    what is not granted.
//! 2. [`compile`] makes native code of it. The compiler's cost is not bounded here: run it in a
//!    child process with limits.
//! 3. [`PolicyEngine::keep`] puts the code into the cache under the component's digest.
//! 4. [`PolicyEngine::load`] makes a [`Policy`] of it for one tenant. Equal digests share the code.
//! 5. [`Policy::configure`] and [`Policy::judge`] with samples are the self-test.
//!
//! Who calls whom, in what order, and what the limits are, is in `wit/relevo-policy-0.1.0`.

mod api;
mod bindings;
mod breaker;
mod code;
mod config;
mod convert;
mod engine;
mod engines;
mod error;
pub(crate) mod granted;
mod inventory;
mod metrics;
mod plugin;
mod pool;
mod session;
#[cfg(test)]
mod tests;
mod warm;

pub use api::{
    Batch, Body, CallOutcome, Case, Cost, Data, Digest, Export, Judgement, KeyValues, LogLevel, LogLine,
    PluginFault, Policy, Unavailable,
};
pub use breaker::{Breaker, BreakerConfig, BreakerState, Permit};
pub use config::{Capability, CapabilityGrants, Class, EngineConfig, PluginConfig, PluginLimits};
pub use engine::PolicyEngine;
pub use engines::compile;
pub use error::{CompileError, EngineError, PluginError};
pub use inventory::{Denied, DeniedReason, Inventory, NotAComponent, UploadBounds, audit, inspect};
pub use metrics::{CPU_BUCKETS, HistogramSnapshot, MEMORY_BUCKETS, PluginMetrics};
pub use plugin::SandboxedPlugin;
