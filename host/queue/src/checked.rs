//! Checksums of the chunks of large bodies, and a source that checks what it reads.
//!
//! The item's record holds the checksums, four octets for each 64 KiB. They are computed while the
//! body arrives.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use minicbor::{Decode, Decoder, Encode, Encoder};
use parking_lot::Mutex;
use relevo_mailkit::source::{CHUNK, Source};

use crate::ItemId;
use crate::disk::{DiskFile, read_exact_at};

/// CRC-32 of each chunk of a body, in order. Stored as one string of octets, four for each chunk,
/// little endian.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ChunkSums(Arc<[u32]>);

impl ChunkSums {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<C> Encode<C> for ChunkSums {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let octets: Vec<u8> = self.0.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        e.bytes(&octets)?.ok()
    }
}

impl<C> Decode<'_, C> for ChunkSums {
    fn decode(d: &mut Decoder<'_>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let (sums, rest) = d.bytes()?.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(minicbor::decode::Error::message("checksums of chunks are cut short"));
        }
        Ok(Self(sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect()))
    }
}

/// Adds up chunks of [`CHUNK`] octets each, but for the last one.
#[derive(Debug, Default)]
pub(crate) struct Summing {
    whole: crc32fast::Hasher,
    chunks: Vec<u32>,
}

impl Summing {
    /// Adds the next chunk.
    pub(crate) fn add(&mut self, chunk: &[u8]) {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(chunk);
        self.whole.combine(&hasher);
        self.chunks.push(hasher.finalize());
    }

    /// The checksum of the whole, and those of the chunks.
    pub(crate) fn finish(self) -> (u32, ChunkSums) {
        (self.whole.finalize(), ChunkSums(self.chunks.into()))
    }
}

/// Large bodies in which a reader met damage. The next call of `body` moves them to quarantine.
#[derive(Debug, Clone, Default)]
pub(crate) struct DamagedBodies(Arc<Mutex<HashSet<ItemId>>>);

impl DamagedBodies {
    fn add(&self, item: ItemId) {
        self.0.lock().insert(item);
    }

    /// Returns true, once, if a reader met damage in the body of this item.
    pub(crate) fn take(&self, item: ItemId) -> bool {
        self.0.lock().remove(&item)
    }
}

/// A large body. Nothing of a chunk is given out before the chunk was checked; damage is an error
/// of kind `InvalidData`.
#[derive(Debug)]
pub(crate) struct CheckedSource {
    file: Arc<dyn DiskFile>,
    size: u64,
    item: ItemId,
    sums: ChunkSums,
    damaged: DamagedBodies,
    /// The chunk that was read last, for readers that ask for less than one.
    window: Mutex<(Option<usize>, Vec<u8>)>,
}

impl CheckedSource {
    /// A body of `size` octets in `file`. None when the file or the checksums are not those of so
    /// many octets.
    pub(crate) fn new(
        item: ItemId,
        file: Arc<dyn DiskFile>,
        size: u64,
        sums: ChunkSums,
        damaged: DamagedBodies,
    ) -> io::Result<Option<Self>> {
        let fits = file.size()? == size && sums.0.len() as u64 == size.div_ceil(CHUNK as u64);
        Ok(fits.then(|| Self { file, size, item, sums, damaged, window: Mutex::default() }))
    }

    /// Reads a chunk into `buf`, which is as long as the chunk.
    fn chunk(&self, number: usize, buf: &mut [u8]) -> io::Result<()> {
        read_exact_at(&*self.file, number as u64 * CHUNK as u64, buf)?;
        if self.sums.0.get(number) == Some(&crc32fast::hash(buf)) {
            return Ok(());
        }
        self.damaged.add(self.item);
        let what = format!("{}: the body does not match its checksum", self.item);
        Err(io::Error::new(io::ErrorKind::InvalidData, what))
    }
}

impl Source for CheckedSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        if offset >= self.size || buf.is_empty() {
            return Ok(0);
        }
        let too_large = |_| io::ErrorKind::InvalidInput;
        let number = usize::try_from(offset / CHUNK as u64).map_err(too_large)?;
        let within = usize::try_from(offset % CHUNK as u64).map_err(too_large)?;
        let length = usize::try_from(self.size - (offset - within as u64)).unwrap_or(CHUNK).min(CHUNK);
        if within == 0 && buf.len() >= length {
            self.chunk(number, &mut buf[..length])?;
            return Ok(length);
        }
        let mut window = self.window.lock();
        let (held, bytes) = &mut *window;
        if *held != Some(number) {
            *held = None;
            bytes.resize(length, 0);
            self.chunk(number, bytes)?;
            *held = Some(number);
        }
        let n = buf.len().min(length - within);
        buf[..n].copy_from_slice(&bytes[within..within + n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_the_whole_is_that_of_its_octets() {
        let bytes: Vec<u8> = (0..=250).cycle().take(CHUNK * 2 + 77).collect();
        let mut summing = Summing::default();
        bytes.chunks(CHUNK).for_each(|chunk| summing.add(chunk));
        let (whole, chunks) = summing.finish();
        assert_eq!((whole, chunks.0.len()), (crc32fast::hash(&bytes), 3));
        let stored = minicbor::to_vec(&chunks).expect("encodes");
        assert_eq!(minicbor::decode::<ChunkSums>(&stored).expect("decodes"), chunks);
    }
}
