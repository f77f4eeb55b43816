//! Writes what is still needed into the log anew, piece by piece between the groups, so that the
//! records before it can be trimmed.
//!
//! Each piece holds rows as they are at its place in the log. What changes afterwards is changed by
//! a later record, so a reader who begins at the checkpoint's first record ends with everything.

use std::ops::Bound;

use redb::{Key, ReadTransaction, TableDefinition, TableError, Value};

use super::Seq;
use super::record::{BodyPiece, RowChange, SegmentWrite, ShardRecord, WholeBody};
use crate::ItemId;
use crate::disk::read_exact_at;
use crate::index::{self, IndexError, TableId};
use crate::inner::StoreCore;
use crate::record::{self, BlobLocation, ItemRecord};

/// Octets of one piece.
const PIECE: usize = 512 << 10;

/// How far it has come.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// What lies below is not needed when it is over.
    pub(crate) floor: Seq,
    /// Octets of the log that it wrote.
    pub(crate) written: u64,
    table: TableId,
    /// The last key that was written.
    after: Option<Vec<u8>>,
    /// Octets of the next item's large body that were written.
    uploaded: u64,
}

/// Rows of one piece.
struct Piece {
    record: ShardRecord,
    room: usize,
}

impl Piece {
    fn row(&mut self, table: TableId, key: &[u8], value: &[u8]) {
        self.room = self.room.saturating_sub(key.len() + value.len() + 16);
        let change = RowChange { table: table as u8, key: key.to_vec(), value: Some(value.to_vec()) };
        self.record.rows.push(change);
    }
}

impl Checkpoint {
    pub(crate) fn new(floor: Seq) -> Self {
        Self { floor, written: 0, table: TableId::Items, after: None, uploaded: 0 }
    }

    /// The next piece, of what is committed now; none: everything was written.
    pub(crate) fn next(&mut self, store: &StoreCore) -> Result<Option<ShardRecord>, IndexError> {
        let txn = store.index.read()?;
        let mut piece = Piece { record: ShardRecord::default(), room: PIECE };
        loop {
            let is_over = match self.table {
                TableId::Items => self.items(store, &txn, &mut piece)?,
                TableId::Deliveries => self.rows(&txn, index::DELIVERIES, &mut piece)?,
                TableId::Events => self.rows(&txn, index::EVENTS, &mut piece)?,
                TableId::TenantEvents => self.rows(&txn, index::TENANT_EVENTS, &mut piece)?,
                TableId::TenantMessages => self.rows(&txn, index::TENANT_MESSAGES, &mut piece)?,
                TableId::MessageEvents => self.rows(&txn, index::MESSAGE_EVENTS, &mut piece)?,
                TableId::Requests => self.rows(&txn, index::REQUESTS, &mut piece)?,
                TableId::RequestTimes => self.rows(&txn, index::REQUEST_TIMES, &mut piece)?,
                TableId::Meta => self.rows(&txn, index::META, &mut piece)?,
                TableId::Quarantine => self.rows(&txn, index::QUARANTINE, &mut piece)?,
            };
            if !is_over {
                return Ok(Some(piece.record));
            }
            self.after = None;
            self.table = match self.table {
                TableId::Items => TableId::Deliveries,
                TableId::Deliveries => TableId::Events,
                TableId::Events => TableId::TenantEvents,
                TableId::TenantEvents => TableId::TenantMessages,
                TableId::TenantMessages => TableId::MessageEvents,
                TableId::MessageEvents => TableId::Requests,
                TableId::Requests => TableId::RequestTimes,
                TableId::RequestTimes => TableId::Meta,
                TableId::Meta => TableId::Quarantine,
                TableId::Quarantine if piece.record.rows.is_empty() => return Ok(None),
                TableId::Quarantine => {
                    // The next call finds nothing more.
                    self.after = piece.record.rows.last().map(|row| row.key.clone());
                    return Ok(Some(piece.record));
                }
            };
        }
    }

    /// Rows of a table until the piece is full; true: it has no more.
    fn rows<K: Key + 'static, V: Value + 'static>(
        &mut self,
        txn: &ReadTransaction,
        definition: TableDefinition<'_, K, V>,
        piece: &mut Piece,
    ) -> Result<bool, IndexError> {
        let table = match txn.open_table(definition) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(true),
            table => table?,
        };
        let after = self.after.clone();
        let from = after.as_ref().map_or(Bound::Unbounded, |key| Bound::Excluded(K::from_bytes(key)));
        for row in table.range::<K::SelfType<'_>>((from, Bound::Unbounded))? {
            let (key, value) = row?;
            let (key, value) = (key.value(), value.value());
            let (key, value) = (K::as_bytes(&key), V::as_bytes(&value));
            let key = key.as_ref();
            self.after = Some(key.to_vec());
            if !(self.table == TableId::Meta && is_local(key)) {
                piece.row(self.table, key, value.as_ref());
            }
            if piece.room == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Items with what lies in segments and files.
    fn items(
        &mut self,
        store: &StoreCore,
        txn: &ReadTransaction,
        piece: &mut Piece,
    ) -> Result<bool, IndexError> {
        let table = match txn.open_table(index::ITEMS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(true),
            table => table?,
        };
        let after = self.after.clone();
        let from = after.as_ref().map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_slice()));
        for row in table.range::<&[u8]>((from, Bound::Unbounded))? {
            let (key, value) = row?;
            let (key, value) = (key.value(), value.value());
            if let (Some(id), Ok(record)) = (record::item_id(key), record::unseal::<ItemRecord>(key, value))
                && !self.blobs(store, id, &record, piece)
            {
                return Ok(false);
            }
            piece.row(TableId::Items, key, value);
            (self.after, self.uploaded) = (Some(key.to_vec()), 0);
            if piece.room == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds an item's octets; false: its large body needs another piece. What cannot be read is left
    /// out: whoever reads the log finds it missing, and moves the item to quarantine.
    fn blobs(&mut self, store: &StoreCore, id: ItemId, item: &ItemRecord, piece: &mut Piece) -> bool {
        if let BlobLocation::File { sequence } = item.body.location {
            while self.uploaded < item.body.size {
                if piece.room == 0 {
                    return false;
                }
                let left = usize::try_from(item.body.size - self.uploaded).unwrap_or(usize::MAX);
                let mut octets = vec![0; left.min(piece.room)];
                let path = store.layout.body(id, sequence);
                let read = store.disk.open(&path, false);
                if read.and_then(|file| read_exact_at(&*file, self.uploaded, &mut octets)).is_err() {
                    break;
                }
                piece.room -= octets.len();
                let at = self.uploaded;
                self.uploaded += octets.len() as u64;
                piece.record.pieces.push(BodyPiece::new(id, at, octets));
            }
            piece.record.bodies.push(WholeBody::new(id, sequence, item.body.size));
        }
        for blob in item.blobs() {
            let BlobLocation::Segment { segment, .. } = blob.location else { continue };
            if let Ok((offset, octets)) = store.segments.frame(blob) {
                piece.room = piece.room.saturating_sub(octets.len());
                piece.record.segments.push(SegmentWrite { segment, offset, octets });
            }
        }
        true
    }
}

/// Whether a counter is of this directory alone.
fn is_local(key: &[u8]) -> bool {
    [index::STORE, index::EPOCH, index::APPLIED, index::APPLIED_SUM].iter().any(|name| name.as_bytes() == key)
}
