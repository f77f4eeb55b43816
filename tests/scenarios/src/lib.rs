//! The parts together: case files natively and in the sandbox, the composition for Spin, and the
//! rules of the workspace.

pub mod cases;
#[allow(clippy::unwrap_used, reason = "for tests alone")]
pub mod edge;
pub mod native;
pub mod render;
pub mod spin;

use std::path::{Path, PathBuf};

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_owned).unwrap_or_default()
}
