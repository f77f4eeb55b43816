//! A log in memory, with faults: for tests of whatever is above it.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{AppendError, LogBounds, LogError, LogRecord, Seq, ShardLog};

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFault {
    /// The record is stored, and the answer is lost.
    LostAnswer,
    /// The record is not stored, and nobody says so.
    LostRecord,
    /// The record is stored when the next call comes, and nobody says so now.
    Delayed,
    /// The engine says that it is away.
    Away,
}

/// See the module. Clones are the same log, as several processes see it.
#[derive(Debug, Clone, Default)]
pub struct MemoryLog(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    first: Seq,
    records: VecDeque<Vec<u8>>,
    faults: VecDeque<LogFault>,
    delayed: Vec<(Seq, Vec<u8>)>,
    is_away: bool,
    max_record: Option<usize>,
    appends: u64,
}

impl State {
    fn last(&self) -> Seq {
        self.first + self.records.len() as Seq
    }

    fn append(&mut self, expected: Seq, record: &[u8]) -> Result<(), AppendError> {
        if self.last() != expected {
            return Err(AppendError::Fenced(expected));
        }
        self.records.push_back(record.to_vec());
        Ok(())
    }

    fn arrive(&mut self) {
        for (expected, record) in std::mem::take(&mut self.delayed) {
            let _ = self.append(expected, &record);
        }
    }
}

impl MemoryLog {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One whose records may have so many octets.
    #[must_use]
    pub fn with_max_record(octets: usize) -> Self {
        let log = Self::default();
        log.0.lock().max_record = Some(octets);
        log
    }

    /// Has the next appends meet these faults, one each.
    pub fn fail(&self, faults: impl IntoIterator<Item = LogFault>) {
        self.0.lock().faults.extend(faults);
    }

    /// From now on every call fails, or none does.
    pub fn set_away(&self, is_away: bool) {
        self.0.lock().is_away = is_away;
    }

    /// Records that are kept now.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.0.lock().records.len()
    }

    /// Calls of `append` so far, whatever they came to.
    #[must_use]
    pub fn appends(&self) -> u64 {
        self.0.lock().appends
    }

    /// Damages the record at `seq`.
    pub fn damage(&self, seq: Seq) {
        let mut state = self.0.lock();
        let first = state.first;
        let position = usize::try_from(seq.saturating_sub(first + 1)).unwrap_or(usize::MAX);
        if let Some(octet) = state.records.get_mut(position).and_then(|record| record.last_mut()) {
            *octet ^= 1;
        }
    }

    /// Loses its last records, as an engine does that acknowledged without a sync.
    pub fn lose(&self, records: usize) {
        let mut state = self.0.lock();
        let left = state.records.len().saturating_sub(records);
        state.records.truncate(left);
    }

    fn state(&self) -> Result<parking_lot::MutexGuard<'_, State>, LogError> {
        let mut state = self.0.lock();
        state.arrive();
        if state.is_away {
            return Err(LogError::Unavailable("it is away".into()));
        }
        Ok(state)
    }
}

#[async_trait]
impl ShardLog for MemoryLog {
    async fn append(&self, expected: Seq, record: &[u8]) -> Result<(), AppendError> {
        let mut state = self.0.lock();
        state.appends += 1;
        state.arrive();
        if state.is_away {
            return Err(AppendError::Unavailable("it is away".into()));
        }
        let unknown = || AppendError::Unknown("no answer".into());
        match state.faults.pop_front() {
            None => state.append(expected, record),
            Some(LogFault::Away) => Err(AppendError::Unavailable("it is away".into())),
            Some(LogFault::LostRecord) => Err(unknown()),
            Some(LogFault::LostAnswer) => {
                let _ = state.append(expected, record);
                Err(unknown())
            }
            Some(LogFault::Delayed) => {
                state.delayed.push((expected, record.to_vec()));
                Err(unknown())
            }
        }
    }

    async fn read(&self, from: Seq, octets: usize) -> Result<Vec<LogRecord>, LogError> {
        let state = self.state()?;
        if from <= state.first {
            return Err(LogError::Trimmed(from));
        }
        let skip = usize::try_from(from - state.first - 1).unwrap_or(usize::MAX);
        let mut room = octets;
        let mut records = Vec::new();
        for (seq, record) in (from..).zip(state.records.iter().skip(skip)) {
            records.push(LogRecord { seq, octets: record.clone() });
            room = room.saturating_sub(record.len());
            if room == 0 {
                break;
            }
        }
        Ok(records)
    }

    async fn bounds(&self) -> Result<LogBounds, LogError> {
        let state = self.state()?;
        let octets = state.records.iter().map(|record| record.len() as u64).sum();
        Ok(LogBounds { first: state.first + 1, last: state.last(), octets })
    }

    async fn trim(&self, below: Seq) -> Result<(), LogError> {
        let mut state = self.state()?;
        while state.first + 1 < below && !state.records.is_empty() {
            state.records.pop_front();
            state.first += 1;
        }
        Ok(())
    }

    fn max_record(&self) -> usize {
        self.0.lock().max_record.unwrap_or(1 << 20)
    }
}
