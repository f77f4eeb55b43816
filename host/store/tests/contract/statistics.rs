//! Statistics.

use relevo_store::{
    ControlStore, ControlStoreError, Counter, Dimension, SeenCandidate, SeenCredit, StatisticsAge,
    StatisticsBatch, StatisticsCounts, StatisticsGroup, StatisticsQuery, StatisticsRow, StatisticsSite,
    StatisticsStore, StatisticsSum,
};

const READER: &str = "statistics:contract";

fn row(
    tenant: &str,
    dimension: Dimension,
    hour: i64,
    value: &str,
    counts: &[(Counter, i64)],
) -> StatisticsRow {
    let mut all = StatisticsCounts::default();
    for (counter, count) in counts {
        all.add(*counter, *count);
    }
    StatisticsRow {
        tenant: tenant.into(),
        dimension,
        hour,
        stream: "transactional",
        value: value.into(),
        counts: all,
    }
}

fn query(tenant: &str, dimension: Dimension, edges: &[i64], group: StatisticsGroup) -> StatisticsQuery {
    StatisticsQuery {
        tenant: tenant.into(),
        dimension,
        values: Vec::new(),
        stream: None,
        edges: edges.to_vec(),
        group,
    }
}

/// Interval, group and one count of each sum.
fn counts(sums: &[StatisticsSum], counter: Counter) -> Vec<(usize, &str, i64)> {
    sums.iter().map(|sum| (sum.interval, sum.group.as_str(), sum.counts[counter])).collect()
}

/// A row of this tenant.
pub(super) async fn add_one(store: &ControlStore, tenant: &str) {
    let batch = StatisticsBatch {
        reader: format!("statistics:{tenant}"),
        cursor: 1,
        rows: vec![row(tenant, Dimension::Total, 1, "", &[(Counter::Sent, 1)])],
        ..StatisticsBatch::default()
    };
    store.add_statistics(batch).await.expect("adds");
}

/// The number of mails that this tenant has sent.
pub(super) async fn sent(store: &ControlStore, tenant: &str) -> i64 {
    let query = query(tenant, Dimension::Total, &[0, 1_000_000], StatisticsGroup::None);
    let sums = store.statistics(&query).await.expect("reads");
    sums.iter().map(|sum| sum.counts[Counter::Sent]).sum()
}

pub(super) async fn counts_move_with_the_cursor(store: &ControlStore) {
    let batch = |after, cursor, n| StatisticsBatch {
        reader: READER.into(),
        after,
        cursor,
        rows: vec![
            row("acme", Dimension::Total, 10, "", &[(Counter::Accepted, n), (Counter::Sent, 1)]),
            row("acme", Dimension::Tag, 10, "a:'; DROP TABLE statistics; --", &[(Counter::Accepted, n)]),
            row("acme", Dimension::Tag, 10, "b", &[]),
        ],
        ..StatisticsBatch::default()
    };
    assert_eq!(store.statistics_cursor(READER).await.expect("reads"), 0);
    store.add_statistics(batch(0, 7, 2)).await.expect("adds");
    store.add_statistics(batch(7, 9, 3)).await.expect("adds");
    for stale in [batch(0, 9, 1), batch(7, 12, 1)] {
        let error = store.add_statistics(stale).await.expect_err("was added already");
        assert!(matches!(error, ControlStoreError::Stale), "{error:?}");
    }
    assert_eq!(store.statistics_cursor(READER).await.expect("reads"), 9);
    let total = query("acme", Dimension::Total, &[10, 11], StatisticsGroup::None);
    let sums = store.statistics(&total).await.expect("reads");
    assert_eq!(counts(&sums, Counter::Accepted), [(0, "", 5)]);
    assert_eq!(counts(&sums, Counter::Sent), [(0, "", 2)]);
    let tags = query("acme", Dimension::Tag, &[10, 11], StatisticsGroup::Value);
    let sums = store.statistics(&tags).await.expect("reads");
    assert_eq!(counts(&sums, Counter::Accepted), [(0, "a:'; DROP TABLE statistics; --", 5)]);
    let other = query("other", Dimension::Total, &[10, 11], StatisticsGroup::None);
    assert_eq!(store.statistics(&other).await.expect("reads"), []);
    let values = store.statistics_values("acme", 10).await.expect("reads");
    assert_eq!(values, [(Dimension::Tag, "a:'; DROP TABLE statistics; --".to_owned())]);
    forget(store).await;
}

