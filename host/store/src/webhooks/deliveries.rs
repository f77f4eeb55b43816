//! Deliveries and attempts.

use async_trait::async_trait;

use crate::control::{reading, writing};
use crate::{ControlStore, ControlStoreError};

/// State of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WebhookStatus {
    /// It is sent at its time.
    Pending,
    /// The endpoint took it.
    Success,
    /// It was given up.
    Failed,
}

impl WebhookStatus {
    /// `pending`, `success` or `failed`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failed => "failed",
        }
    }

    /// The status of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Pending, Self::Success, Self::Failed].into_iter().find(|status| status.name() == name)
    }

    fn read(name: &str) -> Result<Self, ControlStoreError> {
        Self::of_name(name).ok_or_else(|| ControlStoreError::Damaged {
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
    /// The node whose event log has the event. It alone sends the delivery.
    pub node: String,
    /// Position of the event in that log.
    pub event: i64,
    /// The type that the endpoint asked for, such as `email.delivered`.
    pub event_type: String,
    /// The message that the event is about.
    pub message_id: Option<String>,
    /// The state.
    pub status: WebhookStatus,
    /// Attempts so far.
    pub attempts: i64,
    /// Attempts since it was made or replayed.
    pub tries: i64,
    /// The next attempt, milliseconds since 1970; of an ended delivery the time of its last attempt.
    pub next_at: i64,
    /// Time of the event, milliseconds since 1970.
    pub created_at: i64,
}

/// An attempt of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookAttempt {
    /// The node of the delivery.
    pub node: String,
    /// The event of the delivery.
    pub event: i64,
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

/// What an attempt changes about its endpoint's `failing_since`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookFailing {
    /// Nothing.
    Same,
    /// It fails since this time, milliseconds since 1970, unless it does since an earlier one.
    Since(i64),
    /// It fails no longer.
    Ended,
}

/// An attempt and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettlement {
    /// The delivery as it is from now on.
    pub delivery: WebhookDelivery,
    /// The attempt.
    pub attempt: WebhookAttempt,
    /// The endpoint.
    pub failing: WebhookFailing,
}

/// What an endpoint has to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingWebhooks {
    /// Id of the endpoint.
    pub endpoint: String,
    /// The earliest next attempt, milliseconds since 1970.
    pub next_at: i64,
    /// Number of pending deliveries.
    pub count: i64,
}

/// Conditions of a list of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookDeliveryFilter<'a> {
    /// Id of the endpoint.
    pub endpoint: &'a str,
    /// None: any.
    pub status: Option<WebhookStatus>,
}

/// Place in a list of deliveries: `created_at`, `node` and `event` of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookDeliveryPlace(pub i64, pub String, pub i64);

/// Conditions of a list of attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookAttemptFilter<'a> {
    /// Id of the endpoint.
    pub endpoint: &'a str,
    /// `node` and `event` of a delivery; none: all deliveries.
    pub delivery: Option<(&'a str, i64)>,
    /// True: answered with 2xx. False: all others. None: any.
    pub succeeded: Option<bool>,
}

/// Place in a list of attempts: `started_at`, `node`, `event` and `number` of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookAttemptPlace(pub i64, pub String, pub i64, pub i64);

/// Ended deliveries that are sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSpan {
    /// Id of the endpoint.
    pub endpoint: String,
    /// Events of this time and later, milliseconds since 1970.
    pub since: i64,
    /// Events of this time and earlier.
    pub until: i64,
    /// None: those that failed and those that succeeded.
    pub status: Option<WebhookStatus>,
}

/// Deliveries of webhooks.
#[async_trait]
pub trait WebhookDeliveryStore: Send + Sync {
    /// The position in the event log of `node` up to which deliveries were added; 0 before the first.
    async fn webhook_cursor(&self, node: &str) -> Result<i64, ControlStoreError>;

    /// Adds pending deliveries of one node and moves its position, in one step: neither a crash nor a
    /// repetition doubles or loses one. Deliveries to endpoints that are gone are left out.
    async fn add_webhook_deliveries(
        &self,
        node: &str,
        deliveries: &[WebhookDelivery],
        cursor: i64,
    ) -> Result<(), ControlStoreError>;

    /// The endpoints that `node` has something to send to, and when.
    async fn pending_webhook_endpoints(&self, node: &str) -> Result<Vec<PendingWebhooks>, ControlStoreError>;

