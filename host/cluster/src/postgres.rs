//! PostgreSQL as the engine: for clusters that have it anyway. The head of a log is a row, and a
//! record is appended by whoever moves the head from the place that it names.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use relevo_queue::shard_log::{AppendError, LogBounds, LogError, LogRecord, Seq, ShardLog};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::engine::{Engine, EngineError, ShardId};
use crate::lease::{LeaseEntry, Leases};

/// How long a connection is waited for.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a record waits for the standbys before its owner asks what became of it.
const ANSWER: Duration = Duration::from_secs(10);
/// Octets of a record: a row of PostgreSQL may have more, and waits longer for its standbys.
const LARGEST: usize = 4 << 20;
/// The lock under which tables are made.
const TABLES: i64 = 0x7265_6c65_766f;

/// Run one by one: they may be there.
const SCHEMA: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS shard_head (shard INTEGER PRIMARY KEY, first BIGINT NOT NULL, last BIGINT NOT NULL, \
     octets BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS shard_record (shard INTEGER NOT NULL, seq BIGINT NOT NULL, record BYTEA NOT NULL, \
     PRIMARY KEY (shard, seq))",
    "CREATE TABLE IF NOT EXISTS cluster_lease (key TEXT PRIMARY KEY, revision BIGINT NOT NULL, holder TEXT NOT NULL, \
     note TEXT NOT NULL)",
];

/// See the module. Clones share the connections.
#[derive(Debug, Clone)]
pub struct PostgresEngine {
    pool: PgPool,
}

fn away(error: &sqlx::Error) -> EngineError {
    EngineError::Away(format!("PostgreSQL: {error}"))
}

fn log_away(error: &sqlx::Error) -> LogError {
    LogError::Unavailable(format!("PostgreSQL: {error}"))
}

impl PostgresEngine {
    /// Connects, looks at the settings and makes the tables.
    ///
    /// # Errors
    /// The server does not answer, or would acknowledge what only one machine has: the setting is in
    /// the words. `is_unsafe` uses it all the same.
    pub async fn connect(url: &str, is_unsafe: bool) -> Result<Self, EngineError> {
        let options: PgConnectOptions = url
            .parse()
            .map_err(|e: sqlx::Error| EngineError::Refused(format!("the URL of PostgreSQL: {e}")))?;
        // Whatever the role's default is.
        let options = options.options([("synchronous_commit", "on")]).application_name("relevo-cluster");
        let pool =
            PgPoolOptions::new().max_connections(16).acquire_timeout(CONNECT).connect_with(options).await;
        let engine = Self { pool: pool.map_err(|e| away(&e))? };
        if !is_unsafe {
            engine.check().await?;
        }
        engine.make_tables().await.map_err(|e| away(&e))?;
        Ok(engine)
    }

    async fn check(&self) -> Result<(), EngineError> {
        let setting = async |name: &str| {
            let value = sqlx::query_scalar::<_, String>("SELECT current_setting($1)").bind(name);
            value.fetch_one(&self.pool).await.map_err(|e| away(&e))
        };
        let refused = |why: &str| Err(EngineError::Refused(format!("PostgreSQL: {why}")));
        if setting("synchronous_standby_names").await?.trim().is_empty() {
            return refused(
                "it has no synchronous standbys, so that what it acknowledged is lost with its machine: set \
                 `synchronous_standby_names`, such as 'ANY 1 (a, b)', or allow it with `unsafe = true` of [cluster]",
            );
        }
        for name in ["fsync", "full_page_writes"] {
            if setting(name).await? != "on" {
                return refused(&format!(
                    "`{name}` is off, so that what it acknowledged is lost with the power"
                ));
            }
        }
        Ok(())
    }

    async fn make_tables(&self) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(TABLES).execute(&mut *transaction).await?;
        for statement in SCHEMA {
            sqlx::query(statement).execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }
}

