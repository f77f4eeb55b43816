//! Tenants, as operators see and change them. Those of the configuration file are changed there.

use std::collections::HashMap;
use std::sync::Arc;

use relevo_store::{ControlStoreError, DirectoryStore, TenantRecord, TenantSettings};
use serde::{Deserialize, Deserializer};
use tracing::error;

use crate::directory::{Directory, DirectoryRefresher, Tenant, build_tenant};
use crate::domains::{DomainRefusal, Domains};
use crate::quota::{PeriodUse, Quotas};
use crate::settings::SettingsHandle;

/// Octets of an id.
const MAX_ID: usize = 63;
/// Entries of each list in the settings.
const MAX_ENTRIES: usize = 1_000;
/// Domains that are removed at once with their tenant.
const DOMAINS: u32 = 100;
/// The highest priority that can be granted.
const MAX_PRIORITY: i8 = 9;

/// A tenant, and what is known of it.
#[derive(Debug, Clone)]
pub struct TenantOverview {
    /// Its settings in force.
    pub tenant: Arc<Tenant>,
    /// The configuration file has it.
    pub is_file: bool,
    /// Sending domains that count.
    pub domains: usize,
    /// Use of its quotas: hour, day, month.
    pub uses: [PeriodUse; 3],
}

/// What is changed of a tenant. A list or group that is missing stays as it is; `null` in place of a
/// number sets the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantChange {
    /// The id of a new tenant; it is never changed.
    pub id: Option<String>,
    /// Networks in CIDR form that may use its domains on the relay port.
    pub networks: Option<Vec<String>>,
    /// Names of pools that its mail may leave from.
    pub pools: Option<Vec<String>>,
    /// Names of routes that its mail may take.
    pub routes: Option<Vec<String>>,
    /// The highest priority of its mail.
    #[serde(deserialize_with = "given")]
    pub max_priority: Option<Option<i8>>,
    /// Deliveries that plugins may hold at the same time.
    #[serde(deserialize_with = "given")]
    pub max_held: Option<Option<u64>>,
    /// Requests to the API in a second.
    #[serde(deserialize_with = "given")]
    pub requests_per_second: Option<Option<u32>>,
    /// Recipients that it may send to.
    pub quota: Option<QuotaChange>,
    /// Rules that suppress its recipients.
    pub suppression: Option<SuppressionChange>,
}

/// What is changed of quotas.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaChange {
    /// In an hour; `null`: no limit.
    #[serde(deserialize_with = "given")]
    pub hour: Option<Option<u64>>,
    /// In a day.
    #[serde(deserialize_with = "given")]
    pub day: Option<Option<u64>>,
    /// In a month.
    #[serde(deserialize_with = "given")]
    pub month: Option<Option<u64>>,
}

/// What is changed of the rules that suppress; `null`: as in the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SuppressionChange {
    /// Hard bounces without a delivery between them.
    #[serde(deserialize_with = "given")]
    pub hard_bounces: Option<Option<u32>>,
    /// Messages that a full mailbox made expire.
    #[serde(deserialize_with = "given")]
    pub mailbox_full_times: Option<Option<u32>>,
    /// Days between the first and the last of them.
    #[serde(deserialize_with = "given")]
    pub mailbox_full_days: Option<Option<u32>>,
    /// `all` or `stream`.
    #[serde(deserialize_with = "given")]
    pub complaints: Option<Option<String>>,
}

/// Tells `null` from what is missing.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

fn set<T: Clone>(to: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        to.clone_from(value);
    }
}

impl TenantChange {
    fn apply(&self, settings: &mut TenantSettings) {
        set(&mut settings.networks, self.networks.as_ref());
        set(&mut settings.pools, self.pools.as_ref());
        set(&mut settings.routes, self.routes.as_ref());
        set(&mut settings.max_priority, self.max_priority.as_ref());
        set(&mut settings.max_held, self.max_held.as_ref());
        set(&mut settings.requests_per_second, self.requests_per_second.as_ref());
        if let Some(quota) = &self.quota {
            set(&mut settings.quota.hour, quota.hour.as_ref());
            set(&mut settings.quota.day, quota.day.as_ref());
            set(&mut settings.quota.month, quota.month.as_ref());
        }
        if let Some(rules) = &self.suppression {
            set(&mut settings.suppression.hard_bounces, rules.hard_bounces.as_ref());
            set(&mut settings.suppression.mailbox_full_times, rules.mailbox_full_times.as_ref());
            set(&mut settings.suppression.mailbox_full_days, rules.mailbox_full_days.as_ref());
            set(&mut settings.suppression.complaints, rules.complaints.as_ref());
        }
    }
}

