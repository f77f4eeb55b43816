//! Whether recipients may still get mail at the moment of an attempt.

use async_trait::async_trait;
use relevo_queue::ItemMeta;

/// Is asked about each recipient before each attempt: between acceptance and release an address may
/// have been suppressed.
#[async_trait]
pub trait RecipientGuard: Send + Sync {
    /// Why a recipient of the message gets nothing any more; none: it may be sent to.
    ///
    /// # Errors
    /// That cannot be told now, and why. The attempt is put off.
    async fn suppression(&self, meta: &ItemMeta, address: &str) -> Result<Option<String>, String>;
}

/// Lets every recipient pass.
#[derive(Debug, Default, Clone, Copy)]
pub struct Unguarded;

#[async_trait]
impl RecipientGuard for Unguarded {
    async fn suppression(&self, _: &ItemMeta, _: &str) -> Result<Option<String>, String> {
        Ok(None)
    }
}
