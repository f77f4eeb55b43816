//! What a plugin read of its key-value data: recorded while it reads, and given to it again in a
//! replay.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};
use relevo_runtime::policy::{Export, KeyValues, Unavailable};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kv::KvData;

/// Octets of keys and values that are noted for a message. With more, the recording cannot be
/// replayed.
const MOST: usize = 1 << 20;
/// Ranges that are noted for a message.
const SCANS: usize = 1_000;
/// Octets that a note takes beside its keys and values.
const NOTE: usize = 16;

/// Ranges that were read, and what was found.
type Scans = BTreeMap<Range, Vec<(String, Vec<u8>)>>;

/// The lookups of one message and their results.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Reads {
    pub(crate) gets: BTreeMap<String, Option<Vec<u8>>>,
    #[serde(serialize_with = "to_pairs", deserialize_with = "from_pairs")]
    pub(crate) scans: Scans,
    /// That they take.
    pub(super) octets: usize,
    /// There were more than are noted; none of them is here then.
    pub(crate) cut: bool,
}

/// A JSON object has texts as keys, and a range is none.
fn to_pairs<S: Serializer>(scans: &Scans, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(scans)
}

fn from_pairs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scans, D::Error> {
    Ok(Vec::<(Range, Vec<(String, Vec<u8>)>)>::deserialize(deserializer)?.into_iter().collect())
}

/// How a range was asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Range {
    pub(crate) prefix: String,
    pub(crate) after: Option<String>,
    pub(crate) limit: usize,
    pub(crate) octets: usize,
}

impl Reads {
    fn note_get(&mut self, key: &str, value: Option<&Vec<u8>>) {
        if self.cut || self.gets.contains_key(key) || !self.fits(key.len() + value.map_or(0, Vec::len)) {
            return;
        }
        self.gets.insert(key.to_owned(), value.cloned());
    }

    fn note_scan(&mut self, range: Range, found: &[(String, Vec<u8>)]) {
        if self.cut || self.scans.contains_key(&range) {
            return;
        }
        let octets = found.iter().map(|(key, value)| key.len() + value.len() + NOTE).sum::<usize>();
        let asked = range.prefix.len() + range.after.as_ref().map_or(0, String::len);
        // More ranges than these are of a plugin that reads everything: no message could be
        // replayed without all of it.
        let octets = if self.scans.len() < SCANS { octets + asked } else { usize::MAX };
        if self.fits(octets) {
            self.scans.insert(range, found.to_vec());
        }
    }

    fn fits(&mut self, octets: usize) -> bool {
        let sum = self.octets.saturating_add(octets).saturating_add(NOTE);
        if sum > MOST {
            // Half of it could only give another verdict.
            *self = Self { cut: true, ..Self::default() };
        } else {
            self.octets = sum;
        }
        !self.cut
    }

    /// Those of `start` too.
    fn with(mut self, start: &Self) -> Self {
        if self.cut || start.cut {
            return Self { cut: true, ..Self::default() };
        }
        for (key, value) in &start.gets {
            self.note_get(key, value.as_ref());
        }
        for (range, found) in &start.scans {
            self.note_scan(range.clone(), found);
        }
        self
    }
}

/// Lookups that others may add to. The lock is never held while they are read.
#[derive(Debug, Default)]
pub(crate) struct SharedReads(Mutex<Arc<Reads>>);

impl SharedReads {
    fn lock(&self) -> MutexGuard<'_, Arc<Reads>> {
        // Nothing in it can be half done.
        self.0.lock()
    }

    /// As they are now.
    fn read(&self) -> Arc<Reads> {
        Arc::clone(&self.lock())
    }

    fn note(&self, note: impl FnOnce(&mut Reads)) {
        let mut reads = self.lock();
        if !reads.cut {
            note(Arc::make_mut(&mut reads));
        }
    }
}

/// A plugin's data, which records what one message reads.
pub(crate) struct RecordedReads {
    data: Arc<KvData>,
    /// What instances of this version read with this data before they see a message: kept for all
    /// messages, since a warm instance reads it once.
    start: Arc<SharedReads>,
    message: SharedReads,
    starting: AtomicBool,
}

impl RecordedReads {
    pub(crate) fn new(data: Arc<KvData>, start: Arc<SharedReads>) -> Self {
        Self { data, start, message: SharedReads::default(), starting: AtomicBool::new(true) }
    }

    /// Octets that this message read so far. All messages share what was read before them.
    pub(crate) fn octets(&self) -> usize {
        self.message.lock().octets
    }

    /// All that the verdict may depend on; to be taken once.
    pub(crate) fn reads(&self) -> Reads {
        let own = Arc::unwrap_or_clone(std::mem::take(&mut *self.message.lock()));
        own.with(&self.start.read())
    }

    fn notes(&self) -> &SharedReads {
        if self.starting.load(Ordering::Relaxed) { &self.start } else { &self.message }
    }
}

impl KeyValues for RecordedReads {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        let value = self.data.get(key)?;
        self.notes().note(|reads| reads.note_get(key, value.as_ref()));
        Ok(value)
    }

    fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        octets: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, Unavailable> {
        let found = self.data.scan(prefix, after, limit, octets)?;
        let range = Range::of(prefix, after, limit, octets);
        self.notes().note(|reads| reads.note_scan(range, &found));
        Ok(found)
    }

    fn enters(&self, export: Export) {
        self.starting.store(matches!(export, Export::Start | Export::Configure), Ordering::Relaxed);
    }
}

