//! Taking up what other processes store: nodes that share a PostgreSQL server.

use std::sync::{Arc, Weak};
use std::time::Duration;

use relevo_store::{ControlStoreError, PluginRecord};

use super::loader::wanted;
use super::{Lifecycle, PluginTable};

/// How often the store is asked for its revision.
const INTERVAL: Duration = Duration::from_secs(2);

impl Lifecycle {
    /// Reads the store again if another process has changed plugins, or it did not give all data,
    /// and puts in use what it says. Versions are compiled before; until then those before them are
    /// asked.
    ///
    /// # Errors
    /// The store cannot be read. What was in use stays.
    pub(super) async fn follow(self: &Arc<Self>) -> Result<(), ControlStoreError> {
        let revision = self.store.plugin_revision().await?;
        if self.table.lock().await.is_read(revision) {
            return Ok(());
        }
        let read = PluginTable::new(self.store.plugins().await?);
        self.take_out(&read).await?;
        self.compile_ahead(&read).await;
        self.take_up(read).await
    }

    /// Takes out of use what another process has disabled or deleted: that waits for no compiler. The
    /// table keeps its old revision, so that this process changes nothing until all of `read` is in
    /// use.
    pub(super) async fn take_out(&self, read: &PluginTable) -> Result<(), ControlStoreError> {
        let mut table = self.table.lock().await;
        if read.revision == table.revision || read.revision != self.store.plugin_revision().await? {
            return Ok(());
        }
        let is_enabled = |p: &PluginRecord| read.get(&p.tenant, &p.name).is_some_and(|p| p.enabled);
        let gone: Vec<_> = table.all().filter(|p| p.enabled && !is_enabled(p)).cloned().collect();
        for plugin in gone {
            self.active.remove(&plugin.tenant, &plugin.name);
            tracing::info!(tenant = plugin.tenant, plugin = plugin.name, "a plugin was disabled elsewhere");
            table.put(PluginRecord { enabled: false, ..plugin });
            table.changes += 1;
        }
        Ok(())
    }

    /// Puts a table in use, unless it is not that of the store any more, or a change of this process
    /// has brought the table there.
    ///
    /// # Errors
    /// The store cannot be read. What was in use stays, and so the next call reads it again.
    pub(super) async fn take_up(self: &Arc<Self>, mut read: PluginTable) -> Result<(), ControlStoreError> {
        let mut table = self.table.lock().await;
        if table.is_read(read.revision) || read.revision != self.store.plugin_revision().await? {
            return Ok(());
        }
        let mut with_data = Vec::new();
        let wanted = wanted(&self.settings.get(), &read);
        for want in wanted {
            let data = self.stored_data(&want.settings).await?;
            with_data.push((want, data));
        }
        read.changes = table.changes;
        let before = std::mem::replace(&mut *table, read);
        self.put_loaded(&mut table, with_data).await;
        self.forget_gone(&before, &table).await;
        tracing::info!(revision = table.revision, "plugins of the store read");
        Ok(())
    }
}

/// Follows the store until the plugins are gone.
pub(super) async fn run(lifecycle: Weak<Lifecycle>) {
    let mut changes = match lifecycle.upgrade() {
        Some(lifecycle) => lifecycle.store.plugin_changes(),
        None => return,
    };
    loop {
        // It may be told of a change, and looks now and then all the same.
        let _ = tokio::time::timeout(INTERVAL, changes.next()).await;
        let Some(lifecycle) = lifecycle.upgrade() else { return };
        if let Err(error) = lifecycle.follow().await {
            tracing::warn!(%error, "plugins cannot be read from the store; those in use stay");
        }
    }
}
