//! Requests that must be accepted once however often they are made.

use minicbor::{Decode, Encode};

use super::Millis;

/// How long an idempotency key is remembered.
pub const IDEMPOTENCY_LIFETIME: Millis = 24 * 60 * 60 * 1000;

/// A request that came with an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct IdempotentRequest {
    /// Whose key it is.
    #[n(0)]
    pub tenant: String,
    /// The key, in the caller's words.
    #[n(1)]
    pub key: String,
    /// SHA-256 of the request.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub digest: [u8; 32],
    /// When it was accepted.
    #[n(3)]
    pub at: Millis,
    /// The answer that was given, for whoever asks again.
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    pub answer: Vec<u8>,
}