impl Range {
    fn of(prefix: &str, after: Option<&str>, limit: usize, octets: usize) -> Self {
        Self { prefix: prefix.to_owned(), after: after.map(str::to_owned), limit, octets }
    }
}

/// A plugin's data in a replay: what was recorded. What was not is read from the data of today, and
/// that it was is remembered.
pub(crate) struct ReplayReads {
    reads: Reads,
    today: Arc<KvData>,
    strange: AtomicBool,
}

impl ReplayReads {
    pub(crate) fn new(reads: Reads, today: Arc<KvData>) -> Self {
        Self { reads, today, strange: AtomicBool::new(false) }
    }

    /// Whether something was read that was not recorded.
    pub(crate) fn read_more(&self) -> bool {
        self.strange.load(Ordering::Relaxed)
    }
}

impl KeyValues for ReplayReads {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        match self.reads.gets.get(key) {
            Some(value) => Ok(value.clone()),
            None => {
                self.strange.store(true, Ordering::Relaxed);
                self.today.get(key)
            }
        }
    }

    fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        octets: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, Unavailable> {
        match self.reads.scans.get(&Range::of(prefix, after, limit, octets)) {
            Some(found) => Ok(found.clone()),
            None => {
                self.strange.store(true, Ordering::Relaxed);
                self.today.scan(prefix, after, limit, octets)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(text: &str) -> Arc<KvData> {
        Arc::new(KvData::parse(text.as_bytes(), 10 << 20).expect("fits"))
    }

    #[test]
    fn what_was_read_is_recalled_though_the_data_changed() {
        let noted = RecordedReads::new(data("a\t1\np:1\tx\np:2\ty\nmode\tstrict\n"), Arc::default());
        noted.enters(Export::Configure);
        assert_eq!(noted.get("mode"), Ok(Some(b"strict".to_vec())));
        noted.enters(Export::Decide);
        assert_eq!(noted.get("a"), Ok(Some(b"1".to_vec())));
        assert_eq!(noted.get("absent"), Ok(None));
        let found = noted.scan("p:", None, 10, 100).expect("in memory");
        let today = data("a\t2\nabsent\there\nnew\t3\n");
        let recalled = ReplayReads::new(noted.reads(), today);
        assert_eq!(recalled.get("mode"), Ok(Some(b"strict".to_vec())));
        assert_eq!(recalled.get("a"), Ok(Some(b"1".to_vec())));
        assert_eq!(recalled.get("absent"), Ok(None));
        assert_eq!(recalled.scan("p:", None, 10, 100), Ok(found));
        assert!(!recalled.read_more());
        assert_eq!(recalled.get("new"), Ok(Some(b"3".to_vec())));
        assert!(recalled.read_more());
    }

    #[test]
    fn what_a_warm_instance_read_at_its_start_is_known_for_later_messages() {
        let start: Arc<SharedReads> = Arc::default();
        let first = RecordedReads::new(data("mode\tstrict\na\t1\n"), Arc::clone(&start));
        first.enters(Export::Configure);
        first.get("mode").expect("in memory");
        first.enters(Export::Decide);
        first.get("a").expect("in memory");
        let second = RecordedReads::new(data("mode\tstrict\na\t1\n"), start);
        second.enters(Export::Decide);
        let keys: Vec<String> = second.reads().gets.into_keys().collect();
        assert_eq!(keys, ["mode"], "but nothing of the other message");
    }

    #[test]
    fn too_much_is_cut_and_said() {
        let big = "v".repeat(60_000);
        let text: String = (0..30).map(|n| format!("k{n}\t{big}\n")).collect();
        let noted = RecordedReads::new(data(&text), Arc::default());
        noted.enters(Export::Decide);
        for n in 0..30 {
            noted.get(&format!("k{n}")).expect("in memory");
        }
        let reads = noted.reads();
        assert!(reads.cut && reads.octets <= MOST, "{}", reads.octets);
    }
    /// A plugin that reads its whole table in `configure`, range by range.
    #[test]
    fn very_many_ranges_are_noted_quickly_or_cut() {
        let start: Arc<SharedReads> = Arc::default();
        let first = RecordedReads::new(data("a\t1\n"), Arc::clone(&start));
        first.enters(Export::Configure);
        for n in 0..SCANS {
            first.scan(&format!("p{n}:"), None, 10, 100).expect("in memory");
            first.scan(&format!("p{n}:"), None, 10, 100).expect("the same again");
        }
        let message = || {
            let noted = RecordedReads::new(data("a\t1\n"), Arc::clone(&start));
            noted.enters(Export::Decide);
            noted.get("a").expect("in memory");
            noted
        };
        assert!(message().octets() < 100, "what all share is nobody's own");
        let reads = message().reads();
        assert_eq!((reads.scans.len(), reads.gets.len(), reads.cut), (SCANS, 1, false));
        first.scan("one more", None, 10, 100).expect("in memory");
        assert_eq!(message().reads(), Reads { cut: true, ..Reads::default() });
    }

    /// Who takes what was read at the start does not keep others from noting, or changes what it
    /// took.
    #[test]
    fn notes_go_on_while_somebody_reads_them() {
        let notes = SharedReads::default();
        notes.note(|reads| reads.note_get("a", None));
        let taken = notes.read();
        notes.note(|reads| reads.note_get("b", None));
        assert_eq!((taken.gets.len(), notes.read().gets.len()), (1, 2));
    }
}