/// Why a tenant cannot be shown or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantRefusal {
    /// There is no such tenant.
    #[error("there is no tenant `{0}`")]
    NotFound(String),
    /// It is there already, or the configuration file's.
    #[error("{0}")]
    Conflict(String),
    /// A value is wrong.
    #[error("{message}")]
    Invalid {
        /// The name of the value.
        param: String,
        /// The mistake.
        message: String,
    },
    /// The store failed. The log has the details.
    #[error("tenants cannot be changed now, try again later")]
    Unavailable,
}

impl From<ControlStoreError> for TenantRefusal {
    fn from(error: ControlStoreError) -> Self {
        error!(%error, "the store of tenants failed");
        Self::Unavailable
    }
}

impl From<DomainRefusal> for TenantRefusal {
    fn from(_: DomainRefusal) -> Self {
        Self::Unavailable
    }
}

fn invalid(param: impl Into<String>, message: impl Into<String>) -> TenantRefusal {
    TenantRefusal::Invalid { param: param.into(), message: message.into() }
}

/// The tenants of the relay.
pub struct Tenants {
    store: Arc<dyn DirectoryStore>,
    /// Reads the directory after each change.
    directory: Arc<DirectoryRefresher>,
    settings: SettingsHandle,
    domains: Arc<Domains>,
    quotas: Arc<Quotas>,
}

impl Tenants {
    /// Tenants of this directory. `domains` removes their domains with the keys.
    #[must_use]
    pub fn new(
        (store, directory): (Arc<dyn DirectoryStore>, Arc<DirectoryRefresher>),
        settings: SettingsHandle,
        domains: Arc<Domains>,
        quotas: Arc<Quotas>,
    ) -> Self {
        Self { store, directory, settings, domains, quotas }
    }

    /// Tenants by id, those behind `after`, at most `max`.
    #[must_use]
    pub fn list(&self, after: &str, max: usize) -> Vec<TenantOverview> {
        let settings = self.settings.get();
        let directory = &settings.directory;
        let mut tenants: Vec<_> = directory.tenants().filter(|tenant| tenant.id.as_str() > after).collect();
        tenants.sort_by(|a, b| a.id.cmp(&b.id));
        tenants.truncate(max);
        let mut domains: HashMap<&str, usize> = HashMap::new();
        for domain in directory.domains() {
            *domains.entry(&domain.tenant).or_default() += 1;
        }
        let count = |tenant: &Tenant| domains.get(tenant.id.as_str()).copied().unwrap_or(0);
        tenants.into_iter().map(|tenant| self.overview(directory, tenant, count(tenant))).collect()
    }

    fn overview(&self, directory: &Directory, tenant: &Arc<Tenant>, domains: usize) -> TenantOverview {
        TenantOverview {
            is_file: directory.file_tenant(&tenant.id).is_some(),
            domains,
            uses: self.quotas.uses(&tenant.id, &tenant.quota),
            tenant: Arc::clone(tenant),
        }
    }

    /// One tenant.
    ///
    /// # Errors
    /// There is no such tenant.
    pub fn get(&self, id: &str) -> Result<TenantOverview, TenantRefusal> {
        let settings = self.settings.get();
        let directory = &settings.directory;
        let tenant = directory.tenant(id).ok_or_else(|| TenantRefusal::NotFound(id.to_owned()))?;
        let domains = directory.domains().filter(|domain| domain.tenant == id).count();
        Ok(self.overview(directory, tenant, domains))
    }

