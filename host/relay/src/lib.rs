//! The product: intake, pipeline, schedule, delivery, retry, bounces, events. Everything against traits: storage is
//! [`relevo_queue::Queue`], DNS is [`relevo_resolve::Resolve`], the sandbox is [`relevo_runtime::Stages`].

pub mod clock;
pub mod settings;

pub mod copies;
