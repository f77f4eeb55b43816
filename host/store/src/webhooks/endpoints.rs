//! Endpoints.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::control::{reading, writing};
use crate::{ControlStore, ControlStoreError, StoreChanges, StoreSubject};

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookEndpoint {
    /// Id of its tenant.
    pub tenant: String,
    /// Made by the caller; never used again.
    pub id: String,
    /// Where events are posted to.
    pub url: String,
    /// Events are sent. A disabled endpoint gets none, and none is kept for it.
    pub enabled: bool,
    /// Why it was disabled without its owner.
    pub disabled_reason: Option<String>,
    /// Since when every attempt has failed, milliseconds since 1970; none: the last one succeeded.
    pub failing_since: Option<i64>,
    /// Everything else.
    pub settings: WebhookSettings,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Counts the changes: a change of an older version is refused.
    pub version: i64,
}

/// Settings of an endpoint, stored as JSON. A field that is missing has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebhookSettings {
    /// For people.
    pub description: String,
    /// Event types; empty: all.
    pub types: Vec<String>,
    /// Tags, of which a message must have one; empty: no condition.
    pub tags: Vec<StoredTag>,
    /// Streams; empty: all.
    pub streams: Vec<String>,
    /// Further fields of every request.
    pub headers: Vec<(String, String)>,
    /// Secrets that sign, the newest first. A secret with a time is left out from then on.
    pub secrets: Vec<StoredSecret>,
}

/// A condition on tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredTag {
    /// Name of the tag.
    pub name: String,
    /// Value of the tag; none: any.
    pub value: Option<String>,
}

/// A secret of an endpoint.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSecret {
    /// `whsec_` and base64.
    pub secret: String,
    /// Milliseconds since 1970; none: it stays.
    pub until: Option<i64>,
}

impl std::fmt::Debug for StoredSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredSecret").field("until", &self.until).finish_non_exhaustive()
    }
}

/// Endpoints of webhooks.
#[async_trait]
pub trait WebhookEndpointStore: Send + Sync {
    /// All endpoints of all tenants, by tenant and id.
    async fn webhook_endpoints(&self) -> Result<Vec<WebhookEndpoint>, ControlStoreError>;

    /// Endpoints of a tenant by id, those behind `after`, at most `max`.
    async fn webhook_endpoints_of(
        &self,
        tenant: &str,
        after: &str,
        max: u32,
    ) -> Result<Vec<WebhookEndpoint>, ControlStoreError>;

    /// One endpoint.
    async fn webhook_endpoint(
        &self,
        tenant: &str,
        id: &str,
    ) -> Result<Option<WebhookEndpoint>, ControlStoreError>;

    /// Adds an endpoint. Returns false if its tenant has `max` of them.
    async fn add_webhook_endpoint(
        &self,
        endpoint: &WebhookEndpoint,
        max: u32,
    ) -> Result<bool, ControlStoreError>;

    /// Writes URL, settings and whether it is enabled. One that is enabled again begins anew: it has
    /// no reason and does not fail. Returns false if there is none.
    ///
    /// # Errors
    /// [`ControlStoreError::Stale`] when the stored version is another than that of `endpoint`.
    async fn change_webhook_endpoint(&self, endpoint: &WebhookEndpoint) -> Result<bool, ControlStoreError>;

    /// Disables an endpoint. Returns false if it was disabled before or there is none.
    async fn disable_webhook_endpoint(&self, id: &str, reason: &str) -> Result<bool, ControlStoreError>;

    /// Deletes an endpoint with its deliveries, these in pages. Returns false if there is none.
    async fn delete_webhook_endpoint(&self, tenant: &str, id: &str) -> Result<bool, ControlStoreError>;

    /// Returns true if other processes may write to the same store.
    fn is_shared(&self) -> bool;

    /// Tells of changes, where the database does.
    fn webhook_endpoint_changes(&self) -> StoreChanges {
        StoreChanges::never()
    }
}

const COLUMNS: &str =
    "tenant, id, url, enabled, disabled_reason, failing_since, settings, created_at, version";
/// Deliveries that are deleted in one transaction.
const PAGE: i64 = 5_000;

type Row = (String, String, String, i64, Option<String>, Option<i64>, String, i64, i64);

fn endpoint(row: Row) -> Result<WebhookEndpoint, ControlStoreError> {
    let (tenant, id, url, enabled, disabled_reason, failing_since, settings, created_at, version) = row;
    let settings = serde_json::from_str(&settings).map_err(|e| damaged(format!("{id}: {e}")))?;
    let enabled = enabled != 0;
    Ok(WebhookEndpoint {
        tenant,
        id,
        url,
        enabled,
        disabled_reason,
        failing_since,
        settings,
        created_at,
        version,
    })
}

fn damaged(reason: String) -> ControlStoreError {
    ControlStoreError::Damaged { table: "webhook_endpoint", reason }
}

fn json(settings: &WebhookSettings) -> Result<String, ControlStoreError> {
    serde_json::to_string(settings).map_err(|e| damaged(e.to_string()))
}

