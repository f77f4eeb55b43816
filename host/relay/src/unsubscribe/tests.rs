//! From the fields of a copy to the list, and back.

use relevo_mailkit::token::TokenKeys;
use relevo_mailkit::token::unsubscribe::Subscription;
use relevo_queue::testing::AcceptedItem;
use relevo_store::{ControlStore, StoreUrl, SuppressionFilter};
use tempfile::TempDir;

use super::*;
use crate::clock::RandomIds;
use crate::copies::{HopAbilities, MakeCopy as _};
use crate::pipeline::{Rejection, Submission};
use crate::policy::Check;
use crate::settings::Settings;
use crate::testing::{World, read, submission};
use crate::topics::{NewTopic, Topics};
use crate::tracking::TrackingMetrics;

const HOST: &str = "t.example.com";
const CLIENT: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));
const MAIL: &str = "From: a@tracked.example\r\nTo: b@b.example\r\n\r\nNews\r\n";

struct Lists {
    world: World,
    endpoint: UnsubscribeEndpoint,
    suppressions: Arc<Suppressions>,
    _directory: TempDir,
}

impl Lists {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut world = World::with(change);
        let directory = tempfile::tempdir().expect("a directory");
        let url = StoreUrl::File(directory.path().join("control.sqlite"));
        let store = Arc::new(ControlStore::open(&url).await.expect("opens"));
        let topics = Topics::new(store.clone(), world.clock.clone(), Arc::new(RandomIds));
        let (events, clock) = (world.queue.clone(), world.clock.clone());
        let suppressions = Suppressions::open(store, events, clock, Arc::new(RandomIds), topics).await;
        let suppressions = Arc::new(suppressions.expect("opens"));
        world.pipeline.checks = vec![suppressions.clone() as Arc<dyn Check>];
        let tracking = TrackingEndpoint::new(
            world.settings.clone(),
            world.queue.clone(),
            world.queue.clone(),
            world.clock.clone(),
            TrackingMetrics::default(),
        );
        let endpoint = UnsubscribeEndpoint::new(Arc::new(tracking), suppressions.clone());
        Self { world, endpoint, suppressions, _directory: directory }
    }

    fn mail(&self, stream: Stream, topic: &str) -> Submission {
        let mut mail = submission(&self.world, MAIL);
        mail.envelope.sender = "a@tracked.example".into();
        mail.options.labels = Labels { stream, topic: topic.into(), ..Labels::default() };
        mail
    }

    async fn send(&self, stream: Stream, topic: &str) -> Result<AcceptedItem, Rejection> {
        self.world.pipeline.submit(self.mail(stream, topic)).await?;
        Ok(self.world.queue.last_item())
    }

    async fn refused(&self, stream: Stream, topic: &str) -> Rejection {
        self.send(stream, topic).await.err().expect("refused")
    }

    async fn copy(&self, stored: &AcceptedItem) -> String {
        let all = HopAbilities { eight_bit: true, smtputf8: true };
        let copy = self.world.copies.make(&stored.lease(0), all).await.expect("a copy");
        String::from_utf8(read(&*copy.source)).expect("UTF-8")
    }

    async fn topic(&self, name: &str, chosen_only: bool, public: bool) -> String {
        let new = NewTopic { name: name.into(), description: String::new(), chosen_only, public };
        self.suppressions.topics().add("acme", new).await.expect("made").id
    }

    async fn change(&self, token: &str, change: Change, list: Option<&str>) -> TokenAnswer<Changed> {
        let asked = (change, Method::Page);
        self.endpoint.change(&visit(HOST, token), asked, list).await.expect("the store works")
    }

    async fn shown(&self, token: &str) -> Subscriber {
        match self.endpoint.show(&visit(HOST, token)).await {
            Ok(TokenAnswer::Genuine(subscriber)) => subscriber,
            other => panic!("{other:?}"),
        }
    }

    fn last(&self) -> (&'static str, NewEvent) {
        let event = self.world.queue.last_event();
        (event.event.name(), event)
    }
}

fn visit<'a>(host: &'a str, token: &'a str) -> LinkVisit<'a> {
    LinkVisit { host, token, client: CLIENT, tenant: None }
}

/// The token in the List-Unsubscribe field of a copy.
fn token(copy: &str) -> String {
    let (_, rest) = copy.split_once("List-Unsubscribe: <https://t.example.com/u/").expect("a field");
    rest.split('>').next().expect("one").to_owned()
}

fn minted(keys: &TokenKeys, topic: &str) -> String {
    let scope = relevo_mailkit::token::Scope { tenant: "acme", host: HOST };
    let of = Subscription { address: "B@b.example", topic, sender: "tracked.example" };
    keys.mint_unsubscribe(&scope, &[9; 16], 3, &of).expect("a key")
}

