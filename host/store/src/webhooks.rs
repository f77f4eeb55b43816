//! Webhook endpoints of tenants, and what was and will be sent to them.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::control::{reading, writing};
use crate::{ControlStore, ControlStoreError};

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
    /// Everything else.
    pub settings: WebhookSettings,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

/// Settings of an endpoint, stored as JSON. A field that is missing has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebhookSettings {
    /// For people.
    pub description: String,
    /// Event types; empty: all.
    pub types: Vec<String>,
    /// Names of tags, of which a message must have one; empty: no condition.
    pub tags: Vec<String>,
    /// Streams; empty: all.
    pub streams: Vec<String>,
    /// Further fields of every request.
    pub headers: Vec<(String, String)>,
    /// Secrets that sign, the newest first. A secret with a time is left out from then on.
    pub secrets: Vec<StoredSecret>,
    /// Why it was disabled without its owner.
    pub disabled_reason: Option<String>,
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

/// State of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WebhookStatus {
    /// It is sent at its time.
    Pending,
    /// The endpoint took it.
    Delivered,
    /// It was given up.
    Failed,
}

impl WebhookStatus {
    /// `pending`, `delivered` or `failed`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    fn read(name: &str) -> Result<Self, ControlStoreError> {
        let all = [Self::Pending, Self::Delivered, Self::Failed];
        all.into_iter().find(|status| status.name() == name).ok_or_else(|| ControlStoreError::Damaged {
            table: "webhook_delivery",
            reason: format!("{name} is not a status"),
        })
    }
}

/// A delivery of one event to one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookDelivery {
    /// Id of the endpoint.
    pub endpoint: String,
    /// Position of the event in the event log.
    pub event: i64,
    /// Such as `email.delivered`.
    pub event_type: String,
    /// The message that the event is about.
    pub message_id: Option<String>,
    /// The state.
    pub status: WebhookStatus,
    /// Attempts so far.
    pub attempts: i64,
    /// The next attempt, milliseconds since 1970; of an ended delivery the time of its last attempt.
    pub next_at: i64,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

/// An attempt of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookAttempt {
    /// From 1.
    pub number: i64,
    /// Milliseconds since 1970.
    pub started_at: i64,
    /// Milliseconds.
    pub took: i64,
    /// The status of the answer; none: there was no answer.
    pub status: Option<i64>,
    /// The error, or the beginning of the answer's body.
    pub detail: String,
}

/// Webhooks.
#[async_trait]
pub trait WebhookStore: Send + Sync {
    /// All endpoints of all tenants, by tenant and id.
    async fn webhook_endpoints(&self) -> Result<Vec<WebhookEndpoint>, ControlStoreError>;

    /// Adds an endpoint, or replaces it. Returns false if the id is another tenant's.
    async fn put_webhook_endpoint(&self, endpoint: &WebhookEndpoint) -> Result<bool, ControlStoreError>;

    /// Deletes an endpoint with its deliveries. Returns false if there is none.
    async fn delete_webhook_endpoint(&self, tenant: &str, id: &str) -> Result<bool, ControlStoreError>;

    /// The position in the event log up to which deliveries were added; 0 before the first.
    async fn webhook_cursor(&self) -> Result<i64, ControlStoreError>;

    /// Adds deliveries and moves the position, in one step: neither a crash nor a repetition
    /// doubles or loses one. Deliveries to endpoints that are gone are left out.
    async fn add_webhook_deliveries(
        &self,
        deliveries: &[WebhookDelivery],
        cursor: i64,
    ) -> Result<(), ControlStoreError>;

    /// Pending deliveries of an endpoint by time, at most `max`, whether or not they are due.
    async fn pending_webhooks(
        &self,
        endpoint: &str,
        max: u32,
    ) -> Result<Vec<WebhookDelivery>, ControlStoreError>;

    /// Writes an attempt, and what became of its delivery.
    async fn settle_webhook(
        &self,
        delivery: &WebhookDelivery,
        attempt: &WebhookAttempt,
    ) -> Result<(), ControlStoreError>;

    /// Deliveries of an endpoint, the newest event first, those before the event `before`, at most `max`.
    async fn webhook_deliveries(
        &self,
        endpoint: &str,
        status: Option<WebhookStatus>,
        before: i64,
        max: u32,
    ) -> Result<Vec<WebhookDelivery>, ControlStoreError>;

