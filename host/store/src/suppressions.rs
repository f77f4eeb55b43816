//! Addresses that get no mail.

use std::borrow::Cow;

use async_trait::async_trait;

use crate::control::{Database, placeholders, reading, writing};
use crate::{ControlStore, ControlStoreError};

/// The stream of an entry that counts for all mail.
pub const ALL_STREAMS: &str = "all";

/// An address that gets no mail of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuppressionRecord {
    /// Made by the caller; never used again.
    pub id: String,
    /// Lower case, the domain in A-labels.
    pub address: String,
    /// [`ALL_STREAMS`], a stream, or `topic:` and a topic.
    pub stream: String,
    /// `bounce`, `complaint`, `unsubscribe` or `manual`.
    pub reason: String,
    /// For people: the receiver's words, or a note.
    pub detail: String,
    /// The message that led to it.
    pub message_id: Option<String>,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// The rule that added the entry; none if a person or a recipient did.
    pub cause: Option<SuppressionCause>,
}

/// How a rule came to add an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SuppressionCause {
    /// The rule that told what the reply means, or the source of a complaint.
    pub rule: String,
    /// The provider of the mailbox.
    pub provider: String,
    /// The MX host that answered, lower case; empty if none did.
    pub mx: String,
}

/// Entries to be removed: those that all of the given conditions are true for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SuppressionFilter {
    /// One entry.
    pub id: Option<String>,
    /// One address.
    pub address: Option<String>,
    /// Addresses of this domain, without its subdomains.
    pub domain: Option<String>,
    /// One stream.
    pub stream: Option<String>,
    /// One reason.
    pub reason: Option<String>,
    /// Not before: milliseconds since 1970.
    pub since: Option<i64>,
    /// Before: milliseconds since 1970.
    pub until: Option<i64>,
    /// Only entries that a rule added.
    pub by_rule: bool,
    /// One rule.
    pub rule: Option<String>,
    /// One provider.
    pub provider: Option<String>,
    /// One MX host, or those below a domain.
    pub mx: Option<String>,
}

impl SuppressionFilter {
    /// Returns true if there is no condition: the filter means every entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Suppressed addresses. Every method that names a tenant stays within it.
#[async_trait]
pub trait SuppressionStore: Send + Sync {
    /// Adds entries; one that is there stays as it is. Returns the entries that are new.
    async fn add_suppressions(
        &self,
        tenant: &str,
        entries: &[SuppressionRecord],
    ) -> Result<Vec<SuppressionRecord>, ControlStoreError>;

    /// Removes entries, at most `max`, and returns them.
    async fn remove_suppressions(
        &self,
        tenant: &str,
        filter: &SuppressionFilter,
        max: u32,
    ) -> Result<Vec<SuppressionRecord>, ControlStoreError>;

    /// Entries of one address by stream, topics last; at most 10,000.
    async fn suppressions_of(
        &self,
        tenant: &str,
        address: &str,
    ) -> Result<Vec<SuppressionRecord>, ControlStoreError>;

    /// Entries by address and stream, those behind `after`, at most `max`.
    async fn suppressions(
        &self,
        tenant: &str,
        filter: &SuppressionFilter,
        after: (&str, &str),
        max: u32,
    ) -> Result<Vec<SuppressionRecord>, ControlStoreError>;

    /// Number of entries that a filter means.
    async fn count_matching(
        &self,
        tenant: &str,
        filter: &SuppressionFilter,
    ) -> Result<i64, ControlStoreError>;

    /// Tenants for whom a rule added entries from `since` on and before `until`, at most 100,000.
    async fn suppression_rule_tenants(
        &self,
        since: i64,
        until: i64,
    ) -> Result<Vec<String>, ControlStoreError>;

    /// Returns true if other processes may write to the same store.
    fn is_shared(&self) -> bool;

    /// Number of entries of all tenants.
    async fn count_suppressions(&self) -> Result<i64, ControlStoreError>;

    /// Tenants and addresses of all entries behind `after`, at most `max`: what fills a filter in memory.
    async fn all_suppressions(
        &self,
        after: (&str, &str),
        max: u32,
    ) -> Result<Vec<(String, String)>, ControlStoreError>;
}

type Text = Option<String>;
pub(crate) type Row = (String, String, String, String, String, Text, i64, Text, Text, Text);

pub(crate) const COLUMNS: &str =
    "id, address, stream, reason, detail, message_id, created_at, rule, provider, mx";
/// Values that a row binds.
pub(crate) const INSERTED: usize = 12;
/// Entries that one statement adds. SQLite looks up each value by its number in a list of all.
pub(crate) const ADDED_AT_ONCE: usize = 32;
/// Entries of one address that are read. Only topics can be so many, and they come last.
const MAX_OF_ONE: i64 = 10_000;
/// Tenants that are returned.
const MAX_TENANTS: i64 = 100_000;

/// The conditions that a filter gives, as SQL and as the values that it binds behind the tenant's `$1`.
///
/// A condition that is not given is not part of the SQL: SQLite uses no index for one that may be null.
struct Conditions<'a> {
    sql: String,
    texts: Vec<Cow<'a, str>>,
    times: Vec<i64>,
}

