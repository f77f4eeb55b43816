//! Checksums of the chunks of large bodies, so that what is read of one is checked as it is read.
//!
//! The index holds one checksum of a whole body. Those of its chunks are learnt when it arrives, or by the first pass after a
//! start, and live in memory: four octets for each 64 KiB.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use relevo_mailkit::source::{CHUNK, Source};

use crate::disk::{DiskFile, read_exact_at};
use crate::record::Blob;
use crate::{ItemId, StoreError};

/// Chunks that are remembered: a megabyte of checksums, 16 GiB of bodies. Beyond that the oldest body is read once more.
const MAX_CHUNKS: usize = 1 << 18;

/// Of the chunks of a body, in order.
pub(crate) type ChunkSums = Arc<[u32]>;

/// Adds up chunks of [`CHUNK`] octets each, but for the last one.
#[derive(Debug, Default)]
pub(crate) struct Summing {
    whole: crc32fast::Hasher,
    chunks: Vec<u32>,
}

impl Summing {
    /// The next chunk.
    pub(crate) fn add(&mut self, chunk: &[u8]) {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(chunk);
        self.whole.combine(&hasher);
        self.chunks.push(hasher.finalize());
    }

    /// Of the whole, and of the chunks.
    pub(crate) fn finish(self) -> (u32, ChunkSums) {
        (self.whole.finalize(), self.chunks.into())
    }
}

/// What is remembered, by item.
#[derive(Debug, Default)]
pub(crate) struct Sums(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    by_item: HashMap<ItemId, ChunkSums>,
    order: VecDeque<ItemId>,
    chunks: usize,
}

impl Sums {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a body that is accepted and as it should be.
    pub(crate) fn learn(&self, item: ItemId, sums: ChunkSums) {
        let mut known = self.known();
        known.chunks += sums.len();
        match known.by_item.insert(item, sums) {
            Some(old) => known.chunks -= old.len(),
            None => known.order.push_back(item),
        }
        while known.chunks > MAX_CHUNKS
            && let Some(oldest) = known.order.pop_front()
        {
            known.chunks -= known.by_item.remove(&oldest).map_or(0, |sums| sums.len());
        }
    }

    /// For a body of this size.
    fn of(&self, item: ItemId, size: u64) -> Option<ChunkSums> {
        let sums = self.known().by_item.get(&item).cloned()?;
        (sums.len() as u64 == size.div_ceil(CHUNK as u64)).then_some(sums)
    }

    fn forget(&self, item: ItemId) {
        let mut known = self.known();
        if let Some(sums) = known.by_item.remove(&item) {
            known.chunks -= sums.len();
            known.order.retain(|other| *other != item);
        }
    }
}

/// A body that is checked while it is read. The first time in a process it is read through.
///
/// # Errors
/// `Corrupt` when it is not as it was accepted; the disk's.
pub(crate) fn open(
    sums: &Arc<Sums>,
    item: ItemId,
    file: Arc<dyn DiskFile>,
    body: Blob,
) -> Result<CheckedSource, StoreError> {
    let corrupt = || StoreError::Corrupt(format!("{item}: the body does not match its checksum"));
    let failed = |e: io::Error| crate::inner::io_error(&e);
    if file.size().map_err(failed)? != body.size {
        return Err(corrupt());
    }
    let chunks = match sums.of(item, body.size) {
        Some(known) => known,
        None => {
            let (whole, chunks) = read_through(&*file, body.size).map_err(failed)?;
            if whole != body.crc {
                return Err(corrupt());
            }
            sums.learn(item, chunks.clone());
            chunks
        }
    };
    let all = Arc::clone(sums);
    Ok(CheckedSource { file, size: body.size, item, chunks, all, window: Mutex::default() })
}

fn read_through(file: &dyn DiskFile, size: u64) -> io::Result<(u32, ChunkSums)> {
    let (mut summing, mut chunk, mut at) = (Summing::default(), vec![0; CHUNK], 0);
    while at < size {
        let here = usize::try_from(size - at).unwrap_or(CHUNK).min(CHUNK);
        read_exact_at(file, at, &mut chunk[..here])?;
        summing.add(&chunk[..here]);
        at += here as u64;
    }
    Ok(summing.finish())
}

/// A large body. Nothing of a chunk is given out before the chunk was checked; what is damaged is an error of kind
/// `InvalidData`, and is found again by whoever opens the body next.
#[derive(Debug)]
pub(crate) struct CheckedSource {
    file: Arc<dyn DiskFile>,
    size: u64,
    item: ItemId,
    chunks: ChunkSums,
    all: Arc<Sums>,
    /// The chunk that was read last, for those who read less than one.
    window: Mutex<(Option<usize>, Vec<u8>)>,
}

impl CheckedSource {
    /// Reads a chunk into `buf`, which is as long as it.
    fn chunk(&self, number: usize, buf: &mut [u8]) -> io::Result<()> {
        read_exact_at(&*self.file, number as u64 * CHUNK as u64, buf)?;
        if self.chunks.get(number) == Some(&crc32fast::hash(buf)) {
            return Ok(());
        }
        self.all.forget(self.item);
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
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
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
    fn the_oldest_are_forgotten_and_repeats_count_once() {
        let sums = Sums::default();
        let id = |n: u8| ItemId([n; 16]);
        let half: ChunkSums = vec![0; MAX_CHUNKS / 2].into();
        let size = (MAX_CHUNKS / 2 * CHUNK) as u64;
        for n in [1, 1, 2] {
            sums.learn(id(n), half.clone());
        }
        assert!(sums.of(id(1), size).is_some() && sums.of(id(2), size).is_some());
        sums.learn(id(3), half);
        assert!(sums.of(id(1), size).is_none() && sums.of(id(3), size).is_some());
        assert!(sums.of(id(3), size + 1).is_none(), "another size is another body");
        sums.forget(id(2));
        sums.forget(id(3));
        let known = sums.known();
        assert_eq!((known.chunks, known.order.len()), (0, 0));
    }

    #[test]
    fn the_sum_of_the_whole_is_that_of_its_octets() {
        let bytes: Vec<u8> = (0..=250).cycle().take(CHUNK * 2 + 77).collect();
        let mut summing = Summing::default();
        bytes.chunks(CHUNK).for_each(|chunk| summing.add(chunk));
        let (whole, chunks) = summing.finish();
        assert_eq!((whole, chunks.len()), (crc32fast::hash(&bytes), 3));
    }
}
