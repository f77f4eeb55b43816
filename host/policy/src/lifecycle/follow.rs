//! Taking up what other processes store: nodes that share a PostgreSQL server.

use std::sync::{Arc, Weak};
use std::time::Duration;

use relevo_store::ControlStoreError;

use super::{Lifecycle, PluginTable};

/// How often the store is asked for its revision.
const INTERVAL: Duration = Duration::from_secs(2);

impl Lifecycle {
    /// Reads the store again if another process has changed plugins, and puts in use what it says.
    /// Versions are compiled before; until then those before them are asked.
    ///
    /// # Errors
    /// The store cannot be read. What was in use stays.
    pub(super) async fn follow(self: &Arc<Self>) -> Result<(), ControlStoreError> {
        if self.store.plugin_revision().await? == self.table.lock().await.revision {
            return Ok(());
        }
        let read = PluginTable::new(self.store.plugins().await?);
        self.compile_ahead(&read).await;
        self.take_up(read).await
    }

    /// Puts a table in use, unless it is not that of the store any more, or a change of this process has brought the table there.
    pub(super) async fn take_up(self: &Arc<Self>, mut read: PluginTable) -> Result<(), ControlStoreError> {
        let mut table = self.table.lock().await;
        if read.revision == table.revision || read.revision != self.store.plugin_revision().await? {
            return Ok(());
        }
        read.changes = table.changes;
        let before = std::mem::replace(&mut *table, read);
        self.put_all(&mut table, true).await;
        self.forget_gone(&before, &table).await;
        tracing::info!(revision = table.revision, "plugins of the store read");
        Ok(())
    }
}

/// Follows the store until the plugins are gone.
pub(super) async fn run(lifecycle: Weak<Lifecycle>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(lifecycle) = lifecycle.upgrade() else { return };
        if let Err(error) = lifecycle.follow().await {
            tracing::warn!(%error, "plugins cannot be read from the store; those in use stay");
        }
    }
}
