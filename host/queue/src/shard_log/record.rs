//! What a record of the log says: CBOR, compressed, between a version octet and a checksum.
//!
//! A record is what one group of changes did to the store: rows as they were written and octets of
//! segments at their places. Applied in order to an empty directory, records make the owner's
//! directory again, but for what is not needed any more.

use minicbor::{Decode, Encode};

use crate::ItemId;
use crate::shard_log::Seq;

/// The first octet. It changes with the meaning of a record, also when a field is added: a reader that
/// skipped what it does not know would apply half of a change. Nodes of two versions run side by side
/// during an upgrade, so a new version is read by one release and written by the next.
const VERSION: u8 = 1;
const CHECKSUM: usize = 4;
/// HTML mail shrinks three to five times at this level, at some hundreds of megabytes a second.
const LEVEL: i32 = 1;
/// Octets that a record may have when it is unpacked: far more than a group can be.
const MAX_UNPACKED: usize = 256 << 20;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub(crate) struct ShardRecord {
    /// The store whose log this is: see the `format` file.
    #[n(0)]
    #[cbor(default)]
    pub(crate) store: u64,
    /// Set in the record with which an owner begins.
    #[n(1)]
    pub(crate) fence: Option<Fence>,
    /// Rows that were written or deleted, in order.
    #[n(2)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub(crate) rows: Vec<RowChange>,
    /// Octets of segments, at their places.
    #[n(3)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub(crate) segments: Vec<SegmentWrite>,
    /// Pieces of large bodies whose item comes with a later record.
    #[n(4)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub(crate) pieces: Vec<BodyPiece>,
    /// Large bodies that are whole now.
    #[n(5)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub(crate) bodies: Vec<WholeBody>,
    /// Its number among the records of one change; the first is 0. A change counts when all its
    /// records are there.
    #[n(6)]
    #[cbor(default)]
    pub(crate) part: u32,
    /// Another record of the same change follows.
    #[n(7)]
    #[cbor(default)]
    pub(crate) goes_on: bool,
}

/// An owner begins. Whoever owned the shard before cannot append after this.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Fence {
    /// Its name, for people.
    #[n(0)]
    pub(crate) owner: String,
    /// Random: no two fences are the same, so an owner knows its own.
    #[n(1)]
    pub(crate) nonce: u64,
}

/// A row of the index.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct RowChange {
    /// The table: [`crate::index::TableId`].
    #[n(0)]
    pub(crate) table: u8,
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) key: Vec<u8>,
    /// None: it was deleted.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) value: Option<Vec<u8>>,
}

/// Octets of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct SegmentWrite {
    #[n(0)]
    pub(crate) segment: u32,
    #[n(1)]
    pub(crate) offset: u64,
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) octets: Vec<u8>,
}

/// A piece of a large body.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct BodyPiece {
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    item: Vec<u8>,
    #[n(1)]
    pub(crate) offset: u64,
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) octets: Vec<u8>,
}

/// A large body, of which all pieces came before.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct WholeBody {
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    item: Vec<u8>,
    /// The commit that it came with, which is part of its name.
    #[n(1)]
    pub(crate) sequence: u64,
    #[n(2)]
    pub(crate) size: u64,
}

impl BodyPiece {
    pub(crate) fn new(item: ItemId, offset: u64, octets: Vec<u8>) -> Self {
        Self { item: item.0.to_vec(), offset, octets }
    }

    /// Whose body it is of; none: that is not an id.
    pub(crate) fn item(&self) -> Option<ItemId> {
        crate::record::item_id(&self.item)
    }
}

impl WholeBody {
    pub(crate) fn new(item: ItemId, sequence: u64, size: u64) -> Self {
        Self { item: item.0.to_vec(), sequence, size }
    }

    /// Whose body it is; none: that is not an id.
    pub(crate) fn item(&self) -> Option<ItemId> {
        crate::record::item_id(&self.item)
    }
}

impl ShardRecord {
    /// Octets, about, before they are compressed.
    pub(crate) fn weight(&self) -> usize {
        let rows = self.rows.iter().map(|row| row.key.len() + row.value.as_ref().map_or(0, Vec::len) + 16);
        let segments = self.segments.iter().map(|write| write.octets.len() + 24);
        let pieces = self.pieces.iter().map(|piece| piece.octets.len() + 40);
        rows.chain(segments).chain(pieces).sum::<usize>() + 40 * self.bodies.len() + 64
    }

    /// As one record of the log that will stand at `seq`.
    pub(crate) fn encode(&self, seq: Seq) -> Result<Vec<u8>, String> {
        let plain = minicbor::to_vec(self).map_err(|e| e.to_string())?;
        let mut octets = vec![VERSION];
        octets.extend(zstd::bulk::compress(&plain, LEVEL).map_err(|e| e.to_string())?);
        let sum = checksum(seq, &octets);
        octets.extend_from_slice(&sum.to_le_bytes());
        Ok(octets)
    }

