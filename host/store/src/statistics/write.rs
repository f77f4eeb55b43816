//! Adding a batch, and removing what is old.

use std::collections::HashMap;

use sqlx::Row as _;

use super::{
    COUNTERS, Counter, SeenCandidate, StatisticsAge, StatisticsBatch, StatisticsRow, StatisticsSite,
};
use crate::control::{move_reader, placeholders, writing};
use crate::{ControlStore, ControlStoreError};

/// Rows of one statement. There are few sizes, so that few statements are prepared.
const SIZES: [usize; 3] = [50, 10, 1];
/// The most values of one statement. SQLite looks up each by its number in a list of all: with 6,000
/// values that took 10 times the rest of the transaction (`examples/month.rs` of the statistics).
const MAX_VALUES: usize = 400;

/// Values of a row of each table.
const SEEN_COLUMNS: usize = 4;
const ROW_COLUMNS: usize = 5 + COUNTERS;
const SITE_COLUMNS: usize = 3;

/// The key of a [`SeenCandidate`].
type SeenKey = ([u8; 16], i64, i64);

pub(super) async fn add(store: &ControlStore, mut batch: StatisticsBatch) -> Result<(), ControlStoreError> {
    // One order for all writers: two that lock the same rows in two orders wait for each other.
    batch.seen.sort_by_key(key);
    batch.sites.sort_by(|a, b| a.domain.cmp(&b.domain));
    writing!(store, transaction => {
        move_reader!(transaction, &batch.reader, batch.after, batch.cursor);
        let mut marked = HashMap::new();
        for part in parts(&batch.seen, SEEN_COLUMNS) {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(seen_sql(part.len())));
            for candidate in part {
                query = query
                    .bind(candidate.message.to_vec())
                    .bind(candidate.recipient)
                    .bind(candidate.link)
                    .bind(candidate.credits.iter().fold(0, |marks, credit| marks | credit.mark));
            }
            for row in query.fetch_all(&mut *transaction).await? {
                let message: Vec<u8> = row.try_get(0)?;
                let (marks, previous): (i64, i64) = (row.try_get(3)?, row.try_get(4)?);
                let key = (message.try_into().unwrap_or_default(), row.try_get(1)?, row.try_get(2)?);
                marked.insert(key, marks & !previous);
            }
        }
        credit(&batch.seen, &marked, &mut batch.rows);
        batch.rows.retain(|row| !row.counts.is_zero());
        batch.rows.sort_by(|a, b| order(a).cmp(&order(b)));
        for part in parts(&batch.rows, ROW_COLUMNS) {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(rows_sql(part.len())));
            for row in part {
                query = query
                    .bind(&row.tenant)
                    .bind(row.dimension.name())
                    .bind(row.hour)
                    .bind(row.stream)
                    .bind(&row.value);
                for counter in Counter::ALL {
                    query = query.bind(row.counts[*counter]);
                }
            }
            query.execute(&mut *transaction).await?;
        }
        for part in parts(&batch.sites, SITE_COLUMNS) {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sites_sql(part.len())));
            for StatisticsSite { domain, provider, seen_on } in part {
                query = query.bind(domain).bind(provider).bind(seen_on);
            }
            query.execute(&mut *transaction).await?;
        }
    })
}

pub(super) async fn prune(store: &ControlStore, age: StatisticsAge) -> Result<u64, ControlStoreError> {
    writing!(store, transaction => {
        let rows = sqlx::query("DELETE FROM statistics WHERE hour < $1")
            .bind(age.hour)
            .execute(&mut *transaction)
            .await?;
        let seen = sqlx::query("DELETE FROM statistics_seen WHERE message < $1")
            .bind(age.message.to_vec())
            .execute(&mut *transaction)
            .await?;
        let sites = sqlx::query("DELETE FROM statistics_site WHERE seen_on < $1")
            .bind(age.day)
            .execute(&mut *transaction)
            .await?;
        rows.rows_affected() + seen.rows_affected() + sites.rows_affected()
    })
}

fn key(candidate: &SeenCandidate) -> SeenKey {
    (candidate.message, candidate.recipient, candidate.link)
}

fn order(row: &StatisticsRow) -> (&str, &str, i64, &str, &str) {
    (&row.tenant, row.dimension.name(), row.hour, row.stream, &row.value)
}

/// Raises the counters of marks that are new.
fn credit(seen: &[SeenCandidate], marked: &HashMap<SeenKey, i64>, rows: &mut [StatisticsRow]) {
    for candidate in seen {
        let new = marked.get(&key(candidate)).copied().unwrap_or(0);
        for credit in candidate.credits.iter().filter(|credit| credit.mark & new != 0) {
            for index in &credit.rows {
                if let Some(row) = rows.get_mut(*index) {
                    row.counts.add(credit.counter, 1);
                }
            }
        }
    }
}

/// Divides rows of so many columns into parts of [`SIZES`], the largest first.
fn parts<T>(mut rows: &[T], columns: usize) -> Vec<&[T]> {
    let mut parts = Vec::new();
    for size in SIZES.into_iter().filter(|size| size * columns <= MAX_VALUES) {
        while rows.len() >= size {
            let (part, rest) = rows.split_at(size);
            parts.push(part);
            rows = rest;
        }
    }
    parts
}

fn seen_sql(rows: usize) -> String {
    format!(
        "INSERT INTO statistics_seen (message, recipient, link, marks, previous) VALUES {} \
         ON CONFLICT (message, recipient, link) DO UPDATE SET previous = statistics_seen.marks, \
         marks = statistics_seen.marks | excluded.marks \
         RETURNING message, recipient, link, marks, previous",
        placeholders(rows, SEEN_COLUMNS, ", 0")
    )
}

fn rows_sql(rows: usize) -> String {
    let names: Vec<&str> = Counter::ALL.iter().map(|counter| counter.name()).collect();
    let sums: Vec<String> =
        names.iter().map(|name| format!("{name} = statistics.{name} + excluded.{name}")).collect();
    format!(
        "INSERT INTO statistics (tenant, dimension, hour, stream, value, {}) VALUES {} \
         ON CONFLICT (tenant, dimension, hour, stream, value) DO UPDATE SET {}",
        names.join(", "),
        placeholders(rows, ROW_COLUMNS, ""),
        sums.join(", ")
    )
}

fn sites_sql(rows: usize) -> String {
    format!(
        "INSERT INTO statistics_site (domain, provider, seen_on) VALUES {} \
         ON CONFLICT (domain) DO UPDATE SET provider = excluded.provider, seen_on = excluded.seen_on",
        placeholders(rows, SITE_COLUMNS, "")
    )
}