#[async_trait]
impl Engine for PostgresEngine {
    async fn log(&self, shard: ShardId) -> Result<Arc<dyn ShardLog>, EngineError> {
        let sql = "INSERT INTO shard_head (shard, first, last, octets) VALUES ($1, 1, 0, 0) ON CONFLICT (shard) DO NOTHING";
        sqlx::query(sql).bind(i32::from(shard)).execute(&self.pool).await.map_err(|e| away(&e))?;
        Ok(Arc::new(PostgresLog { pool: self.pool.clone(), shard: i32::from(shard) }))
    }

    async fn shards(&self) -> Result<Vec<ShardId>, EngineError> {
        let shards = sqlx::query_scalar::<_, i32>("SELECT shard FROM shard_head ORDER BY shard");
        let shards = shards.fetch_all(&self.pool).await.map_err(|e| away(&e))?;
        Ok(shards.into_iter().filter_map(|shard| ShardId::try_from(shard).ok()).collect())
    }

    fn leases(&self) -> Arc<dyn Leases> {
        Arc::new(self.clone())
    }
}

#[derive(Debug)]
struct PostgresLog {
    pool: PgPool,
    shard: i32,
}

/// A place as PostgreSQL keeps it.
fn place(seq: Seq) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

fn seq(place: i64) -> Seq {
    Seq::try_from(place).unwrap_or(0)
}

impl PostgresLog {
    async fn insert(&self, expected: Seq, record: &[u8]) -> Result<(), AppendError> {
        let away = |e: &sqlx::Error| AppendError::Unavailable(format!("PostgreSQL: {e}"));
        let mut connection = self.pool.acquire().await.map_err(|e| away(&e))?;
        let sql = "WITH head AS (UPDATE shard_head SET last = last + 1, octets = octets + octet_length($3) \
                   WHERE shard = $1 AND last = $2 RETURNING last) \
                   INSERT INTO shard_record (shard, seq, record) SELECT $1, last, $3 FROM head";
        let insert = sqlx::query(sql).bind(self.shard).bind(place(expected)).bind(record);
        match insert.execute(&mut *connection).await {
            Ok(done) if done.rows_affected() == 1 => Ok(()),
            Ok(_) => Err(AppendError::Fenced(expected)),
            // The server says that it did not.
            Err(error) if is_definite(&error) => Err(away(&error)),
            // The connection broke, or a server ends that had committed: it may have.
            Err(error) => Err(AppendError::Unknown(format!("PostgreSQL: {error}"))),
        }
    }
}

/// Whether the server refused the statement. A server that is shut down (class 57) while it waits for
/// its standbys has committed; 08, 58 and XX are broken connections, disks and faults.
fn is_definite(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| !["08", "57", "58", "XX"].iter().any(|class| code.starts_with(class)))
}

