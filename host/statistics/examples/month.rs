//! Time of reports about a month with ten million events: `cargo run --example month`.
#![allow(clippy::unwrap_used, reason = "a measurement ends where something is amiss")]

use std::sync::Arc;
use std::time::Instant;

use relevo_statistics::{Dimension, Interval, ReportRequest, Span, Statistics, StatisticsGroup};
use relevo_store::{
    ControlStore, Counter, StatisticsBatch, StatisticsCounts, StatisticsRow, StatisticsStore, StoreUrl,
};

/// November 2026.
const FROM: &str = "2026-11-01T00:00:00Z";
const TO: &str = "2026-12-01T00:00:00Z";
const FIRST_HOUR: i64 = 498_192;
const HOURS: i64 = 720;
/// Distinct values of each hour.
const VALUES: [(Dimension, usize); 6] = [
    (Dimension::Total, 1),
    (Dimension::Domain, 5),
    (Dimension::Tag, 40),
    (Dimension::Template, 10),
    (Dimension::Provider, 30),
    (Dimension::Link, 50),
];
/// Events of an hour: ten million in all.
const EVENTS: i64 = 10_000_000 / HOURS;

fn rows(hour: i64) -> Vec<StatisticsRow> {
    let mut rows = Vec::new();
    for (dimension, count) in VALUES {
        for (n, stream) in (0..count).flat_map(|n| [(n, "transactional"), (n, "marketing")]) {
            let mut counts = StatisticsCounts::default();
            for counter in Counter::ALL {
                counts.add(*counter, EVENTS / 2 / i64::try_from(count * Counter::ALL.len()).unwrap());
            }
            let value = if dimension == Dimension::Total { String::new() } else { format!("value-{n:03}") };
            rows.push(StatisticsRow { tenant: "acme".into(), dimension, hour, stream, value, counts });
        }
    }
    rows
}

#[tokio::main]
async fn main() {
    let directory = tempfile::tempdir().unwrap();
    let store = ControlStore::open(&StoreUrl::File(directory.path().join("control.sqlite"))).await.unwrap();
    let began = Instant::now();
    for hour in 0..HOURS {
        let batch = StatisticsBatch {
            reader: "statistics".into(),
            after: hour,
            cursor: hour + 1,
            rows: rows(FIRST_HOUR + hour),
            ..StatisticsBatch::default()
        };
        store.add_statistics(batch).await.unwrap();
    }
    println!("{HOURS} hours stored in {:?}", began.elapsed());
    let statistics = Statistics::new(Arc::new(store), "statistics");
    let groups = VALUES.iter().map(|(dimension, _)| *dimension);
    for (dimension, interval) in groups.flat_map(|d| [(d, Interval::Total), (d, Interval::Day)]) {
        let group =
            if dimension == Dimension::Total { StatisticsGroup::None } else { StatisticsGroup::Value };
        let span = Span::read(Some(FROM), Some(TO), interval, "Europe/Madrid", 0).unwrap();
        let request = ReportRequest {
            tenant: "acme".into(),
            span,
            dimension,
            group,
            value: None,
            stream: None,
            limit: 20,
        };
        let began = Instant::now();
        let report = statistics.report(&request).await.unwrap();
        println!(
            "{:>9} by {:<6} {:>3} groups {:?}",
            dimension.name(),
            interval.name(),
            report.data.len(),
            began.elapsed()
        );
    }
}