    /// Pending deliveries of an endpoint by time, at most `max`, whether or not they are due.
    async fn pending_webhooks(
        &self,
        node: &str,
        endpoint: &str,
        max: u32,
    ) -> Result<Vec<WebhookDelivery>, ControlStoreError>;

    /// Writes attempts, and what became of their deliveries, in one step.
    async fn settle_webhooks(&self, settled: &[WebhookSettlement]) -> Result<(), ControlStoreError>;

    /// Deliveries of an endpoint, the newest event first, those behind `after`, at most `max`.
    async fn webhook_deliveries(
        &self,
        filter: WebhookDeliveryFilter<'_>,
        after: Option<WebhookDeliveryPlace>,
        max: u32,
    ) -> Result<Vec<WebhookDelivery>, ControlStoreError>;

    /// One delivery.
    async fn webhook_delivery(
        &self,
        endpoint: &str,
        node: &str,
        event: i64,
    ) -> Result<Option<WebhookDelivery>, ControlStoreError>;

    /// Attempts, the newest first, those behind `after`, at most `max`.
    async fn webhook_attempts(
        &self,
        filter: WebhookAttemptFilter<'_>,
        after: Option<WebhookAttemptPlace>,
        max: u32,
    ) -> Result<Vec<WebhookAttempt>, ControlStoreError>;

    /// Makes an ended delivery pending again. Returns false if it is pending or gone.
    async fn replay_webhook(
        &self,
        endpoint: &str,
        node: &str,
        event: i64,
        now: i64,
    ) -> Result<bool, ControlStoreError>;

    /// Makes the ended deliveries of a span pending again. Returns how many.
    async fn replay_webhooks(&self, span: &WebhookSpan, now: i64) -> Result<u64, ControlStoreError>;

    /// Adds pending deliveries that are not there yet, and moves no position. Returns how many.
    async fn add_missing_webhooks(&self, deliveries: &[WebhookDelivery]) -> Result<u64, ControlStoreError>;

    /// Deletes deliveries of older events, at most `max`, unless they are pending for an endpoint that
    /// is enabled. Returns how many; call again while it is `max`.
    async fn prune_webhooks(&self, before: i64, max: u32) -> Result<u64, ControlStoreError>;
}

const COLUMNS: &str =
    "endpoint, node, event, event_type, message_id, status, attempts, tries, next_at, created_at";
const ATTEMPT_COLUMNS: &str = "node, event, number, started_at, took, status, detail";
const INSERT: &str = "INSERT INTO webhook_delivery \
     (endpoint, node, event, event_type, message_id, status, attempts, tries, next_at, created_at) \
     SELECT id, $2, $3, $4, $5, 'pending', 0, 0, $6, $7 FROM webhook_endpoint WHERE id = $1 \
     ON CONFLICT DO NOTHING";

type Row = (String, String, i64, String, Option<String>, String, i64, i64, i64, i64);
type AttemptRow = (String, i64, i64, i64, i64, Option<i64>, String);

fn delivery(row: Row) -> Result<WebhookDelivery, ControlStoreError> {
    let (endpoint, node, event, event_type, message_id, status, attempts, tries, next_at, created_at) = row;
    let status = WebhookStatus::read(&status)?;
    Ok(WebhookDelivery {
        endpoint,
        node,
        event,
        event_type,
        message_id,
        status,
        attempts,
        tries,
        next_at,
        created_at,
    })
}

fn attempt((node, event, number, started_at, took, status, detail): AttemptRow) -> WebhookAttempt {
    WebhookAttempt { node, event, number, started_at, took, status, detail }
}

/// The name of a node's position.
fn reader(node: &str) -> String {
    format!("webhooks {node}")
}

macro_rules! insert {
    ($transaction:ident, $deliveries:expr) => {{
        let mut added = 0;
        for delivery in $deliveries {
            let done = sqlx::query(INSERT)
                .bind(&delivery.endpoint)
                .bind(&delivery.node)
                .bind(delivery.event)
                .bind(&delivery.event_type)
                .bind(&delivery.message_id)
                .bind(delivery.next_at)
                .bind(delivery.created_at)
                .execute(&mut *$transaction)
                .await?;
            added += done.rows_affected();
        }
        added
    }};
}

