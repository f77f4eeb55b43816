//! Genuine tokens, and everything else.

mod reported;

use relevo_mailkit::event::{Attempt, Event};
use relevo_mailkit::token::TokenKeys;
use relevo_mailkit::visitor::{Guess, Visitor};
use relevo_queue::testing::{FailingCall, TestQueue};

use super::*;
use crate::events::Visited;
use crate::testing::{World, submission};

const HOST: &str = "t.example.com";
const PLAIN: &str = "From: a@example.com\r\n\r\nHello\r\n";

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const CLIENT: Client<'_> = Client { address: ADDRESS, user_agent: Some(BROWSER) };

async fn clicked(endpoint: &TrackingEndpoint, host: &str, token: &str) -> Option<Url> {
    match endpoint.click(host, token, CLIENT).await {
        TokenAnswer::Genuine(url) => Some(url),
        TokenAnswer::Unknown => None,
        TokenAnswer::TooMany => panic!("too many"),
    }
}

async fn opened(endpoint: &TrackingEndpoint, host: &str, token: &str) -> bool {
    endpoint.open(host, token, CLIENT).await == TokenAnswer::Genuine(())
}

fn endpoint(world: &World) -> TrackingEndpoint {
    TrackingEndpoint::new(
        world.settings.clone(),
        Arc::clone(&world.queue) as _,
        Arc::clone(&world.queue) as _,
        Arc::clone(&world.clock) as _,
        TrackingMetrics::default(),
    )
}

fn visited<'a>(
    index: u32,
    recipient: Option<&'a str>,
    visitor: Visitor,
    reason: &'static str,
) -> Visited<'a> {
    let guess = Guess { visitor, reason };
    Visited { recipient, recipient_index: index, count: 1, guess, first: false }
}

fn keys(world: &World) -> TokenKeys {
    world.settings.get().tracking_keys.clone()
}

fn click_token(world: &World, id: ItemId, to: &str) -> String {
    let scope = Scope { tenant: "acme", host: HOST };
    keys(world).mint_click(&scope, &id.0, 0, to).expect("a key")
}

fn count(queue: &TestQueue) -> usize {
    queue.kinds().len()
}

#[tokio::test]
async fn a_click_redirects_and_is_written() {
    let world = World::new();
    let id = world.pipeline.submit(submission(&world, PLAIN)).await.expect("accepted").id;
    let token = click_token(&world, id, "https://x.example/a b?q=ü");
    let url = clicked(&endpoint(&world), "T.Example.COM", &token).await.expect("genuine");
    assert_eq!(url.as_str(), "https://x.example/a%20b?q=%C3%BC");
    let event = world.queue.last_event();
    assert_eq!((event.tenant.as_str(), event.item), ("acme", Some(id)));
    let visit = visited(0, Some("b@b.example"), Visitor::Scanner, "before-delivery");
    assert_eq!(event.event, Visited { first: true, ..visit }.clicked(url.as_str()));
}

#[tokio::test]
async fn an_open_is_written_also_when_the_message_is_gone() {
    let world = World::new();
    let id = ItemId([9; 16]);
    let scope = Scope { tenant: "acme", host: HOST };
    let token = keys(&world).mint_open(&scope, &id.0, 3).expect("a key");
    assert!(opened(&endpoint(&world), HOST, &token).await);
    let event = world.queue.last_event();
    let visit = visited(3, None, Visitor::Human, "browser");
    assert_eq!((event.item, event.event), (Some(id), visit.opened()));
}

#[tokio::test]
async fn an_open_has_the_address_also_when_the_message_is_delivered() {
    let world = World::new();
    let id = ItemId([9; 16]);
    let attempt = |recipient: &str, recipient_index| {
        let recipient = recipient.to_owned();
        let attempt = Attempt { recipient, recipient_index, ..Attempt::default() };
        events::event("acme", Some(id), world.clock.now(), Event::Delivered(attempt))
    };
    let delivered = vec![attempt("a@b.example", 0), attempt("b@b.example", 1)];
    world.queue.append(delivered).await.expect("stored");
    let token = keys(&world).mint_open(&Scope { tenant: "acme", host: HOST }, &id.0, 1).expect("a key");
    assert!(opened(&endpoint(&world), HOST, &token).await);
    let visit = visited(1, Some("b@b.example"), Visitor::Scanner, "right-after-delivery");
    assert_eq!(world.queue.last_event().event, Visited { first: true, ..visit }.opened());
}

/// A message to one recipient that was delivered ten minutes ago.
async fn delivered(world: &World) -> ItemId {
    let id = ItemId([9; 16]);
    let attempt = Attempt { recipient: "b@b.example".to_owned(), ..Attempt::default() };
    let event = events::event("acme", Some(id), world.clock.now() - 600_000, Event::Delivered(attempt));
    world.queue.append(vec![event]).await.expect("stored");
    id
}

