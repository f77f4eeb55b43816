//! Templates of a tenant and their versions.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::control::{reading, writing};
use crate::{ControlStore, ControlStoreError};

/// A template without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateRecord {
    /// Made by the caller; never used again.
    pub id: String,
    /// A name for requests that stays when the template is replaced. Unique among a tenant's templates.
    pub alias: Option<String>,
    /// For people.
    pub name: String,
    /// Number of the version that is sent; none: it cannot be sent yet.
    pub published: Option<i64>,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970, of the last change of any kind.
    pub changed_at: i64,
}

/// Content of a version, stored as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TemplateContent {
    /// MiniJinja source.
    pub subject: String,
    /// MiniJinja source of the HTML; none where `mjml` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// MiniJinja source of MJML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mjml: Option<String>,
    /// MiniJinja source of the text; none: made from the HTML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Author for requests that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Addresses for answers, for requests that name none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reply_to: Vec<String>,
    /// The variables that the sources use, as their author described them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<TemplateVariable>,
}

/// A variable of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateVariable {
    /// The name.
    pub key: String,
    /// `string`, `number` or another name of a JSON type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The value for requests that give none; none: a value must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_value: Option<serde_json::Value>,
}

/// A version of a template. A version never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateVersion {
    /// From 1, without gaps.
    pub number: i64,
    /// The content.
    pub content: TemplateContent,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

/// What changes of a template. A field that is none stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplateChange {
    /// For people.
    pub name: Option<String>,
    /// Empty: the template has none any more.
    pub alias: Option<String>,
    /// The content of a new version.
    pub content: Option<TemplateContent>,
    /// The templates that the new content names, by id or alias.
    pub references: Vec<String>,
    /// The version that the change was made from. None: whichever is the newest.
    pub base: Option<i64>,
}

/// Templates. Every method stays within one tenant.
#[async_trait]
pub trait TemplateStore: Send + Sync {
    /// Templates by id, those behind `after`, at most `max`.
    async fn templates(
        &self,
        tenant: &str,
        after: &str,
        max: u32,
    ) -> Result<Vec<TemplateRecord>, ControlStoreError>;

    /// Number of templates.
    async fn count_templates(&self, tenant: &str) -> Result<i64, ControlStoreError>;

    /// The template of this id or alias. An id goes before an alias.
    async fn template(&self, tenant: &str, name: &str) -> Result<Option<TemplateRecord>, ControlStoreError>;

    /// One version.
    async fn template_version(
        &self,
        tenant: &str,
        id: &str,
        number: i64,
    ) -> Result<Option<TemplateVersion>, ControlStoreError>;

    /// The newest version.
    async fn newest_template_version(
        &self,
        tenant: &str,
        id: &str,
    ) -> Result<Option<TemplateVersion>, ControlStoreError>;

    /// Numbers and times of the versions, the newest first.
    async fn template_versions(&self, tenant: &str, id: &str) -> Result<Vec<(i64, i64)>, ControlStoreError>;

    /// Adds a template with its first version, which names the templates `references`.
    ///
    /// # Errors
    /// [`ControlStoreError::Conflict`] when the id or the alias is in use.
    async fn add_template(
        &self,
        tenant: &str,
        template: &TemplateRecord,
        content: &TemplateContent,
        references: &[String],
    ) -> Result<(), ControlStoreError>;

    /// Changes a template in one step. New content becomes the next version; what is published
    /// stays published. Returns false if there is no such template.
    ///
    /// # Errors
    /// [`ControlStoreError::Conflict`] when the alias is in use, or when there is a newer version than
    /// the one that the change was made from.
    async fn change_template(
        &self,
        tenant: &str,
        id: &str,
        change: &TemplateChange,
        now: i64,
    ) -> Result<bool, ControlStoreError>;

    /// Publishes a version. Returns false if there is no such template.
    ///
    /// # Errors
    /// [`ControlStoreError::Conflict`] when the version does not exist.
    async fn publish_template(
        &self,
        tenant: &str,
        id: &str,
        number: i64,
        now: i64,
    ) -> Result<bool, ControlStoreError>;

    /// Deletes a template with its versions. Returns false if there is none.
    async fn delete_template(&self, tenant: &str, id: &str) -> Result<bool, ControlStoreError>;

    /// Ids of other templates whose published or newest version names `id` or `alias`, at most ten.
    async fn template_users(
        &self,
        tenant: &str,
        id: &str,
        alias: &str,
    ) -> Result<Vec<String>, ControlStoreError>;
}

type Row = (String, Option<String>, String, Option<i64>, i64, i64);

