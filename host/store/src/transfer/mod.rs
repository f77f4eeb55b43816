//! Moves a whole store to another database: `relevo store export` and `import`.
//!
//! The file is lines of JSON. The first one names the format and the migration of the tables; then
//! each table follows with its rows, parents before children, and the files that belong to the store,
//! such as private keys. The last line counts what came before and has its SHA-256. A table cannot be
//! forgotten: the list is that of an empty database that the migrations have made.

mod cell;
mod export;
mod import;
mod schema;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::ControlStoreError;

/// The format of the file. It changes when the meaning of a line does.
const FORMAT: u32 = 1;
/// Octets that one line may have: a row with a component of the largest size, and room.
const MAX_LINE: usize = 256 << 20;

/// A file that moves with the store, such as the private key of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferFile {
    /// Its path in the data directory.
    pub path: String,
    /// Its content.
    pub content: Vec<u8>,
}

/// What was moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transferred {
    /// Tables, also empty ones.
    pub tables: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// Files beside the tables.
    pub files: u64,
}

/// Why a store was not moved. The one that it was to go to is as it was.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// A store failed.
    #[error(transparent)]
    Store(#[from] ControlStoreError),
    /// The file cannot be read or written.
    #[error("the file: {0}")]
    Io(#[from] std::io::Error),
    /// The file is not an export, is not whole, or was changed.
    #[error("line {line}: {why}")]
    Damaged {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// The file has tables as another version of Relevo makes them.
    #[error(
        "the file has the tables of migration {found}, and this program those of migration {own}: import it with the \
         version that wrote it, and start this one on the store then, which brings it up to date"
    )]
    OtherVersion {
        /// The last migration of the file.
        found: i64,
        /// The last one of this program.
        own: i64,
    },
    /// There is something in the store already.
    #[error(
        "the store is not empty: its table `{0}` has rows; name an empty database, or a file that is not there"
    )]
    NotEmpty(String),
    /// A file beside the tables cannot be used.
    #[error("{0}")]
    File(String),
}

impl From<sqlx::Error> for TransferError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    relevo_store: u32,
    migration: i64,
}

/// A table begins.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableLine {
    table: String,
    columns: Vec<String>,
}

/// A file beside the tables.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLine {
    file: String,
    base64: String,
}

/// The last line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    end: Transferred,
    sha256: String,
}
