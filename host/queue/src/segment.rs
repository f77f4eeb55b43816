//! Small bodies and large recipes, appended to segment files by the writer. A segment is deleted
//! when nothing in it is needed any more; the last survivors of one that is nearly empty are copied
//! forward (see [`crate::compact`]).
//!
//! A frame is `RVB2`, kind (1), 3 zero octets, item id (16), size of the payload (4, little
//! endian), its CRC-32 (4), the sequence of the commit that it came with (8), payload. The index
//! refers to payloads; the frame heads are for compaction, for `recover`, and for finding what
//! belongs to a damaged entry.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::ItemId;
use crate::disk::{Disk, DiskFile, read_exact_at};
use crate::layout::Layout;
use crate::record::{Blob, BlobLocation};
use crate::shard_log::record::SegmentWrite;

const MAGIC: &[u8; 4] = b"RVB2";
const HEAD: usize = 40;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Body = 1,
    Recipe = 2,
    Envelope = 3,
}

impl Kind {
    /// The kind that a frame names.
    pub(crate) fn of(kind: u8) -> Self {
        match kind {
            2 => Self::Recipe,
            3 => Self::Envelope,
            _ => Self::Body,
        }
    }
}

#[derive(Debug)]
struct Segment {
    file: Arc<dyn DiskFile>,
    /// Payload octets the index refers to.
    live: u64,
    size: u64,
    since: Instant,
    /// Compaction was here: what is left stays until it is not needed any more.
    settled: bool,
}

/// All segments. Reading is for anybody, appending for the writer.
#[derive(Debug)]
pub(crate) struct Segments {
    disk: Arc<dyn Disk>,
    layout: Layout,
    all: Mutex<BTreeMap<u32, Segment>>,
    limit: u64,
}

/// The writer's end: where the next frame goes.
#[derive(Debug, Default)]
pub(crate) struct Appender {
    active: Option<u32>,
    next: u32,
    at: u64,
    buffer: Vec<u8>,
    new_name: bool,
    /// Of the commit that frames belong to.
    pub(crate) sequence: u64,
    /// What was flushed since the last commit, where there is a log.
    pub(crate) flushed: Option<Vec<SegmentWrite>>,
}

/// A frame as found by a walk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) item: ItemId,
    pub(crate) kind: u8,
    pub(crate) blob: Blob,
    pub(crate) sequence: u64,
}

