//! The key-value data of a plugin: imported whole, in memory while it is used.

use std::collections::BTreeMap;
use std::ops::Bound;

use relevo_runtime::policy::{KeyValues, Unavailable};

/// Octets of a key and of a value (`wit/relevo-host-0.1.0/kv.wit`).
const MAX_KEY: usize = 512;
const MAX_VALUE: usize = 65_536;

/// All entries, as they were imported last.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct KvData {
    entries: BTreeMap<String, Box<[u8]>>,
}

impl KvData {
    /// As [`Self::parse`], of what somebody has just written: what was meant to have a value must have one.
    ///
    /// # Errors
    /// Likewise, and a line without a tab whose key has white space.
    pub(crate) fn parse_new(content: &[u8], max: u64) -> Result<Self, String> {
        let blank = |octet: &u8| octet.is_ascii_whitespace() && *octet != b'\r';
        let mut lines = content.split(|octet| *octet == b'\n');
        let missing =
            |line: &[u8]| !line.starts_with(b"#") && !line.contains(&b'\t') && line.iter().any(blank);
        match lines.position(missing) {
            Some(number) => Err(format!("line {}: there is no tab between key and value", number + 1)),
            None => Self::parse(content, max),
        }
    }

    /// Reads an import: one entry for each line, the key, a tab, the value (both UTF-8, the tab may be missing when the value is
    /// empty). Empty lines and lines that begin with `#` are left out. At most `max` octets of keys and values.
    ///
    /// # Errors
    /// The first line that is wrong, by its number.
    pub(crate) fn parse(content: &[u8], max: u64) -> Result<Self, String> {
        let text = std::str::from_utf8(content).map_err(|_| "it is not UTF-8".to_owned())?;
        let mut entries = BTreeMap::new();
        let mut octets: u64 = 0;
        for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.is_empty() && !l.starts_with('#')) {
            let (key, value) = line.split_once('\t').unwrap_or((line, ""));
            let wrong = |what: String| Err(format!("line {}: {what}", number + 1));
            if key.is_empty() || key.len() > MAX_KEY || key.contains('\0') {
                return wrong(format!("a key has 1 to {MAX_KEY} octets, none of them NUL"));
            }
            if value.len() > MAX_VALUE {
                return wrong(format!("a value has at most {MAX_VALUE} octets"));
            }
            octets = octets.saturating_add((key.len() + value.len()) as u64);
            if octets > max {
                return wrong(format!("more than the {max} octets that are granted (`kv_size`)"));
            }
            if entries.insert(key.to_owned(), value.as_bytes().into()).is_some() {
                return wrong("this key was there already".to_owned());
            }
        }
        Ok(Self { entries })
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl KeyValues for KvData {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        Ok(self.entries.get(key).map(|value| value.to_vec()))
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
            found.push((key.clone(), value.to_vec()));
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
        let new = KvData::parse_new(b"# a note\nx.test\r\ndomain:x.test spam\n", 100).expect_err("wrong");
        assert_eq!(new, "line 3: there is no tab between key and value");
        assert!(KvData::parse_new(b"# a note\nx.test\r\n\na key\ta value\n", 100).is_ok());
        assert!(fails(b"aaa\tbbb\nc\td\n", 7).starts_with("line 2: more than the 7"));
        assert!(fails(b"\xff\n", 7).contains("UTF-8"));
        let long = [vec![b'k'; MAX_KEY + 1], b"\n".to_vec()].concat();
        assert!(fails(&long, 10_000).starts_with("line 1: a key has"));
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
