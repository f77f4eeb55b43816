//! API keys. Their tokens are never stored, only the SHA-256 of each.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::control::{next_revision, reading, writing};
use crate::directory::json;
use crate::{ControlStore, ControlStoreError};

/// An HTTP API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// Id of its tenant.
    pub tenant: String,
    /// Made by the caller; never used again.
    pub id: String,
    /// Name for people and logs, unique among the keys of its tenant.
    pub name: String,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// The token before the last rotation.
    pub previous: Option<PreviousHash>,
    /// Everything else.
    pub settings: ApiKeySettings,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Time of the last request, some minutes late, in milliseconds since 1970.
    pub used_at: Option<i64>,
}

/// A token that another one has replaced, and that counts a while longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviousHash {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// It counts before this time, in milliseconds since 1970.
    pub until: i64,
}

/// Settings of a key, stored as JSON. A field that is missing has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApiKeySettings {
    /// Names of scopes.
    pub scopes: Vec<String>,
    /// The only domain that it sends from. None: every domain of its tenant.
    pub domain: Option<String>,
    /// The first characters of the token.
    pub prefix: String,
    /// It counts before this time, in milliseconds since 1970. None: until it is revoked.
    pub expires_at: Option<i64>,
}

/// API keys of tenants. A method that changes what a key may do counts as a change of the directory.
#[async_trait]
pub trait ApiKeyStore: Send + Sync {
    /// Adds a key.
    ///
    /// # Errors
    /// [`ControlStoreError::Conflict`] when its tenant has a key of this name, or `max` keys.
    async fn add_api_key(&self, key: &ApiKeyRecord, max: u32) -> Result<(), ControlStoreError>;

    /// A key of this tenant.
    async fn api_key(&self, tenant: &str, id: &str) -> Result<Option<ApiKeyRecord>, ControlStoreError>;

    /// Keys of this tenant by id, those behind `after`, at most `max`.
    async fn api_keys(
        &self,
        tenant: &str,
        after: &str,
        max: u32,
    ) -> Result<Vec<ApiKeyRecord>, ControlStoreError>;

    /// Replaces the token of a key. The one that it had counts until `previous_until`, the one
    /// before that no longer. Returns false if there is no such key.
    async fn rotate_api_key(
        &self,
        tenant: &str,
        id: &str,
        token: (&[u8; 32], &str),
        previous_until: i64,
    ) -> Result<bool, ControlStoreError>;

    /// Renames a key. Returns false if there is no such key.
    ///
    /// # Errors
    /// [`ControlStoreError::Conflict`] when its tenant has a key of this name.
    async fn rename_api_key(&self, tenant: &str, id: &str, name: &str) -> Result<bool, ControlStoreError>;

    /// Deletes a key of this tenant. Returns false if there is no such key.
    async fn delete_api_key(&self, tenant: &str, id: &str) -> Result<bool, ControlStoreError>;

    /// Notes the time of the last use of each key: tenant, id, milliseconds since 1970. It is no
    /// change of the directory.
    async fn touch_api_keys(&self, uses: &[(String, String, i64)]) -> Result<(), ControlStoreError>;
}

/// Tenant, id, name, hash, the hash before and its end, settings, times of making and last use.
pub(crate) type Row =
    (String, String, String, Vec<u8>, Option<Vec<u8>>, Option<i64>, String, i64, Option<i64>);

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT tenant, id, name, hash, previous_hash, previous_until, settings, created_at, used_at \
             FROM api_key",
            $rest
        )
    };
}

/// Every key of every tenant.
pub(crate) const ALL: &str = select!("");
const ONE: &str = select!(" WHERE tenant = $1 AND id = $2");
const PAGE: &str = select!(" WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3");

pub(crate) fn record(row: Row) -> Result<ApiKeyRecord, ControlStoreError> {
    let (tenant, id, name, hash, previous, until, settings, created_at, used_at) = row;
    let damaged = |reason: String| ControlStoreError::Damaged { table: "api_key", reason };
    let digest = |octets: Vec<u8>| {
        <[u8; 32]>::try_from(octets).map_err(|_| damaged(format!("{name}: its hash has not 32 octets")))
    };
    let hash = digest(hash)?;
    let previous = match previous.zip(until) {
        Some((previous, until)) => Some(PreviousHash { hash: digest(previous)?, until }),
        None => None,
    };
    let settings = serde_json::from_str(&settings).map_err(|error| damaged(format!("{name}: {error}")))?;
    Ok(ApiKeyRecord { tenant, id, name, hash, previous, settings, created_at, used_at })
}

