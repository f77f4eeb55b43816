//! The writer: one thread that takes whatever requests have come in while it was busy, makes them
//! durable with one transaction, and answers them all.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::StoreError;
use crate::draft::Effect;
use crate::index::{IndexError, Tables};
use crate::inner::{StoreCore, io_error};
use crate::layout::DirectoryLock;
use crate::plan::{GroupPlan, Planner};
use crate::record::BlobLocation;
use crate::request::{Damaged, Op, StagedItem, WriteOutcome, WriterMessage, stage};
use crate::segment::Appender;
use crate::shard_log::anew;
use crate::shard_log::bind::{LogFailure, LogWriter};
use crate::shard_log::capture::Changes;

/// Requests that wait for the writer; beyond, callers wait to hand over theirs.
pub(crate) const WAITING: usize = 256;
/// Requests of one group.
const GROUP: usize = 256;
/// When the group before had as many, the next one waits a moment for others: a commit takes as
/// much time of a processor as ten requests do, and those who wait were waiting for one anyway.
const CROWD: usize = 4;
/// That moment.
const LINGER: Duration = Duration::from_millis(1);
/// Octets for segments in one group.
const GROUP_OCTETS: usize = 4 << 20;

pub(crate) struct PendingRequest {
    op: Op,
    staged: Vec<StagedItem>,
    reply: oneshot::Sender<Result<WriteOutcome, StoreError>>,
    /// Set when it is refused before the others are committed.
    refused: Option<StoreError>,
    answer: WriteOutcome,
}

impl PendingRequest {
    /// It is part of the group: nothing refused it.
    pub(crate) fn is_planned(&self) -> bool {
        self.refused.is_none()
    }

    pub(crate) fn op(&self) -> &Op {
        &self.op
    }

    pub(crate) fn staged(&self) -> &[StagedItem] {
        &self.staged
    }
}

/// The writer's own state.
pub(crate) struct QueueWriter {
    pub(crate) inner: Arc<StoreCore>,
    pub(crate) appender: Appender,
    /// Held until the last write is done.
    pub(crate) lock: Option<DirectoryLock>,
    /// The index is closed after a write found no room, and could not be opened anew yet; its
    /// sequence before that write.
    pub(crate) detached: Option<u64>,
    /// The shard's log, where there is one.
    pub(crate) log: Option<LogWriter>,
}

impl QueueWriter {
    /// Serves until the store is closed or all its handles are gone.
    pub(crate) fn run(mut self, mut inbox: mpsc::Receiver<WriterMessage>) {
        let (mut closed, mut before) = (None, 0);
        while closed.is_none() {
            let Some(first) = inbox.blocking_recv() else { break };
            if before >= CROWD {
                std::thread::sleep(LINGER);
            }
            let mut requests = Vec::new();
            let mut octets = 0;
            let mut next = Some(first);
            while let Some(message) = next.take() {
                match message {
                    WriterMessage::Do(op, reply) => {
                        octets += op.weight();
                        requests.push(PendingRequest {
                            op,
                            staged: Vec::new(),
                            reply,
                            refused: None,
                            answer: WriteOutcome::Done,
                        });
                    }
                    WriterMessage::Close(reply) => closed = Some(reply),
                }
                if closed.is_none() && requests.len() < GROUP && octets < GROUP_OCTETS {
                    next = inbox.try_recv().ok();
                }
            }
            before = requests.len();
            self.group(requests);
            self.tidy();
        }
        inbox.close();
        while let Ok(message) = inbox.try_recv() {
            if let WriterMessage::Do(_, reply) = message {
                let _ = reply.send(Err(StoreError::Io("the store is closed".into())));
            }
        }
        self.inner.index.close();
        drop(self.lock.take());
        if let Some(reply) = closed {
            let _ = reply.send(());
        }
    }

