//! The key-value data of a plugin: imported whole, stored, and in memory while the plugin is in
//! use. A call never asks the store.

use std::ops::Bound;

use relevo_runtime::policy::{KeyValues, Unavailable};
use relevo_store::PluginData;

/// Octets of a key and of a value (`wit/relevo-host-0.1.0/kv.wit`).
const MAX_KEY: usize = 512;
const MAX_VALUE: usize = 65_536;

/// All entries, as they were imported last.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct KvData {
    entries: PluginData,
    /// Octets of keys and values.
    octets: u64,
}

impl KvData {
    /// Takes stored entries.
    ///
    /// # Errors
    /// More than `max` octets of keys and values.
    pub(crate) fn stored(entries: PluginData, max: u64) -> Result<Self, String> {
        let octets = entries.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
        let data = Self { entries, octets };
        if data.fits(max) {
            return Ok(data);
        }
        Err(format!("{octets} octets are stored, {max} are granted (`kv_size`)"))
    }

    /// Reads an import: one entry for each line, the key, a tab, the value (both UTF-8, the tab may
    /// be missing when the value is empty and the key has no white space). Empty lines and lines
    /// that begin with `#` are left out. At most `max` octets of keys and values.
    ///
    /// # Errors
    /// The first line that is wrong, by its number.
    pub(crate) fn parse(content: &[u8], max: u64) -> Result<Self, String> {
        let text = std::str::from_utf8(content).map_err(|_| "it is not UTF-8".to_owned())?;
        let mut entries = PluginData::new();
        let mut octets: u64 = 0;
        for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.is_empty() && !l.starts_with('#')) {
            let (key, value) = line.split_once('\t').unwrap_or((line, ""));
            let wrong = |what: String| Err(format!("line {}: {what}", number + 1));
            if key.is_empty() || key.len() > MAX_KEY || key.contains('\0') {
                return wrong(format!("a key has 1 to {MAX_KEY} octets, none of them NUL"));
            }
            if !line.contains('\t') && key.contains(|c: char| c.is_ascii_whitespace()) {
                return wrong("there is no tab between key and value".to_owned());
            }
            if value.len() > MAX_VALUE {
                return wrong(format!("a value has at most {MAX_VALUE} octets"));
            }
            octets = octets.saturating_add((key.len() + value.len()) as u64);
            if octets > max {
                return wrong(format!("more than the {max} octets that are granted (`kv_size`)"));
            }
            if entries.insert(key.to_owned(), value.as_bytes().to_vec()).is_some() {
                return wrong("this key was there already".to_owned());
            }
        }
        Ok(Self { entries, octets })
    }

    /// Returns true if there are at most `max` octets of keys and values.
    pub(crate) fn fits(&self, max: u64) -> bool {
        self.octets <= max
    }

    pub(crate) fn entries(&self) -> &PluginData {
        &self.entries
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl KeyValues for KvData {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        Ok(self.entries.get(key).cloned())
    }

    fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        octets: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, Unavailable> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut found = Vec::new();
        let mut taken = 0;
        for (key, value) in self.entries.range::<str, _>((from, Bound::Unbounded)) {
            taken += value.len();
            let full = found.len() == limit || (taken > octets && !found.is_empty());
            if full || !key.starts_with(prefix) {
                break;
            }
            found.push((key.clone(), value.clone()));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(found: Vec<(String, Vec<u8>)>) -> Vec<String> {
        found.into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn lines_become_entries() {
        let data = KvData::parse(b"# note\ndomain:x.test\tspam\n\naddress:a@x.test\n", 100).expect("fits");
        assert_eq!(data.get("domain:x.test"), Ok(Some(b"spam".to_vec())));
        assert_eq!(data.get("address:a@x.test"), Ok(Some(Vec::new())));
        assert_eq!(data.get("domain:"), Ok(None));
        assert_eq!(data.len(), 2);
        let data = KvData::parse(b"a key\tof two words\n", 100).expect("fits");
        assert_eq!(data.get("a key"), Ok(Some(b"of two words".to_vec())));
    }

    #[test]
    fn what_is_wrong_is_named_by_line() {
        let fails = |text: &[u8], max| KvData::parse(text, max).expect_err("wrong");
        assert!(fails(b"a\tb\n\tc\n", 100).starts_with("line 2: a key has"));
        assert!(fails(b"a\tb\na\tc\n", 100).starts_with("line 2: this key"));
        let missing = fails(b"# a note\nx.test\r\ndomain:x.test spam\n", 100);
        assert_eq!(missing, "line 3: there is no tab between key and value");
        assert!(KvData::parse(b"# a note\nx.test\r\n\na key\ta value\n", 100).is_ok());
        assert!(fails(b"aaa\tbbb\nc\td\n", 7).starts_with("line 2: more than the 7"));
        assert!(fails(b"\xff\n", 7).contains("UTF-8"));
        let long = [vec![b'k'; MAX_KEY + 1], b"\n".to_vec()].concat();
        assert!(fails(&long, 10_000).starts_with("line 1: a key has"));
    }

    #[test]
    fn stored_entries_are_bounded_like_imported_ones() {
        let data = KvData::parse(b"aaa\tbbb\nc\td\n", 8).expect("fits");
        assert_eq!(KvData::stored(data.entries().clone(), 8), Ok(data));
        let entries = PluginData::from([("aaa".to_owned(), b"bbb".to_vec())]);
        assert_eq!(
            KvData::stored(entries, 5),
            Err("6 octets are stored, 5 are granted (`kv_size`)".to_owned())
        );
    }

    #[test]
    fn scans_go_on_after_a_key() {
        let data = KvData::parse(b"a\np:1\tx\np:2\tyy\np:3\tz\nq\n", 100).expect("fits");
        let scan = |after, limit, octets| keys(data.scan("p:", after, limit, octets).expect("in memory"));
        assert_eq!(scan(None, 2, 100), ["p:1", "p:2"]);
        assert_eq!(scan(Some("p:2"), 2, 100), ["p:3"]);
        assert_eq!(scan(Some("a"), 9, 100), ["p:1", "p:2", "p:3"]);
        assert_eq!(scan(None, 9, 2), ["p:1"], "a value that does not fit is left for the next call");
        assert_eq!(scan(Some("p:1"), 9, 1), ["p:2"], "but one is always returned");
        assert_eq!(scan(Some("p:3"), 9, 100), [] as [&str; 0]);
    }
}
