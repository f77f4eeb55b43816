//! Keys and values of the outbox in the store.
//!
//! | key `outbox/...` | a fact | value |
//! | --- | --- | --- |
//! | `w/TIME/ID/DIGEST/OCTETS` | a request waits | [`Entry`] |
//! | `d/TIME/ID/DIGEST/TIME-OCTETS` | it will not be forwarded | [`Entry`] with `dead` |
//! | `f/TIME/ID/DIGEST/TIME` | the core has it | the core's answer |
//! | `t/TIME/ID/DIGEST/TIME-RANDOM` | it is on its way to the core, or was when its instance died | |
//! | `u/TIME/ID/DIGEST/TIME` | since then the core may have it | |
//!
//! The first time is when the request was stored. All times are in milliseconds since 1970, with 13 digits.

use serde::{Deserialize, Serialize};

/// Octets of a value: Spin's own store, and others behind its interface, take one megabyte.
pub const MAX_ENTRY: usize = 1_000_000;
/// Of these, what the reason of a dead entry and the core's answer may need.
pub const RESERVED: usize = 20_000;

/// What a key says about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It waits.
    Waiting,
    /// It will not be forwarded.
    Dead,
    /// The core has it.
    Forwarded,
    /// An attempt under way, or one whose instance died.
    Attempt,
    /// An attempt ended without saying whether the core has it.
    Unknown,
}

const KINDS: [(Kind, &str); 5] = [
    (Kind::Waiting, "w"),
    (Kind::Dead, "d"),
    (Kind::Forwarded, "f"),
    (Kind::Attempt, "t"),
    (Kind::Unknown, "u"),
];

/// An entry, whatever is said about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryRef {
    /// When it was stored.
    pub stored_at: u64,
    /// Its provisional id.
    pub id: String,
    /// The first half of the request's digest.
    pub digest: String,
}

/// A key of the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryName {
    /// Of which entry.
    pub entry: EntryRef,
    /// What it says.
    pub kind: Kind,
    /// When it came to be so; the time of storing for an entry that waits.
    pub at: u64,
    /// Octets of the value, or a random number.
    pub tail: String,
}

impl EntryName {
    /// The key in the store.
    #[must_use]
    pub fn key(&self) -> String {
        let Self { entry: EntryRef { stored_at, id, digest }, kind, at, tail } = self;
        let letter = KINDS.iter().find(|(known, _)| known == kind).map_or("", |(_, letter)| letter);
        format!("outbox/{letter}/{stored_at:013}/{id}/{digest}/{at:013}-{tail}")
    }

    /// Reads a key; none: it is not one of the outbox.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        let mut parts = key.strip_prefix("outbox/")?.split('/');
        let letter = parts.next()?;
        let (kind, _) = KINDS.iter().find(|(_, known)| *known == letter)?;
        let stored_at = parts.next()?.parse().ok()?;
        let (id, digest) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        let (at, tail) = parts.next()?.split_once('-')?;
        let entry = EntryRef { stored_at, id, digest };
        let name = Self { entry, kind: *kind, at: at.parse().ok()?, tail: tail.to_owned() };
        (name.key() == key).then_some(name)
    }

    /// Octets that the entry takes, waiting or dead.
    #[must_use]
    pub fn octets(&self) -> usize {
        match self.kind {
            Kind::Waiting | Kind::Dead => self.tail.parse().unwrap_or(0),
            _ => 0,
        }
    }
}

/// A request in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What stands before the body.
    pub head: EntryHead,
    /// The body of `POST /relay`.
    pub body: Vec<u8>,
}

/// What is known about a request in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryHead {
    /// Its idempotency key.
    pub key: String,
    /// Its whole digest.
    pub digest: String,
    /// Since when the core may have it: the first attempt, before it was stored, had no clear end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_since: Option<u64>,
    /// Why it will not be forwarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<DeadReason>,
}

/// Why a request will not be forwarded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum DeadReason {
    /// The core refused it.
    Refused {
        /// The status of the core's answer.
        core_status: u16,
        /// The answer, cut at 16 KiB.
        core_answer: String,
    },
    /// It has waited for as long as it may.
    TooOld,
    /// `expires_at` of all its emails has passed.
    Expired,
    /// The core may have it. Its time is over, or the core soon does not know its idempotency key any
    /// more: another attempt could send it twice.
    Unknown,
    /// The value in the store cannot be read.
    Unreadable,
}

impl Entry {
    /// The value in the store: a line of JSON, then the body as it is sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // A struct of strings and numbers is always JSON.
        let mut octets = serde_json::to_vec(&self.head).unwrap_or_default();
        octets.push(b'\n');
        octets.extend(&self.body);
        octets
    }

    /// Reads a value; none: it is damaged.
    #[must_use]
    pub fn decode(octets: &[u8]) -> Option<Self> {
        let end = octets.iter().position(|octet| *octet == b'\n')?;
        let head = serde_json::from_slice(&octets[..end]).ok()?;
        Some(Self { head, body: octets[end + 1..].to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let entry = EntryRef { stored_at: 7, id: format!("edge-{}", "a".repeat(32)), digest: "b".repeat(32) };
        for (kind, letter) in KINDS {
            let name = EntryName { entry: entry.clone(), kind, at: 8, tail: "1000000".to_owned() };
            let key = name.key();
            assert!(
                key.len() < 255 && key.starts_with(&format!("outbox/{letter}/0000000000007/edge-aa")),
                "{key}"
            );
            assert_eq!(EntryName::parse(&key), Some(name));
        }
        for other in ["outbox/x/1/2/3/4-5", "outbox/w/1/2/3/4-5", "template/w", "outbox/w", ""] {
            assert_eq!(EntryName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_value_is_read_as_it_was_written() {
        let refused = DeadReason::Refused { core_status: 422, core_answer: "{\n}".to_owned() };
        for dead in [None, Some(refused), Some(DeadReason::Unknown)] {
            let head =
                EntryHead { key: "k\"".to_owned(), digest: "d".to_owned(), unknown_since: Some(3), dead };
            let entry = Entry { head, body: b"{\"emails\":\n[]}".to_vec() };
            assert_eq!(Entry::decode(&entry.encode()), Some(entry));
        }
        assert_eq!(Entry::decode(b"{}"), None);
        assert_eq!(Entry::decode(b"{}\n{}"), None);
    }
}