    /// Makes a group durable and answers it. A panic in it is contained: nothing of the group
    /// happened.
    fn group(&mut self, mut requests: Vec<PendingRequest>) {
        if requests.is_empty() {
            return;
        }
        self.end_if_damaged(&requests);
        let done = catch_unwind(AssertUnwindSafe(|| self.commit(&mut requests)));
        let failed = match done {
            Ok(Ok(outcome)) => {
                let damaged = outcome.damaged.clone();
                self.count(&requests);
                let effects = AssertUnwindSafe(|| {
                    self.remember(&mut requests);
                    self.take_effect(outcome);
                });
                if catch_unwind(effects).is_err() {
                    self.inner.poison.fatal("a fault after a commit: memory and disk may differ");
                }
                self.inner.announce();
                answer(requests);
                self.quarantine(damaged);
                return;
            }
            Ok(Err(error)) => error,
            Err(panic) => {
                self.inner.schedule().unlock_everything();
                CommitFailure::Group(self.inner.index.damaged(panic.as_ref()).into())
            }
        };
        self.appender.discard();
        let error = match failed {
            CommitFailure::Group(error) => error,
            CommitFailure::Full => {
                self.inner.space.forget();
                if requests.iter().any(|r| !r.op.is_new()) {
                    self.inner.space.release(self.inner.disk.as_ref());
                }
                StoreError::Full
            }
        };
        self.inner.announce();
        let uncertain = self.inner.poison.check().is_err();
        for request in requests {
            if uncertain {
                // The commit may have reached the disk after all: then its bodies are needed, else
                // they are orphans.
                request.staged.into_iter().for_each(StagedItem::keep);
            }
            let _ = request.reply.send(Err(request.refused.unwrap_or_else(|| same(&error))));
        }
    }

    /// The log has what is damaged here: nothing is put into quarantine. The store ends, and the next
    /// start makes the directory anew.
    fn end_if_damaged(&self, requests: &[PendingRequest]) {
        let inner = &self.inner;
        if self.log.is_none() || inner.is_anew.load(Ordering::Relaxed) {
            return;
        }
        let damage = requests.iter().find_map(|request| match &request.op {
            Op::Quarantine { what, why } => Some(format!("the directory is damaged ({what:?}: {why})")),
            _ => None,
        });
        if let Some(why) = damage {
            tracing::error!(why, "the store ends: its directory is made anew from the log");
            anew::set_damaged(inner.disk.as_ref(), &inner.layout);
            inner.poison.end(&why);
        }
    }

    fn commit(&mut self, requests: &mut [PendingRequest]) -> Result<GroupPlan, CommitFailure> {
        self.inner.poison.check().map_err(CommitFailure::Group)?;
        self.reattach()?;
        if !self.inner.space.outcomes_fit() {
            for request in requests.iter_mut().filter(|r| r.op.is_new()) {
                request.refused = Some(StoreError::Full);
            }
        }
        let before = self.inner.index.counter(crate::index::SEQUENCE)?;
        self.appender.sequence = before + 1;
        self.stage(requests)?;
        match self.transact(requests) {
            Ok(outcome) => Ok(outcome),
            Err(error) => self.after_failure(error, before),
        }
    }

    /// Puts bodies where they will stay and makes them durable. Those that do not fit refuse their
    /// request only.
    fn stage(&mut self, requests: &mut [PendingRequest]) -> Result<(), CommitFailure> {
        let inner = &self.inner;
        for request in requests.iter_mut().filter(|r| r.refused.is_none()) {
            let staged =
                stage(&mut request.op, &inner.disk, &inner.layout, &inner.segments, &mut self.appender);
            match staged {
                Ok(staged) => request.staged = staged,
                Err(error) => request.refused = Some(error),
            }
        }
        match inner.segments.flush(&mut self.appender) {
            Ok(false) => {}
            Ok(true) => {
                let synced = inner.segments.sync(&mut self.appender);
                synced.map_err(|e| {
                    CommitFailure::Group(inner.poison.fatal(&format!("sync of a segment failed: {e}")))
                })?;
            }
            Err(error) => {
                inner.space.forget();
                for request in requests.iter_mut().filter(|r| !r.staged.is_empty()) {
                    request.refused = Some(io_error(&error));
                    request.staged.clear();
                }
            }
        }
        if requests.iter().any(|r| r.staged.iter().any(StagedItem::has_file)) {
            let synced = inner.disk.sync_dir(&inner.layout.bodies());
            synced.map_err(|e| {
                CommitFailure::Group(inner.poison.fatal(&format!("sync of bodies failed: {e}")))
            })?;
        }
        Ok(())
    }