    /// Reads the record at `seq`.
    pub(crate) fn decode(seq: Seq, octets: &[u8]) -> Result<Self, String> {
        let Some((content, sum)) = octets.split_last_chunk::<CHECKSUM>() else {
            return Err("it is cut short".into());
        };
        if checksum(seq, content) != u32::from_le_bytes(*sum) {
            return Err("its checksum does not match".into());
        }
        match content.split_first() {
            Some((&VERSION, packed)) => {
                let plain = unpack(packed).map_err(|e| e.to_string())?;
                minicbor::decode(&plain).map_err(|e| e.to_string())
            }
            Some((other, _)) => Err(format!("its version {other} is not known: a newer relay wrote it")),
            None => Err("it is empty".into()),
        }
    }

    /// The version of a record that a newer relay wrote; none: this one can read it, or it is damaged.
    pub(crate) fn newer_version(seq: Seq, octets: &[u8]) -> Option<u8> {
        let (content, sum) = octets.split_last_chunk::<CHECKSUM>()?;
        let version = *content.first()?;
        (checksum(seq, content) == u32::from_le_bytes(*sum) && version > VERSION).then_some(version)
    }

    /// Divides it into records of at most `max` octets, about, before compression. All but the last go
    /// on.
    pub(crate) fn divide(self, max: usize) -> Vec<Self> {
        if self.weight() <= max {
            return vec![self];
        }
        let Self { store, fence, rows, segments, pieces, bodies, .. } = self;
        let mut parts = vec![Self { store, fence, ..Self::default() }];
        let mut weight = 64;
        let mut add = |octets: usize, put: &mut dyn FnMut(&mut Self)| {
            if weight + octets > max && weight > 64 {
                parts.push(Self { store, ..Self::default() });
                weight = 64;
            }
            weight += octets;
            if let Some(part) = parts.last_mut() {
                put(part);
            }
        };
        for SegmentWrite { segment, offset, octets } in segments {
            let mut at = offset;
            for octets in octets.chunks(max / 2) {
                let write = SegmentWrite { segment, offset: at, octets: octets.to_vec() };
                add(octets.len() + 24, &mut |part| part.segments.push(write.clone()));
                at += octets.len() as u64;
            }
        }
        for piece in pieces {
            add(piece.octets.len() + 40, &mut |part| part.pieces.push(piece.clone()));
        }
        for body in bodies {
            add(40, &mut |part| part.bodies.push(body.clone()));
        }
        for row in rows {
            let octets = row.key.len() + row.value.as_ref().map_or(0, Vec::len) + 16;
            add(octets, &mut |part| part.rows.push(row.clone()));
        }
        let last = parts.len() - 1;
        for (number, part) in (0..).zip(&mut parts) {
            part.part = number;
        }
        parts.iter_mut().take(last).for_each(|part| part.goes_on = true);
        parts
    }
}

fn unpack(packed: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut plain = Vec::new();
    let limit = MAX_UNPACKED as u64 + 1;
    zstd::stream::read::Decoder::with_buffer(packed)?.take(limit).read_to_end(&mut plain)?;
    if plain.len() > MAX_UNPACKED {
        return Err(std::io::Error::other("it is too large"));
    }
    Ok(plain)
}

/// The checksum that a record ends with.
pub(crate) fn sum_of(octets: &[u8]) -> u64 {
    octets.last_chunk::<CHECKSUM>().map_or(0, |sum| u32::from_le_bytes(*sum).into())
}

/// Covers the place, too: a record at a wrong place is damage.
fn checksum(seq: Seq, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seq.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(rows: usize, octets: usize) -> ShardRecord {
        ShardRecord {
            store: 7,
            rows: (0..rows)
                .map(|n| RowChange { table: 1, key: vec![1; 20], value: (n % 3 > 0).then(|| vec![2; 300]) })
                .collect(),
            segments: vec![SegmentWrite { segment: 3, offset: 99, octets: vec![5; octets] }],
            ..ShardRecord::default()
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_only_at_its_place() {
        let record = record(3, 1000);
        let octets = record.encode(12).unwrap();
        assert_eq!(ShardRecord::decode(12, &octets), Ok(record));
        assert!(ShardRecord::decode(13, &octets).is_err());
        for at in 0..octets.len() {
            let mut damaged = octets.clone();
            damaged[at] ^= 1;
            assert!(ShardRecord::decode(12, &damaged).is_err(), "{at}");
            assert!(ShardRecord::decode(12, &octets[..at]).is_err(), "{at}");
        }
    }

    #[test]
    fn parts_hold_the_whole_in_order_and_say_that_they_go_on() {
        let whole = record(1000, 300_000);
        let parts = whole.clone().divide(64 << 10);
        assert!(parts.len() > 8, "{}", parts.len());
        let (last, first) = parts.split_last().unwrap();
        assert!(!last.goes_on && first.iter().all(|part| part.goes_on));
        assert!(parts.iter().map(|part| part.part).eq((0..).take(parts.len())));
        assert!(parts.iter().all(|part| part.weight() <= 64 << 10));
        let rows: Vec<_> = parts.iter().flat_map(|part| part.rows.clone()).collect();
        assert_eq!(rows, whole.rows);
        let mut at = 99;
        for write in parts.iter().flat_map(|part| &part.segments) {
            assert_eq!(write.offset, at);
            at += write.octets.len() as u64;
        }
        assert_eq!(at, 99 + 300_000);
    }
}