const COLUMNS: &str = "id, alias, name, published, created_at, changed_at";

fn record((id, alias, name, published, created_at, changed_at): Row) -> TemplateRecord {
    TemplateRecord { id, alias, name, published, created_at, changed_at }
}

fn json(content: &TemplateContent) -> Result<String, ControlStoreError> {
    serde_json::to_string(content).map_err(|e| damaged(e.to_string()))
}

fn version(
    id: &str,
    number: i64,
    content: &str,
    created_at: i64,
) -> Result<TemplateVersion, ControlStoreError> {
    let content = serde_json::from_str(content).map_err(|e| damaged(format!("{id}: {e}")))?;
    Ok(TemplateVersion { number, content, created_at })
}

fn damaged(reason: String) -> ControlStoreError {
    ControlStoreError::Damaged { table: "template_version", reason }
}

/// Inserts a version behind the newest one.
macro_rules! insert_version {
    ($transaction:ident, $tenant:expr, $id:expr, $content:expr, $now:expr) => {
        sqlx::query_scalar::<_, i64>(
            "INSERT INTO template_version (tenant, template, number, content, created_at) \
             SELECT $1, $2, coalesce(max(number), 0) + 1, $3, $4 FROM template_version \
             WHERE tenant = $1 AND template = $2 RETURNING number",
        )
        .bind($tenant)
        .bind($id)
        .bind($content)
        .bind($now)
        .fetch_one(&mut *$transaction)
        .await?
    };
}

/// Inserts what a version names.
macro_rules! insert_references {
    ($transaction:ident, $tenant:expr, $id:expr, $number:expr, $references:expr) => {
        for name in $references {
            sqlx::query(
                "INSERT INTO template_reference (tenant, template, number, name) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT DO NOTHING",
            )
            .bind($tenant)
            .bind($id)
            .bind($number)
            .bind(name)
            .execute(&mut *$transaction)
            .await?;
        }
    };
}

