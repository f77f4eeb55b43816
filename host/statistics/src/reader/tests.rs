//! Any division of events into batches, and a crash at any point, gives the sums of a direct count.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use proptest::prelude::*;
use relevo_mailkit::event::{Attempt, Clicked, Event, Opened, Queued};
use relevo_mailkit::labels::{Labels, Stream, Tag};
use relevo_mailkit::visitor::Visitor;
use relevo_queue::NewEvent;
use relevo_queue::testing::TestQueue;
use relevo_store::{
    ControlStore, Counter, Dimension, StatisticsCounts, StatisticsGroup, StatisticsQuery, StatisticsSite,
    StatisticsSum, StoreUrl,
};

use super::*;
use crate::OTHER;

/// The hour in which messages were accepted.
const FIRST_HOUR: i64 = 490_000;
const HOUR: Millis = 3_600_000;

/// Breaks the next call of `add_statistics`: before it (1), or after it has taken effect (2).
struct BreakingStore {
    store: ControlStore,
    breaks: AtomicU8,
}

fn broken() -> ControlStoreError {
    ControlStoreError::File("broken by the test".to_owned())
}

#[async_trait]
impl StatisticsStore for BreakingStore {
    async fn statistics_cursor(&self, reader: &str) -> Result<i64, ControlStoreError> {
        self.store.statistics_cursor(reader).await
    }

    async fn add_statistics(&self, batch: StatisticsBatch) -> Result<(), ControlStoreError> {
        match self.breaks.swap(0, Ordering::Relaxed) {
            0 => self.store.add_statistics(batch).await,
            1 => Err(broken()),
            _ => self.store.add_statistics(batch).await.and(Err(broken())),
        }
    }

    async fn statistics_values(
        &self,
        tenant: &str,
        hour: i64,
    ) -> Result<Vec<(Dimension, String)>, ControlStoreError> {
        self.store.statistics_values(tenant, hour).await
    }

    async fn statistics_sites(&self, max: u32) -> Result<Vec<StatisticsSite>, ControlStoreError> {
        self.store.statistics_sites(max).await
    }

    async fn statistics(&self, query: &StatisticsQuery) -> Result<Vec<StatisticsSum>, ControlStoreError> {
        self.store.statistics(query).await
    }

    async fn statistics_groups(
        &self,
        query: &StatisticsQuery,
        order: Counter,
        max: u32,
    ) -> Result<Vec<String>, ControlStoreError> {
        self.store.statistics_groups(query, order, max).await
    }

    async fn prune_statistics(&self, age: StatisticsAge) -> Result<u64, ControlStoreError> {
        self.store.prune_statistics(age).await
    }
}

struct World {
    log: Arc<TestQueue>,
    store: Arc<BreakingStore>,
    _directory: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = StoreUrl::File(directory.path().join("control.sqlite"));
        let store =
            BreakingStore { store: ControlStore::open(&url).await.unwrap(), breaks: AtomicU8::new(0) };
        Self { log: Arc::new(TestQueue::open().unwrap()), store: Arc::new(store), _directory: directory }
    }

    fn reader(&self) -> StatisticsReader {
        let now = Arc::new(|| FIRST_HOUR * HOUR);
        let metrics = StatisticsMetrics::default();
        StatisticsReader::new(self.log.clone(), self.store.clone(), reader_name(7), now, metrics)
    }

    /// Reads to the end of the log.
    async fn read(&self, reader: &mut StatisticsReader) {
        while reader.add_batch(1).await.unwrap() > 0 {}
    }

    /// Sums of the hours of the test by hour and value.
    async fn sums(&self, tenant: &str, dimension: Dimension, group: StatisticsGroup) -> Vec<StatisticsSum> {
        let edges = (FIRST_HOUR..FIRST_HOUR + 5_000).step_by(1_000).chain([FIRST_HOUR + 5_000]).collect();
        let query = StatisticsQuery {
            tenant: tenant.into(),
            dimension,
            values: Vec::new(),
            stream: None,
            edges,
            group,
        };
        self.store.statistics(&query).await.unwrap()
    }

    async fn total(&self, counter: Counter) -> i64 {
        let sums = self.sums("acme", Dimension::Total, StatisticsGroup::None).await;
        sums.iter().map(|sum| sum.counts[counter]).sum()
    }

    /// Values with one count, over all hours.
    async fn values(&self, dimension: Dimension, counter: Counter) -> BTreeMap<String, i64> {
        let mut values = BTreeMap::new();
        for sum in self.sums("acme", dimension, StatisticsGroup::Value).await {
            *values.entry(sum.group).or_default() += sum.counts[counter];
        }
        values
    }
}