fn last_visit(world: &World) -> (Visitor, String, bool) {
    match world.queue.last_event().event {
        Event::Opened(opened) => (opened.visitor, opened.visitor_reason, opened.first),
        Event::Clicked(clicked) => (clicked.visitor, clicked.visitor_reason, clicked.first),
        other => panic!("{other:?}"),
    }
}

fn pass_window(world: &World) {
    let window = i64::try_from(repeats::WINDOW.as_millis()).expect("small");
    world.clock.0.fetch_add(window, std::sync::atomic::Ordering::Relaxed);
}

#[tokio::test]
async fn the_first_open_and_the_first_click_on_each_link_say_so() {
    let world = World::new();
    let id = delivered(&world).await;
    let it = endpoint(&world);
    let open = keys(&world).mint_open(&Scope { tenant: "acme", host: HOST }, &id.0, 0).expect("a key");
    let (one, two) =
        (click_token(&world, id, "https://x.example/1"), click_token(&world, id, "https://x.example/2"));
    let human = |first| (Visitor::Human, "browser".to_owned(), first);
    for first in [true, false] {
        assert!(opened(&it, HOST, &open).await);
        assert_eq!(last_visit(&world), human(first));
        for token in [&one, &two] {
            assert!(clicked(&it, HOST, token).await.is_some());
            assert_eq!(last_visit(&world), human(first));
        }
        pass_window(&world);
        it.flush_ended().await;
    }
}

#[tokio::test]
async fn machines_and_people_are_counted_apart() {
    let world = World::new();
    let id = delivered(&world).await;
    let it = endpoint(&world);
    let token = click_token(&world, id, "https://x.example/");
    let scanner = Client { user_agent: Some("Barracuda Sentinel (EE)"), ..CLIENT };
    for _ in 0..2 {
        it.click(HOST, &token, scanner).await;
    }
    assert_eq!(last_visit(&world), (Visitor::Scanner, "mail-gateway".to_owned(), true));
    assert!(clicked(&it, HOST, &token).await.is_some());
    assert_eq!(last_visit(&world), (Visitor::Human, "browser".to_owned(), false));
    it.flush().await;
    let (visitor, reason, _) = last_visit(&world);
    assert_eq!(
        (visitor, reason.as_str()),
        (Visitor::Scanner, "mail-gateway"),
        "the repeat was the scanner's"
    );
}

#[tokio::test]
async fn many_links_at_once_are_a_scanner() {
    let world = World::new();
    let id = delivered(&world).await;
    let it = endpoint(&world);
    for n in 1..=4 {
        let token = click_token(&world, id, &format!("https://x.example/{n}"));
        assert!(clicked(&it, HOST, &token).await.is_some());
        let expected = if n < 3 { Visitor::Human } else { Visitor::Scanner };
        assert_eq!(last_visit(&world).0, expected, "{n}");
    }
}

#[tokio::test]
async fn a_tracking_host_is_one_under_any_port() {
    let world = World::new();
    let id = world.pipeline.submit(submission(&world, PLAIN)).await.expect("accepted").id;
    let token = click_token(&world, id, "https://x.example/");
    let endpoint = endpoint(&world);
    for host in [HOST, "t.example.com:443", "T.Example.Com.:8080", "t.example.com."] {
        assert!(endpoint.serves(host), "{host}: the API must not answer here");
        assert!(clicked(&endpoint, host, &token).await.is_some(), "{host}");
    }
    for host in [
        "",
        ":443",
        "example.com",
        "x.t.example.com",
        "t.example.com.evil.example",
        "t.example.com..",
        "[::1]:80",
    ] {
        assert!(!endpoint.serves(host), "{host}");
        assert!(clicked(&endpoint, host, &token).await.is_none(), "{host}");
    }
}

#[tokio::test]
async fn a_look_without_reading_is_not_written() {
    let world = World::new();
    let id = world.pipeline.submit(submission(&world, PLAIN)).await.expect("accepted").id;
    let before = count(&world.queue);
    let click = click_token(&world, id, "https://x.example/");
    let open = keys(&world).mint_open(&Scope { tenant: "acme", host: HOST }, &id.0, 0).expect("a key");
    let endpoint = endpoint(&world);
    assert_eq!(endpoint.click_target(HOST, &click).map(String::from).as_deref(), Some("https://x.example/"));
    assert!(endpoint.is_open(HOST, &open));
    assert!(endpoint.click_target(HOST, &open).is_none() && !endpoint.is_open(HOST, &click));
    assert_eq!(count(&world.queue), before);
}

