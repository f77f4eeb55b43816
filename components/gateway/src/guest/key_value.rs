//! Spin's key-value store.

use spin_sdk::key_value::{Error, Store as SpinStore};

use super::variable;
use crate::outbox::{Store, StoreError};
use crate::templates::{CachedTemplate, TemplateCache, TemplateKey};

/// Octets of a value.
const MAX_VALUE: usize = 1_000_000;
/// Templates in a store.
const MAX_TEMPLATES: usize = 64;

/// A store that is open.
pub(super) struct KeyValue(SpinStore);

impl KeyValue {
    /// Opens the store with this label.
    pub(super) fn open(label: &str) -> Result<Self, StoreError> {
        SpinStore::open(label).map(Self).map_err(failed)
    }
}

fn failed(error: Error) -> StoreError {
    StoreError(error.to_string())
}

impl Store for KeyValue {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(key).map_err(failed)
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.0.set(key, value).map_err(failed)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.0.delete(key).map_err(failed)
    }

    async fn keys(&self) -> Result<Vec<String>, StoreError> {
        self.0.get_keys().map_err(failed)
    }
}

/// The store that `RELEVO_TEMPLATE_STORE` names, for templates; none: the memory of the instance has them.
pub(super) fn template_store() -> Option<KeyValue> {
    let label = variable("RELEVO_TEMPLATE_STORE")?;
    KeyValue::open(label.trim()).inspect_err(|error| eprintln!("{error}")).ok()
}

/// Templates that all instances share. A store that fails is a store without the template.
impl TemplateCache for KeyValue {
    fn get(&self, key: &TemplateKey) -> Option<CachedTemplate> {
        let value = self.0.get(&name(key)).inspect_err(|error| eprintln!("a template: {error}")).ok()??;
        serde_json::from_slice(&value).ok()
    }

    fn put(&self, key: &TemplateKey, template: &CachedTemplate) {
        let Ok(value) = serde_json::to_vec(template) else { return };
        if value.len() > MAX_VALUE {
            return;
        }
        if let Err(error) = self.make_room(&name(key)).and_then(|()| self.0.set(&name(key), &value)) {
            eprintln!("a template is not kept: {error}");
        }
    }

    fn remove(&self, key: &TemplateKey) {
        if let Err(error) = self.0.delete(&name(key)) {
            eprintln!("a template is not removed: {error}");
        }
    }
}

impl KeyValue {
    /// Removes what is too many beside `own`. When each was used is not known: any may go.
    fn make_room(&self, own: &str) -> Result<(), Error> {
        let keys = self.0.get_keys()?;
        let others = keys.iter().filter(|key| key.starts_with("template/") && *key != own);
        others.skip(MAX_TEMPLATES - 1).try_for_each(|key| self.0.delete(key))
    }
}

fn name(key: &TemplateKey) -> String {
    format!("template/{}", key.as_str())
}