fn message(n: u8) -> ItemId {
    ItemId::new(FIRST_HOUR * HOUR, [n; 10])
}

fn event(item: ItemId, hour: i64, tags: &[&str], event: Event) -> NewEvent {
    let tags = tags.iter().map(|tag| Tag { name: (*tag).into(), value: String::new() }).collect();
    let labels = Labels { tags, domain: "shop.test".into(), ..Labels::default() };
    NewEvent { tenant: "acme".into(), at: (FIRST_HOUR + hour) * HOUR, item: Some(item), labels, event }
}

fn opened(recipient_index: u32, count: u64) -> Event {
    Event::Opened(Opened {
        recipient: Some("a@corp.test".into()),
        recipient_index,
        count,
        ..Opened::default()
    })
}

fn clicked(recipient_index: u32, url: &str) -> Event {
    Event::Clicked(Clicked {
        recipient: Some("a@corp.test".into()),
        recipient_index,
        url: url.into(),
        count: 1,
        ..Clicked::default()
    })
}

fn delivered(recipient: &str, mx: Option<&str>, attempt: u32) -> Event {
    Event::Delivered(Attempt {
        recipient: recipient.into(),
        sender: "shop@shop.test".into(),
        mx: mx.map(str::to_owned),
        attempt,
        ..Attempt::default()
    })
}

/// An event of the property: what, of which tenant, message, recipient and link, in which hour.
type Made = (u8, u8, u8, u8, u8, u8);

const KINDS: u8 = 5;

fn made((kind, tenant, n, recipient, link, hour): Made) -> NewEvent {
    let made = match kind {
        0 => Event::Queued(Queued {
            sender: "shop@shop.test".into(),
            recipients: vec!["a@corp.test".into(); recipient.into()],
            ..Queued::default()
        }),
        1 => delivered(
            "a@corp.test",
            [Some("mx1.free.fr"), Some("mx.other.example"), None][usize::from(link)],
            1,
        ),
        2 => opened(recipient.into(), 2),
        3 => clicked(recipient.into(), &format!("https://shop.test/{link}")),
        _ => delivered("a@gmail.com", None, 2),
    };
    let tags: &[&str] = [&["x"][..], &["x", "y", "x"], &[]][usize::from(n)];
    let mut made = event(message(n), hour.into(), tags, made);
    made.tenant = ["acme", "other", ""][usize::from(tenant)].into();
    if tenant == 1 {
        made.labels.stream = Stream::Marketing;
    }
    made
}

type Sums = BTreeMap<(&'static str, &'static str, String), StatisticsCounts>;

/// The count of all events at once, without batches: by tenant, dimension and value.
fn direct(events: &[Made]) -> Sums {
    let (mut sums, mut seen, mut provider) = (Sums::new(), BTreeSet::new(), OTHER.to_owned());
    for (kind, tenant, n, recipient, link, _) in events.iter().copied() {
        let tenant = ["acme", "other", ""][usize::from(tenant)];
        if tenant.is_empty() {
            continue;
        }
        if kind == 1 && link < 2 {
            provider = ["free", "other.example"][usize::from(link)].to_owned();
        }
        let url = format!("https://shop.test/{link}");
        let mut values = vec![("total", String::new()), ("domain", "shop.test".to_owned())];
        values.extend(
            [&["x"][..], &["x", "y"], &[]][usize::from(n)].iter().map(|tag| ("tag", (*tag).to_owned())),
        );
        match kind {
            0 => {}
            4 => values.push(("provider", "google".to_owned())),
            _ => values.push(("provider", provider.clone())),
        }
        let counts: &[(Counter, i64)] = match kind {
            0 => &[(Counter::Accepted, recipient.into())],
            1 => &[(Counter::Delivered, 1), (Counter::Sent, 1)],
            2 => &[(Counter::Opened, 2)],
            3 => &[(Counter::Clicked, 1)],
            _ => &[(Counter::Delivered, 1)],
        };
        let unique = match kind {
            2 => seen.insert((n, recipient, "open".to_owned())).then_some(Counter::OpenedUnique),
            3 => seen.insert((n, recipient, "click".to_owned())).then_some(Counter::ClickedUnique),
            _ => None,
        };
        let mut add = |key, counter, count| sums.entry(key).or_default().add(counter, count);
        for (dimension, value) in values {
            for (counter, count) in counts.iter().copied().chain(unique.map(|unique| (unique, 1))) {
                add((tenant, dimension, value.clone()), counter, count);
            }
        }
        if kind == 3 {
            add((tenant, "link", url.clone()), Counter::Clicked, 1);
            if seen.insert((n, recipient, url.clone())) {
                add((tenant, "link", url), Counter::ClickedUnique, 1);
            }
        }
    }
    sums.retain(|_, counts| !counts.is_zero());
    sums
}