    /// Attempts of a delivery.
    async fn webhook_attempts(
        &self,
        endpoint: &str,
        event: i64,
    ) -> Result<Vec<WebhookAttempt>, ControlStoreError>;

    /// Makes ended deliveries pending again: those of events from `first` to `last`. Returns how many.
    async fn replay_webhooks(
        &self,
        endpoint: &str,
        first: i64,
        last: i64,
        now: i64,
    ) -> Result<u64, ControlStoreError>;

    /// Deletes ended deliveries that are older than this.
    async fn prune_webhooks(&self, before: i64) -> Result<u64, ControlStoreError>;
}

const READER: &str = "webhooks";
const COLUMNS: &str = "endpoint, event, event_type, message_id, status, attempts, next_at, created_at";

type Row = (String, i64, String, Option<String>, String, i64, i64, i64);

fn delivery(row: Row) -> Result<WebhookDelivery, ControlStoreError> {
    let (endpoint, event, event_type, message_id, status, attempts, next_at, created_at) = row;
    let status = WebhookStatus::read(&status)?;
    Ok(WebhookDelivery { endpoint, event, event_type, message_id, status, attempts, next_at, created_at })
}

fn damaged(reason: String) -> ControlStoreError {
    ControlStoreError::Damaged { table: "webhook_endpoint", reason }
}

#[async_trait]
impl WebhookStore for ControlStore {
    async fn webhook_endpoints(&self) -> Result<Vec<WebhookEndpoint>, ControlStoreError> {
        let rows: Vec<(String, String, String, i64, String, i64)> = reading!(self, pool => {
            sqlx::query_as("SELECT tenant, id, url, enabled, settings, created_at FROM webhook_endpoint")
                .fetch_all(pool)
                .await?
        });
        let mut endpoints = Vec::new();
        for (tenant, id, url, enabled, settings, created_at) in rows {
            let settings = serde_json::from_str(&settings).map_err(|e| damaged(format!("{id}: {e}")))?;
            endpoints.push(WebhookEndpoint { tenant, id, url, enabled: enabled != 0, settings, created_at });
        }
        endpoints.sort_by(|a, b| (&a.tenant, &a.id).cmp(&(&b.tenant, &b.id)));
        Ok(endpoints)
    }

    async fn put_webhook_endpoint(&self, endpoint: &WebhookEndpoint) -> Result<bool, ControlStoreError> {
        let settings = serde_json::to_string(&endpoint.settings).map_err(|e| damaged(e.to_string()))?;
        writing!(self, transaction => {
            let done = sqlx::query(
                "INSERT INTO webhook_endpoint (tenant, id, url, enabled, settings, created_at) \
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO UPDATE SET url = excluded.url, \
                 enabled = excluded.enabled, settings = excluded.settings \
                 WHERE webhook_endpoint.tenant = excluded.tenant",
            )
            .bind(&endpoint.tenant)
            .bind(&endpoint.id)
            .bind(&endpoint.url)
            .bind(i64::from(endpoint.enabled))
            .bind(&settings)
            .bind(endpoint.created_at)
            .execute(&mut *transaction)
            .await?;
            done.rows_affected() > 0
        })
    }

    async fn delete_webhook_endpoint(&self, tenant: &str, id: &str) -> Result<bool, ControlStoreError> {
        writing!(self, transaction => {
            let done = sqlx::query("DELETE FROM webhook_endpoint WHERE tenant = $1 AND id = $2")
                .bind(tenant)
                .bind(id)
                .execute(&mut *transaction)
                .await?;
            done.rows_affected() > 0
        })
    }

    async fn webhook_cursor(&self) -> Result<i64, ControlStoreError> {
        let cursor = reading!(self, pool => {
            sqlx::query_scalar::<_, i64>("SELECT cursor FROM event_reader WHERE name = $1")
                .bind(READER)
                .fetch_optional(pool)
                .await?
        });
        Ok(cursor.unwrap_or(0))
    }

