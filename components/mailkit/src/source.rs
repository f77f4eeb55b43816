//! Random access to a message, wherever it lies.

use std::io;

/// The octets of a message: in memory, in a file, or spliced from another source.
///
/// A reader may block on a file unless [`Source::is_in_memory`]; it never blocks on a peer.
pub trait Source: Send + Sync {
    /// Octets in all.
    fn size(&self) -> u64;

    /// Reads up to `buf.len()` octets from `offset`. Fewer only at the end; 0 at or after the end.
    ///
    /// # Errors
    /// Whatever the medium beneath reports.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// The octets from `offset` on, as far as they lie together in memory. None: they must be read.
    fn slice_at(&self, _offset: u64) -> Option<&[u8]> {
        None
    }

    /// Returns true if reading never blocks.
    fn is_in_memory(&self) -> bool {
        false
    }

    /// Names what is read, for logs and traces: the queue id of a copy. None where nobody named it.
    fn label(&self) -> Option<&str> {
        None
    }
}

impl Source for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let Some(rest) = usize::try_from(offset).ok().and_then(|o| self.get(o..)) else { return Ok(0) };
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn slice_at(&self, offset: u64) -> Option<&[u8]> {
        usize::try_from(offset).ok().and_then(|offset| self.get(offset..))
    }

    fn is_in_memory(&self) -> bool {
        true
    }
}

impl Source for Vec<u8> {
    fn size(&self) -> u64 {
        self.as_slice().size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.as_slice().read_at(offset, buf)
    }

    fn slice_at(&self, offset: u64) -> Option<&[u8]> {
        self.as_slice().slice_at(offset)
    }

    fn is_in_memory(&self) -> bool {
        true
    }
}

/// The largest chunk that crosses into a component.
pub const CHUNK: usize = 64 * 1024;

/// Calls `push` with consecutive chunks of at most [`CHUNK`] octets of `[offset, offset + length)`.
///
/// # Errors
/// The source's, or the first that `push` returns; a source shorter than promised is
/// `UnexpectedEof`.
pub fn for_each_chunk<E: From<io::Error>>(
    source: &dyn Source,
    offset: u64,
    length: u64,
    mut push: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    // Made only for a source that must be read.
    let mut buf = Vec::new();
    let mut at = offset;
    let end = offset.saturating_add(length);
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
        let chunk = match source.slice_at(at) {
            Some(slice) => &slice[..slice.len().min(want)],
            None => {
                buf.resize(buf.len().max(want), 0);
                let n = source.read_at(at, &mut buf[..want])?;
                &buf[..n]
            }
        };
        if chunk.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        push(chunk)?;
        at += chunk.len() as u64;
    }
    Ok(())
}
