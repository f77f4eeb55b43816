//! Sockets, TLS and timeouts around [`relevo_proto`]: the server that listens and the client that
//! delivers.
//!
//! What a session may do is decided by a [`server::Service`]; this crate knows no tenants, queue or
//! policy.

pub mod client;
pub mod server;

mod stream;
