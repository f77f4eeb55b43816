//! Errors of compiling, of starting the engine, and of loading a plugin.

use std::path::PathBuf;

/// Why a component cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[error("the component does not compile: {0}")]
pub struct CompileError(pub String);

/// Why the engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The directory for compiled plugins cannot be made or cannot be trusted.
    #[error("{} cannot hold compiled plugins: {reason}", .directory.display())]
    Cache {
        /// Which.
        directory: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// The engine cannot work here, such as when address space is limited.
    #[error("the sandbox for plugins cannot start: {0}")]
    Engine(String),
    /// No thread could be started.
    #[error("cannot start a thread for plugins")]
    Thread(#[source] std::io::Error),
}

/// Why a plugin is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// Its compiled code is not in the cache, is not what was written, or comes from another
    /// engine: compile again.
    #[error("it is not compiled")]
    NotCompiled,
    /// It is compiled, but has more core instances, memories or tables than its class holds.
    #[error("class `small` does not hold it: {}", super::inventory::TRY_LARGE)]
    Class,
    /// It imports what it is not granted.
    #[error("{}", denied(.0))]
    Denied(Vec<super::Denied>),
    /// It is no plugin: exports are missing or have other types, or it declares more than its
    /// limits.
    #[error("it is no plugin of this version: {0}")]
    Type(String),
    /// Settings for a plugin without `configure`.
    #[error("it takes no settings: `configure` is not exported")]
    NoSettings,
    /// A limit beyond what the engine was set up for.
    #[error("{0}")]
    Limit(String),
    /// Writing the cache failed.
    #[error("the compiled code cannot be kept")]
    Io(#[from] std::io::Error),
}

fn denied(denied: &[super::Denied]) -> String {
    denied.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
