//! Tenants' policy plugins: their life from upload to removal, who is asked about a message, and what the answers come to.
//!
//! [`Plugins`] is the implementation of [`relevo_relay::policy::Policies`]. Configuration says which places for plugins a tenant
//! has and what each may use; which version is in a place is state of its own, in the plugin directory, changed by [`Action`]s
//! and read again at start. `DESIGN.md` beside this crate has the life of a version.

mod action;
mod add;
mod ask;
mod child;
mod clear;
mod compile;
mod digest;
mod files;
mod import;
#[cfg(test)]
mod import_tests;
mod kv;
#[cfg(test)]
mod life_tests;
mod list;
mod message;
mod metrics;
mod observe;
mod place;
mod plugins;
mod record;
mod replay;
mod shadow;
mod state;
mod switch;
mod test_message;
#[cfg(test)]
mod test_settings;
#[cfg(test)]
mod test_world;
mod turns;
mod verdicts;

pub use action::{Action, ActionError, Room};
pub use child::compile_here;
pub use metrics::PluginCollector;
pub use plugins::{Plugins, PluginsConfig};
