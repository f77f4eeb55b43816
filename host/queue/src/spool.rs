//! Bytes that arrive: in memory up to 64 KiB, beyond that in a file of their own that is synced before it is offered.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use relevo_mailkit::source::{CHUNK, Source};

use crate::disk::{Disk, DiskFile};
use crate::inner::{Inner, blocking, io_error};
use crate::record::INLINE;
use crate::sums::{ChunkSums, Summing};
use crate::{Spool, SpooledBody, StoreError};

/// What is behind [`SpooledBody::handle`].
#[derive(Debug)]
pub(crate) enum Handle {
    /// Written with its group.
    Memory(Arc<Vec<u8>>),
    /// Synced already; moved to its place with its group.
    File(SpoolFile),
}

impl SpooledBody {
    /// Bytes that are in memory anyway, such as a bounce. They are not subject to the reserve of free space until they are
    /// accepted as new mail.
    #[must_use]
    pub fn in_memory(bytes: Vec<u8>) -> Self {
        let bytes = Arc::new(bytes);
        Self { source: bytes.clone(), handle: Box::new(Handle::Memory(bytes)) }
    }
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

/// The [`Spool`] of the embedded store.
pub(crate) struct EmbeddedSpool {
    inner: Arc<Inner>,
    buffer: Vec<u8>,
    file: Option<Spilled>,
}

struct Spilled {
    file: Arc<dyn DiskFile>,
    name: SpoolFile,
    sums: Summing,
}

impl EmbeddedSpool {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, buffer: Vec::new(), file: None }
    }

    /// Writes the buffer to the file, off the IO workers.
    async fn spill(&mut self) -> Result<(), StoreError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.inner.space.check_new(self.inner.disk.as_ref(), buffer.len() as u64)?;
        let mut spilled = match self.file.take() {
            Some(spilled) => spilled,
            None => self.create().await?,
        };
        let (spilled, buffer) = blocking(move || {
            spilled.file.write_at(spilled.name.size, &buffer).map_err(|e| io_error(&e))?;
            // The buffer is a whole chunk, or the last one.
            spilled.sums.add(&buffer);
            spilled.name.size += buffer.len() as u64;
            buffer.clear();
            Ok((spilled, buffer))
        })
        .await?;
        self.inner.space.wrote(CHUNK as u64);
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
                sums: Arc::default(),
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
            if self.buffer.len() == INLINE {
                self.spill().await?;
            }
            let (now, later) = chunk.split_at(chunk.len().min(INLINE - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            chunk = later;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<SpooledBody, StoreError> {
        if self.file.is_none() {
            let mut bytes = std::mem::take(&mut self.buffer);
            bytes.shrink_to_fit();
            return Ok(SpooledBody::in_memory(bytes));
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
            Ok(SpooledBody { source, handle: Box::new(Handle::File(spilled.name)) })
        })
        .await
    }
}
