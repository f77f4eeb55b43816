//! From an upload to a version that is in use.

use std::sync::Arc;

use relevo_relay::settings::PluginSettings;
use relevo_runtime::policy::{self, Data, Policy};
use relevo_runtime::{Blame, FaultKind};
use serde_json::{Value, json};

use super::Lifecycle;
use super::switch::PreparedChange;
use super::table::Versions as _;
use crate::action::{ActionError, blocking};
use crate::digest::{digest_of, hex};
use crate::sample_messages;
use relevo_store::{ComponentVersion, PluginRecord};

impl Lifecycle {
    /// `beside`: without effect, beside the active version.
    pub(crate) async fn add(
        self: &Arc<Self>,
        tenant: &str,
        plugin: &str,
        wasm: Vec<u8>,
        beside: bool,
    ) -> Result<Value, ActionError> {
        self.configured(tenant, plugin)?;
        let before = self.record(tenant, plugin).await;
        let octets = wasm.len() as u64;
        let (digest, wasm) = blocking(move || Ok((hex(&digest_of(&wasm)), Arc::new(wasm)))).await?;
        let version = ComponentVersion { digest: digest.clone(), added_at: self.clock.now(), octets };
        if let Err(error) = self.add_version(tenant, plugin, before, version, wasm, beside).await {
            self.forget_unknown(digest).await;
            return Err(error);
        }
        tracing::info!(tenant, plugin, digest, octets, beside, "a plugin was added");
        // Whatever has become of it since: the one that it was put beside.
        let active = self.active.get(tenant, plugin).filter(|_| beside).map(|active| active.digest.clone());
        Ok(json!({
            "tenant": tenant, "plugin": plugin, "digest": digest, "active": !beside, "beside": active,
        }))
    }

    async fn add_version(
        self: &Arc<Self>,
        tenant: &str,
        plugin: &str,
        before: PluginRecord,
        version: ComponentVersion,
        wasm: Arc<Vec<u8>>,
        beside: bool,
    ) -> Result<(), ActionError> {
        let digest = version.digest.clone();
        loop {
            let settings = self.configured(tenant, plugin)?;
            if beside && self.active.get(tenant, plugin).is_none() {
                return Err(ActionError::Refused("there is no active version to compare it with".to_owned()));
            }
            if beside && before.active.as_ref() == Some(&digest) {
                return Err(ActionError::Refused("this version is the active one".to_owned()));
            }
            let policy = self.admit(&settings, &digest, Arc::clone(&wasm)).await?;
            self.self_test(&settings, &policy).await?;
            let mut after = before.clone();
            after.remember(version.clone());
            let (active, policy) = match (beside, &before.active) {
                (true, Some(active)) => {
                    after.shadow = Some(digest.clone());
                    (active.clone(), None)
                }
                _ => {
                    after.activate(&digest);
                    (digest.clone(), Some(policy))
                }
            };
            let changes = self.changes().await;
            let made = self.make(&settings, active, policy, after.shadow.clone()).await?.working()?;
            let (before, uploaded) = (before.clone(), Some(Arc::clone(&wasm)));
            let change = PreparedChange { settings, before, changes, after, plugin: Some(made), uploaded };
            if self.put_changed(change).await? {
                return Ok(());
            }
        }
    }

    /// Everything between an upload and a loaded version.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        settings: &Arc<PluginSettings>,
        digest: &str,
        wasm: Arc<Vec<u8>>,
    ) -> Result<Arc<dyn Policy>, ActionError> {
        let (bounds, of, uploaded) =
            (self.settings.get().plugins.upload, Arc::clone(settings), Arc::clone(&wasm));
        blocking(move || {
            let refused = |what: String| ActionError::Refused(what);
            let (settings, wasm) = (of, uploaded);
            if wasm.len() > bounds.octets {
                let (has, most) = (wasm.len(), bounds.octets);
                return Err(refused(format!(
                    "it has {has} octets, {most} are allowed: see `max_size` of [plugins]"
                )));
            }
            let inventory = policy::inspect(&wasm).map_err(|e| refused(e.to_string()))?;
            inventory.check(&bounds, settings.config.class, &settings.config.limits).map_err(refused)?;
            policy::audit(&inventory, &settings.config.grants).map_err(|denied| {
                refused(denied.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            })
        })
        .await?;
        self.load_or_compile(settings, digest, Some(wasm)).await
    }

    /// `configure` with the settings as they are, then sample messages. What it decides does not
    /// matter.
    pub(crate) async fn self_test(
        self: &Arc<Self>,
        settings: &Arc<PluginSettings>,
        policy: &Arc<dyn Policy>,
    ) -> Result<(), ActionError> {
        // Whether unusable data matter is asked when it is put in use.
        let data: Data = Some(self.data(settings).await.unwrap_or_default());
        let now = u64::try_from(self.clock.now()).unwrap_or(0);
        let failed = |fault: policy::PluginFault| match fault.blame {
            Blame::Guest => {
                ActionError::Refused(format!("the self-test failed: {fault}{}", remedy(fault.kind)))
            }
            Blame::Host => ActionError::Failed(format!("the self-test could not be run: {fault}")),
        };
        policy.configure(now, data.clone()).await.result.map_err(failed)?;
        for case in sample_messages::cases(&settings.config.tenant, now, &data) {
            let answer = policy.judge(case).await.result.map_err(failed)?;
            if let Some(fault) = answer.fault {
                return Err(failed(fault));
            }
        }
        Ok(())
    }
}

/// What the operator can do about a fault that is one of limits.
fn remedy(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Deadline => {
            "; its configuration has `cpu_timeout` and `wall_timeout`, and more of both in `class = \"large\"`"
        }
        FaultKind::Memory => "; its configuration has `memory`, and more of it in `class = \"large\"`",
        _ => "",
    }
}
