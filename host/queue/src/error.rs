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
    /// Written by a version that was never released.
    #[error(
        "{}: format {found} is older than format {known}, the only one that this version reads: empty the queue with \
         the version that wrote it, or begin with an empty data directory", .path.display()
    )]
    Older {
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
    /// The index and the rest of the directory do not belong together. Nothing was changed.
    #[error(
        "{}: {why}; restore the directory as a whole from a backup, or run `relevo queue recover`, which rebuilds what \
         bodies and segments still tell", .path.display()
    )]
    Mismatch {
        /// The file that does not fit.
        path: PathBuf,
        /// How that was found out.
        why: String,
    },
    /// The index cannot be read.
    #[error("{}: {why}; restore the directory from a backup, or run `relevo queue recover`", .path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The shard's log cannot be had, or does not belong to the directory.
    #[error("the log of the shard: {why}")]
    Log {
        /// What is wrong, and what helps.
        why: String,
    },
    /// The directory and the shard's log have one beginning at most: since then each has what the other
    /// lacks. Nothing was changed.
    #[error(
        "{}: the log of the shard has another record {seq} than this directory: the log was written anew, or the engine \
         lost what it had acknowledged. Move the directory away, and it is made from the log; or run `relevo shard \
         rebuild`, which writes the log from this directory", .path.display()
    )]
    OtherHistory {
        /// The directory.
        path: PathBuf,
        /// The record.
        seq: u64,
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
