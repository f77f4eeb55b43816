//! Tenants, their sending domains and credentials, and all of the directory at one moment.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::api_keys::{self, ApiKeyRecord};
use crate::control::{next_revision, reading, snapshot, writing};
use crate::{ControlStore, ControlStoreError, StoreChanges, StoreSubject};

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRecord {
    /// Lower case letters, digits and hyphens.
    pub id: String,
    /// Everything else.
    pub settings: TenantSettings,
}

/// Settings of a tenant, stored as JSON. A field that is missing has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TenantSettings {
    /// Networks in CIDR form that may use its domains on the relay port. Empty: every trusted
    /// network.
    pub networks: Vec<String>,
    /// Deliveries that plugins may hold at the same time. None: the configuration's default.
    pub max_held: Option<u64>,
    /// Names of pools that its mail may leave from. The first is for mail that names none.
    pub pools: Vec<String>,
    /// Names of routes that its mail may take.
    pub routes: Vec<String>,
    /// The highest priority of its mail.
    pub max_priority: Option<i8>,
    /// Recipients that it may send to.
    pub quota: QuotaSettings,
    /// Requests to the API in a second. None: the configuration's default.
    pub requests_per_second: Option<u32>,
    /// Rules that suppress its recipients. What is missing is as in the configuration.
    pub suppression: SuppressionSettings,
    /// Seconds for which the content of its messages is kept after their last delivery. None or 0:
    /// it is not.
    pub keep_content_seconds: Option<u64>,
    /// Delivery status notifications are given as senders ask for them (RFC 3461). None: they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dsn: Option<bool>,
}

/// Rules that suppress recipients of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SuppressionSettings {
    /// Hard bounces without a delivery between them; 0: bounces add nothing.
    pub hard_bounces: Option<u32>,
    /// Messages that a full mailbox made expire; 0: full mailboxes add nothing.
    pub mailbox_full_times: Option<u32>,
    /// Days between the first and the last of them.
    pub mailbox_full_days: Option<u32>,
    /// What a complaint stops: `all` or `stream`.
    pub complaints: Option<String>,
}

/// Recipients that a tenant may send to in a calendar hour, day and month (UTC). None: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuotaSettings {
    /// In an hour.
    pub hour: Option<u64>,
    /// In a day.
    pub day: Option<u64>,
    /// In a month.
    pub month: Option<u64>,
}

/// A sending domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRecord {
    /// Lower case A-labels.
    pub name: String,
    /// Id of its tenant.
    pub tenant: String,
    /// Time when DNS proved that the domain is its tenant's, in milliseconds since 1970. None: a
    /// claim, beside which there may be claims of other tenants.
    pub verified_at: Option<i64>,
    /// Everything else.
    pub settings: DomainSettings,
}

/// Settings of a domain, stored as JSON. A field that is missing has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DomainSettings {
    /// Keys that sign its mail. Every one signs.
    pub dkim: Vec<DkimRecord>,
    /// Tracking. None: off.
    pub tracking: Option<TrackingRecord>,
    /// Names of pools, fewer than its tenant's or in another order. Empty: its tenant's.
    pub pools: Vec<String>,
    /// Its mail goes over verified TLS only.
    pub enforce_tls: bool,
    /// Time of the claim, in milliseconds since 1970.
    pub created_at: i64,
}

/// A DKIM key. The private key itself is never in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DkimRecord {
    /// Value of `s=`.
    pub selector: String,
    /// `rsa-sha256` or `ed25519-sha256`.
    pub algorithm: String,
    /// File of the private key, relative to the data directory.
    pub key: String,
}

/// Tracking of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackingRecord {
    /// Scheme and authority, such as `https://t.example.com`.
    pub url: String,
    /// An open pixel is inserted.
    #[serde(default)]
    pub opens: bool,
    /// Links are rewritten.
    #[serde(default)]
    pub clicks: bool,
    /// Links in text/plain too.
    #[serde(default)]
    pub text_links: bool,
    /// Also in mail that carries a DKIM-Signature already.
    #[serde(default)]
    pub rewrite_signed: bool,
}

/// An SMTP credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRecord {
    /// Unique among all tenants.
    pub username: String,
    /// Id of its tenant.
    pub tenant: String,
    /// Argon2id in PHC form.
    pub password_hash: String,
}

