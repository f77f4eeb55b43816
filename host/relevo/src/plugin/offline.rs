//! What a running relay would do, done on its data directory while none runs.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use relevo_policy::PluginAction;
use relevo_queue::{DirectoryLock, OpenError};
use relevo_relay::audit::AuditLog;
use relevo_relay::clock::{Clock, RandomIds, SystemClock};
use relevo_relay::settings::SettingsHandle;
use serde_json::Value;

use crate::plugin_admin::AuditedPlugins;
use crate::store::{self, actor};
use crate::{assembly, config};

/// Takes the directory's lock, so that no relay starts in the middle, and does it.
pub(crate) fn act(file: &Path, action: PluginAction, content: Vec<u8>) -> anyhow::Result<Value> {
    let loaded = config::load(file);
    for mistake in &loaded.mistakes {
        eprintln!("error: {mistake}");
    }
    let Some(config) = loaded.config else {
        bail!("no relay answers, and without one the configuration must be right");
    };
    let (settings, parts) = config.split();
    let _lock = lock(&parts.data_dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let settings = SettingsHandle::new(settings);
        let store = assembly::open_control_store(&parts.store).await?;
        let plugins = assembly::open_plugins(&parts.data_dir, store.clone(), &settings, &clock, None).await?;
        let audit = AuditLog::new(store.clone(), clock, Arc::new(RandomIds));
        let plugins = AuditedPlugins { plugins, audit: Arc::new(audit) };
        let room = plugins.room(&action)?;
        if content.len() > room.octets {
            bail!("{room}");
        }
        let answer = plugins.act(&actor(), action, content).await;
        store.close().await;
        Ok(answer?)
    });
    // A thread that plugins ran on may still be at the end of a call.
    runtime.shutdown_background();
    done
}

/// Files that are made must be the relay's own: it refuses those of others. So is the directory,
/// which is not made here.
fn lock(data_dir: &Path) -> anyhow::Result<DirectoryLock> {
    ensure!(
        data_dir.is_dir(),
        "no relay answers, and there is no data directory {}: start the relay once, which makes it, or make it for the relay's \
             user (`install -d -m 0700 -o USER DIRECTORY`) and run this as that user",
        data_dir.display()
    );
    store::ensure_own(data_dir).context("no relay answers")?;
    DirectoryLock::of(data_dir).map_err(|error| match error {
        OpenError::InUse { path, pid } => anyhow::anyhow!(
            "{} is in use by process {pid}, but no control socket answers there: a relay that is starting or stopping, or another \
             command at work? Try again when it is done",
            path.display()
        ),
        other => anyhow::Error::from(other).context("no relay answers, and its data directory cannot be used"),
    })
}