fn named_twice(error: sqlx::Error, name: &str) -> ControlStoreError {
    match error.into() {
        ControlStoreError::Conflict(_) => {
            ControlStoreError::Conflict(format!("there is a key named `{name}` already"))
        }
        other => other,
    }
}

#[async_trait]
impl ApiKeyStore for ControlStore {
    async fn add_api_key(&self, key: &ApiKeyRecord, max: u32) -> Result<(), ControlStoreError> {
        let settings = json(&key.settings)?;
        writing!(self, transaction => {
            let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM api_key WHERE tenant = $1")
                .bind(&key.tenant)
                .fetch_one(&mut *transaction)
                .await?;
            if count >= i64::from(max) {
                return Err(ControlStoreError::Conflict(format!("there are {max} keys already")));
            }
            sqlx::query(
                "INSERT INTO api_key (tenant, id, name, hash, settings, created_at) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(&key.tenant)
            .bind(&key.id)
            .bind(&key.name)
            .bind(key.hash.to_vec())
            .bind(&settings)
            .bind(key.created_at)
            .execute(&mut *transaction)
            .await
            .map_err(|error| named_twice(error, &key.name))?;
            next_revision!(transaction);
        })
    }

    async fn api_key(&self, tenant: &str, id: &str) -> Result<Option<ApiKeyRecord>, ControlStoreError> {
        let row: Option<Row> = reading!(self, pool => {
            sqlx::query_as(ONE).bind(tenant).bind(id).fetch_optional(pool).await?
        });
        row.map(record).transpose()
    }

    async fn api_keys(
        &self,
        tenant: &str,
        after: &str,
        max: u32,
    ) -> Result<Vec<ApiKeyRecord>, ControlStoreError> {
        let rows: Vec<Row> = reading!(self, pool => {
            sqlx::query_as(PAGE).bind(tenant).bind(after).bind(i64::from(max)).fetch_all(pool).await?
        });
        rows.into_iter().map(record).collect()
    }

    async fn rotate_api_key(
        &self,
        tenant: &str,
        id: &str,
        (hash, prefix): (&[u8; 32], &str),
        previous_until: i64,
    ) -> Result<bool, ControlStoreError> {
        let Some(found) = self.api_key(tenant, id).await? else { return Ok(false) };
        let settings = json(&ApiKeySettings { prefix: prefix.to_owned(), ..found.settings })?;
        writing!(self, transaction => {
            let done = sqlx::query(
                "UPDATE api_key SET previous_hash = hash, previous_until = $4, hash = $3, settings = $5 \
                 WHERE tenant = $1 AND id = $2",
            )
            .bind(tenant)
            .bind(id)
            .bind(hash.to_vec())
            .bind(previous_until)
            .bind(&settings)
            .execute(&mut *transaction)
            .await?;
            next_revision!(transaction);
            done.rows_affected() > 0
        })
    }

    async fn rename_api_key(&self, tenant: &str, id: &str, name: &str) -> Result<bool, ControlStoreError> {
        writing!(self, transaction => {
            let done = sqlx::query("UPDATE api_key SET name = $3 WHERE tenant = $1 AND id = $2")
                .bind(tenant)
                .bind(id)
                .bind(name)
                .execute(&mut *transaction)
                .await
                .map_err(|error| named_twice(error, name))?;
            next_revision!(transaction);
            done.rows_affected() > 0
        })
    }

    async fn delete_api_key(&self, tenant: &str, id: &str) -> Result<bool, ControlStoreError> {
        writing!(self, transaction => {
            let done = sqlx::query("DELETE FROM api_key WHERE tenant = $1 AND id = $2")
                .bind(tenant)
                .bind(id)
                .execute(&mut *transaction)
                .await?;
            next_revision!(transaction);
            done.rows_affected() > 0
        })
    }

    async fn touch_api_keys(&self, uses: &[(String, String, i64)]) -> Result<(), ControlStoreError> {
        // One order for all writers: two that lock the same rows in two orders wait for each other.
        let mut uses: Vec<_> = uses.iter().collect();
        uses.sort();
        writing!(self, transaction => {
            for (tenant, id, at) in uses {
                sqlx::query(
                    "UPDATE api_key SET used_at = $3 \
                     WHERE tenant = $1 AND id = $2 AND (used_at IS NULL OR used_at < $3)",
                )
                .bind(tenant)
                .bind(id)
                .bind(at)
                .execute(&mut *transaction)
                .await?;
            }
        })
    }
}
