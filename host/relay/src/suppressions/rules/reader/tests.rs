//! Entries, counts and the position move together, and who is suppressed gets nothing.

use relevo_mailkit::classification::{Action, BounceType, Classification, Explanation, Subject};
use relevo_mailkit::event::Attempt;
use relevo_mailkit::labels::Labels;
use relevo_queue::testing::TestQueue;
use relevo_queue::{ItemId, NewEvent};
use relevo_store::{ControlStore, StoreUrl, SuppressionStore as _};

use super::*;
use crate::clock::{RandomIds, SystemClock};
use crate::suppressions::rules::IncidentRule;
use crate::topics::Topics;

struct World {
    log: Arc<TestQueue>,
    store: Arc<ControlStore>,
    suppressions: Arc<Suppressions>,
    _directory: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let url = StoreUrl::File(directory.path().join("control.sqlite"));
        let store = Arc::new(ControlStore::open(&url).await.expect("opens"));
        let (log, clock) = (Arc::new(TestQueue::open().expect("opens")), Arc::new(SystemClock::new()));
        let topics = Topics::new(store.clone(), clock.clone(), Arc::new(RandomIds));
        let opened = Suppressions::open(store.clone(), log.clone(), clock, Arc::new(RandomIds), topics).await;
        let suppressions = Arc::new(opened.expect("opens"));
        suppressions.fill().await;
        Self { log, store, suppressions, _directory: directory }
    }

    fn rules(&self, settings: SuppressionRuleSettings) -> SuppressionRules {
        SuppressionRules::new(
            (self.suppressions.clone(), self.store.clone()),
            self.log.clone(),
            suppression_reader_name(7),
            (settings.clone(), Arc::new(move |_| Arc::new(settings.clone()))),
            Arc::new(|_, _| "google".to_owned()),
            SuppressionRuleMetrics::default(),
        )
    }

    async fn read(&self, rules: &mut SuppressionRules) {
        while rules.read_page().await.expect("reads") > 0 {}
    }

    async fn all(&self) -> Vec<SuppressionRecord> {
        let all = SuppressionFilter::default();
        self.store.suppressions("acme", &all, ("", ""), 100).await.expect("reads")
    }

    fn added(&self) -> Vec<String> {
        let added = self.log.events().into_iter().filter_map(|event| match event.event {
            Event::SuppressionAdded(change) => Some(change.recipient),
            _ => None,
        });
        added.collect()
    }
}

fn bounced(recipient: &str, category: &str, at: Millis) -> NewEvent {
    let class = Classification {
        bounce_type: BounceType::Hard,
        category: category.into(),
        about: Subject::Recipient,
        action: Action::Suppress,
        rule: "no-such-user".into(),
        rules_version: "1".into(),
        explanation: Explanation::default(),
        doc: None,
    };
    let attempt = Attempt {
        recipient: recipient.into(),
        classification: Some(class),
        code: Some(550),
        ..Attempt::default()
    };
    let item = Some(ItemId::new(at, [1; 10]));
    let (tenant, event) = ("acme".to_owned(), Event::Bounced(attempt));
    NewEvent { tenant, at, item, labels: Labels::default(), event }
}

#[tokio::test]
async fn a_bounce_suppresses_once_also_after_a_restart() {
    let world = World::new().await;
    let mut rules = world.rules(SuppressionRuleSettings::default());
    world.log.append(vec![bounced("a@example.net", "bad_mailbox", 1_000)]).await.expect("appends");
    world.read(&mut rules).await;
    let all = world.all().await;
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].address.as_str(), all[0].created_at), ("a@example.net", 1_000));
    let cause = all[0].cause.clone().expect("a rule");
    assert_eq!((cause.rule.as_str(), cause.provider.as_str()), ("no-such-user", "google"));
    let found = world.suppressions.suppressed("acme", &Labels::default(), "A@example.net").await;
    assert!(found.expect("reads").is_some(), "the filter in memory knows it");
    // By hand: it stays away, as the event is behind the position.
    let filter = SuppressionFilter { by_rule: true, ..SuppressionFilter::default() };
    assert_eq!(world.suppressions.remove("acme", &filter, 10).await.expect("removes"), all);
    let mut again = world.rules(SuppressionRuleSettings::default());
    world.read(&mut again).await;
    assert_eq!(world.all().await, []);
    assert_eq!(world.added(), ["a@example.net"]);
}

#[tokio::test]
async fn counts_survive_a_restart_and_two_readers_do_not_count_twice() {
    let world = World::new().await;
    for day in 0..8 {
        let mut rules = world.rules(SuppressionRuleSettings::default());
        world.read(&mut rules).await;
        let mut late = world.rules(SuppressionRuleSettings::default());
        late.position().await.expect("reads");
        let event = bounced("a@example.net", "mailbox_full", day * DAY);
        world.log.append(vec![event]).await.expect("appends");
        world.read(&mut rules).await;
        let stale = late.read_page().await;
        assert!(matches!(stale, Err(ReadError::Store(ControlStoreError::Stale))), "{day} {stale:?}");
        assert_eq!(world.all().await.len(), usize::from(day == 7), "{day}");
    }
    assert!(!world.store.has_suppression_counts().await.expect("reads"));
    assert!(world.all().await[0].detail.starts_with("8 times since 1970-01-01"));
}

#[tokio::test]
async fn entries_of_bounces_expire_and_can_be_undone() {
    let world = World::new().await;
    let expire = Some(Duration::from_secs(30 * 86_400));
    let mut rules = world.rules(SuppressionRuleSettings { expire, ..SuppressionRuleSettings::default() });
    let now = world.suppressions.clock.now();
    for (recipient, at) in [("old@example.net", now - 31 * DAY), ("new@example.net", now - DAY)] {
        world.log.append(vec![bounced(recipient, "bad_mailbox", at)]).await.expect("appends");
    }
    world.read(&mut rules).await;
    rules.prune().await.expect("removes");
    let left = world.all().await;
    assert_eq!(left.iter().map(|entry| entry.address.as_str()).collect::<Vec<_>>(), ["new@example.net"]);

    let filter = SuppressionFilter {
        by_rule: true,
        provider: Some("google".into()),
        since: Some(now - 2 * DAY),
        until: Some(now),
        ..SuppressionFilter::default()
    };
    let dry = world.suppressions.undo("acme", &filter, true).await.expect("reads");
    assert_eq!((dry.count, dry.entries.len(), world.all().await.len()), (1, 1, 1));
    let undone = world.suppressions.undo("acme", &filter, false).await.expect("removes");
    assert_eq!((undone.count, undone.has_more, undone.entries), (1, false, dry.entries));
    assert_eq!(world.all().await, []);
}

#[tokio::test]
async fn a_pause_is_in_the_event_log() {
    let world = World::new().await;
    let incident = IncidentRule { bounces: 1, percent: 50, minutes: 15 };
    let mut rules = world.rules(SuppressionRuleSettings { incident, ..SuppressionRuleSettings::default() });
    for recipient in ["a@example.net", "b@example.net", "c@example.net"] {
        world.log.append(vec![bounced(recipient, "bad_mailbox", 1_000)]).await.expect("appends");
    }
    world.read(&mut rules).await;
    let paused: Vec<_> =
        world.log.events().into_iter().filter(|e| e.event.name() == "suppression.paused").collect();
    assert_eq!((paused.len(), paused[0].tenant.as_str()), (1, "acme"));
    assert_eq!(world.added(), ["a@example.net"]);
}
