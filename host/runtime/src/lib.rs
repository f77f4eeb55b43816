//! Runs the first-party stages as sandboxed components. The only crate that knows wasmtime.
//!
//! Callers see [`Stages`]: plain data in, plain data out, and a [`Fault`] when a guest broke. How a call is run (a bounded
//! set of guest threads, a fresh or reused instance, epochs, memory limits) is not visible.

mod stages;

pub use stages::{Blame, Fault, FaultKind, Stage, Stages, StageStats};
