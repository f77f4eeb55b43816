//! The settings in force, shared by sessions and attempts and swapped on reload.

use std::sync::{Arc, PoisonError, RwLock};

use super::Settings;

/// The settings in force. Cheap to clone; all clones see a reload.
#[derive(Debug, Clone)]
pub struct SettingsHandle {
    current: Arc<RwLock<(u64, Arc<Settings>)>>,
}

impl SettingsHandle {
    /// Starts with these.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { current: Arc::new(RwLock::new((0, Arc::new(settings)))) }
    }

    /// Those in force now. Keep them for the length of a session or an attempt.
    #[must_use]
    pub fn get(&self) -> Arc<Settings> {
        self.snapshot().1
    }

    /// Those in force now and how many came before them: what was derived from older ones is stale.
    #[must_use]
    pub fn snapshot(&self) -> (u64, Arc<Settings>) {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts others in force.
    pub fn replace(&self, settings: Settings) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = (current.0 + 1, Arc::new(settings));
    }
}
