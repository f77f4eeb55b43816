//! What nobody needs any more is removed from the disk: versions that made room, and what crashes and other versions of the program
//! left.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use relevo_relay::settings::Settings;

use crate::digest::{hex, parse_digest};
use crate::plugins::Plugins;
use crate::state::State;

impl Plugins {
    /// Removes a component and its code from the disk, unless somebody works on it; what uses it goes on. The state must be locked,
    /// and know it no more.
    pub(crate) fn forget(&self, digest: &str) {
        self.pins.unless_pinned(digest, || {
            // What cannot be removed is overwritten by the next upload of the same, or removed at the next start.
            let _ = fs::remove_file(self.files.component(digest));
            if let (Some(octets), Ok(engine)) = (parse_digest(digest), self.engine()) {
                let _ = engine.forget(&octets);
            }
        });
    }

    /// Removes components from the disk that a change of the state has put out of its mind.
    pub(crate) async fn forget_gone(self: &Arc<Self>, before: &State, after: &State) {
        let known = after.digests();
        let gone: Vec<String> =
            before.digests().difference(&known).map(|&digest| digest.to_owned()).collect();
        if gone.is_empty() {
            return;
        }
        let plugins = Arc::clone(self);
        // What is left is removed at the next start.
        let _ =
            tokio::task::spawn_blocking(move || gone.iter().for_each(|digest| plugins.forget(digest))).await;
    }

    /// Removes a component from the disk that was not added after all.
    pub(crate) async fn forget_unknown(self: &Arc<Self>, digest: String) {
        let state = self.state.lock().await;
        if state.digests().contains(digest.as_str()) {
            return;
        }
        let plugins = Arc::clone(self);
        let _ = tokio::task::spawn_blocking(move || plugins.forget(&digest)).await;
    }

    /// Removes what no state refers to. Changes wait meanwhile: files are removed, none is read.
    pub(crate) async fn clear(self: Arc<Self>) {
        let state = self.state.lock().await;
        let (plugins, known) = (Arc::clone(&self), state.clone());
        let cleared = tokio::task::spawn_blocking(move || plugins.clear_with(&known)).await;
        drop(state);
        match cleared.map_err(io::Error::other).flatten() {
            Ok((0, _)) => {}
            Ok((removed, _)) => tracing::info!(removed, "plugins' files that nothing refers to were removed"),
            Err(ref error) => tracing::warn!(%error, "plugins' files that nothing refers to are not removed"),
        }
    }

    /// How many files were removed, and key-value data of places that are not configured.
    pub(crate) fn clear_with(&self, state: &State) -> io::Result<(usize, Vec<PathBuf>)> {
        let known = state.digests();
        let mut removed = 0;
        for file in fs::read_dir(self.files.components())? {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            let Some(digest) = name.strip_suffix(".wasm").filter(|digest| !known.contains(digest)) else {
                continue;
            };
            self.pins.unless_pinned(digest, || {
                removed += usize::from(fs::remove_file(file.path()).is_ok());
            });
        }
        // A relay without plugins makes no engine.
        if self.files.has_code()? {
            let engine = self.engine().map_err(io::Error::other)?;
            removed += engine.clear(|digest| {
                let digest = hex(digest);
                let mut spare = false;
                self.pins.unless_pinned(&digest, || spare = true);
                known.contains(digest.as_str()) || !spare
            })?;
        }
        let unused = self.unused_data(&self.settings.get())?;
        if !unused.is_empty() {
            tracing::warn!(files = ?unused, "key-value data of places that are not in the configuration: remove what is not needed");
        }
        Ok((removed, unused))
    }

    fn unused_data(&self, settings: &Settings) -> io::Result<Vec<PathBuf>> {
        let places = settings.tenants.by_id.values().flat_map(|tenant| &tenant.plugins);
        let used: HashSet<PathBuf> =
            places.map(|place| self.files.kv(&place.config.tenant, &place.config.name)).collect();
        let mut unused = Vec::new();
        for file in fs::read_dir(self.files.all_kv())? {
            unused.extend(Some(file?.path()).filter(|path| !used.contains(path)));
        }
        Ok(unused)
    }
}
