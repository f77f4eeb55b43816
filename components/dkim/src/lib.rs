//! DKIM (RFC 6376, RFC 8463): the octets that a signature signs, and the check of signatures.
//!
//! [`Signer`] never sees a private key: it gives back the exact octets to be signed and the field
//! that the signature is appended to. [`Verifier`] never asks DNS: it is given the TXT records.
//! Neither reads a clock.
//!
//! Canonicalisation of bodies, hashing, the parsing of signatures and key records and the
//! public-key operations are `mail-auth`'s. Two of its faults are guarded against here, see the
//! modules `body` and `canonical`.

mod body;
mod canonical;
mod field;
mod header;
mod signer;
mod tags;
mod verifier;

#[cfg(target_family = "wasm")]
mod guest;

pub use header::MAX_HEADER;
pub use signer::Signer;
pub use verifier::{MAX_SIGNATURES, Verifier};