    fn transact(&mut self, requests: &mut [PendingRequest]) -> Result<GroupPlan, IndexError> {
        let inner = self.inner.clone();
        let txn = inner.index.write()?;
        let changes = Changes::noted(self.log.is_some());
        let mut planner = Planner::new(&inner, Tables::open_noted(&txn, &changes)?)?;
        let planned = plan_all(&mut planner, requests);
        let locked: Vec<_> = planner.locked().collect();
        let committed = planned.and_then(|()| planner.finish()).and_then(|outcome| {
            self.commit_logged(txn, &changes, requests)?;
            Ok(outcome)
        });
        if committed.is_err() {
            self.inner.schedule().unlock_all(locked);
        }
        committed
    }

    /// The transaction failed. When there was no room, the index is opened anew: it says whether
    /// the commit happened. After anything else nothing is certain.
    fn after_failure(&mut self, error: IndexError, before: u64) -> Result<GroupPlan, CommitFailure> {
        let inner = self.inner.clone();
        if inner.index.sync_failed() {
            return Err(CommitFailure::Group(
                inner.poison.fatal(&format!("sync of the index failed: {error:?}")),
            ));
        }
        match error {
            IndexError::Full => {
                self.detached = Some(before);
                self.reattach()?;
                Err(CommitFailure::Full)
            }
            IndexError::Log(LogFailure::Away(why)) => {
                let why = format!("the log of the shard is away: {why}");
                Err(CommitFailure::Group(StoreError::Unavailable(why)))
            }
            IndexError::Log(LogFailure::Lost(why)) => Err(CommitFailure::Group(inner.poison.end(&why))),
            IndexError::Other(text) => Err(CommitFailure::Group(inner.poison.fatal(&text))),
        }
    }

    /// Opens the index anew if a write found no room: redb refuses everything after an error. As
    /// long as there is no room for that either, the store is full for everybody.
    pub(crate) fn reattach(&mut self) -> Result<(), CommitFailure> {
        let Some(before) = self.detached else { return Ok(()) };
        let inner = &self.inner;
        let reopened = inner.index.reopen().and_then(|()| inner.index.counter(crate::index::SEQUENCE));
        match reopened {
            Ok(after) if after == before => self.detached = None,
            Ok(_) => {
                return Err(CommitFailure::Group(
                    inner.poison.fatal("a commit that reported an error took place"),
                ));
            }
            Err(IndexError::Full) if !inner.index.sync_failed() => return Err(CommitFailure::Full),
            Err(error) => {
                return Err(CommitFailure::Group(
                    inner.poison.fatal(&format!("no room, and then {error:?}")),
                ));
            }
        }
        Ok(())
    }

    /// What was accepted is about to be leased.
    fn remember(&self, requests: &mut [PendingRequest]) {
        for request in requests.iter_mut().filter(|r| r.refused.is_none()) {
            for staged in &mut request.staged {
                self.inner.recent.add(staged.id, staged.take_fresh());
            }
        }
    }