#[tokio::test]
async fn nothing_but_http_with_a_host() {
    let world = World::new();
    for to in [
        "javascript:alert(1)",
        "ftp://x.example/",
        "data:text/html,x",
        "/relative",
        "http://",
        "",
        "//x.example",
    ] {
        let token = click_token(&world, ItemId([1; 16]), to);
        assert_eq!(clicked(&endpoint(&world), HOST, &token).await, None, "{to}");
    }
    assert_eq!(count(&world.queue), 0);
}

#[tokio::test]
async fn altered_tokens_and_other_hosts_are_unknown() {
    let world = World::new();
    let token = click_token(&world, ItemId([1; 16]), "https://x.example/");
    let it = endpoint(&world);
    for n in 0..token.len() {
        let mut altered = token.clone().into_bytes();
        altered[n] = if altered[n] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).expect("ASCII");
        assert_eq!(clicked(&it, HOST, &altered).await, None, "{n}");
    }
    assert_eq!(clicked(&it, "other.example.com", &token).await, None);
    assert!(!opened(&it, HOST, &token).await, "a click token is no open token");
    assert_eq!(clicked(&it, HOST, &format!("{token}=")).await, None);
    assert_eq!(clicked(&it, HOST, "").await, None);
    assert_eq!(count(&world.queue), 0);
    // Ports and the root's dot name no other host.
    assert!(it.serves("T.example.com") && it.serves("t.example.com:8080") && it.serves("t.example.com."));
    assert!(!it.serves("other.example.com"));
}

#[tokio::test]
async fn a_store_that_fails_does_not_keep_the_reader() {
    let world = World::new();
    world.queue.fail(FailingCall::Append, || relevo_queue::StoreError::Full);
    let token = click_token(&world, ItemId([1; 16]), "https://x.example/");
    assert!(clicked(&endpoint(&world), HOST, &token).await.is_some());
}

/// The counts of all opens.
fn counts(world: &World) -> Vec<u64> {
    let events = world.queue.events();
    let count = |event: &NewEvent| match &event.event {
        Event::Opened(opened) => opened.count,
        other => panic!("{other:?}"),
    };
    events.iter().map(count).collect()
}

fn open_tokens(world: &World, recipients: std::ops::Range<u32>) -> Vec<String> {
    let (scope, keys) = (Scope { tenant: "acme", host: HOST }, keys(world));
    recipients.map(|n| keys.mint_open(&scope, &[9; 16], n).expect("a key")).collect()
}

#[tokio::test]
async fn ten_thousand_replays_are_few_events() {
    let world = World::new();
    let endpoint = endpoint(&world);
    let token = &open_tokens(&world, 0..1)[0];
    for _ in 0..10_000 {
        assert!(opened(&endpoint, HOST, token).await);
    }
    assert_eq!(counts(&world), [1]);
    pass_window(&world);
    endpoint.flush_ended().await;
    assert!(opened(&endpoint, HOST, token).await);
    endpoint.flush().await;
    assert_eq!(counts(&world), [1, 9_999, 1]);
}

#[tokio::test]
async fn a_client_with_too_many_events_is_answered_all_the_same() {
    let world = World::new();
    let endpoint = endpoint(&world);
    for token in open_tokens(&world, 0..600) {
        assert!(opened(&endpoint, HOST, &token).await);
    }
    assert_eq!(count(&world.queue), 500, "ten seconds' worth");
    assert_eq!(endpoint.metrics.dropped_for("client_rate"), 100);
    let click = click_token(&world, ItemId([1; 16]), "https://x.example/");
    assert!(clicked(&endpoint, HOST, &click).await.is_some());
    assert_eq!(endpoint.click(HOST, "nonsense", CLIENT).await, TokenAnswer::TooMany);
    let other = Client { address: "192.0.2.2".parse().expect("an address"), ..CLIENT };
    assert_eq!(endpoint.click(HOST, "nonsense", other).await, TokenAnswer::Unknown);
}

#[tokio::test]
async fn a_tenant_with_too_many_events_is_bounded() {
    let world = World::with(|settings| settings.tracking.events_per_second = 20);
    let endpoint = endpoint(&world);
    for (n, token) in open_tokens(&world, 0..300).iter().enumerate() {
        let address = IpAddr::V4(std::net::Ipv4Addr::from_bits(u32::try_from(n).expect("small")));
        let client = Client { address, ..CLIENT };
        assert_eq!(endpoint.open(HOST, token, client).await, TokenAnswer::Genuine(()));
    }
    assert_eq!((count(&world.queue), endpoint.metrics.dropped_for("tenant_rate")), (200, 100));
}

#[tokio::test]
async fn what_a_full_disk_refuses_is_counted() {
    let world = World::new();
    world.queue.fail(FailingCall::Append, || StoreError::Full);
    let endpoint = endpoint(&world);
    assert!(opened(&endpoint, HOST, &open_tokens(&world, 0..1)[0]).await);
    assert_eq!(endpoint.metrics.dropped_for("disk"), 1);
}
