//! Tenants' policy plugins: their life from upload to removal, who is asked about a message, and
//! what the answers come to.
//!
//! [`Plugins`] is the implementation of [`relevo_relay::policy::Check`] for them. Configuration
//! says which plugins a tenant has and what each may use; the version that is in use is not
//! configuration: it is in the store, changed by [`PluginAction`]s and read again at start.
//! `DESIGN.md` beside this crate has the life of a version.
//!
//! - `lifecycle`: from an upload to a version in use, and everything that changes what is in use;
//! - `active_plugins`: what is in use, which all others read;
//! - `ask`: questions about messages, and what the answers come to; `shadow`: a version that is
//!   asked beside;
//! - `observe`: telling plugins what became of messages;
//! - `record`: messages that plugins were asked about, on disk; `replay`: asking about them again.

mod action;
mod active;
mod active_plugins;
mod allowance;
mod ask;
mod digest;
mod kv;
mod lifecycle;
mod metrics;
mod observe;
mod plugins;
mod record;
mod replay;
mod sample_messages;
mod shadow;
#[cfg(test)]
mod test_settings;
#[cfg(test)]
mod test_world;

pub use action::{ActionError, PluginAction, Room};
pub use lifecycle::{OpenPluginsError, compile_here};
pub use metrics::PluginCollector;
pub use plugins::{Plugins, PluginsConfig};