async fn stored(world: &World) -> Sums {
    let mut sums = Sums::new();
    for tenant in ["acme", "other"] {
        for dimension in Dimension::ALL {
            for sum in world.sums(tenant, dimension, StatisticsGroup::Value).await {
                let key = (tenant, dimension.name(), sum.group);
                sums.entry(key).or_default().merge(&sum.counts);
            }
        }
    }
    sums
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn batches_and_crashes_change_no_sum(
        parts in proptest::collection::vec(
            (proptest::collection::vec((0..KINDS, 0..3_u8, 0..3_u8, 0..3_u8, 0..3_u8, 0..3_u8), 0..12), 0..4_u8),
            1..6,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let mut reader = world.reader();
            for (events, crash) in &parts {
                world.log.append(events.iter().copied().map(made).collect()).await.unwrap();
                match crash {
                    0 => world.read(&mut reader).await,
                    // The process ends before it has read, or within a batch.
                    1 => reader = world.reader(),
                    crash => {
                        world.store.breaks.store(crash - 1, Ordering::Relaxed);
                        let result = reader.add_batch(1).await;
                        assert!(result.is_err() || world.store.breaks.load(Ordering::Relaxed) > 0);
                        world.store.breaks.store(0, Ordering::Relaxed);
                        reader = world.reader();
                    }
                }
            }
            world.read(&mut reader).await;
            let all: Vec<Made> = parts.into_iter().flat_map(|(events, _)| events).collect();
            assert_eq!(stored(&world).await, direct(&all));
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_beyond_the_bound_share_a_row() {
    let world = World::new().await;
    let mut reader = world.reader();
    for n in 0..120 {
        let tag = format!("t{n:03}");
        world
            .log
            .append(vec![event(message(1), 0, &[&tag], delivered("a@corp.test", None, 1))])
            .await
            .unwrap();
        if n % 50 == 49 {
            world.read(&mut reader).await;
            reader = world.reader();
        }
    }
    world.log.append(vec![event(message(1), 1, &["t119"], delivered("a@corp.test", None, 1))]).await.unwrap();
    world.read(&mut reader).await;
    let tags = world.values(Dimension::Tag, Counter::Sent).await;
    assert_eq!(tags.len(), 102, "a hundred of the first hour, one of the second, and all others");
    assert_eq!((tags.get(OTHER), tags.get("t099"), tags.get("t119")), (Some(&20), Some(&1), Some(&1)));
    assert_eq!(world.total(Counter::Sent).await, 121);
}

#[tokio::test(flavor = "multi_thread")]
async fn opens_and_clicks_are_unique_for_two_months() {
    let world = World::new().await;
    let mut reader = world.reader();
    let hours = UNIQUE_DAYS * 24;
    let at = |hour, event_| event(message(1), hour, &[], event_);
    let events = vec![
        at(0, opened(0, 1)),
        at(hours - 1, opened(0, 1)),
        at(hours - 1, opened(1, 3)),
        at(hours, opened(2, 1)),
        at(0, clicked(0, "https://a.test/")),
        at(1, clicked(0, "https://b.test/")),
        at(2, clicked(0, "https://a.test/")),
    ];
    for event in events {
        world.log.append(vec![event]).await.unwrap();
        world.read(&mut reader).await;
        reader = world.reader();
    }
    assert_eq!(world.total(Counter::Opened).await, 6);
    assert_eq!(world.total(Counter::OpenedUnique).await, 2);
    assert_eq!(world.total(Counter::ClickedUnique).await, 1);
    let links = world.values(Dimension::Link, Counter::ClickedUnique).await;
    assert_eq!(links, [("https://a.test/".to_owned(), 1), ("https://b.test/".to_owned(), 1)].into());
    assert_eq!(world.values(Dimension::Link, Counter::Clicked).await["https://a.test/"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_not_people() {
    let world = World::new().await;
    let by = |visitor, recipient_index| {
        let opened = Opened { recipient_index, count: 2, visitor, ..Opened::default() };
        event(message(1), 0, &[], Event::Opened(opened))
    };
    let events = vec![
        by(Visitor::PrefetchProxy, 0),
        by(Visitor::Human, 0),
        by(Visitor::Human, 0),
        by(Visitor::Scanner, 1),
        by(Visitor::Unknown, 2),
    ];
    world.log.append(events).await.unwrap();
    world.read(&mut world.reader()).await;
    let mut counts = Vec::new();
    for counter in [Counter::Opened, Counter::OpenedHuman, Counter::OpenedUnique, Counter::OpenedUniqueHuman]
    {
        counts.push(world.total(counter).await);
    }
    assert_eq!(counts, [10, 4, 3, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_were_removed_are_missing_and_the_rest_is_counted() {
    let world = World::new().await;
    let mut reader = world.reader();
    let one = || vec![event(message(1), 0, &[], delivered("a@corp.test", None, 1))];
    world.log.append(one()).await.unwrap();
    world.read(&mut reader).await;
    for _ in 0..3 {
        world.log.append(one()).await.unwrap();
    }
    while world.log.prune(0, 1).await.unwrap() > 0 {}
    world.read(&mut reader).await;
    assert_eq!(world.total(Counter::Sent).await, 2);
    assert_eq!(reader.metrics.pruned.get(), 1);
    world.log.append(one()).await.unwrap();
    world.read(&mut world.reader()).await;
    assert_eq!(world.total(Counter::Sent).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_delay_grows_until_events_are_counted() {
    let world = World::new().await;
    let mut reader = world.reader();
    world.log.append(vec![event(message(1), 0, &[], delivered("a@corp.test", None, 1))]).await.unwrap();
    let at = FIRST_HOUR * HOUR;
    let delay = async |reader: &StatisticsReader, later: Millis| {
        measure_delay(&reader.metrics, &*reader.events, at + later).await;
        reader.metrics.delay.get()
    };
    assert_eq!(delay(&reader, 5_000).await, 0, "its position is not known yet");
    reader.position().await.unwrap();
    assert_eq!([delay(&reader, 5_000).await, delay(&reader, 9_999).await], [5, 9]);
    world.read(&mut reader).await;
    assert_eq!(delay(&reader, 9_999).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_readers_of_one_log_count_it_once() {
    let world = World::new().await;
    world.log.append(vec![event(message(1), 0, &[], delivered("a@corp.test", None, 1))]).await.unwrap();
    let (mut one, mut two) = (world.reader(), world.reader());
    one.position().await.unwrap();
    two.position().await.unwrap();
    world.read(&mut one).await;
    let error = two.add_batch(1).await.unwrap_err();
    assert!(matches!(error, ReadError::Store(ControlStoreError::Stale)), "{error:?}");
    assert_eq!(world.total(Counter::Sent).await, 1);
}

#[test]
fn notifications_and_mail_of_nobody_are_not_counted() {
    let mut sites = Sites::default();
    let mut count = |event: &NewEvent| crate::count::count(event, &mut sites).is_some();
    let mail = event(message(1), 0, &[], delivered("a@corp.test", None, 1));
    assert!(count(&mail));
    assert!(!count(&NewEvent { tenant: String::new(), ..mail.clone() }));
    let Event::Delivered(attempt) = mail.event.clone() else { panic!("an attempt") };
    let notification = Event::Delivered(Attempt { sender: String::new(), ..attempt });
    assert!(!count(&NewEvent { event: notification, ..mail.clone() }));
    let fault = Event::PluginFault(relevo_mailkit::event::PluginFault::default());
    assert!(!count(&NewEvent { event: fault, ..mail }));
}