    /// Adds a tenant to the store.
    ///
    /// # Errors
    /// There is one, a value is wrong, or the store's.
    pub async fn create(&self, change: &TenantChange) -> Result<TenantOverview, TenantRefusal> {
        let id = change.id.as_deref().ok_or_else(|| invalid("id", "is missing"))?;
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if !(1..=MAX_ID).contains(&id.len()) || !id.bytes().all(fits) {
            let message = "must be 1 to 63 lower case letters, digits, hyphens and underscores";
            return Err(invalid("id", message));
        }
        self.must_not_be_of_file(id)?;
        if self.store.tenant(id).await?.is_some() {
            return Err(TenantRefusal::Conflict(format!("there is a tenant `{id}` already")));
        }
        self.put(TenantRecord { id: id.to_owned(), settings: TenantSettings::default() }, change).await
    }

    /// Changes a tenant of the store.
    ///
    /// # Errors
    /// There is none, it is the file's, a value is wrong, or the store's.
    pub async fn change(&self, id: &str, change: &TenantChange) -> Result<TenantOverview, TenantRefusal> {
        if change.id.as_deref().is_some_and(|other| other != id) {
            return Err(invalid("id", "cannot be changed"));
        }
        let record = self.stored(id).await?;
        self.put(record, change).await
    }

    /// Deletes a tenant of the store with its domains, keys, credentials, templates and all else.
    /// Its mail that waits is still delivered.
    ///
    /// # Errors
    /// There is none, it is the file's, or the store's.
    pub async fn delete(&self, id: &str) -> Result<(), TenantRefusal> {
        self.stored(id).await?;
        loop {
            let domains = self.store.domains(id, "", DOMAINS).await?;
            if domains.is_empty() {
                break;
            }
            for domain in domains {
                self.domains.remove(id, &domain.name).await?;
            }
        }
        self.store.delete_tenant(id).await?;
        self.reread().await
    }

    async fn stored(&self, id: &str) -> Result<TenantRecord, TenantRefusal> {
        self.must_not_be_of_file(id)?;
        self.store.tenant(id).await?.ok_or_else(|| TenantRefusal::NotFound(id.to_owned()))
    }

    fn must_not_be_of_file(&self, id: &str) -> Result<(), TenantRefusal> {
        match self.settings.get().directory.file_tenant(id) {
            None => Ok(()),
            Some(_) => Err(TenantRefusal::Conflict(format!(
                "the tenant `{id}` is in the configuration file: change it there"
            ))),
        }
    }

    async fn put(
        &self,
        mut record: TenantRecord,
        change: &TenantChange,
    ) -> Result<TenantOverview, TenantRefusal> {
        change.apply(&mut record.settings);
        self.check(&record)?;
        self.store.put_tenant(&record).await?;
        self.reread().await?;
        self.get(&record.id)
    }

    fn check(&self, record: &TenantRecord) -> Result<(), TenantRefusal> {
        let TenantSettings { networks, pools, routes, max_priority, suppression, .. } = &record.settings;
        for (name, list) in [("networks", networks), ("pools", pools), ("routes", routes)] {
            if list.len() > MAX_ENTRIES {
                return Err(invalid(name, format!("has more than {MAX_ENTRIES} entries")));
            }
        }
        let delivery = &self.settings.get().delivery;
        if let Some(at) = pools.iter().position(|name| !delivery.pools.contains_key(name)) {
            return Err(invalid(format!("pools[{at}]"), "there is no such pool in the configuration"));
        }
        if let Some(at) = routes.iter().position(|name| !delivery.routes.contains_key(name)) {
            return Err(invalid(format!("routes[{at}]"), "there is no such route in the configuration"));
        }
        if max_priority.is_some_and(|priority| !(0..=MAX_PRIORITY).contains(&priority)) {
            return Err(invalid("max_priority", format!("must be 0 to {MAX_PRIORITY}")));
        }
        let is_known = |scope: &str| matches!(scope, "all" | "stream");
        if suppression.complaints.as_deref().is_some_and(|scope| !is_known(scope)) {
            return Err(invalid("suppression.complaints", "must be `all` or `stream`"));
        }
        build_tenant(record).map(drop).map_err(|why| invalid("networks", why))
    }

    async fn reread(&self) -> Result<(), TenantRefusal> {
        match self.directory.refresh().await {
            Ok(_) => Ok(()),
            Err(error) => {
                error!(%error, "the directory cannot be read after a change");
                Err(TenantRefusal::Unavailable)
            }
        }
    }
}
