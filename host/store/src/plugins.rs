//! Tenants' policy plugins: versions, components, key-value data.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::control::{reading, snapshot, writing};
use crate::{ControlStore, ControlStoreError, StoreChanges, StoreSubject};

/// A configured plugin and its versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginRecord {
    /// Id of its tenant.
    pub tenant: String,
    /// Name in the configuration.
    pub name: String,
    /// Off: the tenant's mail passes as if there were no plugin.
    pub enabled: bool,
    /// Digest of the version that is asked.
    pub active: Option<String>,
    /// Digest of the version that was active before.
    pub previous: Option<String>,
    /// Digest of a version that is asked without effect.
    pub shadow: Option<String>,
    /// Versions that are remembered, the oldest first.
    pub versions: Vec<ComponentVersion>,
}

/// A version of a plugin. The store has its component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentVersion {
    /// SHA-256 of the component in lower case hex.
    pub digest: String,
    /// When it was added last, milliseconds since 1970.
    pub added_at: i64,
    /// Octets of the component.
    pub octets: u64,
}

/// All plugins at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginRecords {
    /// Number of the last change.
    pub revision: i64,
    /// In the order of tenant and name by octets.
    pub plugins: Vec<PluginRecord>,
}

/// Key-value data of a plugin.
pub type PluginData = BTreeMap<String, Vec<u8>>;

/// Entries per statement: both databases limit the number of parameters (SQLite to 32,766).
const ENTRIES_PER_STATEMENT: usize = 1_000;

/// Tenants' policy plugins. Each change has a number, the revision. A method that changes something
/// takes the revision that its caller knows and returns the next one. It fails with
/// [`ControlStoreError::Stale`] if another process has changed plugins since.
#[async_trait]
pub trait PluginStore: Send + Sync {
    /// All plugins of one moment.
    async fn plugins(&self) -> Result<PluginRecords, ControlStoreError>;

    /// The revision alone, to learn of changes by other processes.
    async fn plugin_revision(&self) -> Result<i64, ControlStoreError>;

    /// Tells of changes, where the database does.
    fn plugin_changes(&self) -> StoreChanges {
        StoreChanges::never()
    }

    /// Adds a plugin or replaces what is stored of it, its versions included, in one step.
    ///
    /// `component` is the content of the version that was added last, if it is a new one.
    /// Components that no plugin remembers any more are deleted.
    async fn put_plugin(
        &self,
        revision: i64,
        plugin: &PluginRecord,
        component: Option<&[u8]>,
    ) -> Result<i64, ControlStoreError>;

    /// Deletes a plugin with its versions and its key-value data.
    async fn delete_plugin(&self, revision: i64, tenant: &str, name: &str) -> Result<i64, ControlStoreError>;

    /// Content of a component. None: there is none of this digest.
    async fn component(&self, digest: &str) -> Result<Option<Vec<u8>>, ControlStoreError>;

    /// Key-value data of a plugin.
    async fn plugin_data(&self, tenant: &str, name: &str) -> Result<PluginData, ControlStoreError>;

    /// Replaces all key-value data of a plugin in one step. A plugin that was not stored yet is,
    /// without a version.
    async fn replace_plugin_data(
        &self,
        revision: i64,
        tenant: &str,
        name: &str,
        data: &PluginData,
    ) -> Result<i64, ControlStoreError>;
}

const REVISION: &str = "SELECT number FROM revision WHERE subject = 'plugins'";

/// Counts a change. Of two processes that know the same revision, one goes on.
macro_rules! next_revision {
    ($transaction:ident, $known:expr) => {
        sqlx::query_scalar::<_, i64>(
            "UPDATE revision SET number = number + 1 WHERE subject = 'plugins' AND number = $1 RETURNING number",
        )
        .bind($known)
        .fetch_optional(&mut *$transaction)
        .await?
        .ok_or(ControlStoreError::Stale)?
    };
}

/// Deletes components that no version needs.
macro_rules! delete_unused_components {
    ($transaction:ident) => {
        sqlx::query(
            "DELETE FROM component WHERE NOT EXISTS \
             (SELECT 1 FROM plugin_version v WHERE v.digest = component.digest)",
        )
        .execute(&mut *$transaction)
        .await?
    };
}

#[derive(sqlx::FromRow)]
struct PluginRow {
    tenant: String,
    name: String,
    enabled: i64,
    active: Option<String>,
    previous: Option<String>,
    shadow: Option<String>,
}

#[derive(sqlx::FromRow)]
struct VersionRow {
    tenant: String,
    plugin: String,
    position: i64,
    digest: String,
    added_at: i64,
    octets: i64,
}

#[async_trait]
impl PluginStore for ControlStore {
    async fn plugins(&self) -> Result<PluginRecords, ControlStoreError> {
        reading!(self, pool => {
            let mut snapshot = pool.begin().await?;
            snapshot!(self, snapshot);
            let revision = sqlx::query_scalar(REVISION).fetch_one(&mut *snapshot).await?;
            let plugins: Vec<PluginRow> =
                sqlx::query_as("SELECT tenant, name, enabled, active, previous, shadow FROM plugin")
                    .fetch_all(&mut *snapshot)
                    .await?;
            let versions: Vec<VersionRow> =
                sqlx::query_as("SELECT tenant, plugin, position, digest, added_at, octets FROM plugin_version")
                    .fetch_all(&mut *snapshot)
                    .await?;
            snapshot.commit().await?;
            Ok(PluginRecords { revision, plugins: joined(plugins, versions) })
        })
    }

    fn plugin_changes(&self) -> StoreChanges {
        self.changes(StoreSubject::Plugins)
    }

