//! Endpoints in memory: what reader and sender look at for every event.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;
use relevo_store::{ControlStoreError, WebhookEndpoint};

use crate::shared::{Backoff, Shared};

/// All endpoints, enabled or not.
#[derive(Debug, Default)]
pub(crate) struct Endpoints(RwLock<Index>);

#[derive(Debug, Default)]
struct Index {
    /// By tenant and id.
    by_tenant: HashMap<String, BTreeMap<String, Arc<WebhookEndpoint>>>,
    /// The tenant of an id.
    tenants: HashMap<String, String>,
    /// Counts the changes.
    generation: u64,
}

impl Index {
    fn put(&mut self, endpoint: WebhookEndpoint) {
        self.tenants.insert(endpoint.id.clone(), endpoint.tenant.clone());
        let of_tenant = self.by_tenant.entry(endpoint.tenant.clone()).or_default();
        of_tenant.insert(endpoint.id.clone(), Arc::new(endpoint));
    }
}

impl Endpoints {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.read().tenants.is_empty()
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<WebhookEndpoint>> {
        let index = self.0.read();
        index.by_tenant.get(index.tenants.get(id)?)?.get(id).cloned()
    }

    /// Endpoints of a tenant.
    pub(crate) fn of(&self, tenant: &str) -> Vec<Arc<WebhookEndpoint>> {
        self.0.read().by_tenant.get(tenant).map(|all| all.values().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn put(&self, endpoint: WebhookEndpoint) {
        let mut index = self.0.write();
        index.generation += 1;
        index.put(endpoint);
    }

    /// Changes an endpoint if it is still there.
    pub(crate) fn edit(&self, id: &str, change: impl FnOnce(&mut WebhookEndpoint)) {
        let mut index = self.0.write();
        let Some(tenant) = index.tenants.get(id).cloned() else { return };
        index.generation += 1;
        if let Some(endpoint) = index.by_tenant.get_mut(&tenant).and_then(|all| all.get_mut(id)) {
            change(Arc::make_mut(endpoint));
        }
    }

    pub(crate) fn remove(&self, id: &str) {
        let mut index = self.0.write();
        index.generation += 1;
        let Some(tenant) = index.tenants.remove(id) else { return };
        let Some(all) = index.by_tenant.get_mut(&tenant) else { return };
        all.remove(id);
        if all.is_empty() {
            index.by_tenant.remove(&tenant);
        }
    }

    fn generation(&self) -> u64 {
        self.0.read().generation
    }

    /// Replaces everything, unless something was changed since `generation`.
    fn replace(&self, generation: u64, endpoints: Vec<WebhookEndpoint>) -> bool {
        let mut index = self.0.write();
        if index.generation != generation {
            return false;
        }
        let mut fresh = Index { generation, ..Index::default() };
        for endpoint in endpoints {
            fresh.put(endpoint);
        }
        *index = fresh;
        true
    }
}

/// Reads all endpoints from the store. A change that is made meanwhile leaves them as they are.
pub(crate) async fn refresh(shared: &Shared) -> Result<bool, ControlStoreError> {
    let generation = shared.endpoints.generation();
    let found = shared.endpoint_store.webhook_endpoints().await?;
    Ok(shared.endpoints.replace(generation, found))
}

/// Reads all endpoints for the first time.
pub(crate) async fn load(shared: &Shared) {
    let mut backoff = Backoff::new();
    loop {
        match refresh(shared).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, "webhooks cannot be read from the store; none is sent yet");
                backoff.pause().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use relevo_store::WebhookSettings;

    use super::*;

    fn endpoint(id: &str, tenant: &str) -> WebhookEndpoint {
        WebhookEndpoint {
            tenant: tenant.into(),
            id: id.into(),
            url: "https://hooks.example.com/".into(),
            enabled: true,
            disabled_reason: None,
            failing_since: None,
            settings: WebhookSettings::default(),
            created_at: 0,
            version: 1,
        }
    }

    #[test]
    fn what_was_read_before_a_change_does_not_undo_it() {
        let endpoints = Endpoints::default();
        let before = endpoints.generation();
        endpoints.put(endpoint("w1", "acme"));
        assert!(!endpoints.replace(before, Vec::new()));
        assert_eq!(endpoints.of("acme").len(), 1);
        endpoints.edit("w1", |endpoint| endpoint.enabled = false);
        assert!(!endpoints.get("w1").expect("is there").enabled);
        endpoints.remove("w1");
        assert!(endpoints.is_empty() && endpoints.of("acme").is_empty());
        assert!(endpoints.replace(endpoints.generation(), vec![endpoint("w2", "other")]));
        assert_eq!(endpoints.of("other").len(), 1);
    }
}
