//! From an upload to a version that is in use.

use std::sync::Arc;

use relevo_relay::settings::PluginSettings;
use relevo_runtime::Blame;
use relevo_runtime::policy::{self, Data, Policy};
use serde_json::{Value, json};

use crate::action::{ActionError, blocking};
use crate::digest::{digest_of, hex};
use crate::plugins::Plugins;
use crate::state::Version;
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
        let settings = self.slot(tenant, plugin)?;
        let digest = hex(&digest_of(&wasm));
        let size = wasm.len() as u64;
        // One upload at a time: the compiler's limits are for one.
        let mut state = self.state.lock().await;
        let was_known = state.knows(&digest);
        let compared = self.place(tenant, plugin).filter(|_| beside);
        if beside && compared.is_none() {
            return Err(ActionError::Refused("there is no active version to compare it with".to_owned()));
        }
        let (plugins, of, name) = (Arc::clone(self), Arc::clone(&settings), digest.clone());
        let loaded = blocking(move || plugins.admit(&of, &name, &wasm)).await;
        let tested = match loaded {
            Ok(policy) => self.self_test(&settings, &policy).await.map(|()| policy),
            Err(error) => Err(error),
        };
        let policy = match tested {
            Ok(policy) => policy,
            Err(error) => {
                if !was_known {
                    self.forget(&digest);
                }
                return Err(error);
            }
        };
        let mut next = state.clone();
        let entry = next.entry_mut(tenant, plugin);
        entry.remember(Version { digest: digest.clone(), added_at: self.now(), size });
        match &compared {
            Some(_) => entry.shadow = Some(digest.clone()),
            None => entry.activate(&digest),
        }
        self.commit(&mut state, next).await?;
        match compared {
            Some(place) => self.use_again(&place, &state).await?,
            None => self.use_version(settings, digest.clone(), policy, &state).await?,
        }
        tracing::info!(tenant, plugin, digest, size, beside, "a plugin was added");
        Ok(json!({ "tenant": tenant, "plugin": plugin, "digest": digest, "active": !beside }))
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
            return Err(refused(format!("it has {} octets, {} are allowed", wasm.len(), bounds.octets)));
        }
        let inventory = policy::inspect(wasm).map_err(|e| refused(e.to_string()))?;
        inventory.check(&bounds, &settings.config.limits).map_err(refused)?;
        policy::audit(&inventory, &settings.config.grants).map_err(|denied| {
            refused(denied.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })?;
        let path = self.files.component(digest);
        self.files.replace(&path, wasm).map_err(|e| ActionError::Failed(e.to_string()))?;
        self.load_or_compile(settings, digest)
    }

    pub(crate) fn load_or_compile(
        &self,
        settings: &PluginSettings,
        digest: &str,
    ) -> Result<Arc<dyn Policy>, ActionError> {
        let refused = |error: policy::PluginError| ActionError::Refused(error.to_string());
        match self.load(settings, digest) {
            Err(policy::PluginError::NotCompiled) => {
                self.compile(digest).map_err(ActionError::Refused)?;
                self.load(settings, digest).map_err(refused)
            }
            other => other.map_err(refused),
        }
    }

    /// `configure` with the settings as they are, then sample messages. What it decides does not matter.
    pub(crate) async fn self_test(
        &self,
        settings: &PluginSettings,
        policy: &Arc<dyn Policy>,
    ) -> Result<(), ActionError> {
        let place = self.place_with(Arc::new(settings.clone()), String::new(), Ok(Arc::clone(policy)));
        let data: Data = Some(place.data.clone());
        let now = u64::try_from(self.now()).unwrap_or(0);
        let failed = |fault: policy::PluginFault| match fault.blame {
            Blame::Guest => ActionError::Refused(format!("the self-test failed: {fault}")),
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