    async fn add_webhook_deliveries(
        &self,
        deliveries: &[WebhookDelivery],
        cursor: i64,
    ) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            for delivery in deliveries {
                sqlx::query(
                    "INSERT INTO webhook_delivery \
                     (endpoint, event, event_type, message_id, status, attempts, next_at, created_at) \
                     SELECT id, $2, $3, $4, 'pending', 0, $5, $6 FROM webhook_endpoint WHERE id = $1 \
                     ON CONFLICT DO NOTHING",
                )
                .bind(&delivery.endpoint)
                .bind(delivery.event)
                .bind(&delivery.event_type)
                .bind(&delivery.message_id)
                .bind(delivery.next_at)
                .bind(delivery.created_at)
                .execute(&mut *transaction)
                .await?;
            }
            sqlx::query(
                "INSERT INTO event_reader (name, cursor) VALUES ($1, $2) \
                 ON CONFLICT (name) DO UPDATE SET cursor = excluded.cursor",
            )
            .bind(READER)
            .bind(cursor)
            .execute(&mut *transaction)
            .await?;
        })
    }

    async fn pending_webhooks(
        &self,
        endpoint: &str,
        max: u32,
    ) -> Result<Vec<WebhookDelivery>, ControlStoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM webhook_delivery WHERE endpoint = $1 AND status = 'pending' \
             ORDER BY next_at, event LIMIT $2"
        );
        let rows: Vec<Row> = reading!(self, pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(endpoint).bind(i64::from(max)).fetch_all(pool).await?
        });
        rows.into_iter().map(delivery).collect()
    }

    async fn settle_webhook(
        &self,
        delivery: &WebhookDelivery,
        attempt: &WebhookAttempt,
    ) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            let done = sqlx::query(
                "UPDATE webhook_delivery SET status = $3, attempts = $4, next_at = $5 \
                 WHERE endpoint = $1 AND event = $2",
            )
            .bind(&delivery.endpoint)
            .bind(delivery.event)
            .bind(delivery.status.name())
            .bind(delivery.attempts)
            .bind(delivery.next_at)
            .execute(&mut *transaction)
            .await?;
            // Without the delivery its endpoint was deleted meanwhile.
            if done.rows_affected() > 0 {
                sqlx::query(
                    "INSERT INTO webhook_attempt (endpoint, event, number, started_at, took, status, detail) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
                )
                .bind(&delivery.endpoint)
                .bind(delivery.event)
                .bind(attempt.number)
                .bind(attempt.started_at)
                .bind(attempt.took)
                .bind(attempt.status)
                .bind(&attempt.detail)
                .execute(&mut *transaction)
                .await?;
            }
        })
    }

    async fn webhook_deliveries(
        &self,
        endpoint: &str,
        status: Option<WebhookStatus>,
        before: i64,
        max: u32,
    ) -> Result<Vec<WebhookDelivery>, ControlStoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM webhook_delivery WHERE endpoint = $1 AND event < $2 \
             AND ($3 IS NULL OR status = $3) ORDER BY event DESC LIMIT $4"
        );
        let rows: Vec<Row> = reading!(self, pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .bind(endpoint)
                .bind(before)
                .bind(status.map(WebhookStatus::name))
                .bind(i64::from(max))
                .fetch_all(pool)
                .await?
        });
        rows.into_iter().map(delivery).collect()
    }

    async fn webhook_attempts(
        &self,
        endpoint: &str,
        event: i64,
    ) -> Result<Vec<WebhookAttempt>, ControlStoreError> {
        let rows: Vec<(i64, i64, i64, Option<i64>, String)> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT number, started_at, took, status, detail FROM webhook_attempt \
                 WHERE endpoint = $1 AND event = $2 ORDER BY number",
            )
            .bind(endpoint)
            .bind(event)
            .fetch_all(pool)
            .await?
        });
        let attempt = |(number, started_at, took, status, detail)| WebhookAttempt {
            number,
            started_at,
            took,
            status,
            detail,
        };
        Ok(rows.into_iter().map(attempt).collect())
    }

    async fn replay_webhooks(
        &self,
        endpoint: &str,
        first: i64,
        last: i64,
        now: i64,
    ) -> Result<u64, ControlStoreError> {
        writing!(self, transaction => {
            let done = sqlx::query(
                "UPDATE webhook_delivery SET status = 'pending', next_at = $4 \
                 WHERE endpoint = $1 AND event >= $2 AND event <= $3 AND status <> 'pending'",
            )
            .bind(endpoint)
            .bind(first)
            .bind(last)
            .bind(now)
            .execute(&mut *transaction)
            .await?;
            done.rows_affected()
        })
    }

    async fn prune_webhooks(&self, before: i64) -> Result<u64, ControlStoreError> {
        writing!(self, transaction => {
            let done = sqlx::query("DELETE FROM webhook_delivery WHERE created_at < $1 AND status <> 'pending'")
                .bind(before)
                .execute(&mut *transaction)
                .await?;
            done.rows_affected()
        })
    }
}
