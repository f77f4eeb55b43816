//! Topics.

use relevo_store::{ControlStore, ControlStoreError, TopicChange, TopicRecord, TopicStore};

fn topic(id: &str, name: &str) -> TopicRecord {
    TopicRecord {
        id: id.into(),
        name: name.into(),
        description: "What is new".into(),
        chosen_only: id == "t2",
        public: true,
        created_at: 1_000,
    }
}

/// A topic of this tenant that somebody chose.
pub(super) async fn add_one(store: &ControlStore, tenant: &str) {
    store.add_topic(tenant, &topic("t1", "news")).await.expect("adds");
    store.set_subscription(tenant, "a@example.net", "t1", Some(1)).await.expect("chooses");
}

pub(super) async fn topics_are_chosen_by_address(store: &ControlStore) {
    let topics = [topic("t1", "news"), topic("t2", "offers")];
    for topic in &topics {
        store.add_topic("acme", topic).await.expect("adds");
    }
    store.add_topic("other", &topic("t1", "news")).await.expect("another tenant's");
    let error = store.add_topic("acme", &topic("t3", "news")).await.expect_err("taken");
    assert!(matches!(error, ControlStoreError::Conflict(_)), "{error}");
    assert_eq!(store.topics("acme").await.expect("reads"), topics);

    let change = TopicChange { description: Some("Less".into()), public: None };
    assert!(store.change_topic("acme", "t2", &change).await.expect("changes"));
    let change = TopicChange { description: None, public: Some(false) };
    assert!(store.change_topic("acme", "t2", &change).await.expect("changes"));
    assert!(!store.change_topic("acme", "t9", &change).await.expect("there is none"));
    let changed = TopicRecord { description: "Less".into(), public: false, ..topics[1].clone() };
    assert_eq!(store.topics("acme").await.expect("reads")[1], changed);

    for _ in 0..2 {
        store.set_subscription("acme", "a@example.net", "t2", Some(5)).await.expect("chooses");
    }
    store.set_subscription("acme", "a@example.net", "t1", Some(5)).await.expect("chooses");
    assert!(store.set_subscription("acme", "a@example.net", "t9", Some(5)).await.is_err());
    assert_eq!(store.subscriptions_of("acme", "a@example.net").await.expect("reads"), ["t1", "t2"]);
    assert_eq!(store.subscriptions_of("other", "a@example.net").await.expect("reads"), [""; 0]);
    for _ in 0..2 {
        store.set_subscription("acme", "a@example.net", "t1", None).await.expect("leaves");
    }
    assert_eq!(store.subscriptions_of("acme", "a@example.net").await.expect("reads"), ["t2"]);

    assert!(store.delete_topic("acme", "t2").await.expect("deletes"));
    assert!(!store.delete_topic("acme", "t2").await.expect("is gone"));
    assert_eq!(store.subscriptions_of("acme", "a@example.net").await.expect("reads"), [""; 0]);
    for (tenant, id) in [("acme", "t1"), ("other", "t1")] {
        assert!(store.delete_topic(tenant, id).await.expect("deletes"));
    }
}
