//! The product: intake, pipeline, schedule, delivery, retry, bounces, events. Everything against traits: storage is
//! [`relevo_queue::Queue`], DNS is [`relevo_resolve::Resolve`], the sandbox is [`relevo_runtime::Stages`].

mod bounce;
pub mod clock;
pub mod copies;
pub mod delivery;
pub mod events;
pub mod intake;
pub mod metrics;
pub mod pipeline;
pub mod policy;
pub mod records;
pub mod settings;
mod stream;
pub mod trace;
pub mod tracking;
pub mod turns;

#[cfg(test)]
mod testing;