    /// What a durable commit means for memory and files.
    pub(crate) fn take_effect(&self, outcome: GroupPlan) {
        let inner = &self.inner;
        let mut files = Vec::new();
        let newest = outcome.newest_event;
        inner.newest_event.send_if_modified(|known| std::mem::replace(known, newest) != newest);
        let mut schedule = inner.schedule();
        for effect in outcome.effects {
            match effect {
                Effect::Insert(change, belongs) => schedule.insert(&change, &belongs),
                Effect::Update(change) => {
                    inner.recent.changed(change.id);
                    schedule.update(&change);
                }
                Effect::Remove(id) => {
                    inner.recent.changed(id);
                    schedule.remove(id);
                }
                Effect::Unreported(item, count) => schedule.set_unreported(item, count),
                Effect::ItemAdded(blobs) => {
                    blobs.into_iter().for_each(|blob| inner.segments.count(blob, true));
                    inner.counters.items.fetch_add(1, Ordering::Relaxed);
                }
                Effect::ItemChanged(item) => inner.recent.forget(item),
                Effect::ItemRemoved(blobs, item) => {
                    inner.recent.forget(item);
                    files.extend(blobs.iter().filter_map(|blob| match blob.location {
                        BlobLocation::File { sequence } => Some(inner.layout.body(item, sequence)),
                        BlobLocation::Segment { .. } => None,
                    }));
                    blobs.into_iter().for_each(|blob| inner.segments.count(blob, false));
                    inner.counters.items.fetch_sub(1, Ordering::Relaxed);
                }
                Effect::Moved { from, to } => {
                    inner.segments.count(to, true);
                    inner.segments.count(from, false);
                }
                Effect::Quarantined => StoreCore::count(&inner.counters.quarantined, 1),
            }
        }
        schedule.unlock_all(outcome.locked);
        drop(schedule);
        for file in files {
            // A file that cannot be removed now is removed at the next start. One in quarantine is
            // gone already.
            let _ = inner.disk.remove(&file);
        }
    }

    fn count(&self, requests: &[PendingRequest]) {
        let written: u64 = requests.iter().flat_map(|r| &r.staged).map(|s| s.record.body.size).sum();
        self.inner.space.wrote(written);
        StoreCore::count(&self.inner.counters.commits, 1);
        StoreCore::count(&self.inner.counters.committed, requests.len() as u64);
    }

    /// Moves deliveries to quarantine whose record turned out to be damaged.
    pub(crate) fn quarantine(&mut self, damaged: Vec<(crate::DeliveryId, String)>) {
        self.quarantine_all(damaged.into_iter().map(|(id, why)| (Damaged::Delivery(id), why)).collect());
    }

    /// Moves what a scan found to be damaged to quarantine.
    pub(crate) fn quarantine_all(&mut self, damaged: Vec<(Damaged, String)>) {
        self.on_own_account(damaged.into_iter().map(|(what, why)| Op::Quarantine { what, why }).collect());
    }

    /// Does what nobody asked for.
    pub(crate) fn on_own_account(&mut self, ops: Vec<Op>) {
        if ops.is_empty() {
            return;
        }
        let request = |op| {
            let (reply, _) = oneshot::channel();
            PendingRequest { op, staged: Vec::new(), reply, refused: None, answer: WriteOutcome::Done }
        };
        self.group(ops.into_iter().map(request).collect());
    }

    /// Gives space back.
    fn tidy(&mut self) {
        self.inner.segments.sweep(&self.appender);
        self.compact();
        self.inner.segments.sweep(&self.appender);
        self.checkpoint_log();
    }
}

fn plan_all(planner: &mut Planner<'_, '_>, requests: &mut [PendingRequest]) -> Result<(), IndexError> {
    for request in requests.iter_mut().filter(|r| r.refused.is_none()) {
        match planner.request(&mut request.op, &request.staged)? {
            Ok(answer) => request.answer = answer,
            Err(error) => request.refused = Some(error),
        }
    }
    Ok(())
}

fn answer(requests: Vec<PendingRequest>) {
    for request in requests {
        let answer = match request.refused {
            Some(error) => Err(error),
            None => {
                request.staged.into_iter().for_each(StagedItem::keep);
                Ok(request.answer)
            }
        };
        // A caller that went away does not change what is durable.
        let _ = request.reply.send(answer);
    }
}

pub(crate) enum CommitFailure {
    Group(StoreError),
    Full,
}

impl From<IndexError> for CommitFailure {
    fn from(error: IndexError) -> Self {
        Self::Group(error.into())
    }
}

fn same(error: &StoreError) -> StoreError {
    match error {
        StoreError::Full => StoreError::Full,
        StoreError::NoInodes => StoreError::NoInodes,
        StoreError::Io(text) => StoreError::Io(text.clone()),
        StoreError::Unavailable(text) => StoreError::Unavailable(text.clone()),
        StoreError::Corrupt(text) => StoreError::Corrupt(text.clone()),
        StoreError::KnownKey => StoreError::KnownKey,
        StoreError::LeaseLost(id) => StoreError::LeaseLost(*id),
    }
}
