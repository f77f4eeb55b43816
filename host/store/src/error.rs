//! The error of every method.

/// Reason why the store did not do what was asked. Nothing of the call has taken effect.
#[derive(Debug, thiserror::Error)]
pub enum ControlStoreError {
    /// The name is another tenant's, or a row that it refers to does not exist.
    #[error("{0}")]
    Conflict(String),
    /// Another process has changed the same subject since the caller read it.
    #[error("another process has changed it meanwhile")]
    Stale,
    /// The store was written by a newer version of Relevo.
    #[error(
        "the store was written by a newer version of Relevo (migration {0}): start that version, or a newer one"
    )]
    Newer(i64),
    /// The store was written by an older version of Relevo, and is not to be changed.
    #[error(
        "the store has the tables of migration {0}, which are older than this program: start the relay once, which \
         brings it up to date, or use the version that wrote it"
    )]
    Older(i64),
    /// A stored value cannot be read.
    #[error("{table} has a row that cannot be read: {reason}")]
    Damaged {
        /// Table of the row.
        table: &'static str,
        /// Message of the decoder.
        reason: String,
    },
    /// The file of the store cannot be used.
    #[error("{0}")]
    File(String),
    /// The database failed.
    #[error("the store failed: {0}")]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for ControlStoreError {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error() {
            Some(database) if database.is_foreign_key_violation() => {
                Self::Conflict("it refers to a tenant or plugin that does not exist".to_owned())
            }
            Some(database) if database.is_unique_violation() => {
                Self::Conflict("there is another one of this name".to_owned())
            }
            _ => Self::Database(error),
        }
    }
}

impl From<sqlx::migrate::MigrateError> for ControlStoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::VersionMissing(version) => Self::Newer(version),
            other => Self::Database(sqlx::Error::Migrate(Box::new(other))),
        }
    }
}
