//! The plugins as the store has them, and what may become of their versions.

use std::collections::{BTreeMap, HashSet};

use relevo_store::{ComponentVersion, PluginRecord, PluginRecords};

use crate::action::ActionError;

/// Versions that are remembered for each plugin, the active one among them.
const VERSIONS: usize = 10;

/// All stored plugins.
#[derive(Debug, Clone)]
pub(crate) struct PluginTable {
    /// By tenant and name.
    plugins: BTreeMap<(String, String), PluginRecord>,
    /// Of the store.
    pub(crate) revision: i64,
    /// Counts what was put in use, taken out of use or imported since the start.
    pub(crate) changes: u64,
    /// The store did not give the data of some plugin: they must be read again.
    pub(crate) lacks_data: bool,
}

impl PluginTable {
    pub(crate) fn new(PluginRecords { revision, plugins }: PluginRecords) -> Self {
        let plugins = plugins.into_iter().map(|plugin| (key(&plugin.tenant, &plugin.name), plugin)).collect();
        Self { plugins, revision, changes: 0, lacks_data: false }
    }

    /// Returns true if this is all that the store has at `revision`.
    pub(crate) fn is_read(&self, revision: i64) -> bool {
        self.revision == revision && !self.lacks_data
    }

    pub(crate) fn get(&self, tenant: &str, plugin: &str) -> Option<&PluginRecord> {
        self.plugins.get(&key(tenant, plugin))
    }

    /// What is stored of a plugin; a record without versions, if nothing is.
    pub(crate) fn record(&self, tenant: &str, plugin: &str) -> PluginRecord {
        self.get(tenant, plugin).cloned().unwrap_or_else(|| PluginRecord {
            tenant: tenant.to_owned(),
            name: plugin.to_owned(),
            ..PluginRecord::default()
        })
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &PluginRecord> {
        self.plugins.values()
    }

    /// Puts a record in place of the one before.
    pub(crate) fn put(&mut self, plugin: PluginRecord) {
        self.plugins.insert(key(&plugin.tenant, &plugin.name), plugin);
    }

    pub(crate) fn remove(&mut self, tenant: &str, plugin: &str) {
        self.plugins.remove(&key(tenant, plugin));
    }

    /// Components that some plugin remembers.
    pub(crate) fn digests(&self) -> HashSet<String> {
        let versions = self.all().flat_map(|plugin| &plugin.versions);
        versions.map(|version| version.digest.clone()).collect()
    }
}

fn key(tenant: &str, plugin: &str) -> (String, String) {
    (tenant.to_owned(), plugin.to_owned())
}

/// The versions of a plugin.
pub(crate) trait Versions {
    /// A version is there from now on. The oldest that is neither active nor the previous one makes
    /// room.
    fn remember(&mut self, version: ComponentVersion);

    /// Puts a remembered version in use, and enables the plugin.
    fn activate(&mut self, digest: &str);

    /// The remembered version that a digest or the beginning of one names.
    ///
    /// # Errors
    /// There is none, or more than one.
    fn find(&self, digest: &str) -> Result<&ComponentVersion, ActionError>;
}

impl Versions for PluginRecord {
    fn remember(&mut self, version: ComponentVersion) {
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

    fn activate(&mut self, digest: &str) {
        self.enabled = true;
        // Nothing to compare with itself.
        self.shadow = self.shadow.take().filter(|shadow| shadow != digest);
        if self.active.as_deref() != Some(digest) {
            self.previous = self.active.replace(digest.to_owned());
        }
    }

    fn find(&self, digest: &str) -> Result<&ComponentVersion, ActionError> {
        let mut found = self.versions.iter().filter(|v| !digest.is_empty() && v.digest.starts_with(digest));
        let plugin = &self.name;
        match (found.next(), found.next()) {
            (Some(version), None) => Ok(version),
            (None, _) => Err(ActionError::NotFound(format!(
                "`{digest}` names no version of `{plugin}` that is remembered: `relevo plugin list --json` has those"
            ))),
            (Some(_), Some(_)) => Err(ActionError::NotFound(format!(
                "`{digest}` names several versions of `{plugin}`: say more of it"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(digest: &str) -> ComponentVersion {
        ComponentVersion { digest: digest.to_owned(), added_at: 0, octets: 1 }
    }

    fn version(n: usize) -> ComponentVersion {
        named(&format!("{n:064x}"))
    }

    #[test]
    fn rollback_knows_the_one_before() {
        let mut plugin = PluginRecord::default();
        for n in 1..=2 {
            plugin.remember(version(n));
            plugin.activate(&version(n).digest);
        }
        assert_eq!(plugin.previous, Some(version(1).digest));
        plugin.activate(&version(2).digest);
        assert_eq!(plugin.previous, Some(version(1).digest), "the same again is no step");
    }

    #[test]
    fn what_is_in_use_is_never_forgotten() {
        let mut plugin = PluginRecord::default();
        for n in 0..2 {
            plugin.remember(version(n));
            plugin.activate(&version(n).digest);
        }
        for n in 2..30 {
            plugin.remember(version(n));
        }
        assert_eq!(plugin.versions.len(), VERSIONS);
        for n in [0, 1, 29] {
            assert!(plugin.find(&version(n).digest).is_ok(), "{n}");
        }
    }

    #[test]
    fn a_digest_may_be_shortened_while_it_names_one() {
        let mut plugin = PluginRecord::default();
        plugin.remember(named("aa11"));
        plugin.remember(named("aa22"));
        assert_eq!(plugin.find("aa2").map(|v| v.digest.as_str()), Ok("aa22"));
        for (digest, why) in [("aa", "several"), ("", "no version"), ("bb", "no version")] {
            let error = plugin.find(digest).expect_err("names not one").to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