macro_rules! settle {
    ($transaction:ident, $settled:expr) => {{
        let WebhookSettlement { delivery, attempt, failing } = $settled;
        let done = sqlx::query(
            "UPDATE webhook_delivery SET status = $4, attempts = $5, tries = $6, next_at = $7 \
             WHERE endpoint = $1 AND node = $2 AND event = $3",
        )
        .bind(&delivery.endpoint)
        .bind(&delivery.node)
        .bind(delivery.event)
        .bind(delivery.status.name())
        .bind(delivery.attempts)
        .bind(delivery.tries)
        .bind(delivery.next_at)
        .execute(&mut *$transaction)
        .await?;
        // Without the delivery its endpoint was deleted meanwhile.
        if done.rows_affected() > 0 {
            sqlx::query(
                "INSERT INTO webhook_attempt (endpoint, node, event, number, started_at, took, status, detail) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
            )
            .bind(&delivery.endpoint)
            .bind(&delivery.node)
            .bind(delivery.event)
            .bind(attempt.number)
            .bind(attempt.started_at)
            .bind(attempt.took)
            .bind(attempt.status)
            .bind(&attempt.detail)
            .execute(&mut *$transaction)
            .await?;
        }
        let (sql, since) = match failing {
            WebhookFailing::Same => ("", None),
            WebhookFailing::Since(since) => (
                "UPDATE webhook_endpoint SET failing_since = $2 WHERE id = $1 AND failing_since IS NULL",
                Some(*since),
            ),
            WebhookFailing::Ended => {
                ("UPDATE webhook_endpoint SET failing_since = $2 WHERE id = $1", None)
            }
        };
        if !sql.is_empty() {
            sqlx::query(sql).bind(&delivery.endpoint).bind(since).execute(&mut *$transaction).await?;
        }
    }};
}

#[async_trait]
impl WebhookDeliveryStore for ControlStore {
    async fn webhook_cursor(&self, node: &str) -> Result<i64, ControlStoreError> {
        let cursor = reading!(self, pool => {
            sqlx::query_scalar::<_, i64>("SELECT cursor FROM event_reader WHERE name = $1")
                .bind(reader(node))
                .fetch_optional(pool)
                .await?
        });
        Ok(cursor.unwrap_or(0))
    }

