//! From an upload to a version that is in use.

use std::sync::Arc;

use relevo_relay::settings::PluginSettings;
use relevo_runtime::policy::{self, Data, Policy};
use relevo_runtime::{Blame, FaultKind};
use serde_json::{Value, json};

use crate::action::{ActionError, blocking};
use crate::digest::{digest_of, hex};
use crate::plugins::Plugins;
use crate::state::Version;
use crate::switch::Change;
use crate::test_message;

impl Plugins {
    /// `beside`: without effect, beside the active version.
    pub(crate) async fn add(
        self: &Arc<Self>,
        tenant: &str,
        plugin: &str,
        wasm: Vec<u8>,
        beside: bool,
    ) -> Result<Value, ActionError> {
        self.slot(tenant, plugin)?;
        let _turn = self.turns.of(tenant, plugin).await;
        let size = wasm.len();
        let (digest, wasm) = blocking(move || Ok((hex(&digest_of(&wasm)), Arc::new(wasm)))).await?;
        let pin = self.pins.pin(&digest);
        let added = self.add_pinned(tenant, plugin, &digest, wasm, beside).await;
        drop(pin);
        match added {
            Ok(()) => {
                tracing::info!(tenant, plugin, digest, size, beside, "a plugin was added");
                // Whatever has become of it since: the one that it was put beside.
                let active = self.place(tenant, plugin).filter(|_| beside).map(|place| place.digest.clone());
                Ok(json!({
                    "tenant": tenant, "plugin": plugin, "digest": digest, "active": !beside, "beside": active,
                }))
            }
            Err(error) => {
                self.forget_unknown(digest).await;
                Err(error)
            }
        }
    }

    /// The state is not locked while it is compiled and tested: others look, switch off and reload meanwhile.
    async fn add_pinned(
        self: &Arc<Self>,
        tenant: &str,
        plugin: &str,
        digest: &str,
        wasm: Arc<Vec<u8>>,
        beside: bool,
    ) -> Result<(), ActionError> {
        let before = self.entry(tenant, plugin).await;
        loop {
            let settings = self.slot(tenant, plugin)?;
            if beside && self.place(tenant, plugin).is_none() {
                return Err(ActionError::Refused("there is no active version to compare it with".to_owned()));
            }
            if beside && before.active.as_deref() == Some(digest) {
                return Err(ActionError::Refused("this version is the active one".to_owned()));
            }
            let (of, name, octets) = (Arc::clone(&settings), digest.to_owned(), Arc::clone(&wasm));
            let admitted = self.work(move |plugins| plugins.admit(&of, &name, &octets));
            let policy = admitted.await?;
            self.self_test(&settings, &policy).await?;
            let mut after = before.clone();
            after.remember(Version {
                digest: digest.to_owned(),
                added_at: self.now(),
                size: wasm.len() as u64,
            });
            let (version, policy) = match (beside, &before.active) {
                (true, Some(active)) => {
                    after.shadow = Some(digest.to_owned());
                    (active.clone(), None)
                }
                _ => {
                    after.activate(digest);
                    (digest.to_owned(), Some(policy))
                }
            };
            let place = self.make(&settings, version, policy, after.shadow.clone()).await?;
            let change = Change { settings, before: before.clone(), after, place: Some(place.working()?) };
            if self.put_changed(change).await? {
                return Ok(());
            }
        }
    }

    /// Everything between an upload and a loaded version. Blocks.
    pub(crate) fn admit(
        &self,
        settings: &PluginSettings,
        digest: &str,
        wasm: &[u8],
    ) -> Result<Arc<dyn Policy>, ActionError> {
        let refused = |what: String| ActionError::Refused(what);
        let bounds = self.settings.get().plugins.upload;
        if wasm.len() > bounds.octets {
            return Err(refused(format!(
                "it has {} octets, {} are allowed: see `max_size` of [plugins]",
                wasm.len(),
                bounds.octets
            )));
        }
        let inventory = policy::inspect(wasm).map_err(|e| refused(e.to_string()))?;
        inventory.check(&bounds, settings.config.class, &settings.config.limits).map_err(refused)?;
        policy::audit(&inventory, &settings.config.grants).map_err(|denied| {
            refused(denied.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })?;
        let path = self.files.component(digest);
        let stored = self.files.replace(&path, wasm);
        stored.map_err(|e| ActionError::Failed(format!("the component cannot be stored: {e}")))?;
        self.load_or_compile(settings, digest)
    }

    /// `configure` with the settings as they are, then sample messages. What it decides does not matter.
    pub(crate) async fn self_test(
        self: &Arc<Self>,
        settings: &Arc<PluginSettings>,
        policy: &Arc<dyn Policy>,
    ) -> Result<(), ActionError> {
        let (plugins, of) = (Arc::clone(self), Arc::clone(settings));
        // Whether damaged data matter is asked when it is put in use.
        let data: Data = Some(blocking(move || Ok(plugins.data(&of).unwrap_or_default())).await?);
        let now = u64::try_from(self.now()).unwrap_or(0);
        let failed = |fault: policy::PluginFault| match fault.blame {
            Blame::Guest => {
                ActionError::Refused(format!("the self-test failed: {fault}{}", remedy(fault.kind)))
            }
            Blame::Host => ActionError::Failed(format!("the self-test could not be run: {fault}")),
        };
        policy.configure(now, data.clone()).await.result.map_err(failed)?;
        for case in test_message::cases(&settings.config.tenant, now, &data) {
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
        FaultKind::Deadline => "; its place has `cpu` and `elapsed`, and more of both in `class = \"large\"`",
        FaultKind::Memory => "; its place has `memory`, and more of it in `class = \"large\"`",
        _ => "",
    }
}