/// All records of the directory at one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DirectoryRecords {
    /// Number of changes before this state.
    pub revision: i64,
    /// In the order of their ids.
    pub tenants: Vec<TenantRecord>,
    /// In the order of name and tenant.
    pub domains: Vec<DomainRecord>,
    /// In the order of their user names.
    pub credentials: Vec<CredentialRecord>,
    /// In the order of tenant and name.
    pub api_keys: Vec<ApiKeyRecord>,
}

/// Who may send. Names are checked by the caller; the store keeps names unique and tenants apart.
///
/// A method that changes something returns the new revision. Something that was not there is
/// deleted without an error, and the revision grows all the same.
#[async_trait]
pub trait DirectoryStore: Send + Sync {
    /// All records, of one moment.
    async fn directory(&self) -> Result<DirectoryRecords, ControlStoreError>;

    /// Number of changes so far: a cache of an older revision is stale.
    async fn directory_revision(&self) -> Result<i64, ControlStoreError>;

    /// Tells of changes, where the database does.
    fn directory_changes(&self) -> StoreChanges {
        StoreChanges::never()
    }

    /// One tenant.
    async fn tenant(&self, id: &str) -> Result<Option<TenantRecord>, ControlStoreError>;

    /// Adds a tenant, or replaces its settings.
    async fn put_tenant(&self, tenant: &TenantRecord) -> Result<i64, ControlStoreError>;

    /// Deletes a tenant with its domains, credentials, API keys, templates, suppressions, topics,
    /// webhook endpoints and users. Its audit log stays.
    async fn delete_tenant(&self, id: &str) -> Result<i64, ControlStoreError>;

    /// Adds a domain, or replaces its settings and `verified_at`.
    ///
    /// # Errors
    /// [`ControlStoreError::Conflict`] when it is verified, and another tenant has verified it.
    async fn put_domain(&self, domain: &DomainRecord) -> Result<i64, ControlStoreError>;

    /// A domain of this tenant.
    async fn domain(&self, tenant: &str, name: &str) -> Result<Option<DomainRecord>, ControlStoreError>;

    /// Domains of this tenant by name, those behind `after`, at most `max`.
    async fn domains(
        &self,
        tenant: &str,
        after: &str,
        max: u32,
    ) -> Result<Vec<DomainRecord>, ControlStoreError>;

    /// Deletes a domain of this tenant.
    async fn delete_domain(&self, tenant: &str, name: &str) -> Result<i64, ControlStoreError>;

    /// Adds a credential, or replaces its password.
    ///
    /// # Errors
    /// [`ControlStoreError::Conflict`] when the user name is another tenant's, or the tenant does
    /// not exist.
    async fn put_credential(&self, credential: &CredentialRecord) -> Result<i64, ControlStoreError>;

    /// Deletes a credential of this tenant.
    async fn delete_credential(&self, tenant: &str, username: &str) -> Result<i64, ControlStoreError>;
}

/// Tenant, name, settings, `verified_at`.
type DomainRow = (String, String, String, Option<i64>);

const ALL_DOMAINS: &str = "SELECT tenant, name, settings, verified_at FROM domain";
const REVISION: &str = "SELECT number FROM revision WHERE subject = 'directory'";

#[async_trait]
impl DirectoryStore for ControlStore {
    async fn directory(&self) -> Result<DirectoryRecords, ControlStoreError> {
        reading!(self, pool => {
            let mut snapshot = pool.begin().await?;
            snapshot!(self, snapshot);
            let revision = sqlx::query_scalar::<_, i64>(REVISION).fetch_optional(&mut *snapshot).await?;
            let tenants: Vec<(String, String)> =
                sqlx::query_as("SELECT id, settings FROM tenant").fetch_all(&mut *snapshot).await?;
            let domains: Vec<DomainRow> =
                sqlx::query_as(ALL_DOMAINS).fetch_all(&mut *snapshot).await?;
            let credentials: Vec<(String, String, String)> =
                sqlx::query_as("SELECT username, tenant, password_hash FROM credential")
                    .fetch_all(&mut *snapshot)
                    .await?;
            let api_keys: Vec<api_keys::Row> =
                sqlx::query_as(api_keys::ALL).fetch_all(&mut *snapshot).await?;
            snapshot.commit().await?;
            records(revision.unwrap_or(0), tenants, domains, credentials, api_keys)
        })
    }