    async fn add_webhook_deliveries(
        &self,
        node: &str,
        deliveries: &[WebhookDelivery],
        cursor: i64,
    ) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            insert!(transaction, deliveries);
            sqlx::query(
                "INSERT INTO event_reader (name, cursor) VALUES ($1, $2) \
                 ON CONFLICT (name) DO UPDATE SET cursor = excluded.cursor",
            )
            .bind(reader(node))
            .bind(cursor)
            .execute(&mut *transaction)
            .await?;
        })
    }

    async fn pending_webhook_endpoints(&self, node: &str) -> Result<Vec<PendingWebhooks>, ControlStoreError> {
        let rows: Vec<(String, i64, i64)> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT endpoint, min(next_at), count(*) FROM webhook_delivery \
                 WHERE node = $1 AND status = 'pending' GROUP BY endpoint",
            )
            .bind(node)
            .fetch_all(pool)
            .await?
        });
        let pending = |(endpoint, next_at, count)| PendingWebhooks { endpoint, next_at, count };
        Ok(rows.into_iter().map(pending).collect())
    }

    async fn pending_webhooks(
        &self,
        node: &str,
        endpoint: &str,
        max: u32,
    ) -> Result<Vec<WebhookDelivery>, ControlStoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM webhook_delivery WHERE node = $1 AND endpoint = $2 \
             AND status = 'pending' ORDER BY next_at, event LIMIT $3"
        );
        let rows: Vec<Row> = reading!(self, pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .bind(node)
                .bind(endpoint)
                .bind(i64::from(max))
                .fetch_all(pool)
                .await?
        });
        rows.into_iter().map(delivery).collect()
    }

    async fn settle_webhooks(&self, settled: &[WebhookSettlement]) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            for each in settled {
                settle!(transaction, each);
            }
        })
    }

    async fn webhook_deliveries(
        &self,
        filter: WebhookDeliveryFilter<'_>,
        after: Option<WebhookDeliveryPlace>,
        max: u32,
    ) -> Result<Vec<WebhookDelivery>, ControlStoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM webhook_delivery WHERE endpoint = $1 AND ($2 = '' OR status = $2) \
             AND (created_at, node, event) < ($3, $4, $5) \
             ORDER BY created_at DESC, node DESC, event DESC LIMIT $6"
        );
        let after = after.unwrap_or_else(|| WebhookDeliveryPlace(i64::MAX, String::new(), 0));
        let rows: Vec<Row> = reading!(self, pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .bind(filter.endpoint)
                .bind(filter.status.map_or("", WebhookStatus::name))
                .bind(after.0)
                .bind(&after.1)
                .bind(after.2)
                .bind(i64::from(max))
                .fetch_all(pool)
                .await?
        });
        rows.into_iter().map(delivery).collect()
    }

    async fn webhook_delivery(
        &self,
        endpoint: &str,
        node: &str,
        event: i64,
    ) -> Result<Option<WebhookDelivery>, ControlStoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM webhook_delivery WHERE endpoint = $1 AND node = $2 AND event = $3"
        );
        let row: Option<Row> = reading!(self, pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .bind(endpoint)
                .bind(node)
                .bind(event)
                .fetch_optional(pool)
                .await?
        });
        row.map(delivery).transpose()
    }

    async fn webhook_attempts(
        &self,
        filter: WebhookAttemptFilter<'_>,
        after: Option<WebhookAttemptPlace>,
        max: u32,
    ) -> Result<Vec<WebhookAttempt>, ControlStoreError> {
        let of_delivery = if filter.delivery.is_some() { "AND node = $2 AND event = $3" } else { "" };
        let succeeded = match filter.succeeded {
            None => "",
            Some(true) => "AND status BETWEEN 200 AND 299",
            Some(false) => "AND (status IS NULL OR status NOT BETWEEN 200 AND 299)",
        };
        // Every parameter has to be used: `$2` and `$3` are compared with themselves.
        let sql = format!(
            "SELECT {ATTEMPT_COLUMNS} FROM webhook_attempt WHERE endpoint = $1 AND $2 = $2 AND $3 = $3 \
             {of_delivery} {succeeded} AND (started_at, node, event, number) < ($4, $5, $6, $7) \
             ORDER BY started_at DESC, node DESC, event DESC, number DESC LIMIT $8"
        );
        let (node, event) = filter.delivery.unwrap_or(("", 0));
        let after = after.unwrap_or_else(|| WebhookAttemptPlace(i64::MAX, String::new(), 0, 0));
        let rows: Vec<AttemptRow> = reading!(self, pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .bind(filter.endpoint)
                .bind(node)
                .bind(event)
                .bind(after.0)
                .bind(&after.1)
                .bind(after.2)
                .bind(after.3)
                .bind(i64::from(max))
                .fetch_all(pool)
                .await?
        });
        Ok(rows.into_iter().map(attempt).collect())
    }

    async fn replay_webhook(
        &self,
        endpoint: &str,
        node: &str,
        event: i64,
        now: i64,
    ) -> Result<bool, ControlStoreError> {
        writing!(self, transaction => {
            let done = sqlx::query(
                "UPDATE webhook_delivery SET status = 'pending', tries = 0, next_at = $4 \
                 WHERE endpoint = $1 AND node = $2 AND event = $3 AND status <> 'pending'",
            )
            .bind(endpoint)
            .bind(node)
            .bind(event)
            .bind(now)
            .execute(&mut *transaction)
            .await?;
            done.rows_affected() > 0
        })
    }

    async fn replay_webhooks(&self, span: &WebhookSpan, now: i64) -> Result<u64, ControlStoreError> {
        writing!(self, transaction => {
            let done = sqlx::query(
                "UPDATE webhook_delivery SET status = 'pending', tries = 0, next_at = $5 \
                 WHERE endpoint = $1 AND created_at >= $2 AND created_at <= $3 \
                 AND status <> 'pending' AND ($4 = '' OR status = $4)",
            )
            .bind(&span.endpoint)
            .bind(span.since)
            .bind(span.until)
            .bind(span.status.map_or("", WebhookStatus::name))
            .bind(now)
            .execute(&mut *transaction)
            .await?;
            done.rows_affected()
        })
    }

    async fn add_missing_webhooks(&self, deliveries: &[WebhookDelivery]) -> Result<u64, ControlStoreError> {
        writing!(self, transaction => { insert!(transaction, deliveries) })
    }

    async fn prune_webhooks(&self, before: i64, max: u32) -> Result<u64, ControlStoreError> {
        writing!(self, transaction => {
            let done = sqlx::query(
                "DELETE FROM webhook_delivery WHERE (endpoint, node, event) IN \
                 (SELECT endpoint, node, event FROM webhook_delivery WHERE created_at < $1 AND \
                 (status <> 'pending' OR endpoint IN (SELECT id FROM webhook_endpoint WHERE enabled = 0)) \
                 LIMIT $2)",
            )
            .bind(before)
            .bind(i64::from(max))
            .execute(&mut *transaction)
            .await?;
            done.rows_affected()
        })
    }
}
