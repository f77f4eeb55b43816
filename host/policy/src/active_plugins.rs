//! The plugins of all tenants that are in use: read for each message, changed by few.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::active::ActivePlugin;
use crate::allowance::Allowance;

/// By tenant, then by name.
pub(crate) type ByTenant = HashMap<String, HashMap<String, Arc<ActivePlugin>>>;

/// See the module.
#[derive(Default)]
pub(crate) struct ActivePlugins(RwLock<ActiveTables>);

#[derive(Default)]
struct ActiveTables {
    plugins: Arc<ByTenant>,
    /// CPU time by tenant: what was used stays used when a version is replaced.
    cpu: HashMap<String, Arc<Allowance>>,
}

impl ActivePlugins {
    fn read(&self) -> RwLockReadGuard<'_, ActiveTables> {
        self.0.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, ActiveTables> {
        self.0.write()
    }

    pub(crate) fn all(&self) -> Arc<ByTenant> {
        Arc::clone(&self.read().plugins)
    }

    pub(crate) fn has_some(&self, tenant: &str) -> bool {
        self.read().plugins.contains_key(tenant)
    }

    pub(crate) fn get(&self, tenant: &str, plugin: &str) -> Option<Arc<ActivePlugin>> {
        self.read().plugins.get(tenant)?.get(plugin).cloned()
    }

    /// The allowance of CPU time that all plugins of a tenant share: a new one when there is none
    /// or it was another.
    pub(crate) fn cpu(&self, tenant: &str, per_second: Duration) -> Arc<Allowance> {
        let per_second = u64::try_from(per_second.as_nanos()).unwrap_or(u64::MAX);
        let mut tables = self.write();
        let known = tables.cpu.get(tenant).filter(|known| known.per_second() == per_second);
        let cpu = known.map_or_else(|| Arc::new(Allowance::new(per_second)), Arc::clone);
        tables.cpu.insert(tenant.to_owned(), Arc::clone(&cpu));
        cpu
    }

    /// Puts these in use in place of all others. Returns those.
    pub(crate) fn replace_all(&self, plugins: ByTenant) -> Arc<ByTenant> {
        let mut tables = self.write();
        tables.cpu.retain(|tenant, _| plugins.contains_key(tenant));
        std::mem::replace(&mut tables.plugins, Arc::new(plugins))
    }

    /// Puts a plugin in use. Messages that are being judged stay with the one before, which goes
    /// with the last of them.
    pub(crate) fn put(&self, plugin: Arc<ActivePlugin>) {
        let mut tables = self.write();
        let config = &plugin.settings.config;
        let tenant = Arc::make_mut(&mut tables.plugins).entry(config.tenant.clone()).or_default();
        tenant.insert(config.name.clone(), Arc::clone(&plugin));
    }

    /// Takes a plugin out of use.
    pub(crate) fn remove(&self, tenant: &str, plugin: &str) {
        let mut tables = self.write();
        let plugins = Arc::make_mut(&mut tables.plugins);
        if let Some(of_tenant) = plugins.get_mut(tenant) {
            of_tenant.remove(plugin);
            if of_tenant.is_empty() {
                plugins.remove(tenant);
            }
        }
    }
}
