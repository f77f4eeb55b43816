//! Which versions there are, and which of them are in use: one JSON file, replaced as a whole.

use std::collections::{BTreeMap, HashSet};

use relevo_queue::Millis;
use serde::{Deserialize, Serialize};

use crate::action::ActionError;

/// Layout of the file. A newer one is refused by number.
pub(crate) const FORMAT: u32 = 1;

/// Versions that are remembered for each plugin, the active one among them.
const VERSIONS: usize = 10;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) format: u32,
    /// By tenant, then by name in the configuration.
    pub(crate) tenants: BTreeMap<String, BTreeMap<String, Entry>>,
    /// Counts what was put in use, taken out of use or imported since the start.
    #[serde(skip)]
    pub(crate) changes: u64,
}

impl Default for State {
    fn default() -> Self {
        Self { format: FORMAT, tenants: BTreeMap::new(), changes: 0 }
    }
}

/// A plugin's versions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Off: the tenant's mail passes as if there were none.
    pub(crate) enabled: bool,
    /// Digest of the version that is asked.
    pub(crate) active: Option<String>,
    /// The one that was active before: what `rollback` without a digest goes to.
    pub(crate) previous: Option<String>,
    /// One that is asked beside the active one, without effect.
    #[serde(default)]
    pub(crate) shadow: Option<String>,
    /// The oldest first.
    pub(crate) versions: Vec<Version>,
}

/// A component that passed everything up to the self-test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Version {
    /// SHA-256 in hex.
    pub(crate) digest: String,
    /// When it was added last.
    pub(crate) added_at: Millis,
    /// Octets.
    pub(crate) size: u64,
}

impl State {
    pub(crate) fn entry(&self, tenant: &str, plugin: &str) -> Option<&Entry> {
        self.tenants.get(tenant)?.get(plugin)
    }

    pub(crate) fn entry_mut(&mut self, tenant: &str, plugin: &str) -> &mut Entry {
        self.tenants.entry(tenant.to_owned()).or_default().entry(plugin.to_owned()).or_default()
    }

    /// Components that some plugin remembers.
    pub(crate) fn digests(&self) -> HashSet<&str> {
        let entries = self.tenants.values().flat_map(BTreeMap::values);
        entries.flat_map(|entry| &entry.versions).map(|version| version.digest.as_str()).collect()
    }
}

impl Entry {
    /// A version is there from now on. The oldest that is neither active nor the previous one makes room.
    pub(crate) fn remember(&mut self, version: Version) {
        self.versions.retain(|v| v.digest != version.digest);
        self.versions.push(version);
        while self.versions.len() > VERSIONS {
            let kept = [self.active.as_ref(), self.previous.as_ref(), self.shadow.as_ref()];
            let newest = self.versions.len() - 1;
            let spare = self.versions.iter().position(|v| !kept.contains(&Some(&v.digest)));
            match spare.filter(|at| *at != newest) {
                Some(at) => drop(self.versions.remove(at)),
                None => break,
            }
        }
    }

    /// Puts a remembered version in use, and enables the plugin.
    pub(crate) fn activate(&mut self, digest: &str) {
        self.enabled = true;
        // Nothing to compare with itself.
        self.shadow = self.shadow.take().filter(|shadow| shadow != digest);
        if self.active.as_deref() != Some(digest) {
            self.previous = self.active.replace(digest.to_owned());
        }
    }

    /// The remembered version that a digest or the beginning of one names.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub(crate) fn find(&self, digest: &str) -> Result<&Version, NotFound> {
        let mut found = self.versions.iter().filter(|v| !digest.is_empty() && v.digest.starts_with(digest));
        let first = found.next().ok_or(NotFound::None)?;
        if found.next().is_none() { Ok(first) } else { Err(NotFound::Several) }
    }
}

/// Why the beginning of a digest names no version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotFound {
    None,
    Several,
}

impl NotFound {
    pub(crate) fn of(self, plugin: &str, digest: &str) -> ActionError {
        ActionError::NotFound(match self {
            Self::None => format!(
                "`{digest}` names no version of `{plugin}` that is remembered: `relevo plugin list --json` has those"
            ),
            Self::Several => format!("`{digest}` names several versions of `{plugin}`: say more of it"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(n: usize) -> Version {
        Version { digest: format!("{n:064x}"), added_at: 0, size: 1 }
    }

    #[test]
    fn rollback_knows_the_one_before() {
        let mut entry = Entry::default();
        for n in 1..=2 {
            entry.remember(version(n));
            entry.activate(&version(n).digest);
        }
        assert_eq!(entry.previous, Some(version(1).digest));
        entry.activate(&version(2).digest);
        assert_eq!(entry.previous, Some(version(1).digest), "the same again is no step");
    }

    #[test]
    fn what_is_in_use_is_never_forgotten() {
        let mut entry = Entry::default();
        for n in 0..2 {
            entry.remember(version(n));
            entry.activate(&version(n).digest);
        }
        for n in 2..30 {
            entry.remember(version(n));
        }
        assert_eq!(entry.versions.len(), VERSIONS);
        for n in [0, 1, 29] {
            assert!(entry.find(&version(n).digest).is_ok(), "{n}");
        }
    }

    #[test]
    fn a_digest_may_be_shortened_while_it_names_one() {
        let mut entry = Entry::default();
        entry.remember(Version { digest: "aa11".into(), added_at: 0, size: 1 });
        entry.remember(Version { digest: "aa22".into(), added_at: 0, size: 1 });
        assert_eq!(entry.find("aa2").map(|v| v.digest.as_str()), Ok("aa22"));
        assert_eq!(entry.find("aa"), Err(NotFound::Several));
        assert_eq!(entry.find(""), Err(NotFound::None));
    }
}