#[tokio::test]
async fn marketing_mail_has_both_fields_and_its_recipient_can_leave() {
    let lists = Lists::new().await;
    let stored = lists.send(Stream::Marketing, "").await.expect("accepted");
    let copy = lists.copy(&stored).await;
    assert!(copy.contains("\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"), "{copy}");
    assert_eq!(copy, lists.copy(&stored).await, "a retry is the same");
    let token = token(&copy);

    let asked = (Change::Leave, Method::OneClick);
    for _ in 0..2 {
        let answer = lists.endpoint.change(&visit(HOST, &token), asked, None).await.expect("stored");
        assert!(
            matches!(&answer, TokenAnswer::Genuine(changed) if changed.subscriber.has_left()),
            "{answer:?}"
        );
        let (kind, event) = lists.last();
        assert_eq!(kind, "email.unsubscribed", "once only");
        assert_eq!((event.item, event.labels.stream), (Some(stored.id), Stream::Marketing));
        let Event::Unsubscribed(change) = event.event else { panic!("{event:?}") };
        assert_eq!(
            (change.recipient.as_str(), change.list.as_str(), change.method.as_str()),
            ("b@b.example", "marketing", "one_click")
        );
    }
    let refused = lists.refused(Stream::Marketing, "").await;
    assert_eq!((refused.reply.code, refused.rule.as_str()), (550, "policy"));
    lists.send(Stream::Transactional, "").await.expect("other mail arrives");

    let answer = lists.change(&token, Change::ComeBack, None).await;
    assert!(matches!(&answer, TokenAnswer::Genuine(changed) if !changed.subscriber.has_left()), "{answer:?}");
    assert_eq!(lists.last().0, "email.resubscribed");
    lists.send(Stream::Marketing, "").await.expect("comes back");
}

#[tokio::test]
async fn looking_changes_nothing() {
    let lists = Lists::new().await;
    let token = minted(&lists.world.settings.get().tracking_keys, "");
    for _ in 0..3 {
        let shown = lists.shown(&token).await;
        assert_eq!((shown.address.as_str(), shown.sender.as_str()), ("b@b.example", "tracked.example"));
        assert!(!shown.has_left());
    }
    assert!(lists.world.queue.events().is_empty());
    lists.send(Stream::Marketing, "").await.expect("still subscribed");
}

#[tokio::test]
async fn a_topic_is_left_alone() {
    let lists = Lists::new().await;
    let id = lists.topic("news", false, true).await;
    let token = token(&lists.copy(&lists.send(Stream::Marketing, &id).await.expect("accepted")).await);
    lists.change(&token, Change::Leave, None).await;
    for (topic, arrives) in [("news", false), (id.as_str(), false), ("offers", true), ("", true)] {
        assert_eq!(lists.send(Stream::Marketing, topic).await.is_ok(), arrives, "{topic}");
    }
    // All marketing mail, named on the page of the topic.
    lists.change(&token, Change::Leave, Some(MARKETING)).await;
    assert!(lists.send(Stream::Marketing, "offers").await.is_err());
    lists.change(&token, Change::ComeBack, Some(MARKETING)).await;
    lists.change(&token, Change::ComeBack, Some(&id)).await;
    lists.send(Stream::Marketing, "news").await.expect("back");
}

#[tokio::test]
async fn a_topic_that_must_be_chosen_is_sent_to_those_who_chose_it() {
    let lists = Lists::new().await;
    let id = lists.topic("digest", true, true).await;
    let refused = lists.refused(Stream::Marketing, "digest").await;
    assert!(refused.reply.to_string().contains("not_subscribed to the opt-in topic digest"), "{refused:?}");
    let token = minted(&lists.world.settings.get().tracking_keys, "");
    lists.change(&token, Change::ComeBack, Some(&id)).await;
    lists.send(Stream::Marketing, "digest").await.expect("chosen by name");
    lists.send(Stream::Marketing, &id).await.expect("chosen by id");
    lists.change(&token, Change::Leave, Some(&id)).await;
    assert!(lists.send(Stream::Marketing, "digest").await.is_err());
}

#[tokio::test]
async fn a_private_topic_is_shown_to_nobody_who_has_nothing_to_do_with_it() {
    let lists = Lists::new().await;
    let (shown, hidden) = (lists.topic("news", false, true).await, lists.topic("staff", false, false).await);
    let keys = lists.world.settings.get().tracking_keys.clone();
    let subscriber = lists.shown(&minted(&keys, "")).await;
    let names: Vec<_> = subscriber.topics().map(|choice| choice.topic.id.as_str()).collect();
    assert_eq!(names, [shown.as_str()]);
    let answer = lists.change(&minted(&keys, ""), Change::Leave, Some(&hidden)).await;
    assert_eq!(answer, TokenAnswer::Unknown);
    assert_eq!(lists.shown(&minted(&keys, "staff")).await.topics().count(), 2);
}