pub(super) async fn sums_are_grouped_by_interval_and_value(store: &ControlStore) {
    let of = |stream, hour, value: &str, n| StatisticsRow {
        stream,
        ..row("acme", Dimension::Domain, hour, value, &[(Counter::Sent, n)])
    };
    let batch = StatisticsBatch {
        reader: "statistics:groups".into(),
        cursor: 1,
        rows: vec![
            of("transactional", 9, "a.test", 1),
            of("transactional", 10, "a.test", 2),
            of("marketing", 10, "a.test", 4),
            of("marketing", 13, "b.test", 8),
            of("marketing", 13, "c.test", 8),
            of("marketing", 14, "c.test", 16),
        ],
        ..StatisticsBatch::default()
    };
    store.add_statistics(batch).await.expect("adds");
    let mut query = query("acme", Dimension::Domain, &[10, 12, 13, 14], StatisticsGroup::None);
    let sums = store.statistics(&query).await.expect("reads");
    assert_eq!(counts(&sums, Counter::Sent), [(0, "", 6), (2, "", 16)]);
    query.group = StatisticsGroup::Stream;
    let sums = store.statistics(&query).await.expect("reads");
    let by_stream = [(0, "marketing", 4), (0, "transactional", 2), (2, "marketing", 16)];
    assert_eq!(counts(&sums, Counter::Sent), by_stream);
    query.group = StatisticsGroup::Value;
    query.stream = Some("marketing".into());
    let sums = store.statistics(&query).await.expect("reads");
    assert_eq!(counts(&sums, Counter::Sent), [(0, "a.test", 4), (2, "b.test", 8), (2, "c.test", 8)]);
    let groups = store.statistics_groups(&query, Counter::Sent, 2).await.expect("reads");
    assert_eq!(groups, ["b.test", "c.test"], "the largest first, then by name");
    query.values = vec!["a.test".into(), "b.test".into(), "x' OR '1'='1".into()];
    let sums = store.statistics(&query).await.expect("reads");
    assert_eq!(counts(&sums, Counter::Sent), [(0, "a.test", 4), (2, "b.test", 8)]);
    // As many intervals as an answer may have.
    query.edges = (0..=2_000).collect();
    let sums = store.statistics(&query).await.expect("reads");
    assert_eq!(counts(&sums, Counter::Sent), [(10, "a.test", 4), (13, "b.test", 8)]);
    query.edges = vec![10];
    assert_eq!(store.statistics(&query).await.expect("nothing to read"), []);
    forget(store).await;
}

pub(super) async fn what_was_seen_is_counted_once(store: &ControlStore) {
    let candidate = |recipient, link, marks: &[i64]| SeenCandidate {
        message: [7; 16],
        recipient,
        link,
        credits: marks
            .iter()
            .map(|mark| SeenCredit { mark: *mark, counter: Counter::OpenedUnique, rows: vec![0, 1] })
            .collect(),
    };
    let batch = |after, seen| StatisticsBatch {
        reader: "statistics:seen".into(),
        after,
        cursor: after + 1,
        rows: vec![
            row("acme", Dimension::Total, 20, "", &[(Counter::Opened, 1)]),
            row("acme", Dimension::Tag, 20, "a", &[]),
        ],
        seen,
        sites: Vec::new(),
    };
    for (after, seen) in [
        (0, vec![candidate(1, 0, &[1]), candidate(0, 0, &[1, 2]), candidate(0, -5, &[1])]),
        (1, vec![candidate(0, 0, &[1, 2])]),
        (2, vec![candidate(0, 0, &[2, 4]), candidate(1, 0, &[1, 2])]),
    ] {
        store.add_statistics(batch(after, seen)).await.expect("adds");
    }
    for (dimension, opened) in [(Dimension::Total, 3), (Dimension::Tag, 0)] {
        let sums = store.statistics(&query("acme", dimension, &[20, 21], StatisticsGroup::None)).await;
        let sums = sums.expect("reads");
        assert_eq!(counts(&sums, Counter::OpenedUnique), [(0, "", 4 + 2)], "{dimension:?}");
        assert_eq!(counts(&sums, Counter::Opened), [(0, "", opened)], "{dimension:?}");
    }
    // Marks that are gone are new again: that is why they are kept for long.
    forget(store).await;
    store.add_statistics(batch(3, vec![candidate(0, 0, &[1])])).await.expect("adds");
    let total = query("acme", Dimension::Total, &[20, 21], StatisticsGroup::None);
    let sums = store.statistics(&total).await.expect("reads");
    assert_eq!(counts(&sums, Counter::OpenedUnique), [(0, "", 1)]);
    forget(store).await;
}

pub(super) async fn sites_are_replaced_and_what_is_old_goes(store: &ControlStore) {
    let site = |domain: &str, provider: &str, seen_on| StatisticsSite {
        domain: domain.into(),
        provider: provider.into(),
        seen_on,
    };
    let batch = |after, sites| StatisticsBatch {
        reader: "statistics:sites".into(),
        after,
        cursor: after + 1,
        rows: vec![row("acme", Dimension::Total, 30 + after, "", &[(Counter::Sent, 1)])],
        seen: Vec::new(),
        sites,
    };
    store
        .add_statistics(batch(0, vec![site("b.test", "google", 3), site("a.test", "yahoo", 5)]))
        .await
        .expect("adds");
    store.add_statistics(batch(1, vec![site("b.test", "microsoft", 4)])).await.expect("adds");
    let all = [site("a.test", "yahoo", 5), site("b.test", "microsoft", 4)];
    assert_eq!(store.statistics_sites(10).await.expect("reads"), all);
    assert_eq!(store.statistics_sites(1).await.expect("reads"), all[..1]);
    let age = StatisticsAge { hour: 31, message: [0; 16], day: 5 };
    assert_eq!(store.prune_statistics(age).await.expect("removes"), 2);
    assert_eq!(store.statistics_sites(10).await.expect("reads"), all[..1]);
    let hours = query("acme", Dimension::Total, &[30, 31, 32], StatisticsGroup::None);
    let sums = store.statistics(&hours).await.expect("reads");
    assert_eq!(counts(&sums, Counter::Sent), [(1, "", 1)]);
    forget(store).await;
}

async fn forget(store: &ControlStore) {
    let all = StatisticsAge { hour: i64::MAX, message: [255; 16], day: i64::MAX };
    store.prune_statistics(all).await.expect("removes");
}
