//! HTTP: the event feed, DNS records to publish, metrics and health, the tracking endpoints, and the capture inbox of
//! `relevo dev`.
//!
//! Plain HTTP; TLS is the reverse proxy's.

mod access;
mod api;
mod auth;
mod authority;
mod error;
mod health;
pub mod inbox;
mod plugins;
mod serve;
mod state;
mod tracking;

pub use error::ApiError;
pub use serve::{Listener, router, serve};
pub use state::{EncodeMetrics, HttpState, Readiness};
