//! Reading sums.

use sqlx::Row as _;

use super::{
    Counter, Dimension, StatisticsCounts, StatisticsGroup, StatisticsQuery, StatisticsSite, StatisticsSum,
};
use crate::control::reading;
use crate::{ControlStore, ControlStoreError};

pub(super) async fn cursor(store: &ControlStore, reader: &str) -> Result<i64, ControlStoreError> {
    let cursor = reading!(store, pool => {
        sqlx::query_scalar::<_, i64>("SELECT cursor FROM event_reader WHERE name = $1")
            .bind(reader)
            .fetch_optional(pool)
            .await?
    });
    Ok(cursor.unwrap_or(0))
}

pub(super) async fn values(
    store: &ControlStore,
    tenant: &str,
    hour: i64,
) -> Result<Vec<(Dimension, String)>, ControlStoreError> {
    // The dimensions are named, so that the primary key serves.
    let rows: Vec<(String, String)> = reading!(store, pool => {
        sqlx::query_as(
            "SELECT DISTINCT dimension, value FROM statistics WHERE tenant = $1 AND hour = $2 \
             AND dimension IN ('domain', 'tag', 'template', 'provider', 'link')",
        )
        .bind(tenant)
        .bind(hour)
        .fetch_all(pool)
        .await?
    });
    rows.into_iter()
        .map(|(name, value)| {
            let reason = format!("{name} is not a dimension");
            let dimension =
                Dimension::read(&name).ok_or(ControlStoreError::Damaged { table: "statistics", reason })?;
            Ok((dimension, value))
        })
        .collect()
}

pub(super) async fn sites(store: &ControlStore, max: u32) -> Result<Vec<StatisticsSite>, ControlStoreError> {
    let rows: Vec<(String, String, i64)> = reading!(store, pool => {
        sqlx::query_as(
            "SELECT domain, provider, seen_on FROM statistics_site ORDER BY seen_on DESC, domain LIMIT $1",
        )
        .bind(i64::from(max))
        .fetch_all(pool)
        .await?
    });
    let site = |(domain, provider, seen_on)| StatisticsSite { domain, provider, seen_on };
    Ok(rows.into_iter().map(site).collect())
}

pub(super) async fn sums(
    store: &ControlStore,
    query: &StatisticsQuery,
) -> Result<Vec<StatisticsSum>, ControlStoreError> {
    if query.edges.len() < 2 {
        return Ok(Vec::new());
    }
    let sums: Vec<String> =
        Counter::ALL.iter().map(|counter| format!("CAST(SUM({}) AS BIGINT)", counter.name())).collect();
    let group = group_sql(query.group);
    // CROSS JOIN: SQLite takes the intervals first, and the primary key for each.
    let sql = format!(
        "WITH span (position, first, last) AS (VALUES {}) \
         SELECT CAST(span.position AS BIGINT), {group}, {} FROM span CROSS JOIN statistics \
         WHERE hour >= span.first AND hour < span.last AND {} GROUP BY 1, 2 ORDER BY 1, 2",
        spans(&query.edges),
        sums.join(", "),
        conditions(query)
    );
    // The text differs with the intervals: the statement is not kept.
    Ok(reading!(store, pool => {
        let statement = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false);
        let mut statement = statement.bind(&query.tenant).bind(query.dimension.name());
        for text in query.stream.iter().chain(&query.values) {
            statement = statement.bind(text);
        }
        let mut found = Vec::new();
        for row in statement.fetch_all(pool).await? {
            let mut counts = StatisticsCounts::default();
            for (column, counter) in (2..).zip(Counter::ALL) {
                counts[*counter] = row.try_get(column)?;
            }
            let interval: i64 = row.try_get(0)?;
            let interval = usize::try_from(interval).unwrap_or_default();
            found.push(StatisticsSum { interval, group: row.try_get(1)?, counts });
        }
        found
    }))
}

pub(super) async fn groups(
    store: &ControlStore,
    query: &StatisticsQuery,
    order: Counter,
    max: u32,
) -> Result<Vec<String>, ControlStoreError> {
    let (Some(first), Some(last)) = (query.edges.first(), query.edges.last()) else {
        return Ok(Vec::new());
    };
    let sql = format!(
        "SELECT {} FROM statistics WHERE hour >= {first} AND hour < {last} AND {} GROUP BY 1 \
         ORDER BY SUM({}) DESC, 1 LIMIT {max}",
        group_sql(query.group),
        conditions(query),
        order.name()
    );
    Ok(reading!(store, pool => {
        let statement = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(sql)).persistent(false);
        let mut statement = statement.bind(&query.tenant).bind(query.dimension.name());
        for text in query.stream.iter().chain(&query.values) {
            statement = statement.bind(text);
        }
        statement.fetch_all(pool).await?
    }))
}

fn group_sql(group: StatisticsGroup) -> &'static str {
    match group {
        StatisticsGroup::None => "CAST('' AS TEXT)",
        StatisticsGroup::Value => "value",
        StatisticsGroup::Stream => "stream",
    }
}

/// `(0, 10, 12), (1, 12, 14)`: the intervals between edges.
fn spans(edges: &[i64]) -> String {
    let pairs = edges.iter().zip(edges.iter().skip(1)).enumerate();
    let spans: Vec<String> =
        pairs.map(|(position, (first, last))| format!("({position}, {first}, {last})")).collect();
    spans.join(", ")
}

/// Conditions with placeholders: `$1` is the tenant, `$2` the dimension, then the stream and the
/// values.
fn conditions(query: &StatisticsQuery) -> String {
    let mut sql = "tenant = $1 AND dimension = $2".to_owned();
    let mut next = 3;
    if query.stream.is_some() {
        sql.push_str(" AND stream = $3");
        next += 1;
    }
    if !query.values.is_empty() {
        let places: Vec<String> = (next..next + query.values.len()).map(|n| format!("${n}")).collect();
        sql.push_str(&format!(" AND value IN ({})", places.join(", ")));
    }
    sql
}
