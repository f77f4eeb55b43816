//! Keeps the directory in step with its source.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Notify};

use super::{DirectorySource, SourceError};
use crate::settings::SettingsHandle;

/// How often the source is asked for its revision.
const INTERVAL: Duration = Duration::from_secs(2);
/// Between two readings, however many changes it is told of.
const LEAST: Duration = Duration::from_millis(50);

/// Reads a source when it has changed, and puts its entries in force.
pub struct DirectoryRefresher {
    source: Arc<dyn DirectorySource>,
    settings: SettingsHandle,
    /// The revision in force. The lock is held while another one is read.
    revision: Mutex<Option<i64>>,
}

impl DirectoryRefresher {
    /// Nothing is read before the first [`Self::refresh`].
    #[must_use]
    pub fn new(source: Arc<dyn DirectorySource>, settings: SettingsHandle) -> Self {
        Self { source, settings, revision: Mutex::default() }
    }

    /// Reads the source if its revision is another one. Returns true if its entries were put in
    /// force.
    ///
    /// # Errors
    /// The source did not answer. The entries that were read before stay in force.
    pub async fn refresh(&self) -> Result<bool, SourceError> {
        let mut current = self.revision.lock().await;
        let revision = self.source.revision().await?;
        if *current == Some(revision) {
            return Ok(false);
        }
        *current = Some(self.load().await?);
        Ok(true)
    }

    /// Reads the source whatever its revision is. Returns that.
    async fn load(&self) -> Result<i64, SourceError> {
        let loaded = self.source.load().await?;
        for mistake in &loaded.mistakes {
            tracing::error!(mistake, "an entry of the store is wrong and left out");
        }
        let conflicts = self.settings.replace_source_entries(loaded.entries);
        for conflict in conflicts.iter() {
            tracing::warn!(%conflict, "an entry of the store does not count");
        }
        tracing::info!(revision = loaded.revision, "directory of the store read");
        Ok(loaded.revision)
    }

    async fn reload(&self) -> Result<(), SourceError> {
        let mut current = self.revision.lock().await;
        *current = Some(self.load().await?);
        Ok(())
    }

    /// Reads what was changed. Whoever changes one entry after another makes it read half of the time
    /// at most.
    async fn follow(&self) -> Result<(), SourceError> {
        let begun = Instant::now();
        self.refresh().await?;
        tokio::time::sleep(begun.elapsed().clamp(LEAST, INTERVAL)).await;
        Ok(())
    }

    /// Runs until it is dropped. `reload` reads the source whatever its revision is, because files
    /// of keys may have changed.
    pub async fn run(&self, reload: Arc<Notify>) {
        let mut changes = self.source.changes();
        loop {
            let result = tokio::select! {
                () = tokio::time::sleep(INTERVAL) => self.refresh().await.map(drop),
                () = changes.next() => self.follow().await,
                () = reload.notified() => self.reload().await,
            };
            if let Err(error) = result {
                tracing::error!(%error, "the directory cannot be read from the store; what was read before stays in force");
            }
        }
    }
}
