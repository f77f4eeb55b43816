//! Where templates are kept between requests.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use relevo_api::template::StoredTemplate;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::octets;
use crate::config::Relay;

/// Templates that an instance keeps.
const MAX_ENTRIES: usize = 64;
/// Octets of their sources.
const MAX_OCTETS: usize = 8 << 20;

/// Keeps templates between requests. Any entry may be gone at any time.
pub trait TemplateCache {
    /// What was put under the key.
    fn get(&self, key: &TemplateKey) -> Option<CachedTemplate>;

    /// Keeps a template under the key, in place of the one before. It may be left out.
    fn put(&self, key: &TemplateKey, template: &CachedTemplate);

    /// Forgets what was put under the key.
    fn remove(&self, key: &TemplateKey);
}

/// A template as the core gave it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CachedTemplate {
    /// The digest by which the core is asked whether it has changed, with its quotes.
    pub etag: String,
    /// Milliseconds since 1970 at which the core last said that this is the template.
    pub fetched_at: u64,
    /// The template.
    pub template: StoredTemplate,
}

/// A name and a version at a core. Gateways of different tenants never share an entry.
#[derive(Clone, PartialEq, Eq)]
pub struct TemplateKey(String);

impl TemplateKey {
    /// The key of an id or alias; without a version that of the published one.
    #[must_use]
    pub fn new(relay: &Relay, name: &str, version: Option<i64>) -> Self {
        let version = version.map(|version| version.to_string()).unwrap_or_default();
        let mut digest = Sha256::new();
        for part in [&*relay.url, &*relay.token, name, &*version] {
            digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(part);
        }
        Self(relevo_mailkit::hex::encode(&digest.finalize()))
    }

    /// 64 hexadecimal digits. Nothing of the token can be read from them.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TemplateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Memory of the instance: hosts that reuse instances profit, others fetch for each request. The
/// templates that were not used for longest make room.
#[derive(Debug, Default)]
pub struct MemoryCache(Mutex<VecDeque<(String, CachedTemplate)>>);

impl MemoryCache {
    /// Empty.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }

    fn with<T>(&self, work: impl FnOnce(&mut VecDeque<(String, CachedTemplate)>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl TemplateCache for MemoryCache {
    fn get(&self, key: &TemplateKey) -> Option<CachedTemplate> {
        self.with(|entries| {
            let place = entries.iter().position(|(known, _)| *known == key.0)?;
            let entry = entries.remove(place)?;
            let found = entry.1.clone();
            entries.push_back(entry);
            Some(found)
        })
    }

    fn put(&self, key: &TemplateKey, template: &CachedTemplate) {
        self.remove(key);
        self.with(|entries| {
            entries.push_back((key.0.clone(), template.clone()));
            let size = |(_, cached): &(String, CachedTemplate)| octets(&cached.template.source);
            let mut total: usize = entries.iter().map(size).sum();
            while entries.len() > MAX_ENTRIES || total > MAX_OCTETS {
                let Some(oldest) = entries.pop_front() else { break };
                total -= size(&oldest);
            }
        });
    }

    fn remove(&self, key: &TemplateKey) {
        self.with(|entries| entries.retain(|(known, _)| *known != key.0));
    }
}

#[cfg(test)]
mod tests {
    use relevo_mailkit::model::TemplateSource;

    use super::*;

    fn key(name: &str) -> TemplateKey {
        let relay = Relay { url: "https://core.example.com".into(), token: "rv_a".into() };
        TemplateKey::new(&relay, name, None)
    }

    fn template(octets: usize) -> CachedTemplate {
        let source = TemplateSource { text: Some("x".repeat(octets)), ..TemplateSource::default() };
        let template = StoredTemplate { source, ..StoredTemplate::default() };
        CachedTemplate { etag: "\"a\"".into(), fetched_at: 1, template }
    }

    #[test]
    fn the_memory_is_bounded_in_entries_and_octets() {
        let cache = MemoryCache::new();
        for number in 0..MAX_ENTRIES {
            cache.put(&key(&number.to_string()), &template(1));
        }
        assert!(cache.get(&key("0")).is_some(), "which makes it the newest");
        cache.put(&key("one more"), &template(1));
        assert!(cache.get(&key("0")).is_some() && cache.get(&key("1")).is_none());
        cache.put(&key("large"), &template(MAX_OCTETS));
        assert!(cache.get(&key("large")).is_some() && cache.get(&key("0")).is_none());
        cache.put(&key("too large"), &template(MAX_OCTETS + 1));
        assert!(cache.get(&key("too large")).is_none() && cache.with(|entries| entries.is_empty()));
        cache.put(&key("a"), &template(1));
        cache.put(&key("a"), &template(2));
        assert_eq!((cache.get(&key("a")), cache.with(|entries| entries.len())), (Some(template(2)), 1));
        cache.remove(&key("a"));
        assert_eq!(cache.get(&key("a")), None);
    }

    #[test]
    fn cores_and_tenants_share_nothing() {
        let key = |url: &str, token: &str, name: &str, version| {
            TemplateKey::new(&Relay { url: url.into(), token: token.into() }, name, version)
        };
        let all = [
            key("https://a", "t", "x", None),
            key("https://b", "t", "x", None),
            key("https://a", "u", "x", None),
            key("https://a", "t", "y", None),
            key("https://a", "t", "x", Some(1)),
            key("https://a", "tx", "", Some(1)),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().map(TemplateKey::as_str).collect();
        assert_eq!(different.len(), all.len());
        assert!(all.iter().all(|key| key.as_str().len() == 64));
    }
}
