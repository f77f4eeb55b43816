//! The writer of a message into the spool.

use relevo_queue::{Spool, SpooledBody};
use relevo_smtp::server::{BodyWriter, Reply};

use crate::pipeline::{Rejection, not_stored};

/// Spools a message up to a size.
pub struct SpoolWriter {
    spool: Box<dyn Spool>,
    written: u64,
    max: u64,
}

impl SpoolWriter {
    pub(super) fn new(spool: Box<dyn Spool>, max: u64) -> Self {
        Self { spool, written: 0, max }
    }

    pub(super) async fn finish(self) -> Result<SpooledBody, Rejection> {
        self.spool.finish().await.map_err(|e| not_stored(&e))
    }
}

impl BodyWriter for SpoolWriter {
    async fn write(&mut self, chunk: &[u8]) -> Result<(), Reply> {
        self.written = self.written.saturating_add(chunk.len() as u64);
        if self.written > self.max {
            return Err(super::too_large(self.max));
        }
        self.spool.write(chunk).await.map_err(|e| not_stored(&e).reply)
    }
}
