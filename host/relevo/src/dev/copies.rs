//! Copies that carry the queue id of their message, so that the inbox can show its trace.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use relevo_mailkit::source::Source;
use relevo_queue::Lease;
use relevo_relay::copies::{Copies, Copy, CopyError, HopAbilities, MakeCopy};

/// Wraps the maker of copies.
pub(crate) struct Labelled(pub(crate) Copies);

struct LabelledSource {
    id: String,
    inner: Arc<dyn Source>,
}

impl Source for LabelledSource {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buf)
    }

    fn is_in_memory(&self) -> bool {
        self.inner.is_in_memory()
    }

    fn label(&self) -> Option<&str> {
        Some(&self.id)
    }
}

#[async_trait]
impl MakeCopy for Labelled {
    async fn make(&self, lease: &Lease, hop: HopAbilities) -> Result<Copy, CopyError> {
        let copy = self.0.make(lease, hop).await?;
        let id = lease.delivery.id.item.to_string();
        Ok(Copy { source: Arc::new(LabelledSource { id, inner: copy.source }), ..copy })
    }

    fn return_path(&self, lease: &Lease, recipient: u32) -> Option<String> {
        self.0.return_path(lease, recipient)
    }
}
