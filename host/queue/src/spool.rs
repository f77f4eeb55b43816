//! Bytes that arrive: in memory up to 64 KiB, and up to 256 KiB while there is [`SpoolMemory`];
//! beyond that in a file of their own that is synced before it is offered.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use relevo_mailkit::source::{CHUNK, Source};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::checked::{ChunkSums, Summing};
use crate::disk::{Disk, DiskFile};
use crate::inner::{StoreCore, blocking, io_error};
use crate::record::{INLINE, LARGEST_IN_SEGMENT};
use crate::{Spool, SpooledBody, StoreError};

/// What is behind [`SpooledBody::handle`].
#[derive(Debug)]
pub(crate) enum Handle {
    /// Written with its group; with its part of [`SpoolMemory`].
    Memory(Arc<Vec<u8>>, Option<MemoryPermit>),
    /// Synced already; moved to its place with its group.
    File(SpoolFile),
}

/// A file in `spool/`. Dropping it removes the file, unless it was moved away.
#[derive(Debug)]
pub(crate) struct SpoolFile {
    disk: Arc<dyn Disk>,
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) crc: u32,
    pub(crate) sums: ChunkSums,
    pub(crate) kept: bool,
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is removed at the next start.
            let _ = self.disk.remove(&self.path);
        }
    }
}

/// Octets of an open file, from its start.
#[derive(Debug)]
pub(crate) struct FileSource {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) size: u64,
}

impl Source for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let want = rest.min(buf.len());
        self.file.read_at(offset, &mut buf[..want])
    }
}

/// The part of [`SpoolMemory`] that a body holds.
pub(crate) type MemoryPermit = OwnedSemaphorePermit;

/// Memory for bodies beyond their first chunk, of all messages together. A file of its own costs a
/// message a sync of its own; as long as there is room, one of middling size goes into the segment
/// with its group.
#[derive(Debug)]
pub(crate) struct SpoolMemory(Arc<Semaphore>);

impl SpoolMemory {
    /// For so many octets.
    pub(crate) fn new(octets: u64) -> Self {
        let permits = usize::try_from(octets / EXTRA as u64).unwrap_or(usize::MAX);
        Self(Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))))
    }

    fn take(&self) -> Option<MemoryPermit> {
        self.0.clone().try_acquire_owned().ok()
    }
}

/// What a body may have beyond its first chunk.
const EXTRA: usize = LARGEST_IN_SEGMENT - INLINE;

/// The [`Spool`] of the embedded store.
pub(crate) struct EmbeddedSpool {
    inner: Arc<StoreCore>,
    buffer: Vec<u8>,
    permit: Option<MemoryPermit>,
    file: Option<Spilled>,
}

struct Spilled {
    file: Arc<dyn DiskFile>,
    name: SpoolFile,
    sums: Summing,
}

impl EmbeddedSpool {
    pub(crate) fn new(inner: Arc<StoreCore>) -> Self {
        Self { inner, buffer: Vec::new(), permit: None, file: None }
    }

    /// How much the buffer may hold.
    fn limit(&mut self) -> usize {
        if self.permit.is_none() && self.file.is_none() && self.buffer.len() == INLINE {
            self.permit = self.inner.spool_memory.take();
        }
        if self.permit.is_some() { LARGEST_IN_SEGMENT } else { INLINE }
    }

    /// Writes the buffer to the file, off the IO workers.
    async fn spill(&mut self) -> Result<(), StoreError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.inner.space.check_new(self.inner.disk.as_ref(), buffer.len() as u64)?;
        let mut spilled = match self.file.take() {
            Some(spilled) => spilled,
            None => self.create().await?,
        };
        let (spilled, buffer, written) = blocking(move || {
            spilled.file.write_at(spilled.name.size, &buffer).map_err(|e| io_error(&e))?;
            // The buffer is whole chunks, or the last of them.
            buffer.chunks(CHUNK).for_each(|chunk| spilled.sums.add(chunk));
            let written = buffer.len() as u64;
            spilled.name.size += written;
            buffer.clear();
            buffer.shrink_to(INLINE);
            Ok((spilled, buffer, written))
        })
        .await?;
        self.inner.space.wrote(written);
        self.permit = None;
        (self.file, self.buffer) = (Some(spilled), buffer);
        Ok(())
    }

    async fn create(&self) -> Result<Spilled, StoreError> {
        let inner = self.inner.clone();
        blocking(move || {
            let mut random = [0; 16];
            getrandom::fill(&mut random).map_err(|e| StoreError::Io(e.to_string()))?;
            let path = inner.layout.spool().join(crate::ItemId(random).to_string());
            let file = inner.disk.open(&path, true).map_err(|e| io_error(&e))?;
            let name = SpoolFile {
                disk: inner.disk.clone(),
                path,
                size: 0,
                crc: 0,
                sums: ChunkSums::default(),
                kept: false,
            };
            Ok(Spilled { file, name, sums: Summing::default() })
        })
        .await
    }
}

#[async_trait]
impl Spool for EmbeddedSpool {
    async fn write(&mut self, mut chunk: &[u8]) -> Result<(), StoreError> {
        self.inner.poison.check()?;
        while !chunk.is_empty() {
            let mut limit = self.limit();
            if self.buffer.len() == limit {
                self.spill().await?;
                limit = INLINE;
            }
            let (now, later) = chunk.split_at(chunk.len().min(limit - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            chunk = later;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<SpooledBody, StoreError> {
        if self.file.is_none() {
            let mut bytes = std::mem::take(&mut self.buffer);
            bytes.shrink_to_fit();
            let bytes = Arc::new(bytes);
            let handle = Handle::Memory(bytes.clone(), self.permit.take());
            return Ok(SpooledBody { source: bytes, handle: Some(Box::new(handle)) });
        }
        self.spill().await?;
        let Some(mut spilled) = self.file.take() else {
            return Err(StoreError::Io("spool file is gone".into()));
        };
        let inner = self.inner.clone();
        blocking(move || {
            if let Err(e) = spilled.file.sync() {
                return Err(inner.poison.fatal(&format!("sync of a body failed: {e}")));
            }
            (spilled.name.crc, spilled.name.sums) = spilled.sums.finish();
            let source = Arc::new(FileSource { file: spilled.file, size: spilled.name.size });
            Ok(SpooledBody { source, handle: Some(Box::new(Handle::File(spilled.name))) })
        })
        .await
    }
}