    fn directory_changes(&self) -> StoreChanges {
        self.changes(StoreSubject::Directory)
    }

    async fn directory_revision(&self) -> Result<i64, ControlStoreError> {
        let number = reading!(self, pool => {
            sqlx::query_scalar::<_, i64>(REVISION).fetch_optional(pool).await?
        });
        Ok(number.unwrap_or(0))
    }

    async fn tenant(&self, id: &str) -> Result<Option<TenantRecord>, ControlStoreError> {
        let settings: Option<String> = reading!(self, pool => {
            sqlx::query_scalar("SELECT settings FROM tenant WHERE id = $1")
                .bind(id)
                .fetch_optional(pool)
                .await?
        });
        let damaged =
            |error| ControlStoreError::Damaged { table: "tenant", reason: format!("{id}: {error}") };
        let record = |settings: String| {
            let settings = serde_json::from_str(&settings).map_err(damaged)?;
            Ok(TenantRecord { id: id.to_owned(), settings })
        };
        settings.map(record).transpose()
    }

    async fn put_tenant(&self, tenant: &TenantRecord) -> Result<i64, ControlStoreError> {
        let settings = json(&tenant.settings)?;
        writing!(self, transaction => {
            sqlx::query(
                "INSERT INTO tenant (id, settings) VALUES ($1, $2) \
                 ON CONFLICT (id) DO UPDATE SET settings = excluded.settings",
            )
            .bind(&tenant.id)
            .bind(&settings)
            .execute(&mut *transaction)
            .await?;
            next_revision!(transaction)
        })
    }

    async fn delete_tenant(&self, id: &str) -> Result<i64, ControlStoreError> {
        writing!(self, transaction => {
            // These have no foreign key: a tenant of the configuration file has them, too.
            for sql in [
                "DELETE FROM template WHERE tenant = $1",
                "DELETE FROM suppression WHERE tenant = $1",
                "DELETE FROM suppression_count WHERE tenant = $1",
                "DELETE FROM topic WHERE tenant = $1",
                "DELETE FROM webhook_endpoint WHERE tenant = $1",
                "DELETE FROM domain WHERE tenant = $1",
                "DELETE FROM api_key WHERE tenant = $1",
                "DELETE FROM quota_use WHERE tenant = $1",
                "DELETE FROM statistics WHERE tenant = $1",
                "DELETE FROM user_link WHERE user_id IN (SELECT id FROM user_account WHERE tenant = $1)",
                "DELETE FROM user_account WHERE tenant = $1",
                "DELETE FROM tenant WHERE id = $1",
            ] {
                sqlx::query(sql).bind(id).execute(&mut *transaction).await?;
            }
            next_revision!(transaction)
        })
    }

    async fn put_domain(&self, domain: &DomainRecord) -> Result<i64, ControlStoreError> {
        let settings = json(&domain.settings)?;
        writing!(self, transaction => {
            sqlx::query(
                "INSERT INTO domain (tenant, name, settings, verified_at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (tenant, name) \
                 DO UPDATE SET settings = excluded.settings, verified_at = excluded.verified_at",
            )
            .bind(&domain.tenant)
            .bind(&domain.name)
            .bind(&settings)
            .bind(domain.verified_at)
            .execute(&mut *transaction)
            .await
            .map_err(|error| match error.into() {
                ControlStoreError::Conflict(_) => another_tenants("domain", &domain.name),
                other => other,
            })?;
            next_revision!(transaction)
        })
    }

