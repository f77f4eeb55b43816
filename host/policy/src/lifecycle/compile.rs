//! Compiling: one component at a time in the process, whoever asks. What is in use and was compiled
//! by another version of the program is compiled in the background.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use relevo_relay::settings::PluginSettings;
use relevo_runtime::policy::{PluginError, Policy};
use tokio::sync::mpsc;

use super::child::{self, ChildLimits};
use super::loader::{WantedVersion, wanted};
use super::{Lifecycle, PluginTable};
use crate::action::{ActionError, blocking};
use crate::digest::{digest_of, parse_digest};

/// Until what failed in the background is tried again; each further time it is twice as long, up to
/// the longest.
pub(super) const AGAIN: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3_600);

impl Lifecycle {
    /// Loads a version. Waits while others compile, and then until its component is compiled: at
    /// most for some minutes. `wasm` is a component that is not stored yet.
    pub(crate) async fn load_or_compile(
        self: &Arc<Self>,
        settings: &Arc<PluginSettings>,
        digest: &str,
        wasm: Option<Arc<Vec<u8>>>,
    ) -> Result<Arc<dyn Policy>, ActionError> {
        let load = async || {
            let (loader, of, digest) = (Arc::clone(&self.loader), Arc::clone(settings), digest.to_owned());
            blocking(move || Ok(loader.load(&of, &digest))).await
        };
        let loaded = match load().await? {
            Err(PluginError::NotCompiled) => {
                self.compile(settings, digest, wasm).await.map_err(ActionError::Refused)?;
                load().await?
            }
            other => other,
        };
        loaded.map_err(|error| ActionError::Refused(error.to_string()))
    }

    /// Compiles a component in a process of its own, unless somebody else just did.
    async fn compile(
        self: &Arc<Self>,
        settings: &Arc<PluginSettings>,
        digest: &str,
        wasm: Option<Arc<Vec<u8>>>,
    ) -> Result<(), String> {
        // Fair: an upload waits for one of those that are compiled in the background, not for all.
        let compiler = Arc::clone(&self.compiler).lock_owned().await;
        let wasm = match wasm {
            Some(wasm) => wasm,
            None => Arc::new(self.component(digest).await?),
        };
        let (lifecycle, settings, digest) = (Arc::clone(self), Arc::clone(settings), digest.to_owned());
        let compiled = blocking(move || {
            // Whoever asked may be gone by now, and the compiler still runs.
            let _compiler = compiler;
            Ok(lifecycle.compile_here(&settings, &digest, &wasm))
        });
        compiled.await.map_err(|error| error.to_string())?
    }

    /// The stored component of this digest.
    async fn component(&self, digest: &str) -> Result<Vec<u8>, String> {
        match self.store.component(digest).await {
            Ok(Some(wasm)) => Ok(wasm),
            Ok(None) => Err(format!("the component {digest} is not stored")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn compile_here(&self, settings: &PluginSettings, digest: &str, wasm: &[u8]) -> Result<(), String> {
        if self.loader.is_compiled(settings, digest) {
            return Ok(());
        }
        // What is compiled is what has the digest, whatever happened to the store.
        let octets = parse_digest(digest).filter(|octets| *octets == digest_of(wasm));
        let octets = octets.ok_or_else(|| format!("the component {digest} is not what was uploaded"))?;
        let server = self.settings.get();
        let limits = ChildLimits { memory: server.plugins.compile_memory, time: server.plugins.compile_time };
        let code = child::compile(&self.program, wasm, &self.loader.files.work(), limits)?;
        let kept = self.loader.engine()?.keep(&octets, &code);
        kept.map_err(|e| format!("the compiled code cannot be kept: {e}"))
    }

    /// Whether everything is compiled now that is to be in use.
    async fn compile_missing(self: &Arc<Self>) -> bool {
        let wanted = wanted(&self.settings.get(), &*self.table.lock().await);
        let Ok(missing) = self.missing(&wanted).await else { return false };
        let mut all = true;
        for (settings, digest) in missing {
            let problem = self.compile(&settings, &digest, None).await.err();
            if let Some(error) = &problem {
                tracing::error!(
                    digest,
                    error,
                    "a plugin cannot be compiled: failure policies answer, and it is tried again later"
                );
                all = false;
            }
            self.put_compiled(&digest, problem).await;
        }
        all
    }

    /// Compiles what a table that is not in use yet wants. A failure is met again when the table is
    /// in use.
    pub(super) async fn compile_ahead(self: &Arc<Self>, table: &PluginTable) {
        let wanted = wanted(&self.settings.get(), table);
        for (settings, digest) in self.missing(&wanted).await.unwrap_or_default() {
            let _ = self.compile(&settings, &digest, None).await;
        }
    }

    /// What is not compiled: each component once, active versions first.
    async fn missing(
        self: &Arc<Self>,
        wanted: &[WantedVersion],
    ) -> Result<Vec<(Arc<PluginSettings>, String)>, ActionError> {
        let active = wanted.iter().map(|w| (Arc::clone(&w.settings), w.digest.clone()));
        let beside = wanted.iter().filter_map(|w| Some((Arc::clone(&w.settings), w.shadow.clone()?)));
        let mut seen = HashSet::new();
        let each: Vec<_> = active.chain(beside).filter(|(_, digest)| seen.insert(digest.clone())).collect();
        let loader = Arc::clone(&self.loader);
        blocking(move || {
            Ok(each.into_iter().filter(|(of, digest)| !loader.is_compiled(of, digest)).collect())
        })
        .await
    }

    /// Puts all plugins in use that have waited for this component; or says in them why they go on
    /// waiting.
    async fn put_compiled(self: &Arc<Self>, digest: &str, problem: Option<String>) {
        // Only what is still wanted, and with the settings in force by now.
        let mut table = self.table.lock().await;
        table.changes += 1;
        let mut waiting = wanted(&self.settings.get(), &table);
        waiting.retain(|want| {
            let active = self.active.get(&want.settings.config.tenant, &want.settings.config.name);
            let broken = active.as_ref().is_none_or(|active| active.policy.is_err());
            let lonely = active.as_ref().is_none_or(|active| active.shadow.is_none());
            let beside = want.shadow.as_deref() == Some(digest) && lonely && problem.is_none();
            (want.digest == digest && broken) || beside
        });
        let problem = problem.map(|error| {
            format!("it cannot be compiled for this version of the program, which is tried again: {error}")
        });
        let waiting = self.add_data(&mut table, waiting).await;
        let made = self.load_all(waiting, problem).await;
        for plugin in made.into_iter().flat_map(|(plugins, _)| plugins).flat_map(|(_, of)| of.into_values()) {
            self.active.put(plugin);
        }
    }
}

/// Compiles what is missing whenever somebody says so, and what failed `again` and again, less and
/// less often.
pub(super) async fn run(lifecycle: Weak<Lifecycle>, mut asked: mpsc::Receiver<()>, again: Duration) {
    let (mut all, mut pause) = (true, again);
    loop {
        let woken = match all {
            true => Ok(asked.recv().await),
            false => tokio::time::timeout(pause, asked.recv()).await,
        };
        pause = match woken {
            Ok(Some(())) => again,
            Ok(None) => return,
            Err(_) => (pause * 2).min(LONGEST),
        };
        let Some(lifecycle) = lifecycle.upgrade() else { return };
        all = lifecycle.compile_missing().await;
    }
}
