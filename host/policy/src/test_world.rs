//! A relay's plugins for tests, with a compiler that is a script: it gives code that was compiled
//! before, and says that it was called.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use relevo_mailkit::token::TokenKeys;
use relevo_relay::clock::SystemClock;
use relevo_relay::directory::DirectoryEntries;
use relevo_relay::settings::{
    DeliverySettings, IntakeSettings, PluginServer, Settings, SettingsHandle, Tenant,
};
use relevo_resolve::IpFamily;
use relevo_store::{
    ControlStore, ControlStoreError, PluginData, PluginRecord, PluginRecords, PluginStore, StoreUrl,
};
use relevo_test_plugins::distinct;
use tempfile::TempDir;

use crate::{ActionError, Plugins, PluginsConfig, test_settings};

/// Longer than anything here takes, and the compiler would go on for.
const SOON: Duration = Duration::from_secs(60);

/// What `cargo xtask build` left, and native code of it. The numbers in [`version`] make no
/// difference to that.
static ACCEPT_ALL: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let exe = std::env::current_exe().expect("a path");
    let target = exe.ancestors().find(|a| a.ends_with("debug") || a.ends_with("release")).expect("a target");
    let path = target.parent().expect("a parent").join("plugins/accept-all.wasm");
    let wasm = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}: run `cargo xtask build`", path.display()));
    let code = relevo_runtime::policy::compile(&wasm).expect("a component");
    (wasm, code)
});

pub(crate) fn version(number: u32) -> Vec<u8> {
    distinct(&ACCEPT_ALL.0, number)
}

fn tenant(id: &str, kv_size: u64) -> Arc<Tenant> {
    let plugin = test_settings::plugin(id, |settings| {
        let limits = &mut settings.config.limits;
        (limits.call_cpu, limits.call_wall) = (SOON, SOON);
        settings.kv_size = kv_size;
    });
    Arc::new(Tenant {
        id: id.into(),
        networks: Vec::new(),
        max_held: 0,
        plugins: vec![plugin],
        grants: Arc::default(),
        quota: Default::default(),
        requests_per_second: None,
        suppression: Default::default(),
        keep_content: None,
        dsn: true,
    })
}

/// Tenants `a`, `b` and `c` with a plugin `list` each.
pub(crate) fn settings(kv_size: u64) -> Settings {
    let intake = IntakeSettings {
        max_message_size: 1,
        max_recipients: 1,
        recipients_per_hour: 1,
        strict_headers: false,
        trusted_networks: Vec::new(),
    };
    let delivery = DeliverySettings {
        port: 25,
        ip: IpFamily::Any,
        source_ipv4: None,
        source_ipv6: None,
        ehlo: "mta.test".into(),
        allow_networks: Vec::new(),
        own_addresses: Vec::new(),
        retry: Vec::new(),
        expire: SOON,
        delay_report: SOON,
        smarthost: None,
        pools: Default::default(),
        routes: Default::default(),
        connections_per_site: 1,
        max_connections: 1,
        messages_per_connection: 1,
        recipients_per_transaction: 1,
        record_conversations: false,
        shaping: Arc::default(),
    };
    let by_id = ["a", "b", "c"].map(|id| (id.to_owned(), tenant(id, kv_size))).into();
    Settings {
        hostname: "mta.test".into(),
        postmaster: "postmaster@mta.test".into(),
        intake,
        delivery,
        returns: relevo_relay::settings::ReturnSettings::default(),
        tracking_keys: TokenKeys(Vec::new()),
        tracking: relevo_relay::settings::TrackingLimits::default(),
        unsubscribe_mailbox: None,
        directory: DirectoryEntries { by_id, ..DirectoryEntries::default() }.into(),
        plugins: PluginServer::default(),
    }
}

