//! The databases behind the traits.

use std::fmt;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::ControlStoreError;
use crate::changes::ChangeSignals;

/// The migrations of one folder, in their order. A migration that was released never changes: its
/// checksum is stored.
macro_rules! migrations {
    ($folder:literal) => {
        [
            migration!($folder, 1, "0001_directory_and_plugins"),
            migration!($folder, 2, "0002_templates"),
            migration!($folder, 3, "0003_suppressions"),
            migration!($folder, 4, "0004_webhooks"),
            migration!($folder, 5, "0005_keys"),
            migration!($folder, 6, "0006_topics"),
            migration!($folder, 7, "0007_statistics"),
            migration!($folder, 9, "0009_templates"),
            migration!($folder, 14, "0014_shaping"),
            migration!($folder, 16, "0016_users"),
            migration!($folder, 17, "0017_tls"),
            migration!($folder, 18, "0018_tls_renewal"),
            migration!($folder, 19, "0019_warmup_hour"),
            migration!($folder, 20, "0020_notify"),
        ]
    };
}
macro_rules! migration {
    ($folder:literal, $number:literal, $name:literal) => {
        ($number, $name, include_str!(concat!("../migrations/", $folder, "/", $name, ".sql")))
    };
}
pub(crate) const SQLITE: &[(i64, &str, &str)] = &migrations!("sqlite");
const POSTGRES: &[(i64, &str, &str)] = &migrations!("postgres");

/// The last migration that this program knows.
pub(crate) fn newest() -> i64 {
    SQLITE.iter().map(|(number, ..)| *number).max().unwrap_or_default()
}

/// Connections that read SQLite beside the one that writes.
const READERS: u32 = 4;
/// Connections to PostgreSQL.
const CONNECTIONS: u32 = 8;
/// Time that a caller waits for a connection, or for another process's write.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time after which PostgreSQL gives up a statement: no caller waits longer for a lock.
const STATEMENT_TIMEOUT: &str = "60s";

/// Address of the store: `[store] url`.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A SQLite file. The default is `control.sqlite` in the data directory.
    File(PathBuf),
    /// A PostgreSQL database, `postgres://user:password@host/database`.
    Postgres(String),
}

impl fmt::Display for StoreUrl {
    /// The path of the file, or the kind of the database: its URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Postgres(_) => f.write_str("the PostgreSQL store"),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    /// Reads `sqlite:PATH` or `postgres://...`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err("`sqlite:` needs the path of a file".to_owned());
            }
            return Ok(Self::File(PathBuf::from(path)));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            // The text may hold a password: it is not part of the message.
            PgConnectOptions::from_str(text).map_err(|_| {
                "this is not a PostgreSQL URL: postgres://user:password@host/database".to_owned()
            })?;
            return Ok(Self::Postgres(text.to_owned()));
        }
        Err("a store is `sqlite:PATH` or `postgres://user:password@host/database`".to_owned())
    }
}

/// Control-plane data in one database. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct ControlStore {
    pub(crate) database: Database,
    pub(crate) signals: ChangeSignals,
}

#[derive(Debug)]
pub(crate) enum Database {
    /// One writer, so that writes wait for each other here and not in SQLite.
    Sqlite {
        reader: SqlitePool,
        writer: SqlitePool,
    },
    Postgres(PgPool),
}

/// Runs `$body` with the pool for reading, whichever database it is.
macro_rules! reading {
    ($store:expr, $pool:ident => $body:expr) => {
        match &$store.database {
            $crate::control::Database::Sqlite { reader: $pool, .. } => $body,
            $crate::control::Database::Postgres($pool) => $body,
        }
    };
}

/// Runs `$body` with an open transaction, and commits it. An error before that rolls it back.
macro_rules! writing {
    ($store:expr, $transaction:ident => $body:block) => {
        match &$store.database {
            $crate::control::Database::Sqlite { writer, .. } => {
                let mut $transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
                let value = $body;
                $transaction.commit().await?;
                Ok(value)
            }
            $crate::control::Database::Postgres(pool) => {
                let mut $transaction = pool.begin().await?;
                let value = $body;
                $transaction.commit().await?;
                Ok(value)
            }
        }
    };
}

/// Makes a transaction read one moment. SQLite's transactions do; PostgreSQL reads each statement
/// at its own moment unless told otherwise.
macro_rules! snapshot {
    ($store:expr, $transaction:ident) => {
        if matches!($store.database, $crate::control::Database::Postgres(_)) {
            sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                .execute(&mut *$transaction)
                .await?;
        }
    };
}

/// Counts a change of the directory inside a transaction and returns the new revision.
macro_rules! next_revision {
    ($transaction:ident) => {
        sqlx::query_scalar::<_, i64>(
            "INSERT INTO revision (subject, number) VALUES ('directory', 1) \
             ON CONFLICT (subject) DO UPDATE SET number = revision.number + 1 RETURNING number",
        )
        .fetch_one(&mut *$transaction)
        .await?
    };
}

