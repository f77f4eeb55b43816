//! A replicated log below the embedded store, so that the queue survives the loss of a machine.
//!
//! One process at a time owns a shard. It appends one [record](record) for each group of changes
//! before anybody is told that they are durable, and whoever takes the shard over reads the log into
//! an ordinary store. See `DESIGN.md`, "The replicated log".

pub(crate) mod anew;
pub(crate) mod bind;
pub(crate) mod capture;
pub(crate) mod checkpoint;
#[cfg(feature = "testing")]
pub mod memory;
pub(crate) mod offline;
pub(crate) mod record;
pub(crate) mod replay;

use std::fmt;

use async_trait::async_trait;

pub use offline::LogComparison;

/// The place of a record in its log. The first is 1, and each is one more than the one before: 0 is
/// the place before the first.
pub type Seq = u64;

/// The log of one shard, kept by an engine on several machines.
///
/// Clones of one log may be used by several processes. What keeps two owners apart is
/// [`Self::append`] alone: it names the last record that the caller knows.
#[async_trait]
pub trait ShardLog: Send + Sync + fmt::Debug {
    /// Appends a record of at most [`Self::max_record`] octets right after `expected`. When this
    /// returns [`Ok`], the record is on the disks of a quorum and stands at `expected + 1`.
    ///
    /// # Errors
    /// See [`AppendError`].
    async fn append(&self, expected: Seq, record: &[u8]) -> Result<(), AppendError>;

    /// Records from `from` on, in order and without a gap, of at least `octets` octets together
    /// unless the log ends before. The answer has everything that was acknowledged before the call,
    /// whoever appended it. Empty: the log ends before `from`.
    ///
    /// # Errors
    /// The engine is away, or `from` was trimmed.
    async fn read(&self, from: Seq, octets: usize) -> Result<Vec<LogRecord>, LogError>;

    /// What the log has, as of this call.
    ///
    /// # Errors
    /// The engine is away.
    async fn bounds(&self) -> Result<LogBounds, LogError>;

    /// Removes the records below `below`, some time. It may be called again for the same place.
    ///
    /// # Errors
    /// The engine is away.
    async fn trim(&self, below: Seq) -> Result<(), LogError>;

    /// Octets that one record may have; at least 64 KiB.
    fn max_record(&self) -> usize;
}

/// A record as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Where it stands.
    pub seq: Seq,
    /// Its octets.
    pub octets: Vec<u8>,
}

/// What a log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogBounds {
    /// The first record that is kept. One more than `last`: none is.
    pub first: Seq,
    /// The last record that was ever appended; 0 for a new log.
    pub last: Seq,
    /// Octets of the records that are kept, about.
    pub octets: u64,
}

/// Why a record was not appended, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// There is another record after `expected`. The caller may have appended it itself by an earlier
    /// call whose answer was lost.
    #[error("the log has a record after {0} already")]
    Fenced(Seq),
    /// It is not known. It may appear in the log later.
    #[error("it is not known whether the log has the record: {0}")]
    Unknown(String),
    /// It was not appended, and will not be.
    #[error("the log is away: {0}")]
    Unavailable(String),
}

/// Why a log could not be read or trimmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The engine does not answer, or does not answer for a quorum.
    #[error("the log is away: {0}")]
    Unavailable(String),
    /// Records from this place on were asked for, and are trimmed.
    #[error("the log has no record {0} any more")]
    Trimmed(Seq),
    /// The log holds what nobody appended.
    #[error("the log is damaged: {0}")]
    Damaged(String),
}
