//! Time of the roll-up of ten million events of a month, and of reports about them:
//! `cargo run --release -p relevo-statistics --example month [EVENTS]`.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a measurement ends where something is amiss, and its numbers are known"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use relevo_mailkit::event::{Attempt, Clicked, Event, Opened, Queued};
use relevo_mailkit::labels::{Labels, Stream, Tag};
use relevo_mailkit::visitor::Visitor;
use relevo_queue::{EventError, EventLog, ItemId, Millis, NewEvent, StoreError, StoredEvent};
use relevo_statistics::{
    Dimension, Interval, ReportRequest, Span, Statistics, StatisticsGroup, StatisticsMetrics,
    StatisticsReader,
};
use relevo_store::{ControlStore, StatisticsStore, StoreUrl};

/// November 2026.
const FROM: &str = "2026-11-01T00:00:00Z";
const TO: &str = "2026-12-01T00:00:00Z";
const FIRST: Millis = 1_793_491_200_000;
const MONTH: Millis = 720 * 3_600_000;
/// Distinct values of each hour.
const DOMAINS: u64 = 5;
const TAGS: u64 = 40;
const TEMPLATES: u64 = 10;
const PROVIDERS: u64 = 30;
const LINKS: u64 = 50;
const READER: &str = "statistics";

/// A log that makes its events when they are read. Of five events two are acceptances, two are
/// deliveries, and one is an open or a click.
struct MadeLog {
    events: u64,
}

impl MadeLog {
    fn event(&self, cursor: u64) -> StoredEvent {
        let number = cursor - 1;
        // The fifth event is about the second message.
        let message = number / 5 * 2 + [0, 0, 1, 1, 1][(number % 5) as usize];
        let part =
            |events: u64| FIRST + (MONTH as u128 * u128::from(events) / u128::from(self.events)) as Millis;
        let recipient = format!("r{message}@provider-{}.example", message % PROVIDERS);
        let labels = Labels {
            stream: if message.is_multiple_of(2) { Stream::Transactional } else { Stream::Marketing },
            domain: format!("sender-{}.example", message / 2 % DOMAINS),
            tags: vec![Tag { name: "campaign".into(), value: (message / 2 % TAGS).to_string() }],
            template: format!("template-{}", message / 2 % TEMPLATES),
            ..Labels::default()
        };
        let event = match number % 10 {
            0 | 2 | 5 | 7 => Event::Queued(Queued {
                sender: "news@sender.example".into(),
                recipients: vec![recipient],
                ..Queued::default()
            }),
            1 | 3 | 6 | 8 => Event::Delivered(Attempt {
                sender: "news@sender.example".into(),
                mx: Some(format!("mx.provider-{}.example", message % PROVIDERS)),
                status: "2.0.0".into(),
                recipient,
                attempt: 1,
                ..Attempt::default()
            }),
            4 => Event::Opened(Opened {
                recipient: Some(recipient),
                count: 1,
                visitor: Visitor::Human,
                ..Opened::default()
            }),
            _ => Event::Clicked(Clicked {
                recipient: Some(recipient),
                url: format!("https://example.com/page/{}", message / 2 % LINKS),
                count: 1,
                visitor: Visitor::Human,
                ..Clicked::default()
            }),
        };
        let mut rest = [0; 10];
        rest[2..].copy_from_slice(&message.to_be_bytes());
        let item = Some(ItemId::new(part(number / 5 * 5), rest));
        let event = NewEvent { tenant: "acme".into(), at: part(number), item, labels, event };
        StoredEvent { cursor, event }
    }
}

#[async_trait]
impl EventLog for MadeLog {
    async fn append(&self, _: Vec<NewEvent>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn append_expendable(&self, _: Vec<NewEvent>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn events(&self, _: Option<&str>, after: u64, max: usize) -> Result<Vec<StoredEvent>, EventError> {
        let last = self.events.min(after + max as u64);
        Ok((after + 1..=last).map(|cursor| self.event(cursor)).collect())
    }

    async fn messages_before(&self, _: &str, _: u64, _: usize) -> Result<Vec<StoredEvent>, StoreError> {
        Ok(Vec::new())
    }

    async fn events_before(&self, _: &str, _: u64, _: usize) -> Result<Vec<StoredEvent>, StoreError> {
        Ok(Vec::new())
    }

    async fn events_of(&self, _: ItemId, _: u64, _: usize) -> Result<Vec<StoredEvent>, StoreError> {
        Ok(Vec::new())
    }

    async fn wait_after(&self, after: u64) -> u64 {
        if after >= self.events {
            std::future::pending::<()>().await;
        }
        self.events
    }

    async fn prune(&self, _: Millis, _: u64) -> Result<usize, StoreError> {
        Ok(0)
    }
}

async fn roll_up(events: u64, store: &Arc<ControlStore>) {
    let now: Arc<dyn Fn() -> Millis + Send + Sync> = Arc::new(|| FIRST + MONTH);
    let log = Arc::new(MadeLog { events });
    let reader = StatisticsReader::new(log, store.clone(), READER.into(), now, StatisticsMetrics::default());
    let began = Instant::now();
    let reader = tokio::spawn(reader.run());
    while store.statistics_cursor(READER).await.unwrap().cast_unsigned() < events {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    reader.abort();
    // The reader lets events gather for a second first.
    let took = began.elapsed().saturating_sub(Duration::from_secs(1));
    println!(
        "{events} events rolled up in {took:?}: {:?} for a million",
        took * 1_000 / (events / 1_000) as u32
    );
}

async fn report(statistics: &Statistics, dimension: Dimension, interval: Interval) {
    let group = if dimension == Dimension::Total { StatisticsGroup::None } else { StatisticsGroup::Value };
    let span = Span::read(Some(FROM), Some(TO), interval, "Europe/Madrid", 0).unwrap();
    let (tenant, value, stream) = ("acme".to_owned(), None, None);
    let request = ReportRequest { tenant, span, dimension, group, value, stream, limit: 20 };
    let mut times = Vec::new();
    let mut groups = 0;
    for _ in 0..5 {
        let began = Instant::now();
        groups = statistics.report(&request).await.unwrap().data.len();
        times.push(began.elapsed());
    }
    times.sort();
    println!("{:>9} by {:<6} {groups:>3} groups {:?}", dimension.name(), interval.name(), times[2]);
}

#[tokio::main]
async fn main() {
    let events = std::env::args().nth(1).map_or(10_000_000, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let url = StoreUrl::File(directory.path().join("control.sqlite"));
    let store = Arc::new(ControlStore::open(&url).await.unwrap());
    roll_up(events, &store).await;
    let statistics = Statistics::new(store, READER);
    for dimension in Dimension::ALL {
        report(&statistics, dimension, Interval::Total).await;
        report(&statistics, dimension, Interval::Day).await;
    }
    report(&statistics, Dimension::Total, Interval::Hour).await;
}