/// Moves a reader of an event log from one position to another inside a transaction. It gives up with
/// [`ControlStoreError::Stale`] if the reader is not at `$after` any more; 0 is before the first move.
macro_rules! move_reader {
    ($transaction:ident, $reader:expr, $after:expr, $cursor:expr) => {
        let sql = match $after {
            0 => "INSERT INTO event_reader (name, cursor) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            _ => "UPDATE event_reader SET cursor = $2 WHERE name = $1 AND cursor = $3",
        };
        let mut query = sqlx::query(sql).bind($reader).bind($cursor);
        if $after != 0 {
            query = query.bind($after);
        }
        if query.execute(&mut *$transaction).await?.rows_affected() == 0 {
            return Err($crate::ControlStoreError::Stale);
        }
    };
}

pub(crate) use {move_reader, next_revision, reading, snapshot, writing};

/// `($1, $2), ($3, $4)`: placeholders of rows. `tail` is behind those of each row.
pub(crate) fn placeholders(rows: usize, columns: usize, tail: &str) -> String {
    let mut text = String::new();
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            let comma = if column == 1 { "" } else { ", " };
            text.push_str(&format!("{comma}${}", row * columns + column));
        }
        text.push_str(tail);
        text.push(')');
    }
    text
}

impl ControlStore {
    /// Opens the store, makes it if there never was one, and brings its tables up to date.
    ///
    /// # Errors
    /// A file that is gone, a link or another user's; a database that cannot be reached; a store that a
    /// newer version wrote.
    pub async fn open(url: &StoreUrl) -> Result<Self, ControlStoreError> {
        let database = match url {
            StoreUrl::File(path) => sqlite(path).await?,
            StoreUrl::Postgres(url) => postgres(url).await?,
        };
        Ok(Self { database, signals: ChangeSignals::default() })
    }

    /// Opens a store that is there, as it is: nothing is made and no table is changed.
    ///
    /// # Errors
    /// There is no store, or another version of Relevo has made its tables.
    pub async fn open_as_is(url: &StoreUrl) -> Result<Self, ControlStoreError> {
        let database = match url {
            StoreUrl::File(path) => {
                std::fs::symlink_metadata(path)
                    .map_err(|error| ControlStoreError::File(format!("{}: {error}", path.display())))?;
                own_file(path)?;
                // Not read-only: SQLite's log is to be read, too, when nobody has it open.
                let options = sqlite_options(path);
                let pool = |most| SqlitePoolOptions::new().max_connections(most).acquire_timeout(PATIENCE);
                let writer = pool(1).connect_with(options.clone()).await?;
                let reader = pool(READERS).connect_with(options.read_only(true)).await?;
                Database::Sqlite { reader, writer }
            }
            StoreUrl::Postgres(url) => Database::Postgres(connect(url).await?),
        };
        let store = Self { database, signals: ChangeSignals::default() };
        let sql = "SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations";
        let found = reading!(store, pool => sqlx::query_scalar::<_, i64>(sql).fetch_one(pool).await);
        let found = found.map_err(|error| match error {
            sqlx::Error::Database(_) => ControlStoreError::File(format!("{url} has no tables of Relevo")),
            other => other.into(),
        })?;
        match found.cmp(&newest()) {
            std::cmp::Ordering::Greater => Err(ControlStoreError::Newer(found)),
            std::cmp::Ordering::Less => Err(ControlStoreError::Older(found)),
            std::cmp::Ordering::Equal => Ok(store),
        }
    }

    /// Closes all connections. SQLite's log is written back into its file.
    pub async fn close(&self) {
        match &self.database {
            Database::Sqlite { reader, writer } => {
                reader.close().await;
                writer.close().await;
            }
            Database::Postgres(pool) => pool.close().await,
        }
    }
}

pub(crate) fn migrator(migrations: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migrations = migrations.iter().map(|(version, description, sql)| {
        Migration::new(
            *version,
            (*description).into(),
            MigrationType::Simple,
            SqlStr::from_static(sql),
            false,
        )
    });
    Migrator::with_migrations(migrations.collect())
}

async fn sqlite(path: &Path) -> Result<Database, ControlStoreError> {
    refuse_lost(path)?;
    own_file(path)?;
    let options = sqlite_options(path);
    let pool = |most| SqlitePoolOptions::new().max_connections(most).acquire_timeout(PATIENCE);
    let writer = pool(1).connect_with(options.clone()).await?;
    migrator(SQLITE).run(&writer).await?;
    leave_marker(path)?;
    let reader = pool(READERS).connect_with(options.read_only(true)).await?;
    Ok(Database::Sqlite { reader, writer })
}

fn sqlite_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(PATIENCE)
}