impl Segments {
    /// Finds the segments of an earlier run; nothing in them is live yet.
    pub(crate) fn open(disk: Arc<dyn Disk>, layout: Layout, limit: u64) -> io::Result<(Self, Appender)> {
        let mut all = BTreeMap::new();
        for name in disk.list(&layout.segments())? {
            let Some(number) = name.strip_suffix(".seg").and_then(|n| u32::from_str_radix(n, 16).ok()) else {
                continue;
            };
            let file = disk.open(&layout.segment(number), false)?;
            let size = file.size()?;
            all.insert(number, Segment { file, live: 0, size, since: Instant::now(), settled: false });
        }
        let next = all.last_key_value().map_or(0, |(last, _)| last + 1);
        Ok((Self { disk, layout, all: Mutex::new(all), limit }, Appender { next, ..Appender::default() }))
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u32, Segment>> {
        self.all.lock()
    }

    /// Counts a blob as live (or, with `add` false, no longer).
    pub(crate) fn count(&self, blob: Blob, add: bool) {
        let BlobLocation::Segment { segment, .. } = blob.location else { return };
        if let Some(segment) = self.all().get_mut(&segment) {
            // An empty payload keeps its segment too.
            let size = blob.size.max(1);
            segment.live = if add { segment.live + size } else { segment.live.saturating_sub(size) };
        }
    }

    /// Whether the octets that a blob names exist at all. For recovery, which reads no bodies.
    pub(crate) fn contains(&self, segment: u32, offset: u64, size: u64) -> bool {
        self.all().get(&segment).is_some_and(|s| offset.checked_add(size).is_some_and(|end| end <= s.size))
    }

    /// Reads a payload and checks it. `NotFound` when the segment is gone: the caller looks the
    /// item up again.
    pub(crate) fn read(&self, segment: u32, offset: u64, size: u64, crc: u32) -> io::Result<Vec<u8>> {
        let file = self.all().get(&segment).map(|s| s.file.clone()).ok_or(io::ErrorKind::NotFound)?;
        let size = usize::try_from(size).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut bytes = vec![0; size];
        read_exact_at(file.as_ref(), offset, &mut bytes)?;
        if crc32fast::hash(&bytes) != crc {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "checksum does not match"));
        }
        Ok(bytes)
    }

    /// Puts a frame into the buffer of the group. Its place is final when [`Self::flush`] succeeds.
    pub(crate) fn append(
        &self,
        to: &mut Appender,
        item: ItemId,
        kind: Kind,
        payload: &[u8],
    ) -> io::Result<Blob> {
        let segment = match to.active {
            Some(segment) if to.at < self.limit => segment,
            _ => self.begin(to)?,
        };
        let crc = crc32fast::hash(payload);
        let size = u32::try_from(payload.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        to.buffer.extend_from_slice(MAGIC);
        to.buffer.extend_from_slice(&[kind as u8, 0, 0, 0]);
        to.buffer.extend_from_slice(&item.0);
        to.buffer.extend_from_slice(&size.to_le_bytes());
        to.buffer.extend_from_slice(&crc.to_le_bytes());
        to.buffer.extend_from_slice(&to.sequence.to_le_bytes());
        let offset = to.at + to.buffer.len() as u64;
        to.buffer.extend_from_slice(payload);
        Ok(Blob { location: BlobLocation::Segment { segment, offset }, size: payload.len() as u64, crc })
    }

    /// Begins a new segment. Only with an empty buffer: a group stays in one segment.
    fn begin(&self, to: &mut Appender) -> io::Result<u32> {
        if let Some(active) = to.active.filter(|_| !to.buffer.is_empty()) {
            return Ok(active);
        }
        let number = to.next;
        to.next += 1;
        let file = self.disk.open(&self.layout.segment(number), true)?;
        file.set_len(0)?;
        self.all().insert(number, Segment { file, live: 0, size: 0, since: Instant::now(), settled: false });
        (to.active, to.at, to.new_name) = (Some(number), 0, true);
        Ok(number)
    }

    /// Writes the buffer. After a failure the segment is left as it is and the next group begins
    /// another.
    pub(crate) fn flush(&self, from: &mut Appender) -> io::Result<bool> {
        let Some(number) = from.active.filter(|_| !from.buffer.is_empty()) else { return Ok(false) };
        let file = self.all().get(&number).map(|s| s.file.clone()).ok_or(io::ErrorKind::NotFound)?;
        let buffer = std::mem::take(&mut from.buffer);
        if let Err(e) = file.write_at(from.at, &buffer) {
            from.active = None;
            return Err(e);
        }
        if let Some(flushed) = &mut from.flushed {
            flushed.push(SegmentWrite { segment: number, offset: from.at, octets: buffer.clone() });
        }
        from.at += buffer.len() as u64;
        from.buffer = buffer;
        from.buffer.clear();
        if let Some(segment) = self.all().get_mut(&number) {
            segment.size = from.at;
        }
        Ok(true)
    }

    /// Makes what was flushed durable, and the segment's name when it is new.
    pub(crate) fn sync(&self, appender: &mut Appender) -> io::Result<()> {
        let Some(number) = appender.active else { return Ok(()) };
        let file = self.all().get(&number).map(|s| s.file.clone()).ok_or(io::ErrorKind::NotFound)?;
        file.sync()?;
        if appender.new_name {
            self.disk.sync_dir(&self.layout.segments())?;
            appender.new_name = false;
        }
        Ok(())
    }

    /// Deletes segments that hold nothing live, except the active one.
    pub(crate) fn sweep(&self, active: &Appender) {
        let mut all = self.all();
        let dead: Vec<u32> =
            all.iter().filter(|(n, s)| s.live == 0 && Some(**n) != active.active).map(|(n, _)| *n).collect();
        for number in dead {
            all.remove(&number);
            if let Err(error) = self.disk.remove(&self.layout.segment(number)) {
                tracing::warn!(%error, segment = number, "a dead segment could not be removed; it will be at the next start");
            }
        }
    }

    /// A segment that is not active, not young, and of which less than a quarter is live. What a
    /// young one holds is mostly about to be delivered.
    pub(crate) fn sparse(&self, active: &Appender, young: Duration) -> Option<u32> {
        let all = self.all();
        let sparse = |(n, s): &(&u32, &Segment)| {
            Some(**n) != active.active && !s.settled && s.live * 4 < s.size && s.since.elapsed() >= young
        };
        all.iter().find(sparse).map(|(n, _)| *n)
    }

    /// Does not propose this segment for compaction again.
    pub(crate) fn leave(&self, number: u32) {
        if let Some(segment) = self.all().get_mut(&number) {
            segment.settled = true;
        }
    }

    /// The frames of a segment up to the first that is damaged.
    pub(crate) fn walk(&self, number: u32) -> io::Result<Vec<Frame>> {
        let Some((file, size)) = self.all().get(&number).map(|s| (s.file.clone(), s.size)) else {
            return Ok(Vec::new());
        };
        let (mut frames, mut at) = (Vec::new(), 0);
        let mut head = [0; HEAD];
        while at + HEAD as u64 <= size {
            read_exact_at(file.as_ref(), at, &mut head)?;
            let Some(frame) = parse_head(number, at, &head) else { break };
            at += HEAD as u64 + frame.blob.size;
            frames.push(frame);
        }
        Ok(frames)
    }

    /// The latest commit of which a frame is found, with its segment. Both ascend, so the last
    /// segments tell.
    pub(crate) fn latest(&self) -> io::Result<Option<(u32, u64)>> {
        let numbers: Vec<u32> = self.all().keys().rev().copied().collect();
        for number in numbers {
            if let Some(frame) = self.walk(number)?.last() {
                return Ok(Some((number, frame.sequence)));
            }
        }
        Ok(None)
    }

    /// The numbers of all segments.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.all().keys().copied().collect()
    }

    /// The octets of a blob's frame, with its head, and where they begin.
    pub(crate) fn frame(&self, blob: Blob) -> io::Result<(u64, Vec<u8>)> {
        let BlobLocation::Segment { segment, offset } = blob.location else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let file = self.all().get(&segment).map(|s| s.file.clone()).ok_or(io::ErrorKind::NotFound)?;
        let from = offset.checked_sub(HEAD as u64).ok_or(io::ErrorKind::InvalidData)?;
        let size = usize::try_from(blob.size).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut octets = vec![0; HEAD + size];
        read_exact_at(file.as_ref(), from, &mut octets)?;
        Ok((from, octets))
    }

    /// Looks for a frame of an item whose record cannot be read.
    pub(crate) fn find(&self, item: ItemId, kind: Kind) -> io::Result<Option<Blob>> {
        let numbers: Vec<u32> = self.all().keys().copied().collect();
        for number in numbers {
            let frames = self.walk(number)?;
            if let Some(frame) = frames.iter().rev().find(|f| f.item == item && f.kind == kind as u8) {
                return Ok(Some(frame.blob));
            }
        }
        Ok(None)
    }

    /// Reads as much of a payload as there is, right or wrong.
    pub(crate) fn read_damaged(&self, blob: Blob) -> io::Result<Vec<u8>> {
        let BlobLocation::Segment { segment, offset } = blob.location else { return Ok(Vec::new()) };
        let Some((file, size)) = self.all().get(&segment).map(|s| (s.file.clone(), s.size)) else {
            return Ok(Vec::new());
        };
        let there = blob.size.min(size.saturating_sub(offset));
        let mut bytes = vec![0; usize::try_from(there).map_err(|_| io::ErrorKind::InvalidData)?];
        read_exact_at(file.as_ref(), offset, &mut bytes)?;
        Ok(bytes)
    }
}

impl Appender {
    /// Forgets what was not flushed.
    pub(crate) fn discard(&mut self) {
        self.buffer.clear();
        self.take_flushed();
    }

    /// What was flushed since the last call, where there is a log.
    pub(crate) fn take_flushed(&mut self) -> Vec<SegmentWrite> {
        self.flushed.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

fn parse_head(segment: u32, at: u64, head: &[u8; HEAD]) -> Option<Frame> {
    let word = |from: usize| Some(u32::from_le_bytes(head.get(from..from + 4)?.try_into().ok()?));
    if &head[..4] != MAGIC {
        return None;
    }
    let location = BlobLocation::Segment { segment, offset: at + HEAD as u64 };
    let blob = Blob { location, size: u64::from(word(24)?), crc: word(28)? };
    let sequence = u64::from_le_bytes(head[32..40].try_into().ok()?);
    Some(Frame { item: ItemId(head[8..24].try_into().ok()?), kind: head[4], blob, sequence })
}
