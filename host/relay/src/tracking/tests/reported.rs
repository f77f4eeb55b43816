//! Reports of the edge.

use relevo_api::tracking::{CheckedEvent, ReportAnswer, ReportedEvent, ReportedKind, timestamp};

use super::*;
use crate::sending::{ClaimedKey, SendRefusal};
use crate::testing::NOW;

fn reported(kind: ReportedKind, token: &str, at: Millis) -> CheckedEvent {
    let at = u64::try_from(at).expect("after 1970");
    let event = ReportedEvent {
        kind,
        host: HOST.to_owned(),
        token: token.to_owned(),
        at: timestamp(at),
        user_agent: Some(BROWSER.to_owned()),
        address: Some(ADDRESS),
    };
    CheckedEvent { event, at }
}

async fn report(
    endpoint: &TrackingEndpoint,
    key: &str,
    events: Vec<CheckedEvent>,
) -> Result<ReportAnswer, SendRefusal> {
    let answer = endpoint.report("acme", events, ClaimedKey::unused(key)).await?;
    Ok(serde_json::from_slice(&answer.json).expect("an answer"))
}

fn recorded(count: u64) -> Result<ReportAnswer, SendRefusal> {
    Ok(ReportAnswer { recorded: count, ..ReportAnswer::default() })
}

#[tokio::test]
async fn a_reported_click_is_the_same_as_one_that_was_answered_here() {
    let (here, edge) = (World::new(), World::new());
    for world in [&here, &edge] {
        delivered(world).await;
    }
    let token = click_token(&here, ItemId([9; 16]), "https://x.example/a b");
    assert!(clicked(&endpoint(&here), HOST, &token).await.is_some());
    let answer = report(&endpoint(&edge), "k", vec![reported(ReportedKind::Click, &token, NOW)]).await;
    assert_eq!((answer, edge.queue.last_event()), (recorded(1), here.queue.last_event()));
}

#[tokio::test]
async fn an_event_has_the_time_of_its_request() {
    let world = World::new();
    let id = delivered(&world).await;
    let token = click_token(&world, id, "https://x.example/");
    // Delivered ten minutes ago, clicked a second later, reported now.
    let at = NOW - 599_000;
    assert_eq!(
        report(&endpoint(&world), "k", vec![reported(ReportedKind::Click, &token, at)]).await,
        recorded(1)
    );
    assert_eq!(world.queue.last_event().at, at);
    assert_eq!(last_visit(&world), (Visitor::Scanner, "right-after-delivery".to_owned(), true));
}

#[tokio::test]
async fn what_is_not_genuine_changes_nothing() {
    let world = World::new();
    let id = delivered(&world).await;
    let (click, before) = (click_token(&world, id, "https://x.example/"), count(&world.queue));
    let other_keys =
        TokenKeys(vec![relevo_mailkit::token::TokenKey { id: "k1".into(), secret: vec![1; 32] }]);
    let scope = Scope { tenant: "acme", host: HOST };
    let forged = other_keys.mint_click(&scope, &id.0, 0, "https://x.example/").expect("a key");
    let script = click_token(&world, id, "javascript:alert(1)");
    let foreign = CheckedEvent {
        event: ReportedEvent {
            host: "other.example.com".into(),
            ..reported(ReportedKind::Click, &click, NOW).event
        },
        at: 0,
    };
    let events = vec![
        reported(ReportedKind::Click, &forged, NOW),
        reported(ReportedKind::Click, &script, NOW),
        reported(ReportedKind::Open, &click, NOW),
        reported(ReportedKind::Click, "", NOW),
        CheckedEvent { at: u64::try_from(NOW).expect("small"), ..foreign },
        reported(ReportedKind::Click, &click, NOW + 61_000),
        reported(ReportedKind::Click, &click, NOW - MAX_AGE - 1),
    ];
    let expected = ReportAnswer { unknown: 5, implausible: 2, ..ReportAnswer::default() };
    assert_eq!(report(&endpoint(&world), "k", events).await, Ok(expected));
    // The tokens of another tenant's host are as unknown as any.
    let own = vec![reported(ReportedKind::Click, &click, NOW)];
    let answer = endpoint(&world).report("other", own, ClaimedKey::unused("l")).await.expect("an answer");
    let answer: ReportAnswer = serde_json::from_slice(&answer.json).expect("an answer");
    assert_eq!((answer.unknown, answer.recorded), (1, 0));
    assert_eq!(count(&world.queue), before);
}