#[async_trait]
impl ShardLog for PostgresLog {
    async fn append(&self, expected: Seq, record: &[u8]) -> Result<(), AppendError> {
        let late = || AppendError::Unknown(format!("PostgreSQL: no answer in {} s", ANSWER.as_secs()));
        tokio::time::timeout(ANSWER, self.insert(expected, record)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn read(&self, from: Seq, octets: usize) -> Result<Vec<LogRecord>, LogError> {
        let bounds = self.bounds().await?;
        if from < bounds.first && from <= bounds.last {
            return Err(LogError::Trimmed(from));
        }
        // The record with which there are enough octets is the last one.
        let sql = "SELECT seq, record FROM (SELECT seq, record, SUM(octet_length(record)) OVER (ORDER BY seq) - \
                   octet_length(record) AS before FROM (SELECT seq, record FROM shard_record WHERE shard = $1 AND seq >= $2 \
                   ORDER BY seq LIMIT 4096) AS next) AS summed WHERE before < $3 ORDER BY seq";
        let limit = i64::try_from(octets).unwrap_or(i64::MAX).max(1);
        let rows = sqlx::query_as::<_, (i64, Vec<u8>)>(sql).bind(self.shard).bind(place(from)).bind(limit);
        let rows = rows.fetch_all(&self.pool).await.map_err(|e| log_away(&e))?;
        let mut records = Vec::with_capacity(rows.len());
        for (expected, (at, octets)) in (from..).zip(rows) {
            if seq(at) != expected {
                return Err(LogError::Damaged(format!("record {expected} is missing")));
            }
            records.push(LogRecord { seq: expected, octets });
        }
        Ok(records)
    }

    async fn bounds(&self) -> Result<LogBounds, LogError> {
        let sql = "SELECT first, last, octets FROM shard_head WHERE shard = $1";
        let row = sqlx::query_as::<_, (i64, i64, i64)>(sql).bind(self.shard).fetch_one(&self.pool).await;
        let (first, last, octets) = row.map_err(|e| log_away(&e))?;
        Ok(LogBounds { first: seq(first), last: seq(last), octets: u64::try_from(octets).unwrap_or(0) })
    }

    async fn trim(&self, below: Seq) -> Result<(), LogError> {
        let trim = async {
            let mut transaction = self.pool.begin().await?;
            let sql = "WITH gone AS (DELETE FROM shard_record WHERE shard = $1 AND seq < $2 RETURNING record) \
                       SELECT COALESCE(SUM(octet_length(record)), 0)::BIGINT FROM gone";
            let gone = sqlx::query_scalar::<_, i64>(sql).bind(self.shard).bind(place(below));
            let gone = gone.fetch_one(&mut *transaction).await?;
            let sql = "UPDATE shard_head SET first = GREATEST(first, LEAST($2, last + 1)), octets = octets - $3 \
                       WHERE shard = $1";
            sqlx::query(sql)
                .bind(self.shard)
                .bind(place(below))
                .bind(gone)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await
        };
        trim.await.map_err(|e: sqlx::Error| log_away(&e))
    }

    fn max_record(&self) -> usize {
        LARGEST
    }
}

#[async_trait]
impl Leases for PostgresEngine {
    async fn entry(&self, key: &str) -> Result<Option<LeaseEntry>, EngineError> {
        let sql = "SELECT revision, holder, note FROM cluster_lease WHERE key = $1";
        let row = sqlx::query_as::<_, (i64, String, String)>(sql).bind(key).fetch_optional(&self.pool).await;
        let entry = |(revision, holder, note)| LeaseEntry { revision: seq(revision), holder, note };
        Ok(row.map_err(|e| away(&e))?.map(entry))
    }

    async fn entries(&self, prefix: &str) -> Result<Vec<(String, LeaseEntry)>, EngineError> {
        let sql =
            "SELECT key, revision, holder, note FROM cluster_lease WHERE starts_with(key, $1) ORDER BY key";
        let rows =
            sqlx::query_as::<_, (String, i64, String, String)>(sql).bind(prefix).fetch_all(&self.pool).await;
        let rows = rows.map_err(|e| away(&e))?.into_iter();
        Ok(rows
            .map(|(key, revision, holder, note)| (key, LeaseEntry { revision: seq(revision), holder, note }))
            .collect())
    }

    async fn replace(
        &self,
        key: &str,
        expected: u64,
        holder: &str,
        note: &str,
    ) -> Result<Option<u64>, EngineError> {
        let sql = match expected {
            0 => {
                "INSERT INTO cluster_lease (key, revision, holder, note) VALUES ($1, $2 + 1, $3, $4) \
                 ON CONFLICT (key) DO NOTHING RETURNING revision"
            }
            _ => {
                "UPDATE cluster_lease SET revision = revision + 1, holder = $3, note = $4 \
                 WHERE key = $1 AND revision = $2 RETURNING revision"
            }
        };
        let row = sqlx::query_scalar::<_, i64>(sql).bind(key).bind(place(expected)).bind(holder).bind(note);
        let row = row.fetch_optional(&self.pool).await.map_err(|e| away(&e))?;
        Ok(row.map(seq))
    }
}
