//! Runs the first-party stages, and the plugins that tenants bring ([`policy`]), as sandboxed
//! components. The only crate that knows wasmtime.
//!
//! Callers see [`Stages`]: plain data in, plain data out, and a [`Fault`] when a guest broke. How a
//! call is run (a fresh instance, epochs, memory limits) is not visible. [`Runtime`] is the
//! implementation, with the components of the build in it. `DESIGN.md` beside this crate has the
//! measurements.

mod answer;
mod bindings;
mod cache;
mod call;
mod classifier;
mod components;
mod config;
mod engine;
mod fair_queue;
mod file;
mod imports;
mod load;
pub mod policy;
mod runtime;
mod stage_calls;
mod stages;
mod state;
#[cfg(test)]
mod tests;
mod ticker;

pub use classifier::{Classifier, RulesError, RulesLoadError};
pub use components::{component, components_are_stale};
pub use config::{LoadError, RuntimeConfig, StageLimits};
pub use fair_queue::FairQueue;

pub use runtime::Runtime;
pub use stages::{Blame, Fault, FaultKind, Stage, StageStats, Stages};
