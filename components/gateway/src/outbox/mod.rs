//! Store and forward: hand-offs that wait in a key-value store while the core is away.
//!
//! * [`settings`]: the bounds.
//! * [`request`]: identity of a request, and what makes it fit to wait.
//! * [`entry`]: keys and values in the store.
//! * [`send`]: a request is handed to the core, or is stored.
//! * [`keep`]: a hand-off is stored.
//! * [`forward`]: stored hand-offs are handed to the core.
//! * [`status`]: counts, and what became of a request.
//!
//! The store has no transactions and no compare-and-swap. Each fact is therefore a key of its own, which
//! is written once and removed once; nothing is counted but by listing keys. Instances that work at the
//! same time can at most do the same twice, and the core takes an idempotency key once.

pub mod entry;
pub mod forward;
pub mod keep;
pub mod request;
pub mod send;
pub mod settings;
pub mod status;
#[cfg(test)]
mod tests;

use std::future::Future;

pub use forward::{Core, CoreReply, Flushed};
pub use keep::Kept;
pub use request::Identity;
pub use send::Sent;
pub use settings::OutboxSettings;

use entry::EntryName;

/// A key-value store. Values are at most 1 MB on Spin, keys at most 255 octets.
pub trait Store {
    /// The value of a key.
    ///
    /// # Errors
    /// The store does not answer.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>>;

    /// Sets the value of a key. When it returns, the value is as durable as the store is.
    ///
    /// # Errors
    /// The store does not answer, or refuses the value.
    fn set(&self, key: &str, value: &[u8]) -> impl Future<Output = Result<(), StoreError>>;

    /// Removes a key, if it is there.
    ///
    /// # Errors
    /// The store does not answer.
    fn delete(&self, key: &str) -> impl Future<Output = Result<(), StoreError>>;

    /// All keys.
    ///
    /// # Errors
    /// The store does not answer.
    fn keys(&self) -> impl Future<Output = Result<Vec<String>, StoreError>>;
}

/// The store does not do what it is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key-value store: {0}")]
pub struct StoreError(pub String);

/// The hand-offs that wait in a store.
#[derive(Debug)]
pub struct Outbox<S> {
    store: S,
    settings: OutboxSettings,
}

impl<S: Store> Outbox<S> {
    /// The outbox in `store`.
    pub fn new(store: S, settings: OutboxSettings) -> Self {
        Self { store, settings }
    }

    /// The names of all its keys, the oldest entries first.
    async fn list(&self) -> Result<Vec<EntryName>, StoreError> {
        let keys = self.store.keys().await?;
        let mut names: Vec<_> = keys.iter().filter_map(|key| EntryName::parse(key)).collect();
        names.sort_unstable();
        Ok(names)
    }
}
