//! The product: intake, pipeline, schedule, delivery, retry, bounces, events. Everything against
//! traits: storage is [`relevo_queue::Queue`], DNS is [`relevo_resolve::Resolve`], the stages are
//! [`relevo_runtime::Stages`].

pub mod api_keys;
pub mod audit;
pub mod contents;
pub mod copies;
pub mod directory;
pub mod domains;
pub mod emails;
pub mod events;
pub mod health;
pub mod inspection;
pub mod intake;
mod issuer;
pub mod metrics;
pub mod pipeline;
pub mod policy;
pub mod queue_admin;
mod queue_key;
pub mod quota;
pub mod records;
pub mod reputation;
pub mod returns;
pub mod sandbox;
pub mod sending;
pub mod settings;
pub mod shaping;
pub mod suppressions;
pub mod templates;
pub mod tenants;
pub mod token_buckets;
pub mod topics;
pub mod trace;
pub mod tracking;
pub mod unsubscribe;
pub mod users;
pub mod validation;

pub use relevo_delivery as delivery;
pub use relevo_delivery::clock;

#[cfg(test)]
mod testing;
