//! What a cluster needs of an engine.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use relevo_queue::shard_log::{LogError, ShardLog};

use crate::lease::Leases;

/// A shard: the upper 16 bits of the random part of an item's id.
pub type ShardId = u16;

/// Why an engine cannot be used. The words name what is wrong and what helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It does not answer.
    #[error("{0}")]
    Away(String),
    /// It answers, and does not promise enough.
    #[error("{0}")]
    Refused(String),
}

impl From<LogError> for EngineError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Unavailable(why) => Self::Away(why),
            other => Self::Refused(other.to_string()),
        }
    }
}

/// Keeps logs and leases on several machines.
#[async_trait]
pub trait Engine: Send + Sync + fmt::Debug {
    /// The log of a shard, which is made when there is none.
    ///
    /// # Errors
    /// The engine does not answer.
    async fn log(&self, shard: ShardId) -> Result<Arc<dyn ShardLog>, EngineError>;

    /// The shards that have a log.
    ///
    /// # Errors
    /// The engine does not answer.
    async fn shards(&self) -> Result<Vec<ShardId>, EngineError>;

    /// Leases of this cluster.
    fn leases(&self) -> Arc<dyn Leases>;
}
