//! What a runtime is given, and why one does not start.

use std::path::PathBuf;
use std::time::Duration;

use crate::Stage;

/// How the stages are run.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// Where compiled components are kept between starts, made 0700. `None`: compiled at every
    /// start.
    ///
    /// Nobody else may write there: it holds native code. A directory of somebody else's, or one
    /// open to others, is not used.
    pub cache_dir: Option<PathBuf>,
    /// Calls at the same time. Callers see to it that there are no more; a call beyond them can
    /// fail for want of memory.
    pub calls: usize,
    /// What a call may use.
    pub limits: StageLimits,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            cache_dir: None,
            calls: std::thread::available_parallelism().map_or(2, usize::from).max(2),
            limits: StageLimits::default(),
        }
    }
}

impl RuntimeConfig {
    /// The defaults with the cache in `component-cache` beside the running program, or beside its
    /// `deps` directory for a test: compiled once per build, not once per test binary.
    #[must_use]
    pub fn beside_executable() -> Self {
        let directory = std::env::current_exe().ok().and_then(|exe| {
            let parent = exe.parent()?;
            let inner = parent.ends_with("deps") || parent.ends_with("examples");
            Some(if inner { parent.parent()? } else { parent }.to_owned())
        });
        Self { cache_dir: directory.map(|d| d.join("component-cache")), ..Self::default() }
    }
}

/// What a call of a first-party stage may use.
#[derive(Debug, Clone, Copy)]
pub struct StageLimits {
    /// Octets of linear memory.
    pub memory: usize,
    /// Elements of each table.
    pub table_elements: usize,
    /// CPU time of one exported call.
    pub call_cpu: Duration,
    /// CPU time of all calls for one message.
    pub message_cpu: Duration,
    /// Wall time of all calls for one message: a busy machine, a slow disk.
    pub message_wall: Duration,
}

impl Default for StageLimits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            table_elements: 20_000,
            call_cpu: Duration::from_secs(1),
            message_cpu: Duration::from_secs(5),
            message_wall: Duration::from_secs(30),
        }
    }
}

/// Why the runtime does not start.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The build had no components.
    #[error("this build has no component {}: run `cargo xtask build`", .0.name())]
    Missing(Stage),
    /// A component asks for something it is not granted.
    #[error("component {} imports {import}, which is neither granted nor tolerated", .stage.name())]
    Import {
        /// Which component.
        stage: Stage,
        /// The import as `namespace:package/interface@version#function`.
        import: String,
    },
    /// A component is not valid, too large for the limits, or does not export its interface.
    #[error("component {} does not load: {detail}", .stage.name())]
    Component {
        /// Which component.
        stage: Stage,
        /// What the engine says.
        detail: String,
    },
    /// The engine cannot work here, such as when address space is limited.
    #[error("the sandbox cannot start: {0}")]
    Engine(String),
    /// The thread that advances the epoch could not be started.
    #[error("cannot start the thread that ends calls which take too long")]
    Thread(#[source] std::io::Error),
}
