//! Topics of a tenant, and who chose them.

use async_trait::async_trait;

use crate::control::{reading, writing};
use crate::{ControlStore, ControlStoreError};

/// Mail that a recipient can leave without leaving the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRecord {
    /// Made by the caller; never used again.
    pub id: String,
    /// Unique among a tenant's topics. It never changes: suppressions and unsubscribe URLs have it.
    pub name: String,
    /// For recipients.
    pub description: String,
    /// Only those get mail who chose it; otherwise everybody who did not leave.
    pub chosen_only: bool,
    /// The unsubscribe page offers it to every recipient of the tenant.
    pub public: bool,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

/// What changes of a topic. A field that is none stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicChange {
    /// For recipients.
    pub description: Option<String>,
    /// See [`TopicRecord::public`].
    pub public: Option<bool>,
}

/// Topics. Every method stays within one tenant.
#[async_trait]
pub trait TopicStore: Send + Sync {
    /// Adds a topic.
    ///
    /// # Errors
    /// [`ControlStoreError::Conflict`]: there is another one of this name.
    async fn add_topic(&self, tenant: &str, topic: &TopicRecord) -> Result<(), ControlStoreError>;

    /// All topics by id. The caller bounds their number when it adds one.
    async fn topics(&self, tenant: &str) -> Result<Vec<TopicRecord>, ControlStoreError>;

    /// Changes a topic. False: there is none of this id.
    async fn change_topic(
        &self,
        tenant: &str,
        id: &str,
        change: &TopicChange,
    ) -> Result<bool, ControlStoreError>;

    /// Deletes a topic with its subscriptions. False: there is none of this id. Suppressions of the
    /// topic stay: who has left it stays away also when it is made again.
    async fn delete_topic(&self, tenant: &str, id: &str) -> Result<bool, ControlStoreError>;

    /// Ids of the topics that an address chose.
    async fn subscriptions_of(&self, tenant: &str, address: &str) -> Result<Vec<String>, ControlStoreError>;

    /// The address chooses a topic, or does not choose it any more. Repeating changes nothing.
    ///
    /// # Errors
    /// [`ControlStoreError::Conflict`]: there is no topic of this id.
    async fn set_subscription(
        &self,
        tenant: &str,
        address: &str,
        topic: &str,
        since: Option<i64>,
    ) -> Result<(), ControlStoreError>;
}

type Row = (String, String, String, i64, i64, i64);

fn record((id, name, description, chosen_only, public, created_at): Row) -> TopicRecord {
    TopicRecord { id, name, description, chosen_only: chosen_only != 0, public: public != 0, created_at }
}

#[async_trait]
impl TopicStore for ControlStore {
    async fn add_topic(&self, tenant: &str, topic: &TopicRecord) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            sqlx::query(
                "INSERT INTO topic (tenant, id, name, description, chosen_only, public, created_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(tenant)
            .bind(&topic.id)
            .bind(&topic.name)
            .bind(&topic.description)
            .bind(i64::from(topic.chosen_only))
            .bind(i64::from(topic.public))
            .bind(topic.created_at)
            .execute(&mut *transaction)
            .await?;
        })
    }

    async fn topics(&self, tenant: &str) -> Result<Vec<TopicRecord>, ControlStoreError> {
        let rows: Vec<Row> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT id, name, description, chosen_only, public, created_at FROM topic \
                 WHERE tenant = $1 ORDER BY id",
            )
            .bind(tenant)
            .fetch_all(pool)
            .await?
        });
        Ok(rows.into_iter().map(record).collect())
    }

    async fn change_topic(
        &self,
        tenant: &str,
        id: &str,
        change: &TopicChange,
    ) -> Result<bool, ControlStoreError> {
        writing!(self, transaction => {
            let done = sqlx::query(
                "UPDATE topic SET description = COALESCE($3, description), public = COALESCE($4, public) \
                 WHERE tenant = $1 AND id = $2",
            )
            .bind(tenant)
            .bind(id)
            .bind(&change.description)
            .bind(change.public.map(i64::from))
            .execute(&mut *transaction)
            .await?;
            done.rows_affected() > 0
        })
    }

    async fn delete_topic(&self, tenant: &str, id: &str) -> Result<bool, ControlStoreError> {
        writing!(self, transaction => {
            let done = sqlx::query("DELETE FROM topic WHERE tenant = $1 AND id = $2")
                .bind(tenant)
                .bind(id)
                .execute(&mut *transaction)
                .await?;
            done.rows_affected() > 0
        })
    }

    async fn subscriptions_of(&self, tenant: &str, address: &str) -> Result<Vec<String>, ControlStoreError> {
        Ok(reading!(self, pool => {
            sqlx::query_scalar(
                "SELECT topic FROM topic_subscription WHERE tenant = $1 AND address = $2 ORDER BY topic",
            )
            .bind(tenant)
            .bind(address)
            .fetch_all(pool)
            .await?
        }))
    }

    async fn set_subscription(
        &self,
        tenant: &str,
        address: &str,
        topic: &str,
        since: Option<i64>,
    ) -> Result<(), ControlStoreError> {
        writing!(self, transaction => {
            let query = match since {
                Some(since) => sqlx::query(
                    "INSERT INTO topic_subscription (tenant, address, topic, created_at) \
                     VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
                )
                .bind(tenant)
                .bind(address)
                .bind(topic)
                .bind(since),
                None => sqlx::query(
                    "DELETE FROM topic_subscription WHERE tenant = $1 AND address = $2 AND topic = $3",
                )
                .bind(tenant)
                .bind(address)
                .bind(topic),
            };
            query.execute(&mut *transaction).await?;
        })
    }
}
