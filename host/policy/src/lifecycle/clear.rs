//! What nobody needs any more is removed: code of versions that made room or were refused, and what
//! is stored of a plugin that left the configuration, once the operator says so.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::loader::PluginLoader;
use super::{Lifecycle, PluginTable, not_stored};
use crate::action::{ActionError, blocking};
use crate::digest::{hex, parse_digest};

impl PluginLoader {
    /// Removes compiled code from the disk; what uses it goes on. What cannot be removed goes at
    /// the next start.
    fn forget(&self, digest: &str) {
        if let (Some(octets), Ok(engine)) = (parse_digest(digest), self.engine()) {
            let _ = engine.forget(&octets);
        }
    }

    /// Returns how many files were removed. A relay without plugins makes no engine.
    fn forget_all_but(&self, known: &HashSet<String>) -> Result<usize, ActionError> {
        let failed = |error: &dyn std::fmt::Display| ActionError::Failed(error.to_string());
        if self.files.compiled().map_err(|e| failed(&e))?.next().is_none() {
            return Ok(0);
        }
        let engine = self.engine().map_err(|e| failed(&e))?;
        engine.clear(|digest| known.contains(&hex(digest))).map_err(|e| failed(&e))
    }
}

impl Lifecycle {
    /// Removes the code of components that the first table remembers and the second does not.
    pub(super) async fn forget_gone(&self, before: &PluginTable, after: &PluginTable) {
        let known = after.digests();
        self.forget(before.digests().into_iter().filter(|digest| !known.contains(digest)).collect()).await;
    }

    /// Removes the code of a component that was not added after all.
    pub(crate) async fn forget_unknown(&self, digest: String) {
        let table = self.table.lock().await;
        if !table.digests().contains(&digest) {
            self.forget(vec![digest]).await;
        }
    }

    async fn forget(&self, digests: Vec<String>) {
        if digests.is_empty() {
            return;
        }
        let loader = Arc::clone(&self.loader);
        let _ = blocking(move || {
            digests.iter().for_each(|digest| loader.forget(digest));
            Ok(())
        })
        .await;
    }

    /// Removes code that no stored plugin needs, and names plugins that are stored and not
    /// configured. Changes wait meanwhile.
    pub(crate) async fn clear(&self) {
        let table = self.table.lock().await;
        for plugin in table.all().filter(|plugin| self.configured(&plugin.tenant, &plugin.name).is_err()) {
            tracing::warn!(
                tenant = plugin.tenant,
                plugin = plugin.name,
                "a plugin is stored and not configured: `relevo plugin forget` deletes its versions and key-value data"
            );
        }
        let (loader, known) = (Arc::clone(&self.loader), table.digests());
        match blocking(move || loader.forget_all_but(&known)).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "compiled plugins that nothing refers to were removed"),
            Err(error) => tracing::warn!(%error, "compiled plugins that nothing refers to are not removed"),
        }
    }

    /// Deletes all that is stored of a plugin that is not configured any more.
    pub(crate) async fn forget_plugin(&self, tenant: &str, plugin: &str) -> Result<Value, ActionError> {
        let mut table = self.table.lock().await;
        if self.configured(tenant, plugin).is_ok() {
            let text = format!("`{plugin}` of `{tenant}` is configured: remove it there first, and reload");
            return Err(ActionError::Refused(text));
        }
        if table.get(tenant, plugin).is_none() {
            let text = format!("nothing is stored of a plugin `{plugin}` of `{tenant}`");
            return Err(ActionError::NotFound(text));
        }
        let deleted = self.store.delete_plugin(table.revision, tenant, plugin).await;
        let before = table.clone();
        table.revision = deleted.map_err(|error| not_stored(&error))?;
        table.remove(tenant, plugin);
        self.forget_gone(&before, &table).await;
        tracing::info!(tenant, plugin, "all that was stored of a plugin was deleted");
        Ok(json!({ "tenant": tenant, "plugin": plugin, "active": false, "forgotten": true }))
    }
}
