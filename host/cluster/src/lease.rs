//! Leases: who tries to own what. Who may is decided by a shard's log alone.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::engine::EngineError;

/// A holder renews a lease this often.
pub const RENEWED: Duration = Duration::from_secs(3);
/// A lease that did not change for this long, by the clock of whoever looks, is free.
pub const LAPSES: Duration = Duration::from_secs(15);
/// A holder that could not renew for this long stops: others may take the lease soon.
pub const HOLDER_STOPS: Duration = Duration::from_secs(10);

/// A lease as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseEntry {
    /// Rises with every change.
    pub revision: u64,
    /// Who holds it; empty: nobody, as its holder gave it up.
    pub holder: String,
    /// What the holder says about itself, such as its address; at most 1 KiB.
    pub note: String,
}

/// Small entries that change by comparison.
#[async_trait]
pub trait Leases: Send + Sync + fmt::Debug {
    /// The entry of `key`; none: nobody ever had it.
    ///
    /// # Errors
    /// The engine does not answer.
    async fn entry(&self, key: &str) -> Result<Option<LeaseEntry>, EngineError>;

    /// All entries whose key begins so, with their keys.
    ///
    /// # Errors
    /// As above.
    async fn entries(&self, prefix: &str) -> Result<Vec<(String, LeaseEntry)>, EngineError>;

    /// Writes an entry if its revision is `expected` (0: there is none); its new revision. None:
    /// somebody else was faster.
    ///
    /// # Errors
    /// As above. The entry may have been written.
    async fn replace(
        &self,
        key: &str,
        expected: u64,
        holder: &str,
        note: &str,
    ) -> Result<Option<u64>, EngineError>;
}

/// What an onlooker knows of leases: when it last saw each change. It compares no clocks of different
/// machines.
#[derive(Debug, Default)]
pub struct Watch(HashMap<String, (u64, Instant)>);

impl Watch {
    /// Takes note of an entry as it is `now`. Returns true if nobody holds it, or if it did not change
    /// for [`LAPSES`] since it was first seen like this.
    pub fn is_free(&mut self, key: &str, entry: Option<&LeaseEntry>, now: Instant) -> bool {
        let Some(entry) = entry else { return true };
        let seen = self.0.entry(key.to_owned()).or_insert((entry.revision, now));
        if seen.0 != entry.revision {
            *seen = (entry.revision, now);
        }
        entry.holder.is_empty() || now.duration_since(seen.1) >= LAPSES
    }

    /// Forgets all but these keys.
    pub fn keep(&mut self, keys: &[String]) {
        self.0.retain(|key, _| keys.contains(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_lapses_by_the_clock_of_the_onlooker() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let held = |revision| LeaseEntry { revision, holder: "a".into(), note: String::new() };
        assert!(watch.is_free("s1", None, start));
        assert!(!watch.is_free("s1", Some(&held(1)), at(0)));
        assert!(!watch.is_free("s1", Some(&held(1)), at(14)));
        assert!(!watch.is_free("s1", Some(&held(2)), at(16)), "it was renewed");
        assert!(!watch.is_free("s1", Some(&held(2)), at(30)));
        assert!(watch.is_free("s1", Some(&held(2)), at(31)));
        let given_up = LeaseEntry { holder: String::new(), ..held(3) };
        assert!(watch.is_free("s1", Some(&given_up), at(31)));
    }
}
