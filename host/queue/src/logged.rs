//! Commits of the writer where there is a log: the log first, then the directory.

use std::sync::Arc;

use redb::WriteTransaction;

use crate::group::{PendingRequest, QueueWriter};
use crate::index::{self, IndexError, Tables};
use crate::request::Op;
use crate::shard_log::Seq;
use crate::shard_log::bind::{LogFailure, LogState, LogWriter};
use crate::shard_log::capture::Changes;
use crate::shard_log::checkpoint::Checkpoint;
use crate::shard_log::record::ShardRecord;

impl QueueWriter {
    /// From now on every commit is in the log first.
    pub(crate) fn bind(&mut self, log: LogWriter, state: Option<Arc<LogState>>) {
        self.appender.flushed = Some(Vec::new());
        self.log = Some(log);
        if let Some(state) = state {
            state.set_applied(self.log.as_ref().map_or(0, |log| log.last));
            // The store was not handed out yet: nobody else sets it.
            let _ = self.inner.log.set(state);
        }
    }

    /// Appends what the transaction changed to the log, and commits when that is there. Without a log
    /// it only commits.
    ///
    /// The record's place is written with the change. If the process dies between the two, the next
    /// owner finds the record in the log and applies it.
    pub(crate) fn commit_logged(
        &mut self,
        txn: WriteTransaction,
        changes: &Changes,
        requests: &mut [PendingRequest],
    ) -> Result<(), IndexError> {
        let Some(log) = &mut self.log else { return Ok(txn.commit()?) };
        let mut record = ShardRecord {
            rows: changes.take(),
            segments: self.appender.take_flushed(),
            ..ShardRecord::default()
        };
        for request in requests.iter_mut().filter(|request| request.is_planned()) {
            record.bodies.extend(request.staged().iter().filter_map(|staged| staged.whole_body()));
            if let Op::Piece(piece) = request.op() {
                if let Some(item) = piece.item() {
                    log.begin_upload(item);
                }
                record.pieces.push(piece.clone());
            }
        }
        let arrived: Vec<_> = record.bodies.iter().filter_map(|body| body.item()).collect();
        let prepared = log.prepare(record).map_err(IndexError::Log)?;
        let last = prepared.last();
        put_applied(&txn, last, prepared.sum())?;
        log.append(prepared).map_err(IndexError::Log)?;
        for item in arrived {
            log.end_upload(item);
        }
        // The log has the change now. A directory that cannot take it, for want of room or worse, would
        // go on without it: it is opened anew instead, and takes it from the log.
        txn.commit().map_err(|error| {
            let why = format!("the log has a change that the directory could not take: {error}");
            IndexError::Log(LogFailure::Lost(why))
        })?;
        self.note_applied(last);
        Ok(())
    }

    fn note_applied(&self, last: Seq) {
        if let Some(state) = self.inner.log() {
            state.set_applied(last);
        }
    }

    /// Writes another piece of a checkpoint, or begins one when the log has grown enough. Called after each
    /// group: a log that does not grow needs no checkpoint.
    pub(crate) fn checkpoint_log(&mut self) {
        let Some(log) = &mut self.log else { return };
        if log.checkpoint.is_none() {
            if log.octets <= log.trim_at.max(2 * log.checkpointed) {
                return;
            }
            tracing::debug!(octets = log.octets, "writing what is needed of the log anew");
            log.checkpoint = Some(Checkpoint::new(log.first_needed()));
        }
        if let Err(error) = self.checkpoint_step() {
            // It goes on after the next group.
            tracing::warn!(?error, "the log could not be written anew for now");
        }
    }

    /// Writes one piece; false: the checkpoint is over, and the log is trimmed.
    pub(crate) fn checkpoint_step(&mut self) -> Result<bool, IndexError> {
        let inner = Arc::clone(&self.inner);
        let Some(log) = &mut self.log else { return Ok(false) };
        let Some(mut checkpoint) = log.checkpoint.take() else { return Ok(false) };
        let Some(record) = inner.index.guard(|| checkpoint.next(&inner))? else {
            match log.trim(checkpoint.floor) {
                Ok(bounds) => log.octets = bounds.octets,
                Err(error) => tracing::warn!(%error, "the log could not be trimmed for now"),
            }
            log.checkpointed = checkpoint.written;
            return Ok(false);
        };
        let before = log.octets;
        let prepared = log.prepare(record).map_err(IndexError::Log)?;
        match log.append(prepared) {
            Ok(()) => {}
            Err(LogFailure::Away(why)) => {
                // The piece is lost, and with it the checkpoint: the next one begins anew.
                return Err(IndexError::Log(LogFailure::Away(why)));
            }
            Err(LogFailure::Lost(why)) => {
                inner.poison.end(&why);
                return Err(IndexError::Log(LogFailure::Lost(why)));
            }
        }
        checkpoint.written += log.octets - before;
        let (last, sum) = (log.last, log.sum);
        log.checkpoint = Some(checkpoint);
        let txn = inner.index.write()?;
        put_applied(&txn, last, sum)?;
        txn.commit()?;
        self.note_applied(last);
        Ok(true)
    }
}

/// Says which record of the log the directory has last.
pub(crate) fn put_applied(txn: &WriteTransaction, seq: Seq, sum: u64) -> Result<(), IndexError> {
    let mut tables = Tables::open(txn)?;
    tables.meta.insert(index::APPLIED, seq)?;
    tables.meta.insert(index::APPLIED_SUM, sum)?;
    Ok(())
}
