//! Many nodes. Nothing of it runs unless `[cluster]` names an engine.
//!
//! An engine keeps the logs of shards ([`relevo_queue::shard_log`]) and the leases by which nodes
//! divide them. There are two, with the same contract: NATS JetStream and PostgreSQL.

pub mod engine;
pub mod host;
pub mod jetstream;
pub mod lease;
pub mod limits;
pub mod member;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
pub mod metrics;
pub mod peers;
pub mod postgres;
pub mod shards;
pub mod tcp;
pub mod wire;
