//! Tenants' policy plugins: versions, components, key-value data.

use async_trait::async_trait;

use crate::control::{reading, writing};
use crate::{ControlStore, ControlStoreError};

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

/// A version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentVersion {
    /// SHA-256 of the component in lower case hex.
    pub digest: String,
    /// When it was added last, milliseconds since 1970.
    pub added_at: i64,
    /// Octets of the component.
    pub octets: u64,
}

/// Entries per statement: both databases limit the number of parameters (SQLite to 32,766).
const ENTRIES_PER_STATEMENT: usize = 1_000;

/// Tenants' policy plugins.
#[async_trait]
pub trait PluginStore: Send + Sync {
    /// All plugins, in the order of tenant and name.
    async fn plugins(&self) -> Result<Vec<PluginRecord>, ControlStoreError>;

    /// Adds a plugin or replaces what is stored of it, its versions included, in one step.
    async fn put_plugin(&self, plugin: &PluginRecord) -> Result<(), ControlStoreError>;

    /// Deletes a plugin with its versions and its key-value data.
    async fn delete_plugin(&self, tenant: &str, name: &str) -> Result<(), ControlStoreError>;

    /// Stores a component under its digest. One that is there already stays.
    async fn put_component(&self, digest: &str, content: &[u8]) -> Result<(), ControlStoreError>;

    /// Content of a component. None: there is none of this digest.
    async fn component(&self, digest: &str) -> Result<Option<Vec<u8>>, ControlStoreError>;

    /// Deletes components that no plugin remembers, and returns how many.
    async fn delete_unused_components(&self) -> Result<u64, ControlStoreError>;

    /// Key-value data of a plugin, in the order of their keys by octets.
    async fn plugin_data(
        &self,
        tenant: &str,
        name: &str,
    ) -> Result<Vec<(String, Vec<u8>)>, ControlStoreError>;

    /// Replaces all key-value data of a plugin in one step. Keys are unique.
    async fn replace_plugin_data(
        &self,
        tenant: &str,
        name: &str,
        entries: &[(String, Vec<u8>)],
    ) -> Result<(), ControlStoreError>;
}

type PluginRow = (String, String, i64, Option<String>, Option<String>, Option<String>);

#[async_trait]
impl PluginStore for ControlStore {
    async fn plugins(&self) -> Result<Vec<PluginRecord>, ControlStoreError> {
        // One statement reads one moment, on both databases.
        let rows: Vec<(PluginRow, VersionRow)> = reading!(self, pool => {
            sqlx::query_as::<_, Joined>(
                "SELECT p.tenant, p.name, p.enabled, p.active, p.previous, p.shadow, v.position, v.digest, v.added_at, v.octets \
                 FROM plugin p LEFT JOIN plugin_version v ON v.tenant = p.tenant AND v.plugin = p.name",
            )
            .fetch_all(pool)
            .await?
        })
        .into_iter()
        .map(|(a, b, c, d, e, f, g, h, i, j)| ((a, b, c, d, e, f), (g, h, i, j)))
        .collect();
        Ok(joined(rows))
    }

    async fn put_plugin(&self, plugin: &PluginRecord) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
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
        })
    }

    async fn delete_plugin(&self, tenant: &str, name: &str) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            for statement in [
                "DELETE FROM plugin_data WHERE tenant = $1 AND plugin = $2",
                "DELETE FROM plugin WHERE tenant = $1 AND name = $2",
            ] {
                sqlx::query(statement).bind(tenant).bind(name).execute(&mut *transaction).await?;
            }
        })
    }

    async fn put_component(&self, digest: &str, content: &[u8]) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            sqlx::query("INSERT INTO component (digest, content) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING")
                .bind(digest)
                .bind(content)
                .execute(&mut *transaction)
                .await?;
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

    async fn delete_unused_components(&self) -> Result<u64, ControlStoreError> {
        writing!(self, transaction => {
            sqlx::query(
                "DELETE FROM component WHERE NOT EXISTS \
                 (SELECT 1 FROM plugin_version v WHERE v.digest = component.digest)",
            )
            .execute(&mut *transaction)
            .await?
            .rows_affected()
        })
    }

    async fn plugin_data(
        &self,
        tenant: &str,
        name: &str,
    ) -> Result<Vec<(String, Vec<u8>)>, ControlStoreError> {
        let mut entries: Vec<(String, Vec<u8>)> = reading!(self, pool => {
            sqlx::query_as("SELECT name, content FROM plugin_data WHERE tenant = $1 AND plugin = $2")
                .bind(tenant)
                .bind(name)
                .fetch_all(pool)
                .await?
        });
        entries.sort();
        Ok(entries)
    }

    async fn replace_plugin_data(
        &self,
        tenant: &str,
        name: &str,
        entries: &[(String, Vec<u8>)],
    ) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            sqlx::query("DELETE FROM plugin_data WHERE tenant = $1 AND plugin = $2")
                .bind(tenant)
                .bind(name)
                .execute(&mut *transaction)
                .await?;
            for chunk in entries.chunks(ENTRIES_PER_STATEMENT) {
                let mut insert =
                    sqlx::QueryBuilder::new("INSERT INTO plugin_data (tenant, plugin, name, content) ");
                insert.push_values(chunk, |mut row, (key, value)| {
                    row.push_bind(tenant).push_bind(name).push_bind(key).push_bind(value);
                });
                insert.build().execute(&mut *transaction).await?;
            }
        })
    }
}

type VersionRow = (Option<i64>, Option<String>, Option<i64>, Option<i64>);
type Joined = (
    String,
    String,
    i64,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<String>,
    Option<i64>,
    Option<i64>,
);

/// Puts plugins and versions together, in the order of their names by octets: the databases' own orders differ.
fn joined(mut rows: Vec<(PluginRow, VersionRow)>) -> Vec<PluginRecord> {
    rows.sort_by(|(a, v), (b, w)| (&a.0, &a.1, v.0).cmp(&(&b.0, &b.1, w.0)));
    let mut plugins: Vec<PluginRecord> = Vec::new();
    for ((tenant, name, enabled, active, previous, shadow), (_, digest, added_at, octets)) in rows {
        if plugins.last().is_none_or(|last| (&last.tenant, &last.name) != (&tenant, &name)) {
            let versions = Vec::new();
            plugins.push(PluginRecord {
                tenant,
                name,
                enabled: enabled != 0,
                active,
                previous,
                shadow,
                versions,
            });
        }
        if let (Some(plugin), Some(digest), Some(added_at), Some(octets)) =
            (plugins.last_mut(), digest, added_at, octets)
        {
            let octets = u64::try_from(octets).unwrap_or(0);
            plugin.versions.push(ComponentVersion { digest, added_at, octets });
        }
    }
    plugins
}