pub(crate) struct World {
    directory: TempDir,
    pub(crate) settings: SettingsHandle,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self {
            directory: tempfile::tempdir().expect("a directory"),
            settings: SettingsHandle::new(settings(1_000)),
        };
        fs::write(world.path("code"), &ACCEPT_ALL.1).expect("writes");
        // Each call leaves a line; `wait` lets it wait, `fail` lets it fail.
        let script = "#!/bin/sh\nPATH=/usr/bin:/bin\ncd \"${0%/*}\"\necho called >>calls\nmkdir running || echo two >>overlaps\n\
            while [ -e wait ]; do sleep 0.02; done\nrmdir running\nif [ -e fail ]; then echo refused >&2; exit 1; fi\nfor out; do :; done\ncp code \"$out\"\n";
        fs::write(world.path("compiler"), script).expect("writes");
        fs::set_permissions(world.path("compiler"), fs::Permissions::from_mode(0o700)).expect("ours");
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn plugins(&self, name: &str) -> PathBuf {
        self.path("plugins").join(name)
    }

    /// The store, as another process would open it.
    pub(crate) async fn store(&self) -> Arc<ControlStore> {
        let url = StoreUrl::File(self.path("control.sqlite"));
        Arc::new(ControlStore::open(&url).await.expect("opens"))
    }

    pub(crate) async fn open(&self) -> Arc<Plugins> {
        self.open_with(self.store().await, true).await
    }

    pub(crate) async fn open_with(&self, store: Arc<dyn PluginStore>, serving: bool) -> Arc<Plugins> {
        let config = PluginsConfig {
            store,
            directory: self.path("plugins"),
            program: self.path("compiler"),
            serving,
            events: None,
        };
        let clock = Arc::new(SystemClock::new());
        Plugins::open(config, self.settings.clone(), clock).await.expect("opens")
    }

    pub(crate) fn sets(&self, name: &str) {
        fs::write(self.path(name), "").expect("writes");
    }

    pub(crate) fn unsets(&self, name: &str) {
        fs::remove_file(self.path(name)).expect("was there");
    }

    pub(crate) fn calls(&self) -> usize {
        fs::read_to_string(self.path("calls")).map_or(0, |text| text.lines().count())
    }

    /// Another version of the program: no code fits.
    pub(crate) fn upgraded(&self) {
        fs::remove_dir_all(self.plugins("code")).expect("was there");
    }
}

/// A store that gives no key-value data while `fails` is set.
pub(crate) struct DatalessStore {
    pub(crate) store: Arc<ControlStore>,
    pub(crate) fails: AtomicBool,
}

#[async_trait]
impl PluginStore for DatalessStore {
    async fn plugins(&self) -> Result<PluginRecords, ControlStoreError> {
        self.store.plugins().await
    }

    async fn plugin_revision(&self) -> Result<i64, ControlStoreError> {
        self.store.plugin_revision().await
    }

    async fn put_plugin(
        &self,
        revision: i64,
        plugin: &PluginRecord,
        component: Option<&[u8]>,
    ) -> Result<i64, ControlStoreError> {
        self.store.put_plugin(revision, plugin, component).await
    }

    async fn delete_plugin(&self, revision: i64, tenant: &str, name: &str) -> Result<i64, ControlStoreError> {
        self.store.delete_plugin(revision, tenant, name).await
    }

    async fn component(&self, digest: &str) -> Result<Option<Vec<u8>>, ControlStoreError> {
        self.store.component(digest).await
    }

    async fn plugin_data(&self, tenant: &str, name: &str) -> Result<PluginData, ControlStoreError> {
        match self.fails.load(Ordering::Relaxed) {
            true => Err(ControlStoreError::File("it does not answer".to_owned())),
            false => self.store.plugin_data(tenant, name).await,
        }
    }

    async fn replace_plugin_data(
        &self,
        revision: i64,
        tenant: &str,
        name: &str,
        data: &PluginData,
    ) -> Result<i64, ControlStoreError> {
        self.store.replace_plugin_data(revision, tenant, name, data).await
    }
}

pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < SOON, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn add(plugins: &Arc<Plugins>, tenant: &str, number: u32) -> Result<(), ActionError> {
    plugins.lifecycle.add(tenant, "list", version(number), false).await.map(drop)
}

pub(crate) async fn shown(plugins: &Arc<Plugins>, tenant: &str) -> serde_json::Value {
    plugins.lifecycle.list(Some(tenant)).await[0].clone()
}
