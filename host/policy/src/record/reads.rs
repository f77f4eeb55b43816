//! What a plugin read of its key-value data, noted while it reads and recalled in a replay.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use relevo_runtime::policy::{Export, KeyValues, Unavailable};
use serde::{Deserialize, Serialize};

use crate::kv::KvData;

/// Octets of keys and values that are noted for a message. With more, the recording cannot be replayed.
const MOST: usize = 1 << 20;
/// Octets that a note takes beside its keys and values.
const NOTE: usize = 16;

/// The lookups of one message and their results.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Reads {
    pub(crate) gets: BTreeMap<String, Option<Vec<u8>>>,
    pub(crate) scans: Vec<Scan>,
    /// That they take.
    pub(super) octets: usize,
    /// There were more than are noted.
    pub(crate) cut: bool,
}

/// A range that was read: how it was asked for, and what there was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scan {
    pub(crate) prefix: String,
    pub(crate) after: Option<String>,
    pub(crate) limit: usize,
    pub(crate) octets: usize,
    pub(crate) found: Vec<(String, Vec<u8>)>,
}

impl Reads {
    fn note_get(&mut self, key: &str, value: Option<&Vec<u8>>) {
        if self.gets.contains_key(key) || !self.fits(key.len() + value.map_or(0, Vec::len)) {
            return;
        }
        self.gets.insert(key.to_owned(), value.cloned());
    }

    fn note_scan(&mut self, scan: Scan) {
        let known = self
            .scans
            .iter()
            .any(|known| known.answers(&scan.prefix, scan.after.as_deref(), scan.limit, scan.octets));
        let found = scan.found.iter().map(|(key, value)| key.len() + value.len() + NOTE).sum::<usize>();
        let asked = scan.prefix.len() + scan.after.as_ref().map_or(0, String::len);
        if !known && self.fits(found + asked) {
            self.scans.push(scan);
        }
    }

    fn fits(&mut self, octets: usize) -> bool {
        let sum = self.octets.saturating_add(octets).saturating_add(NOTE);
        self.cut = self.cut || sum > MOST;
        if !self.cut {
            self.octets = sum;
        }
        !self.cut
    }

    /// Those of `start` too.
    pub(crate) fn with(mut self, start: &Self) -> Self {
        self.cut = self.cut || start.cut;
        for (key, value) in &start.gets {
            self.note_get(key, value.as_ref());
        }
        for scan in &start.scans {
            self.note_scan(scan.clone());
        }
        self
    }
}

impl Scan {
    fn answers(&self, prefix: &str, after: Option<&str>, limit: usize, octets: usize) -> bool {
        (self.prefix.as_str(), self.after.as_deref(), self.limit, self.octets)
            == (prefix, after, limit, octets)
    }
}

/// A plugin's data that notes what one message reads.
pub(crate) struct Noted {
    data: Arc<KvData>,
    /// What instances of this version read with this data before they see a message: kept for all messages, since a warm instance
    /// reads it once.
    start: Arc<Mutex<Reads>>,
    message: Mutex<Reads>,
    starting: AtomicBool,
}

impl Noted {
    pub(crate) fn new(data: Arc<KvData>, start: Arc<Mutex<Reads>>) -> Self {
        Self { data, start, message: Mutex::default(), starting: AtomicBool::new(true) }
    }

    /// Octets that were noted so far.
    pub(crate) fn octets(&self) -> usize {
        lock(&self.message).octets + lock(&self.start).octets
    }

    /// All that the verdict may depend on; to be taken once.
    pub(crate) fn reads(&self) -> Reads {
        let own = std::mem::take(&mut *lock(&self.message));
        own.with(&lock(&self.start))
    }

    fn notes(&self) -> MutexGuard<'_, Reads> {
        lock(if self.starting.load(Ordering::Relaxed) { &self.start } else { &self.message })
    }
}

fn lock(reads: &Mutex<Reads>) -> MutexGuard<'_, Reads> {
    // Nothing in it can be half done.
    reads.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KeyValues for Noted {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        let value = self.data.get(key)?;
        self.notes().note_get(key, value.as_ref());
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
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.notes().note_scan(Scan { prefix, after, limit, octets, found: found.clone() });
        Ok(found)
    }

    fn enters(&self, export: Export) {
        self.starting.store(matches!(export, Export::Start | Export::Configure), Ordering::Relaxed);
    }
}

/// What was noted, in a replay. What was not is read from the data of today, and that it was is remembered.
pub(crate) struct Recalled {
    reads: Reads,
    today: Arc<KvData>,
    strange: AtomicBool,
}

impl Recalled {
    pub(crate) fn new(reads: Reads, today: Arc<KvData>) -> Self {
        Self { reads, today, strange: AtomicBool::new(false) }
    }

    /// Whether something was read that was not recorded.
    pub(crate) fn read_more(&self) -> bool {
        self.strange.load(Ordering::Relaxed)
    }
}

impl KeyValues for Recalled {
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
        match self.reads.scans.iter().find(|scan| scan.answers(prefix, after, limit, octets)) {
            Some(scan) => Ok(scan.found.clone()),
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
        let noted = Noted::new(data("a\t1\np:1\tx\np:2\ty\nmode\tstrict\n"), Arc::default());
        noted.enters(Export::Configure);
        assert_eq!(noted.get("mode"), Ok(Some(b"strict".to_vec())));
        noted.enters(Export::Decide);
        assert_eq!(noted.get("a"), Ok(Some(b"1".to_vec())));
        assert_eq!(noted.get("absent"), Ok(None));
        let found = noted.scan("p:", None, 10, 100).expect("in memory");
        let today = data("a\t2\nabsent\there\nnew\t3\n");
        let recalled = Recalled::new(noted.reads(), today);
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
        let start: Arc<Mutex<Reads>> = Arc::default();
        let first = Noted::new(data("mode\tstrict\na\t1\n"), Arc::clone(&start));
        first.enters(Export::Configure);
        first.get("mode").expect("in memory");
        first.enters(Export::Decide);
        first.get("a").expect("in memory");
        let second = Noted::new(data("mode\tstrict\na\t1\n"), start);
        second.enters(Export::Decide);
        let keys: Vec<String> = second.reads().gets.into_keys().collect();
        assert_eq!(keys, ["mode"], "but nothing of the other message");
    }

    #[test]
    fn too_much_is_cut_and_said() {
        let big = "v".repeat(60_000);
        let text: String = (0..30).map(|n| format!("k{n}\t{big}\n")).collect();
        let noted = Noted::new(data(&text), Arc::default());
        noted.enters(Export::Decide);
        for n in 0..30 {
            noted.get(&format!("k{n}")).expect("in memory");
        }
        let reads = noted.reads();
        assert!(reads.cut && reads.octets <= MOST, "{}", reads.octets);
    }
}