    async fn domain(&self, tenant: &str, name: &str) -> Result<Option<DomainRecord>, ControlStoreError> {
        let row: Option<DomainRow> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT tenant, name, settings, verified_at FROM domain WHERE tenant = $1 AND name = $2",
            )
            .bind(tenant)
            .bind(name)
            .fetch_optional(pool)
            .await?
        });
        row.map(domain).transpose()
    }

    async fn domains(
        &self,
        tenant: &str,
        after: &str,
        max: u32,
    ) -> Result<Vec<DomainRecord>, ControlStoreError> {
        let rows: Vec<DomainRow> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT tenant, name, settings, verified_at FROM domain \
                 WHERE tenant = $1 AND name > $2 ORDER BY name LIMIT $3",
            )
            .bind(tenant)
            .bind(after)
            .bind(i64::from(max))
            .fetch_all(pool)
            .await?
        });
        rows.into_iter().map(domain).collect()
    }

    async fn delete_domain(&self, tenant: &str, name: &str) -> Result<i64, ControlStoreError> {
        writing!(self, transaction => {
            sqlx::query("DELETE FROM domain WHERE tenant = $1 AND name = $2")
                .bind(tenant)
                .bind(name)
                .execute(&mut *transaction)
                .await?;
            next_revision!(transaction)
        })
    }

    async fn put_credential(&self, credential: &CredentialRecord) -> Result<i64, ControlStoreError> {
        writing!(self, transaction => {
            let done = sqlx::query(
                "INSERT INTO credential (username, tenant, password_hash) VALUES ($1, $2, $3) \
                 ON CONFLICT (username) DO UPDATE SET password_hash = excluded.password_hash \
                 WHERE credential.tenant = excluded.tenant",
            )
            .bind(&credential.username)
            .bind(&credential.tenant)
            .bind(&credential.password_hash)
            .execute(&mut *transaction)
            .await?;
            if done.rows_affected() == 0 {
                return Err(another_tenants("user name", &credential.username));
            }
            next_revision!(transaction)
        })
    }

    async fn delete_credential(&self, tenant: &str, username: &str) -> Result<i64, ControlStoreError> {
        writing!(self, transaction => {
            sqlx::query("DELETE FROM credential WHERE tenant = $1 AND username = $2")
                .bind(tenant)
                .bind(username)
                .execute(&mut *transaction)
                .await?;
            next_revision!(transaction)
        })
    }
}

/// Decodes rows, and sorts them by octets: the databases' own orders differ.
fn records(
    revision: i64,
    tenants: Vec<(String, String)>,
    domains: Vec<DomainRow>,
    credentials: Vec<(String, String, String)>,
    api_keys: Vec<api_keys::Row>,
) -> Result<DirectoryRecords, ControlStoreError> {
    let damaged = |table, reason: String| ControlStoreError::Damaged { table, reason };
    let mut records = DirectoryRecords { revision, ..DirectoryRecords::default() };
    for (id, settings) in tenants {
        let settings =
            serde_json::from_str(&settings).map_err(|e| damaged("tenant", format!("{id}: {e}")))?;
        records.tenants.push(TenantRecord { id, settings });
    }
    for row in domains {
        records.domains.push(domain(row)?);
    }
    for (username, tenant, password_hash) in credentials {
        records.credentials.push(CredentialRecord { username, tenant, password_hash });
    }
    for row in api_keys {
        records.api_keys.push(api_keys::record(row)?);
    }
    records.tenants.sort_by(|a, b| a.id.cmp(&b.id));
    records.domains.sort_by(|a, b| (&a.name, &a.tenant).cmp(&(&b.name, &b.tenant)));
    records.credentials.sort_by(|a, b| a.username.cmp(&b.username));
    records.api_keys.sort_by(|a, b| (&a.tenant, &a.name).cmp(&(&b.tenant, &b.name)));
    Ok(records)
}

fn domain((tenant, name, settings, verified_at): DomainRow) -> Result<DomainRecord, ControlStoreError> {
    match serde_json::from_str(&settings) {
        Ok(settings) => Ok(DomainRecord { name, tenant, verified_at, settings }),
        Err(error) => Err(ControlStoreError::Damaged { table: "domain", reason: format!("{name}: {error}") }),
    }
}

pub(crate) fn json(settings: &impl Serialize) -> Result<String, ControlStoreError> {
    serde_json::to_string(settings)
        .map_err(|e| ControlStoreError::Damaged { table: "settings", reason: e.to_string() })
}

fn another_tenants(what: &str, name: &str) -> ControlStoreError {
    ControlStoreError::Conflict(format!("the {what} {name} is another tenant's"))
}
