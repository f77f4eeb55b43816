//! Any node shows and changes any message: it asks the node that has the shard.
//!
//! * [`calls`]: questions about a shard and their answers, in CBOR, carried by [`crate::tcp`].
//! * [`server`]: answers for shards that this node serves, and for no others. So nothing goes round.
//! * [`client`]: finds who has a shard, and asks.
//! * [`store`]: the mail of all nodes as one queue and one event log, which is what the API, the panel,
//!   tracking and the return path read and change. What the shards answer is put together by [`merge`].
//!
//! Delivery, readers of events and metrics keep to the shards of their node ([`crate::shards`]).

mod body;
pub mod calls;
pub mod client;
mod counts;
mod events;
pub(crate) mod merge;
pub mod metrics;
mod place;
pub mod server;
pub mod store;