#[tokio::test]
async fn repeats_of_a_minute_are_one_event() {
    let world = World::new();
    let it = endpoint(&world);
    let token = &open_tokens(&world, 0..1)[0];
    let three = (0..3).map(|n| reported(ReportedKind::Open, token, NOW - n)).collect();
    assert_eq!(report(&it, "a", three).await, recorded(3));
    assert_eq!(counts(&world), [3]);
    assert_eq!(report(&it, "b", vec![reported(ReportedKind::Open, token, NOW)]).await, recorded(1));
    assert!(opened(&it, HOST, token).await, "here and at the edge");
    assert_eq!(counts(&world), [3]);
    it.flush().await;
    assert_eq!(counts(&world), [3, 2]);
}

#[tokio::test]
async fn a_report_counts_once_for_its_key() {
    let world = World::new();
    let token = &open_tokens(&world, 0..1)[0];
    let again = || vec![reported(ReportedKind::Open, token, NOW)];
    assert_eq!(report(&endpoint(&world), "k", again()).await, recorded(1));
    // A relay that was restarted in between has forgotten windows, not keys.
    assert!(report(&endpoint(&world), "k", again()).await.is_err());
    assert_eq!(counts(&world), [1]);
    let known = world.queue.accepted_request("acme", "k", NOW).await.expect("reads").expect("known");
    assert!(serde_json::from_slice::<ReportAnswer>(&known.answer).is_ok());
}

#[tokio::test]
async fn what_is_not_stored_counts_when_it_is_reported_again() {
    let world = World::new();
    let it = endpoint(&world);
    let token = &open_tokens(&world, 0..1)[0];
    let again = || vec![reported(ReportedKind::Open, token, NOW)];
    world.queue.fail(FailingCall::Accept, || StoreError::Full);
    assert!(report(&it, "k", again()).await.is_err());
    world.queue.heal(FailingCall::Accept);
    assert_eq!(report(&it, "k", again()).await, recorded(1));
    it.flush().await;
    assert_eq!(counts(&world), [1], "the first try left nothing");
}

#[tokio::test]
async fn rates_hold_for_reports() {
    let world = World::with(|settings| settings.tracking.events_per_second_per_client = 1);
    let it = endpoint(&world);
    let events = |address| {
        let of = |token: &String| {
            let mut event = reported(ReportedKind::Open, token, NOW);
            event.event.address = address;
            event
        };
        open_tokens(&world, 0..20).iter().map(of).collect::<Vec<_>>()
    };
    let expected = ReportAnswer { recorded: 10, dropped: 10, ..ReportAnswer::default() };
    assert_eq!(report(&it, "a", events(Some(ADDRESS))).await, Ok(expected));
    assert_eq!(report(&it, "b", events(None)).await, recorded(20), "nobody's share is used up");
    // A reader who repeats one open fills no disk with keys of reports.
    let one = || events(Some(ADDRESS)).split_off(19);
    let expected = ReportAnswer { dropped: 1, ..ReportAnswer::default() };
    assert_eq!(report(&it, "c", one()).await, Ok(expected));
    assert_eq!(world.queue.accepted_request("acme", "c", NOW).await.expect("reads"), None);
}

#[tokio::test]
async fn links_followed_at_once_are_told_by_the_times_of_the_requests() {
    let world = World::new();
    let id = delivered(&world).await;
    let links: Vec<_> = (0..4).map(|n| click_token(&world, id, &format!("https://x.example/{n}"))).collect();
    let apart = |seconds: i64| {
        let times = (0..4).map(|n| NOW - 60_000 + n * seconds * 1_000);
        links.iter().zip(times).map(|(token, at)| reported(ReportedKind::Click, token, at)).collect()
    };
    assert_eq!(report(&endpoint(&world), "a", apart(10)).await, recorded(4));
    assert_eq!(last_visit(&world).0, Visitor::Human);
    assert_eq!(report(&endpoint(&world), "b", apart(0)).await, recorded(4));
    assert_eq!(last_visit(&world).0, Visitor::Scanner);
}
