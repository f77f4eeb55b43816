//! The settings in force, shared by sessions and attempts and swapped on reload.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::Settings;
use crate::directory::{Conflict, DirectoryEntries};

/// The settings in force, with the directory. Cheap to clone; all clones see a reload.
#[derive(Debug, Clone)]
pub struct SettingsHandle {
    current: Arc<RwLock<(u64, Arc<Settings>)>>,
    /// The directory's entries that are not the file's. The lock is held by whoever makes the next
    /// settings.
    source: Arc<Mutex<DirectoryEntries>>,
}

impl SettingsHandle {
    /// Starts with these.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let current = Arc::new(RwLock::new((0, Arc::new(settings))));
        Self { current, source: Arc::default() }
    }

    /// Those in force now. Keep them for the length of a session or an attempt.
    #[must_use]
    pub fn get(&self) -> Arc<Settings> {
        self.snapshot().1
    }

    /// Those in force now and how many came before them: what was derived from older ones is stale.
    #[must_use]
    pub fn snapshot(&self) -> (u64, Arc<Settings>) {
        self.current.read().clone()
    }

    /// Puts others in force, together with the entries of the directory's source that are known.
    pub fn replace(&self, mut settings: Settings) {
        let source = self.source.lock();
        settings.directory = settings.directory.with_source(&source);
        self.put_in_force(settings);
    }

    /// Puts other entries of the directory's source in force. Returns those that do not count
    /// because of the file's.
    pub fn replace_source_entries(&self, entries: DirectoryEntries) -> Vec<Conflict> {
        let mut source = self.source.lock();
        *source = entries;
        let settings = self.get();
        let directory = settings.directory.with_source(&source);
        let conflicts = directory.conflicts().to_vec();
        self.put_in_force(Settings { directory, ..Settings::clone(&settings) });
        conflicts
    }

    fn put_in_force(&self, settings: Settings) {
        let mut current = self.current.write();
        *current = (current.0 + 1, Arc::new(settings));
    }
}
