//! Compiling: one component at a time in the process, whoever asks. What is in use and was compiled by another version of the
//! program is compiled in the background.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use relevo_relay::settings::PluginSettings;
use relevo_runtime::policy::{PluginError, Policy};
use tokio::sync::mpsc;

use super::Lifecycle;
use super::child::{self, ChildLimits};
use super::loader::wanted;
use crate::action::{ActionError, blocking};
use crate::digest::{digest_of, parse_digest};

/// Until what failed in the background is tried again; each further time it is twice as long, up to the longest.
pub(super) const AGAIN: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3_600);

impl Lifecycle {
    /// Blocks while others compile, and then until the component is compiled: at most for some minutes.
    pub(crate) fn load_or_compile(
        &self,
        settings: &PluginSettings,
        digest: &str,
    ) -> Result<Arc<dyn Policy>, ActionError> {
        let refused = |error: PluginError| ActionError::Refused(error.to_string());
        match self.loader.load(settings, digest) {
            Err(PluginError::NotCompiled) => {
                self.compile(settings, digest).map_err(ActionError::Refused)?;
                self.loader.load(settings, digest).map_err(refused)
            }
            other => other.map_err(refused),
        }
    }

    /// Compiles a component that is on disk, in a process of its own, unless somebody else just did. Blocks.
    fn compile(&self, settings: &PluginSettings, digest: &str) -> Result<(), String> {
        // Fair: an upload waits for one of those that are compiled in the background, not for all.
        let _compiler = self.compiler.blocking_lock();
        if self.loader.is_compiled(settings, digest) {
            return Ok(());
        }
        let octets = parse_digest(digest).ok_or("not a digest")?;
        let component = self.loader.files.component(digest);
        // What is compiled is what has the digest, whatever happened to the file.
        let content = std::fs::read(&component).map_err(|e| format!("{}: {e}", component.display()))?;
        if digest_of(&content) != octets {
            return Err(format!("{} is not what was uploaded", component.display()));
        }
        drop(content);
        let server = self.settings.get();
        let limits = ChildLimits { memory: server.plugins.compile_memory, time: server.plugins.compile_time };
        let code = child::compile(&self.program, &component, &self.loader.files.work(), limits)?;
        let kept = self.loader.engine()?.keep(&octets, &code);
        kept.map_err(|e| format!("the compiled code cannot be kept: {e}"))
    }

    /// Whether everything is compiled now that is to be in use.
    async fn compile_missing(self: &Arc<Self>) -> bool {
        let Ok(missing) = self.missing().await else { return false };
        let mut all = true;
        for (settings, digest) in missing {
            let name = digest.clone();
            let lifecycle = Arc::clone(self);
            let compiled =
                blocking(move || lifecycle.compile(&settings, &name).map_err(ActionError::Refused));
            let problem = compiled.await.err().map(|error| error.to_string());
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

    /// What is to be in use and not compiled: each component once, active versions first.
    async fn missing(self: &Arc<Self>) -> Result<Vec<(Arc<PluginSettings>, String)>, ActionError> {
        let wanted = wanted(&self.settings.get(), &*self.state.lock().await);
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

    /// Puts all plugins in use that have waited for this component; or says in them why they go on waiting.
    async fn put_compiled(self: &Arc<Self>, digest: &str, problem: Option<String>) {
        // Only what is still wanted, and with the settings in force by now.
        let mut state = self.state.lock().await;
        state.changes += 1;
        let mut waiting = wanted(&self.settings.get(), &state);
        waiting.retain(|want| {
            let active = self.active.get(&want.settings.config.tenant, &want.settings.config.name);
            let broken = active.as_ref().is_none_or(|active| active.policy.is_err());
            let lonely = active.as_ref().is_none_or(|active| active.shadow.is_none());
            let beside = want.shadow.as_deref() == Some(digest) && lonely && problem.is_none();
            (want.digest == digest && broken) || beside
        });
        let loader = Arc::clone(&self.loader);
        let problem = problem.map(|error| {
            format!("it cannot be compiled for this version of the program, which is tried again: {error}")
        });
        let made = blocking(move || Ok(loader.load_all(waiting, problem.as_deref()).0)).await;
        for plugin in made.into_iter().flatten().flat_map(|(_, of_tenant)| of_tenant.into_values()) {
            self.active.put(plugin);
        }
    }
}

/// Compiles what is missing whenever somebody says so, and what failed `again` and again, less and less often.
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