/// Refuses to make a store where there was one, as the marker beside it tells. With an empty one in
/// its place mail would pass that plugins and suppressions stopped.
fn refuse_lost(path: &Path) -> Result<(), ControlStoreError> {
    let marker = marker_of(path);
    let is_missing =
        |path: &Path| std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    if is_missing(path) && !is_missing(&marker) {
        return Err(ControlStoreError::File(format!(
            "{}: the store is gone: restore it from a backup; to begin with an empty one, remove {}",
            path.display(),
            marker.display()
        )));
    }
    Ok(())
}

fn leave_marker(path: &Path) -> Result<(), ControlStoreError> {
    let marker = marker_of(path);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&marker) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(ControlStoreError::File(format!("{}: {error}", marker.display())))
        }
        _ => Ok(()),
    }
}

/// `NAME.made`: there is a store, or there was.
fn marker_of(path: &Path) -> PathBuf {
    path.with_extension("made")
}

/// Makes the file with mode 0600, or sees that the one that is there is ours. SQLite gives its log
/// the same mode.
fn own_file(path: &Path) -> Result<(), ControlStoreError> {
    let refuse = |reason: String| ControlStoreError::File(format!("{}: {reason}", path.display()));
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| refuse(error.to_string()))?;
    let found = file.metadata().map_err(|error| refuse(error.to_string()))?;
    let user = rustix::process::geteuid().as_raw();
    if !found.is_file() {
        return Err(refuse("the store must be a regular file".to_owned()));
    }
    if found.uid() != user || found.mode() & 0o077 != 0 {
        return Err(refuse("the store must be this user's file with mode 0600".to_owned()));
    }
    Ok(())
}

async fn postgres(url: &str) -> Result<Database, ControlStoreError> {
    let pool = connect(url).await?;
    // Nodes that start together wait here for the one that is first, and find its work done. That may
    // take longer than any statement may otherwise.
    let mut connection = pool.acquire().await?;
    sqlx::query("SET statement_timeout = 0").execute(&mut *connection).await?;
    migrator(POSTGRES).run(&mut *connection).await?;
    connection.close().await?;
    Ok(Database::Postgres(pool))
}

async fn connect(url: &str) -> Result<PgPool, ControlStoreError> {
    let options = PgConnectOptions::from_str(url)?
        .application_name("relevo")
        .options([("statement_timeout", STATEMENT_TIMEOUT)]);
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .connect_with(options)
        .await?;
    Ok(pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Migrations from here on run while nodes of the version before still use the store.
    const FIRST_ROLLING: i64 = 20;
    /// Migrations that end something which the version before them did not use any more. Each has that
    /// version in its comment.
    const ENDING: [i64; 0] = [];

    #[test]
    fn migrations_leave_the_version_before_what_it_uses() {
        for (number, name, sql) in SQLITE.iter().chain(POSTGRES) {
            if *number < FIRST_ROLLING || ENDING.contains(number) {
                continue;
            }
            let code: String =
                sql.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
            let code = code.to_ascii_uppercase();
            for word in ["DROP ", "RENAME ", "ALTER COLUMN", "SET NOT NULL", "ADD CONSTRAINT", "ADD CHECK"] {
                assert!(
                    !code.contains(word),
                    "{name}: `{word}` takes something from nodes of the version before"
                );
            }
            for statement in code.split(';').filter(|statement| statement.contains("ADD COLUMN")) {
                let is_filled = !statement.contains("NOT NULL") || statement.contains("DEFAULT");
                assert!(
                    is_filled,
                    "{name}: nodes of the version before do not fill the column: give it a default"
                );
            }
        }
    }

    #[test]
    fn both_databases_have_the_same_migrations_in_order() {
        let names = |migrations: &[(i64, &'static str, &str)]| -> Vec<_> {
            migrations.iter().map(|(number, name, _)| (*number, *name)).collect()
        };
        assert_eq!(names(SQLITE), names(POSTGRES));
        assert!(SQLITE.is_sorted_by(|a, b| a.0 < b.0));
        assert!(SQLITE.iter().all(|(number, name, _)| name.starts_with(&format!("{number:04}_"))));
    }

    #[test]
    fn urls_are_read_and_a_password_is_not_repeated() {
        assert_eq!("sqlite:data/c.sqlite".parse(), Ok(StoreUrl::File("data/c.sqlite".into())));
        assert_eq!("sqlite:///var/c.sqlite".parse(), Ok(StoreUrl::File("/var/c.sqlite".into())));
        let url = "postgres://relevo:secret@db.example/relevo";
        assert_eq!(url.parse(), Ok(StoreUrl::Postgres(url.to_owned())));
        let shown: StoreUrl = url.parse().expect("good");
        assert!(!format!("{shown} {shown:?}").contains("secret"));
        for bad in ["", "sqlite:", "mysql://h/d", "postgres://u:secret@h:port/d"] {
            let error = bad.parse::<StoreUrl>().expect_err("not a store");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
