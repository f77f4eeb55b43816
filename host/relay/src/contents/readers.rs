//! Who takes messages apart at this moment: few at once, and not all of them of one tenant.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::ContentError;

/// Messages that are taken apart at once.
const MAX_READING: usize = 2;
/// Messages of one tenant that are taken apart, or wait for that.
const MAX_OF_TENANT: usize = 4;
/// The longest wait.
const WAIT: Duration = Duration::from_secs(10);

/// Admits readers.
pub(super) struct Readers {
    permits: Semaphore,
    of_tenants: Mutex<HashMap<String, usize>>,
}

/// The permit of one reader.
pub(super) struct Reader<'a> {
    readers: &'a Readers,
    tenant: String,
    _permit: Option<SemaphorePermit<'a>>,
}

impl Readers {
    pub(super) fn new() -> Self {
        Self { permits: Semaphore::new(MAX_READING), of_tenants: Mutex::default() }
    }

    /// Waits until a message of this tenant may be taken apart.
    ///
    /// # Errors
    /// [`ContentError::Busy`]: the tenant has enough that wait, or it took too long.
    pub(super) async fn admit(&self, tenant: &str) -> Result<Reader<'_>, ContentError> {
        {
            let mut of_tenants = self.of_tenants.lock();
            let count = of_tenants.entry(tenant.to_owned()).or_default();
            if *count >= MAX_OF_TENANT {
                return Err(ContentError::Busy);
            }
            *count += 1;
        }
        let mut reader = Reader { readers: self, tenant: tenant.to_owned(), _permit: None };
        match tokio::time::timeout(WAIT, self.permits.acquire()).await {
            Ok(Ok(permit)) => reader._permit = Some(permit),
            _ => return Err(ContentError::Busy),
        }
        Ok(reader)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut of_tenants = self.readers.of_tenants.lock();
        if let Some(count) = of_tenants.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                of_tenants.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_tenant_does_not_keep_the_others_waiting_for_ever() {
        let readers = Readers::new();
        let first = readers.admit("a").await.ok();
        let second = readers.admit("a").await.ok();
        assert!(first.is_some() && second.is_some());
        let waiting = async { tokio::join!(readers.admit("a"), readers.admit("a"), readers.admit("a")) };
        let (third, fourth, fifth) = waiting.await;
        assert!([third, fourth, fifth].iter().all(|reader| matches!(reader, Err(ContentError::Busy))));
        drop(first);
        assert!(readers.admit("b").await.is_ok(), "a place is free");
        drop(second);
        assert!(readers.of_tenants.lock().is_empty());
    }
}