impl<'a> Conditions<'a> {
    fn of(filter: &'a SuppressionFilter) -> Self {
        let mut all = Self { sql: "tenant = $1".to_owned(), texts: Vec::new(), times: Vec::new() };
        for (condition, value) in [
            ("id =", &filter.id),
            ("address =", &filter.address),
            ("domain =", &filter.domain),
            ("stream =", &filter.stream),
            ("reason =", &filter.reason),
            ("rule =", &filter.rule),
            ("provider =", &filter.provider),
        ] {
            if let Some(value) = value {
                all.sql.push_str(&format!(" AND {condition} ${}", all.next_number()));
                all.texts.push(Cow::Borrowed(value));
            }
        }
        if let Some(mx) = &filter.mx {
            let next = all.next_number();
            all.sql.push_str(&format!(" AND (mx = ${next} OR mx LIKE ${} ESCAPE '!')", next + 1));
            all.texts.extend([Cow::Borrowed(mx.as_str()), Cow::Owned(below(mx))]);
        }
        if filter.by_rule {
            all.sql.push_str(" AND rule IS NOT NULL");
        }
        for (condition, value) in [("created_at >=", filter.since), ("created_at <", filter.until)] {
            if let Some(value) = value {
                all.sql.push_str(&format!(" AND {condition} ${}", all.next_number()));
                all.times.push(value);
            }
        }
        all
    }

    /// The number of the next value.
    fn next_number(&self) -> usize {
        2 + self.texts.len() + self.times.len()
    }
}

/// The pattern of names below a domain.
fn below(domain: &str) -> String {
    let mut pattern = "%.".to_owned();
    for character in domain.chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern
}

/// Binds tenant and conditions as [`Conditions::of`] numbers them.
macro_rules! bound {
    ($query:expr, $tenant:expr, $conditions:expr) => {{
        let mut query = $query.bind($tenant);
        for text in $conditions.texts {
            query = query.bind(text);
        }
        for time in $conditions.times {
            query = query.bind(time);
        }
        query
    }};
}

pub(crate) fn record(row: Row) -> SuppressionRecord {
    let (id, address, stream, reason, detail, message_id, created_at, rule, provider, mx) = row;
    let cause = rule.map(|rule| SuppressionCause {
        rule,
        provider: provider.unwrap_or_default(),
        mx: mx.unwrap_or_default(),
    });
    SuppressionRecord { id, address, stream, reason, detail, message_id, created_at, cause }
}

/// The statement that adds so many entries.
pub(crate) fn insert_sql(rows: usize) -> String {
    format!(
        "INSERT INTO suppression \
         (tenant, id, address, stream, domain, reason, detail, message_id, created_at, rule, provider, mx) \
         VALUES {} ON CONFLICT DO NOTHING RETURNING id",
        placeholders(rows, INSERTED, "")
    )
}

/// Adds entries of `(tenant, entry)` within a transaction, and returns the ids of those that are new.
///
/// They must be in the order of tenant, address and stream: two writers that lock the same rows in two
/// orders wait for each other.
macro_rules! insert_entries {
    ($transaction:ident, $entries:expr) => {{
        let mut added = std::collections::HashSet::new();
        for part in $entries.chunks($crate::suppressions::ADDED_AT_ONCE) {
            let sql = $crate::suppressions::insert_sql(part.len());
            // Parts of other sizes than the usual one are rare: their statement is not kept.
            let is_usual = part.len() == $crate::suppressions::ADDED_AT_ONCE || part.len() == 1;
            let mut query = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(sql)).persistent(is_usual);
            for (tenant, entry) in part {
                let domain = entry.address.rsplit_once('@').map_or("", |(_, domain)| domain);
                let cause = entry.cause.as_ref();
                query = query
                    .bind(*tenant)
                    .bind(&entry.id)
                    .bind(&entry.address)
                    .bind(&entry.stream)
                    .bind(domain)
                    .bind(&entry.reason)
                    .bind(&entry.detail)
                    .bind(&entry.message_id)
                    .bind(entry.created_at)
                    .bind(cause.map(|cause| cause.rule.as_str()))
                    .bind(cause.map(|cause| cause.provider.as_str()))
                    .bind(cause.map(|cause| cause.mx.as_str()));
            }
            added.extend(query.fetch_all(&mut *$transaction).await?);
        }
        added
    }};
}

pub(crate) use insert_entries;

