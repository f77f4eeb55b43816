//! Idempotency keys of requests: those that are under way, and those that were accepted.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use relevo_queue::{IdempotentRequest, Millis};

use super::{JsonAnswer, SendRefusal, Sending};
use crate::pipeline::KnownKey;

type Keys = Arc<Mutex<HashSet<(String, String)>>>;

/// Keys by tenant. A key is in use by one request at a time.
#[derive(Debug, Clone, Default)]
pub(super) struct KeysInFlight(Keys);

/// The idempotency key of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// In the caller's words.
    pub key: String,
    /// SHA-256 of the request, with what it asks for.
    pub digest: [u8; 32],
}

/// An idempotency key that a request has in use. It is free again when this is dropped.
#[derive(Debug)]
pub struct ClaimedKey {
    request: RequestKey,
    guard: KeyGuard,
}

impl ClaimedKey {
    /// The request as accepted now, and what keeps the key in use until that is stored.
    pub(crate) fn accepted(self, tenant: &str, at: Millis, answer: Vec<u8>) -> (IdempotentRequest, KeyGuard) {
        let RequestKey { key, digest } = self.request;
        (IdempotentRequest { tenant: tenant.to_owned(), key, digest, at, answer }, self.guard)
    }
}

#[cfg(test)]
impl ClaimedKey {
    /// A key that nobody else uses.
    pub(crate) fn unused(key: &str) -> Self {
        let guard = KeysInFlight::default().begin("", key).expect("free");
        Self { request: RequestKey { key: key.to_owned(), digest: [1; 32] }, guard }
    }
}

/// Keeps a key in use.
#[derive(Debug)]
pub(crate) struct KeyGuard {
    keys: Keys,
    key: (String, String),
}

impl KeysInFlight {
    /// Takes a key into use; none if it is.
    pub(super) fn begin(&self, tenant: &str, key: &str) -> Option<KeyGuard> {
        let key = (tenant.to_owned(), key.to_owned());
        let is_free = self.0.lock().insert(key.clone());
        is_free.then(|| KeyGuard { keys: Arc::clone(&self.0), key })
    }
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        self.keys.lock().remove(&self.key);
    }
}

/// What an idempotency key meets.
#[derive(Debug)]
pub enum Begun {
    /// The request was accepted before.
    Before(JsonAnswer),
    /// It may be accepted now, with this key.
    Now(Option<ClaimedKey>),
}

/// The answer to a request whose idempotency key is known.
pub(super) fn repeated(known: KnownKey) -> Result<JsonAnswer, SendRefusal> {
    match known {
        KnownKey::Same(json) => Ok(JsonAnswer { json, kept: true, repeated: true }),
        KnownKey::Another => Err(SendRefusal::KeyOfAnother),
    }
}

impl Sending {
    /// Takes the idempotency key of a request into use, if it has one. This comes before the
    /// request is checked: its answer does not change with the time.
    ///
    /// # Errors
    /// The key is in use, or was used for another request.
    pub async fn begin(&self, tenant: &str, key: Option<RequestKey>) -> Result<Begun, SendRefusal> {
        let Some(request) = key else { return Ok(Begun::Now(None)) };
        let Some(guard) = self.in_flight.begin(tenant, &request.key) else {
            return Err(SendRefusal::KeyInUse);
        };
        match self.pipeline.known(tenant, &request.key, &request.digest).await {
            Ok(None) => Ok(Begun::Now(Some(ClaimedKey { request, guard }))),
            Ok(Some(known)) => repeated(known).map(Begun::Before),
            Err(error) => Err(SendRefusal::stored(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_use_once() {
        let keys = KeysInFlight::default();
        let guard = keys.begin("a", "k").expect("free");
        assert!(keys.begin("a", "k").is_none());
        assert!(keys.begin("b", "k").is_some(), "another tenant's");
        drop(guard);
        assert!(keys.begin("a", "k").is_some());
    }
}
