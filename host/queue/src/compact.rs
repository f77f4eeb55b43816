//! Copies the last survivors of a nearly empty segment forward, so that one message that waits for
//! days does not keep thousands of delivered ones on disk.

use std::collections::BTreeMap;

use crate::ItemId;
use crate::draft::{Effect, Put};
use crate::group::QueueWriter;
use crate::index::{IndexError, Tables};
use crate::inner::{RecordState, get_item};
use crate::plan::{GroupPlan, Planner};
use crate::record::{Blob, ItemRecord};
use crate::segment::Kind;
use crate::shard_log::capture::Changes;

impl QueueWriter {
    /// Empties one sparse segment, if there is one. It holds less than a quarter of what a segment
    /// may, so callers wait for it no longer than for a large group.
    pub(crate) fn compact(&mut self) {
        if self.inner.poison.check().is_err() || self.detached.is_some() {
            return;
        }
        let Some(segment) = self.inner.segments.sparse(&self.appender, self.inner.young) else { return };
        // Whatever remains afterwards (a damaged frame) keeps the segment, but is not tried again.
        self.inner.segments.leave(segment);
        let Ok(before) = self.inner.index.counter(crate::index::SEQUENCE) else { return };
        self.appender.sequence = before + 1;
        tracing::debug!(segment, "emptying a segment");
        match self.survivors(segment).and_then(|moves| self.move_all(moves)) {
            Ok(outcome) => {
                self.take_effect(outcome);
                tracing::debug!(segment, "a segment is empty");
            }
            Err(error) if self.inner.index.sync_failed() => {
                self.inner.poison.fatal(&format!("sync of the index failed: {error:?}"));
            }
            Err(IndexError::Full) => {
                self.appender.discard();
                self.detached = Some(before);
            }
            Err(error) => {
                self.appender.discard();
                tracing::warn!(segment, ?error, "a sparse segment could not be emptied");
            }
        }
    }

    /// Copies what the index still refers to in a segment: old and new location by item.
    fn survivors(&mut self, segment: u32) -> Result<BTreeMap<ItemId, Vec<(Blob, Blob)>>, IndexError> {
        let inner = self.inner.clone();
        let other = |e: std::io::Error| IndexError::Other(e.to_string());
        let mut moves: BTreeMap<ItemId, Vec<(Blob, Blob)>> = BTreeMap::new();
        for frame in inner.segments.walk(segment).map_err(other)? {
            let Ok(Some(record)) = inner.item_record(frame.item) else { continue };
            if !record.blobs().any(|blob| blob.location == frame.blob.location) {
                continue;
            }
            let Ok(Some(bytes)) = inner.blob(frame.item, frame.blob) else {
                tracing::warn!(item = %frame.item, "a damaged frame stays where it is");
                continue;
            };
            let kind = Kind::of(frame.kind);
            let to = inner.segments.append(&mut self.appender, frame.item, kind, &bytes).map_err(other)?;
            moves.entry(frame.item).or_default().push((frame.blob, to));
        }
        if inner.segments.flush(&mut self.appender).map_err(other)? {
            let synced = inner.segments.sync(&mut self.appender);
            synced.map_err(|e| {
                IndexError::from_fatal(&inner.poison.fatal(&format!("sync of a segment failed: {e}")))
            })?;
        }
        Ok(moves)
    }

    fn move_all(&mut self, moves: BTreeMap<ItemId, Vec<(Blob, Blob)>>) -> Result<GroupPlan, IndexError> {
        let inner = self.inner.clone();
        let txn = inner.index.write()?;
        let changes = Changes::noted(self.log.is_some());
        let mut planner = Planner::new(&inner, Tables::open_noted(&txn, &changes)?)?;
        for (item, blobs) in moves {
            let RecordState::Good(mut record) = get_item(&**planner.items(), item)? else { continue };
            let effects = redirect(&mut record, &blobs);
            let value =
                crate::record::seal(&item.0, &record).map_err(|e| IndexError::Other(e.to_string()))?;
            planner.put(Put::Item(item, Some(value)), effects)?;
        }
        let outcome = planner.finish()?;
        self.commit_logged(txn, &changes, &mut [])?;
        Ok(outcome)
    }
}

fn redirect(record: &mut ItemRecord, blobs: &[(Blob, Blob)]) -> Vec<Effect> {
    let mut effects = Vec::new();
    for (from, to) in blobs {
        if record.body == *from {
            record.body = *to;
            effects.push(Effect::Moved { from: *from, to: *to });
        }
        for blob in [&mut record.recipe, &mut record.envelope] {
            if *blob == Some(*from) {
                *blob = Some(*to);
                effects.push(Effect::Moved { from: *from, to: *to });
            }
        }
    }
    effects
}