#[async_trait]
impl WebhookEndpointStore for ControlStore {
    async fn webhook_endpoints(&self) -> Result<Vec<WebhookEndpoint>, ControlStoreError> {
        let sql = format!("SELECT {COLUMNS} FROM webhook_endpoint");
        let rows: Vec<Row> = reading!(self, pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(pool).await?
        });
        let mut endpoints = rows.into_iter().map(endpoint).collect::<Result<Vec<_>, _>>()?;
        endpoints.sort_by(|a, b| (&a.tenant, &a.id).cmp(&(&b.tenant, &b.id)));
        Ok(endpoints)
    }

    async fn webhook_endpoints_of(
        &self,
        tenant: &str,
        after: &str,
        max: u32,
    ) -> Result<Vec<WebhookEndpoint>, ControlStoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM webhook_endpoint WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3"
        );
        let rows: Vec<Row> = reading!(self, pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .bind(tenant)
                .bind(after)
                .bind(i64::from(max))
                .fetch_all(pool)
                .await?
        });
        rows.into_iter().map(endpoint).collect()
    }

    async fn webhook_endpoint(
        &self,
        tenant: &str,
        id: &str,
    ) -> Result<Option<WebhookEndpoint>, ControlStoreError> {
        let sql = format!("SELECT {COLUMNS} FROM webhook_endpoint WHERE tenant = $1 AND id = $2");
        let row: Option<Row> = reading!(self, pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(tenant).bind(id).fetch_optional(pool).await?
        });
        row.map(endpoint).transpose()
    }

    async fn add_webhook_endpoint(
        &self,
        endpoint: &WebhookEndpoint,
        max: u32,
    ) -> Result<bool, ControlStoreError> {
        let settings = json(&endpoint.settings)?;
        writing!(self, transaction => {
            let done = sqlx::query(
                "INSERT INTO webhook_endpoint (tenant, id, url, enabled, settings, created_at, version) \
                 SELECT $1, $2, $3, $4, $5, $6, $7 \
                 WHERE (SELECT count(*) FROM webhook_endpoint WHERE tenant = $1) < $8",
            )
            .bind(&endpoint.tenant)
            .bind(&endpoint.id)
            .bind(&endpoint.url)
            .bind(i64::from(endpoint.enabled))
            .bind(&settings)
            .bind(endpoint.created_at)
            .bind(endpoint.version)
            .bind(i64::from(max))
            .execute(&mut *transaction)
            .await?;
            done.rows_affected() > 0
        })
    }

    async fn change_webhook_endpoint(&self, endpoint: &WebhookEndpoint) -> Result<bool, ControlStoreError> {
        let settings = json(&endpoint.settings)?;
        let found: Result<Option<bool>, ControlStoreError> = writing!(self, transaction => {
            let done = sqlx::query(
                "UPDATE webhook_endpoint SET url = $3, settings = $5, version = version + 1, \
                 failing_since = CASE WHEN enabled = 0 AND $4 = 1 THEN NULL ELSE failing_since END, \
                 disabled_reason = CASE WHEN $4 = 1 THEN NULL ELSE disabled_reason END, enabled = $4 \
                 WHERE tenant = $1 AND id = $2 AND version = $6",
            )
            .bind(&endpoint.tenant)
            .bind(&endpoint.id)
            .bind(&endpoint.url)
            .bind(i64::from(endpoint.enabled))
            .bind(&settings)
            .bind(endpoint.version)
            .execute(&mut *transaction)
            .await?;
            if done.rows_affected() > 0 {
                Some(true)
            } else {
                let other: Option<i64> =
                    sqlx::query_scalar("SELECT version FROM webhook_endpoint WHERE tenant = $1 AND id = $2")
                        .bind(&endpoint.tenant)
                        .bind(&endpoint.id)
                        .fetch_optional(&mut *transaction)
                        .await?;
                if other.is_some() { None } else { Some(false) }
            }
        });
        found?.ok_or(ControlStoreError::Stale)
    }

    async fn disable_webhook_endpoint(&self, id: &str, reason: &str) -> Result<bool, ControlStoreError> {
        writing!(self, transaction => {
            let done = sqlx::query(
                "UPDATE webhook_endpoint SET enabled = 0, disabled_reason = $2, version = version + 1 \
                 WHERE id = $1 AND enabled = 1",
            )
            .bind(id)
            .bind(reason)
            .execute(&mut *transaction)
            .await?;
            done.rows_affected() > 0
        })
    }

    async fn delete_webhook_endpoint(&self, tenant: &str, id: &str) -> Result<bool, ControlStoreError> {
        loop {
            let deleted: Result<u64, ControlStoreError> = writing!(self, transaction => {
                let done = sqlx::query(
                    "DELETE FROM webhook_delivery WHERE endpoint = $1 AND (node, event) IN \
                     (SELECT node, event FROM webhook_delivery WHERE endpoint = $1 AND EXISTS \
                     (SELECT 1 FROM webhook_endpoint WHERE id = $1 AND tenant = $2) LIMIT $3)",
                )
                .bind(id)
                .bind(tenant)
                .bind(PAGE)
                .execute(&mut *transaction)
                .await?;
                done.rows_affected()
            });
            if deleted? < PAGE.unsigned_abs() {
                break;
            }
        }
        writing!(self, transaction => {
            let done = sqlx::query("DELETE FROM webhook_endpoint WHERE tenant = $1 AND id = $2")
                .bind(tenant)
                .bind(id)
                .execute(&mut *transaction)
                .await?;
            done.rows_affected() > 0
        })
    }

    fn webhook_endpoint_changes(&self) -> StoreChanges {
        self.changes(StoreSubject::Webhooks)
    }

    fn is_shared(&self) -> bool {
        matches!(self.database, crate::control::Database::Postgres(_))
    }
}
