//! The durable queue and the event log, behind traits; and the embedded store.
//!
//! The unit of the queue is a *delivery*: one item, one recipient domain, the recipients that share one copy. Items hold what
//! deliveries share: the bytes, the recipe for making copies, the envelope. See `DESIGN.md` for the on-disk format.

mod api;

pub use api::*;