#[async_trait]
impl TemplateStore for ControlStore {
    async fn templates(
        &self,
        tenant: &str,
        after: &str,
        max: u32,
    ) -> Result<Vec<TemplateRecord>, ControlStoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM template WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3");
        let rows: Vec<Row> = reading!(self, pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(tenant).bind(after).bind(i64::from(max)).fetch_all(pool).await?
        });
        Ok(rows.into_iter().map(record).collect())
    }

    async fn count_templates(&self, tenant: &str) -> Result<i64, ControlStoreError> {
        Ok(reading!(self, pool => {
            sqlx::query_scalar::<_, i64>("SELECT count(*) FROM template WHERE tenant = $1")
                .bind(tenant)
                .fetch_one(pool)
                .await?
        }))
    }

    async fn template(&self, tenant: &str, name: &str) -> Result<Option<TemplateRecord>, ControlStoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM template WHERE tenant = $1 AND (id = $2 OR alias = $2) \
             ORDER BY CASE WHEN id = $2 THEN 0 ELSE 1 END LIMIT 1"
        );
        let row: Option<Row> = reading!(self, pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(tenant).bind(name).fetch_optional(pool).await?
        });
        Ok(row.map(record))
    }

    async fn template_version(
        &self,
        tenant: &str,
        id: &str,
        number: i64,
    ) -> Result<Option<TemplateVersion>, ControlStoreError> {
        let row: Option<(String, i64)> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT content, created_at FROM template_version \
                 WHERE tenant = $1 AND template = $2 AND number = $3",
            )
            .bind(tenant)
            .bind(id)
            .bind(number)
            .fetch_optional(pool)
            .await?
        });
        row.map(|(content, created_at)| version(id, number, &content, created_at)).transpose()
    }

    async fn newest_template_version(
        &self,
        tenant: &str,
        id: &str,
    ) -> Result<Option<TemplateVersion>, ControlStoreError> {
        let row: Option<(i64, String, i64)> = reading!(self, pool => {
            sqlx::query_as(
                "SELECT number, content, created_at FROM template_version \
                 WHERE tenant = $1 AND template = $2 ORDER BY number DESC LIMIT 1",
            )
            .bind(tenant)
            .bind(id)
            .fetch_optional(pool)
            .await?
        });
        row.map(|(number, content, created_at)| version(id, number, &content, created_at)).transpose()
    }

    async fn template_versions(&self, tenant: &str, id: &str) -> Result<Vec<(i64, i64)>, ControlStoreError> {
        Ok(reading!(self, pool => {
            sqlx::query_as(
                "SELECT number, created_at FROM template_version \
                 WHERE tenant = $1 AND template = $2 ORDER BY number DESC",
            )
            .bind(tenant)
            .bind(id)
            .fetch_all(pool)
            .await?
        }))
    }

    async fn add_template(
        &self,
        tenant: &str,
        template: &TemplateRecord,
        content: &TemplateContent,
        references: &[String],
    ) -> Result<(), ControlStoreError> {
        let content = json(content)?;
        writing!(self, transaction => {
            sqlx::query(
                "INSERT INTO template (tenant, id, alias, name, published, created_at, changed_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(tenant)
            .bind(&template.id)
            .bind(&template.alias)
            .bind(&template.name)
            .bind(template.published)
            .bind(template.created_at)
            .bind(template.changed_at)
            .execute(&mut *transaction)
            .await?;
            let number = insert_version!(transaction, tenant, &template.id, &content, template.created_at);
            insert_references!(transaction, tenant, &template.id, number, references);
        })
    }

    async fn change_template(
        &self,
        tenant: &str,
        id: &str,
        change: &TemplateChange,
        now: i64,
    ) -> Result<bool, ControlStoreError> {
        let content = change.content.as_ref().map(json).transpose()?;
        writing!(self, transaction => {
            // This locks the row, so that two writers get two numbers.
            let done = sqlx::query(
                "UPDATE template SET name = coalesce($3, name), \
                 alias = CASE WHEN $4 IS NULL THEN alias ELSE nullif($4, '') END, changed_at = $5 \
                 WHERE tenant = $1 AND id = $2",
            )
            .bind(tenant)
            .bind(id)
            .bind(&change.name)
            .bind(&change.alias)
            .bind(now)
            .execute(&mut *transaction)
            .await?;
            let found = done.rows_affected() > 0;
            if let (true, Some(base)) = (found, change.base) {
                let newest: Option<i64> = sqlx::query_scalar(
                    "SELECT max(number) FROM template_version WHERE tenant = $1 AND template = $2",
                )
                .bind(tenant)
                .bind(id)
                .fetch_one(&mut *transaction)
                .await?;
                if newest != Some(base) {
                    let newest = newest.unwrap_or_default();
                    let reason = format!("the newest version is {newest}, and not {base}");
                    return Err(ControlStoreError::Conflict(reason));
                }
            }
            if let (true, Some(content)) = (found, &content) {
                let number = insert_version!(transaction, tenant, id, content, now);
                insert_references!(transaction, tenant, id, number, &change.references);
            }
            found
        })
    }

    async fn publish_template(
        &self,
        tenant: &str,
        id: &str,
        number: i64,
        now: i64,
    ) -> Result<bool, ControlStoreError> {
        writing!(self, transaction => {
            let found: Option<i64> = sqlx::query_scalar(
                "SELECT number FROM template_version WHERE tenant = $1 AND template = $2 AND number = $3",
            )
            .bind(tenant)
            .bind(id)
            .bind(number)
            .fetch_optional(&mut *transaction)
            .await?;
            if found.is_none() {
                return Err(ControlStoreError::Conflict(format!("there is no version {number}")));
            }
            let done =
                sqlx::query("UPDATE template SET published = $3, changed_at = $4 WHERE tenant = $1 AND id = $2")
                    .bind(tenant)
                    .bind(id)
                    .bind(number)
                    .bind(now)
                    .execute(&mut *transaction)
                    .await?;
            done.rows_affected() > 0
        })
    }

    async fn delete_template(&self, tenant: &str, id: &str) -> Result<bool, ControlStoreError> {
        writing!(self, transaction => {
            let done = sqlx::query("DELETE FROM template WHERE tenant = $1 AND id = $2")
                .bind(tenant)
                .bind(id)
                .execute(&mut *transaction)
                .await?;
            done.rows_affected() > 0
        })
    }

    async fn template_users(
        &self,
        tenant: &str,
        id: &str,
        alias: &str,
    ) -> Result<Vec<String>, ControlStoreError> {
        Ok(reading!(self, pool => {
            sqlx::query_scalar::<_, String>(
                "SELECT DISTINCT t.id FROM template_reference r \
                 JOIN template t ON t.tenant = r.tenant AND t.id = r.template \
                 WHERE r.tenant = $1 AND (r.name = $2 OR r.name = $3) AND t.id <> $2 \
                 AND (r.number = t.published OR r.number = (SELECT max(v.number) FROM template_version v \
                 WHERE v.tenant = t.tenant AND v.template = t.id)) ORDER BY t.id LIMIT 10",
            )
            .bind(tenant)
            .bind(id)
            .bind(alias)
            .fetch_all(pool)
            .await?
        }))
    }
}