#[tokio::test]
async fn what_others_listed_is_not_undone() {
    let lists = Lists::new().await;
    let entry = crate::suppressions::NewSuppression {
        address: "b@b.example".into(),
        stream: "marketing".into(),
        reason: "complaint".into(),
        detail: String::new(),
        message_id: None,
    };
    lists.suppressions.add("acme", vec![entry]).await.expect("added");
    let token = minted(&lists.world.settings.get().tracking_keys, "");
    lists.change(&token, Change::ComeBack, None).await;
    assert!(lists.shown(&token).await.has_left());
    assert_eq!(lists.last().0, "suppression.added");
    let left = lists.suppressions.list("acme", &SuppressionFilter::default(), ("", ""), 10).await;
    assert_eq!(left.expect("reads").len(), 1);
}

#[tokio::test]
async fn forged_and_foreign_tokens_are_unknown() {
    let lists = Lists::new().await;
    let token = minted(&lists.world.settings.get().tracking_keys, "");
    let mut other = lists.world.settings.get().tracking_keys.clone();
    other.0[0].secret[0] ^= 1;
    for (host, token) in [
        (HOST, minted(&other, "")),
        (HOST, token[1..].to_owned()),
        (HOST, String::new()),
        ("other.example.com", token),
    ] {
        let answer =
            lists.endpoint.change(&visit(host, &token), (Change::Leave, Method::OneClick), None).await;
        assert_eq!(answer.expect("the store works"), TokenAnswer::Unknown);
    }
    assert!(lists.world.queue.events().is_empty());
}

#[tokio::test]
async fn the_edge_of_a_tenant_asks_about_its_own_recipients() {
    let lists = Lists::new().await;
    let token = minted(&lists.world.settings.get().tracking_keys, "");
    let edge = |tenant| LinkVisit { client: None, tenant: Some(tenant), ..visit(HOST, &token) };
    assert_eq!(lists.endpoint.show(&edge("other")).await.expect("reads"), TokenAnswer::Unknown);
    let asked = (Change::Leave, Method::OneClick);
    let answer = lists.endpoint.change(&edge("other"), asked, None).await.expect("reads");
    assert_eq!(answer, TokenAnswer::Unknown);
    assert!(!lists.shown(&token).await.has_left());
    let answer = lists.endpoint.change(&edge("acme"), asked, None).await.expect("stored");
    assert!(matches!(answer, TokenAnswer::Genuine(_)) && lists.shown(&token).await.has_left());
}

#[tokio::test]
async fn a_client_with_too_many_requests_waits() {
    let lists = Lists::with(|settings| settings.tracking.events_per_second_per_client = 1).await;
    let token = minted(&lists.world.settings.get().tracking_keys, "");
    for _ in 0..10 {
        lists.shown(&token).await;
    }
    assert_eq!(lists.change(&token, Change::Leave, None).await, TokenAnswer::TooMany);
    assert!(lists.world.queue.events().is_empty());
}

#[tokio::test]
async fn a_field_of_the_senders_own_stays() {
    let lists = Lists::new().await;
    let own = "From: a@tracked.example\r\nList-Unsubscribe: <https://own.example/>\r\n\r\nNews\r\n";
    let mut mail = lists.mail(Stream::Marketing, "");
    mail.body = relevo_queue::SpooledBody::in_memory(own.as_bytes().to_vec());
    lists.world.pipeline.submit(mail).await.expect("accepted");
    let copy = lists.copy(&lists.world.queue.last_item()).await;
    assert_eq!(copy.matches("List-Unsubscribe").count(), 1, "{copy}");
    let copy = lists.copy(&lists.send(Stream::Transactional, "").await.expect("accepted")).await;
    assert!(!copy.contains("List-Unsubscribe"), "{copy}");
}

#[tokio::test]
async fn a_mailbox_is_named_beside_the_url() {
    let lists = Lists::with(|settings| settings.unsubscribe_mailbox = Some("leave@example.com".into())).await;
    let copy = lists.copy(&lists.send(Stream::Marketing, "").await.expect("accepted")).await;
    let token = token(&copy);
    assert!(copy.contains(&format!(">,\r\n <mailto:leave@example.com?subject={token}>\r\n")), "{copy}");
}

#[tokio::test]
async fn marketing_mail_without_a_host_is_refused() {
    let lists = Lists::new().await;
    let mut mail = submission(&lists.world, "From: a@example.com\r\n\r\nNews\r\n");
    mail.options.labels.stream = Stream::Marketing;
    let refused = lists.world.pipeline.submit(mail).await.expect_err("no tracking host");
    assert_eq!((refused.reply.code, refused.rule.as_str()), (550, "no-unsubscribe-host"));
    let refused = lists.refused(Stream::Marketing, &"x".repeat(129)).await;
    assert_eq!(refused.rule, "topic-too-long");
}
