//! The root component for Spin: `GET /healthz`, and `GET /sample`, which takes a message through
//! the four stages and [`relevo_submission`] up to the octets to be signed.
//!
//! The stages are imports, each satisfied by a component of its own. [`sample`] is plain code, so
//! that what the composition answers can be compared with what the libraries answer.

#[cfg(target_family = "wasm")]
mod guest;
pub mod sample;