    async fn plugin_revision(&self) -> Result<i64, ControlStoreError> {
        Ok(reading!(self, pool => { sqlx::query_scalar(REVISION).fetch_one(pool).await? }))
    }

    async fn put_plugin(
        &self,
        revision: i64,
        plugin: &PluginRecord,
        component: Option<&[u8]>,
    ) -> Result<i64, ControlStoreError> {
        writing!(self, transaction => {
            let next = next_revision!(transaction, revision);
            if let (Some(content), Some(version)) = (component, plugin.versions.last()) {
                sqlx::query(
                    "INSERT INTO component (digest, content) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING",
                )
                .bind(&version.digest)
                .bind(content)
                .execute(&mut *transaction)
                .await?;
            }
            sqlx::query(
                "INSERT INTO plugin (tenant, name, enabled, active, previous, shadow) VALUES ($1, $2, $3, $4, $5, $6) \
                 ON CONFLICT (tenant, name) DO UPDATE SET enabled = excluded.enabled, active = excluded.active, \
                 previous = excluded.previous, shadow = excluded.shadow",
            )
            .bind(&plugin.tenant)
            .bind(&plugin.name)
            .bind(i64::from(plugin.enabled))
            .bind(&plugin.active)
            .bind(&plugin.previous)
            .bind(&plugin.shadow)
            .execute(&mut *transaction)
            .await?;
            sqlx::query("DELETE FROM plugin_version WHERE tenant = $1 AND plugin = $2")
                .bind(&plugin.tenant)
                .bind(&plugin.name)
                .execute(&mut *transaction)
                .await?;
            for (position, version) in (0_i64..).zip(&plugin.versions) {
                sqlx::query(
                    "INSERT INTO plugin_version (tenant, plugin, position, digest, added_at, octets) \
                     VALUES ($1, $2, $3, $4, $5, $6)",
                )
                .bind(&plugin.tenant)
                .bind(&plugin.name)
                .bind(position)
                .bind(&version.digest)
                .bind(version.added_at)
                .bind(i64::try_from(version.octets).unwrap_or(i64::MAX))
                .execute(&mut *transaction)
                .await?;
            }
            delete_unused_components!(transaction);
            next
        })
    }

    async fn delete_plugin(&self, revision: i64, tenant: &str, name: &str) -> Result<i64, ControlStoreError> {
        writing!(self, transaction => {
            let next = next_revision!(transaction, revision);
            sqlx::query("DELETE FROM plugin WHERE tenant = $1 AND name = $2")
                .bind(tenant)
                .bind(name)
                .execute(&mut *transaction)
                .await?;
            delete_unused_components!(transaction);
            next
        })
    }

    async fn component(&self, digest: &str) -> Result<Option<Vec<u8>>, ControlStoreError> {
        Ok(reading!(self, pool => {
            sqlx::query_scalar::<_, Vec<u8>>("SELECT content FROM component WHERE digest = $1")
                .bind(digest)
                .fetch_optional(pool)
                .await?
        }))
    }

    async fn plugin_data(&self, tenant: &str, name: &str) -> Result<PluginData, ControlStoreError> {
        let entries: Vec<(String, Vec<u8>)> = reading!(self, pool => {
            sqlx::query_as("SELECT name, content FROM plugin_data WHERE tenant = $1 AND plugin = $2")
                .bind(tenant)
                .bind(name)
                .fetch_all(pool)
                .await?
        });
        Ok(entries.into_iter().collect())
    }

    async fn replace_plugin_data(
        &self,
        revision: i64,
        tenant: &str,
        name: &str,
        data: &PluginData,
    ) -> Result<i64, ControlStoreError> {
        writing!(self, transaction => {
            let next = next_revision!(transaction, revision);
            sqlx::query("INSERT INTO plugin (tenant, name, enabled) VALUES ($1, $2, 0) ON CONFLICT (tenant, name) DO NOTHING")
                .bind(tenant)
                .bind(name)
                .execute(&mut *transaction)
                .await?;
            sqlx::query("DELETE FROM plugin_data WHERE tenant = $1 AND plugin = $2")
                .bind(tenant)
                .bind(name)
                .execute(&mut *transaction)
                .await?;
            let mut entries = data.iter().peekable();
            while entries.peek().is_some() {
                let mut insert =
                    sqlx::QueryBuilder::new("INSERT INTO plugin_data (tenant, plugin, name, content) ");
                insert.push_values(entries.by_ref().take(ENTRIES_PER_STATEMENT), |mut row, (key, value)| {
                    row.push_bind(tenant).push_bind(name).push_bind(key).push_bind(value);
                });
                insert.build().execute(&mut *transaction).await?;
            }
            next
        })
    }
}

/// Puts plugins and versions together, in the order of their names by octets: the databases' own
/// orders differ.
fn joined(plugins: Vec<PluginRow>, mut versions: Vec<VersionRow>) -> Vec<PluginRecord> {
    versions.sort_by_key(|version| version.position);
    let mut records = BTreeMap::new();
    for PluginRow { tenant, name, enabled, active, previous, shadow } in plugins {
        let key = (tenant.clone(), name.clone());
        let enabled = enabled != 0;
        records.insert(
            key,
            PluginRecord { tenant, name, enabled, active, previous, shadow, versions: Vec::new() },
        );
    }
    for VersionRow { tenant, plugin, digest, added_at, octets, .. } in versions {
        if let Some(record) = records.get_mut(&(tenant, plugin)) {
            let octets = u64::try_from(octets).unwrap_or(0);
            record.versions.push(ComponentVersion { digest, added_at, octets });
        }
    }
    records.into_values().collect()
}
