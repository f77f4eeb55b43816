#![doc = include_str!("../README.md")]

mod bindings;
mod decision;
mod export;
mod host;
mod message;
mod policy;
mod settings;
#[cfg(not(target_arch = "wasm32"))]
pub mod testkit;

pub use crate::bindings::observe::{Event, RemoteReply};
pub use crate::bindings::types::{
    Attribute, Decision, Envelope, HeaderField, Message, Override, Parameter, Part, Recipient, Reply, Verdict,
};
pub use crate::host::{clock, kv, log};
pub use crate::message::domain_of;
pub use crate::policy::{Answer, Configure, Flow, Inspect, Inspector, Observe, Policy};
pub use crate::settings::Settings;

/// What [`export!`] needs.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings::{configure, decide, inspect, observe};
    pub use crate::export::{Body, Slot};
}