#[async_trait]
impl SuppressionStore for ControlStore {
    async fn add_suppressions(
        &self,
        tenant: &str,
        entries: &[SuppressionRecord],
    ) -> Result<Vec<SuppressionRecord>, ControlStoreError> {
        let mut entries: Vec<(&str, &SuppressionRecord)> = entries.iter().map(|e| (tenant, e)).collect();
        entries.sort_by(|(_, a), (_, b)| (&a.address, &a.stream).cmp(&(&b.address, &b.stream)));
        writing!(self, transaction => {
            let mut added = insert_entries!(transaction, entries);
            let new = entries.iter().filter(|(_, entry)| added.remove(&entry.id));
            new.map(|(_, entry)| SuppressionRecord::clone(entry)).collect()
        })
    }

    async fn remove_suppressions(
        &self,
        tenant: &str,
        filter: &SuppressionFilter,
        max: u32,
    ) -> Result<Vec<SuppressionRecord>, ControlStoreError> {
        let conditions = Conditions::of(filter);
        let sql = format!(
            "DELETE FROM suppression WHERE (tenant, address, stream) IN \
             (SELECT tenant, address, stream FROM suppression WHERE {} \
              ORDER BY address, stream LIMIT ${}) RETURNING {COLUMNS}",
            conditions.sql,
            conditions.next_number()
        );
        writing!(self, transaction => {
            let query = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(sql));
            let query = bound!(query, tenant, conditions).bind(i64::from(max));
            let rows = query.fetch_all(&mut *transaction).await?;
            let mut removed: Vec<_> = rows.into_iter().map(record).collect();
            removed.sort_by(|a, b| (&a.address, &a.stream).cmp(&(&b.address, &b.stream)));
            removed
        })
    }

    async fn suppressions_of(
        &self,
        tenant: &str,
        address: &str,
    ) -> Result<Vec<SuppressionRecord>, ControlStoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM suppression WHERE tenant = $1 AND address = $2 \
             ORDER BY stream LIKE 'topic:%', stream LIMIT $3"
        );
        let rows: Vec<Row> = reading!(self, pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .bind(tenant)
                .bind(address)
                .bind(MAX_OF_ONE)
                .fetch_all(pool)
                .await?
        });
        Ok(rows.into_iter().map(record).collect())
    }

    async fn suppressions(
        &self,
        tenant: &str,
        filter: &SuppressionFilter,
        after: (&str, &str),
        max: u32,
    ) -> Result<Vec<SuppressionRecord>, ControlStoreError> {
        let conditions = Conditions::of(filter);
        let next = conditions.next_number();
        let sql = format!(
            "SELECT {COLUMNS} FROM suppression WHERE {} AND (address, stream) > (${next}, ${}) \
             ORDER BY address, stream LIMIT ${}",
            conditions.sql,
            next + 1,
            next + 2
        );
        let rows: Vec<Row> = reading!(self, pool => {
            let query = sqlx::query_as(sqlx::AssertSqlSafe(sql));
            bound!(query, tenant, conditions)
                .bind(after.0)
                .bind(after.1)
                .bind(i64::from(max))
                .fetch_all(pool)
                .await?
        });
        Ok(rows.into_iter().map(record).collect())
    }

    async fn count_matching(
        &self,
        tenant: &str,
        filter: &SuppressionFilter,
    ) -> Result<i64, ControlStoreError> {
        let conditions = Conditions::of(filter);
        let sql = format!("SELECT count(*) FROM suppression WHERE {}", conditions.sql);
        Ok(reading!(self, pool => {
            let query = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(sql));
            bound!(query, tenant, conditions).fetch_one(pool).await?
        }))
    }

    async fn suppression_rule_tenants(
        &self,
        since: i64,
        until: i64,
    ) -> Result<Vec<String>, ControlStoreError> {
        Ok(reading!(self, pool => {
            sqlx::query_scalar(
                "SELECT DISTINCT tenant FROM suppression WHERE rule IS NOT NULL \
                 AND created_at >= $1 AND created_at < $2 ORDER BY tenant LIMIT $3",
            )
            .bind(since)
            .bind(until)
            .bind(MAX_TENANTS)
            .fetch_all(pool)
            .await?
        }))
    }

    fn is_shared(&self) -> bool {
        matches!(self.database, Database::Postgres(_))
    }

    async fn count_suppressions(&self) -> Result<i64, ControlStoreError> {
        Ok(reading!(self, pool => {
            sqlx::query_scalar::<_, i64>("SELECT count(*) FROM suppression").fetch_one(pool).await?
        }))
    }

    async fn all_suppressions(
        &self,
        after: (&str, &str),
        max: u32,
    ) -> Result<Vec<(String, String)>, ControlStoreError> {
        Ok(reading!(self, pool => {
            sqlx::query_as(
                "SELECT DISTINCT tenant, address FROM suppression WHERE (tenant, address) > ($1, $2) \
                 ORDER BY tenant, address LIMIT $3",
            )
            .bind(after.0)
            .bind(after.1)
            .bind(i64::from(max))
            .fetch_all(pool)
            .await?
        }))
    }
}
