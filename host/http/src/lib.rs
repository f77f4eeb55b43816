//! HTTP: the event feed, DNS records to publish, metrics and health, the tracking endpoints, and
//! the capture inbox of `relevo dev`.
//!
//! Plain HTTP; TLS is the reverse proxy's.

#[cfg(test)]
extern crate self as relevo_http;

mod api;
mod authority;
mod bearer;
mod error;
mod host_field;
pub mod inbox;
mod listen;
mod metrics;
mod observe;
mod operations;
mod panel;
mod reference;
mod router;
mod services;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic, reason = "tests")]
mod support;
mod tracking;
mod unsubscribe;

pub use api::{
    AdminServices, ApiLimits, ApiParts, ApiServices, CheckView, ContentCheckView, DomainView, HealthView,
    RecordToPublish, ValidationView,
};
pub use error::RequestError;
pub use listen::{ConnectionLimits, serve};
pub use metrics::{HttpMetrics, ListenerMetrics};
pub use operations::{
    BodyLimit, EncodeMetrics, OperationsServices, PluginAdmin, PluginRequest, PluginResponse, PluginVerb,
    Readiness,
};
pub use reference::document;
pub use relevo_panel::{Access as PanelAccess, UserAccess};
pub use router::{Listener, router};
pub use services::HttpServices;
