//! What nobody needs any more is removed from the disk: versions that made room, uploads that were refused, and at the start what
//! crashes and other versions of the program left.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use relevo_relay::settings::Settings;

use super::Lifecycle;
use super::loader::PluginLoader;
use super::state::State;
use crate::action::blocking;
use crate::digest::{hex, parse_digest};

impl PluginLoader {
    /// Removes a component and its code from the disk; what uses it goes on. What cannot be removed goes at the next start.
    fn forget(&self, digest: &str) {
        let _ = fs::remove_file(self.files.component(digest));
        if let (Some(octets), Ok(engine)) = (parse_digest(digest), self.engine()) {
            let _ = engine.forget(&octets);
        }
    }
}

impl Lifecycle {
    /// Removes components from the disk that a change of the state has put out of its mind.
    pub(super) async fn forget_gone(&self, before: &State, after: &State) {
        let known = after.digests();
        let gone: Vec<String> =
            before.digests().difference(&known).map(|&digest| digest.to_owned()).collect();
        if gone.is_empty() {
            return;
        }
        let loader = Arc::clone(&self.loader);
        let _ = blocking(move || {
            gone.iter().for_each(|digest| loader.forget(digest));
            Ok(())
        })
        .await;
    }

    /// Removes a component from the disk that was not added after all.
    pub(crate) async fn forget_unknown(&self, digest: String) {
        let state = self.state.lock().await;
        if state.digests().contains(digest.as_str()) {
            return;
        }
        let loader = Arc::clone(&self.loader);
        let _ = blocking(move || {
            loader.forget(&digest);
            Ok(())
        })
        .await;
    }

    /// Removes what no state refers to. Changes wait meanwhile: files are removed, none is read.
    pub(crate) async fn clear(self: &Arc<Self>) {
        let state = self.state.lock().await;
        let (lifecycle, known) = (Arc::clone(self), state.clone());
        let cleared = tokio::task::spawn_blocking(move || lifecycle.clear_with(&known)).await;
        drop(state);
        match cleared.map_err(io::Error::other).flatten() {
            Ok((0, _)) => {}
            Ok((removed, _)) => tracing::info!(removed, "plugins' files that nothing refers to were removed"),
            Err(ref error) => tracing::warn!(%error, "plugins' files that nothing refers to are not removed"),
        }
    }

    /// How many files were removed, and key-value data of plugins that are not configured.
    pub(super) fn clear_with(&self, state: &State) -> io::Result<(usize, Vec<PathBuf>)> {
        let (known, files) = (state.digests(), &self.loader.files);
        let mut removed = 0;
        for file in fs::read_dir(files.components())? {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            if name.strip_suffix(".wasm").is_some_and(|digest| !known.contains(digest)) {
                removed += usize::from(fs::remove_file(file.path()).is_ok());
            }
        }
        // A relay without plugins makes no engine.
        if files.has_code()? {
            let engine = self.loader.engine().map_err(io::Error::other)?;
            removed += engine.clear(|digest| known.contains(hex(digest).as_str()))?;
        }
        let unused = self.unused_data(&self.settings.get())?;
        if !unused.is_empty() {
            tracing::warn!(files = ?unused, "key-value data of plugins that are not in the configuration: remove what is not needed");
        }
        Ok((removed, unused))
    }

    fn unused_data(&self, settings: &Settings) -> io::Result<Vec<PathBuf>> {
        let plugins = settings.directory.tenants().flat_map(|tenant| &tenant.plugins);
        let files = &self.loader.files;
        let used: HashSet<PathBuf> =
            plugins.map(|plugin| files.kv(&plugin.config.tenant, &plugin.config.name)).collect();
        let mut unused = Vec::new();
        for file in fs::read_dir(files.all_kv())? {
            unused.extend(Some(file?.path()).filter(|path| !used.contains(path)));
        }
        Ok(unused)
    }
}
