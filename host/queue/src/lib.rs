//! The durable queue and the event log, behind traits; and the embedded store.
//!
//! The unit of the queue is a *delivery*: one item, one recipient domain, the recipients that share
//! one copy. Items hold what deliveries share: the bytes, the recipe for making copies, the
//! envelope. See `DESIGN.md` for the on-disk format.

mod api;
mod checked;
mod compact;
pub mod disk;
mod draft;
mod error;
mod generation;
mod group;
mod index;
mod inner;
mod layout;
mod logged;
mod names;
mod plan;
mod recent;
mod record;
mod recover;
mod request;
mod salvage;
mod schedule;
mod seeded;
mod segment;
pub mod shard_log;
mod space;
mod spool;
mod store;
#[cfg(feature = "testing")]
pub mod testing;

pub use api::*;
pub use error::OpenError;
pub use layout::DirectoryLock;
pub use salvage::Recovered;
pub use shard_log::bind::LogBinding;
pub use store::{EmbeddedStore, StoreConfig};
