//! Why a store does not open.

use std::io;
use std::path::PathBuf;

/// Why a store does not open. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// One process per data directory.
    #[error("{}: in use by process {pid}", .path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who has it.
        pid: String,
    },
    /// Written by a newer version.
    #[error("{}: format {found} is newer than format {known}, the newest that this version reads", .path.display())]
    Newer {
        /// The version file.
        path: PathBuf,
        /// What it says.
        found: u32,
        /// What is known.
        known: u32,
    },
    /// The version file is not one of ours.
    #[error("{}: not the version file of a queue", .path.display())]
    NotAStore {
        /// The version file.
        path: PathBuf,
    },
    /// The index cannot be read.
    #[error("{}: {why}", .path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The operating system refused something.
    #[error("{}: {error}", .path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}
