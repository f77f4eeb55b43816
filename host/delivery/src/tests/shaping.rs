//! What providers allow, and what their refusals lead to.

use std::sync::Arc;
use std::time::Duration;

use relevo_queue::testing::FailingCall;
use relevo_queue::{RecipientState, StoreError};
use relevo_smtp::client::{DialogueStep, RecipientOutcome};
use tokio::time::timeout;

use super::net::{Host, accepts, failed, reply};
use super::{DAY, START, World, seconds};
use crate::shaping::{Shaping, ShapingChange, ShapingRules, Suspended, WarmupCount, WarmupKey};

fn rules(text: &str) -> Arc<ShapingRules> {
    Arc::new(ShapingRules::with(toml::from_str(text).expect("a file")).expect("rules"))
}

fn world(text: &str) -> World {
    let rules = rules(text);
    World::with(|d| d.shaping = rules)
}

fn says(code: u16, text: &'static str) -> Host {
    Host::Up(Arc::new(move |_| {
        RecipientOutcome::Failed(failed(DialogueStep::Rcpt, reply(code, Some((4, 7, 1)), text)))
    }))
}

async fn why(w: &World, id: relevo_queue::ItemId) -> String {
    w.handle.why(id).await.expect("a store").expect("it is there")[0].reason.clone()
}

#[tokio::test(start_paused = true)]
async fn all_sites_of_a_provider_share_its_connections() {
    let w = world("[[provider]]\nname = \"big\"\nmx = [\".big.test\"]\nconnections = 2\n");
    for n in 0..12 {
        let (domain, host) = (format!("{n}.test"), format!("mx{n}.big.test"));
        w.net.domain(&domain, &[(&host, Host::Slow(Duration::from_secs(1)))]);
    }
    let ids: Vec<_> = (0..48).map(|n| w.to(&format!("u@{}.test", n % 12))).collect();
    let mut most = 0;
    for _ in 0..60 {
        seconds(1).await;
        most = most.max(w.net.log.lock().expect("lock").open_now.values().sum());
    }
    assert_eq!(most, 2);
    assert!(ids.iter().all(|id| w.states(*id) == [RecipientState::Delivered]), "every site has its turn");
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept_and_told() {
    let w = world("[[provider]]\nname = \"slow\"\nmx = [\".slow.test\"]\nmessages_per_minute = 6\n");
    w.net.domain("a.test", &[("mx.slow.test", accepts())]);
    let ids: Vec<_> = (0..10).map(|_| w.to("u@a.test")).collect();
    seconds(5).await;
    let why = why(&w, ids[9]).await;
    assert!(why.contains("6 messages a minute go there, the next one in"), "{why}");
    seconds(95).await;
    let at: Vec<u64> = w.net.transactions().iter().map(|t| t.at.as_secs()).collect();
    assert_eq!(at, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
}

#[tokio::test(start_paused = true)]
async fn limits_of_a_provider_are_kept_over_a_connection() {
    let w = world(
        "[[provider]]\nname = \"five\"\nmx = [\".five.test\"]\nmessages_per_connection = 5\n\
         recipients_per_transaction = 2\nretry = [\"10s\"]\n",
    );
    w.net.domain("a.test", &[("mx.five.test", accepts())]);
    for _ in 0..10 {
        w.send("t", DAY, &[("a.test", &["a@a.test", "b@a.test", "c@a.test"])]);
        seconds(1).await;
    }
    assert_eq!(w.net.opened("mx.five.test").len(), 2);
    assert!(w.net.transactions().iter().all(|t| t.recipients.len() <= 2));
    w.net.domain("a.test", &[("mx.five.test", says(450, "later"))]);
    w.to("u@a.test");
    seconds(25).await;
    assert_eq!(w.net.transactions().len(), 20 + 3, "its own schedule");
}

#[tokio::test(start_paused = true)]
async fn refusals_slow_a_provider_down_and_it_recovers() {
    let w = world("[[reply]]\nname = \"too-fast\"\ncategory = \"421\"\ndo = \"slow_down\"\nfor = \"10m\"\n");
    w.net.domain("a.test", &[("mx.test", says(421, "too fast"))]);
    w.to("u@a.test");
    seconds(2).await;
    w.net.domain("a.test", &[("mx.test", accepts())]);
    let ids: Vec<_> = (0..200).map(|_| w.to("u@a.test")).collect();
    seconds(30).await;
    let why = why(&w, ids[199]).await;
    assert!(why.contains("slowed down by the rule too-fast (too fast)"), "{why}");
    let slowed = w.handle.shaping().providers.iter().find_map(|p| p.pools.first()?.slowed.clone());
    assert_eq!(slowed.map(|s| (s.per_minute, s.ends_at)), Some((1, 60)));
    seconds(2 * 3600).await;
    assert!(ids.iter().all(|id| w.states(*id) == [RecipientState::Delivered]));
    assert!(w.handle.shaping().providers.iter().all(|p| p.pools.iter().all(|p| p.slowed.is_none())));
}

#[tokio::test(start_paused = true)]
async fn a_suspended_source_sends_nothing_until_exactly_the_end() {
    let w = world(
        "[[reply]]\nname = \"blocked\"\ncategory = \"554\"\ndo = \"suspend_source\"\nafter = 2\nfor = \"2h\"\n",
    );
    w.net.domain("a.test", &[("mx.test", says(554, "you are blocked"))]);
    w.to("1@a.test");
    seconds(1).await;
    w.net.domain("a.test", &[("mx.test", says(554, "you are blocked again"))]);
    w.to("2@a.test");
    seconds(1).await;
    let suspensions = w.handle.shaping().suspensions;
    assert_eq!(suspensions.len(), 1, "{suspensions:?}");
    assert_eq!(suspensions[0].id, "source:system@mx.test");
    w.net.domain("a.test", &[("mx.test", accepts())]);
    let waiting: Vec<_> = (0..50).map(|_| w.to("u@a.test")).collect();
    let short = w.send("t", Duration::from_secs(600), &[("a.test", &["s@a.test"])]);
    seconds(5).await;
    let why = why(&w, waiting[0]).await;
    assert!(why.contains("is suspended by the rule blocked (you are blocked) until 20"), "{why}");
    assert!(why.contains("the next attempt is in 1 hour 59 minutes"), "{why}");
    seconds(700).await;
    assert!(w.kinds(short).contains(&"email.expired".to_owned()), "what waits still expires in time");
    assert_eq!(w.net.transactions().len(), 2);
    seconds(7200 - 707).await;
    seconds(5).await;
    assert!(waiting.iter().all(|id| w.states(*id) == [RecipientState::Delivered]));
    let first = w.net.transactions()[2].at;
    assert!((7200..=7203).contains(&first.as_secs()), "{first:?}");
    assert!(w.handle.shaping().suspensions.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_operator_suspends_and_resumes() {
    let w = World::new();
    w.net.domain("a.test", &[("mx.test", accepts())]);
    assert_eq!(w.handle.provider_of("a.test").await.as_deref(), Ok("mx.test"));
    let of = Suspended::Source(None);
    w.handle.suspend(of, "mx.test", Duration::from_secs(9000), ("ops", "maintenance")).await;
    let ids: Vec<_> = (0..20).map(|_| w.to("u@a.test")).collect();
    seconds(100).await;
    assert!(w.net.transactions().is_empty());
    let shaping = w.handle.shaping_of("a.test").await.expect("a route");
    assert!(shaping.hold.is_some_and(|hold| hold.contains("by ops (maintenance)")));
    timeout(Duration::from_secs(1), w.handle.shaping_changed()).await.expect("it was told");
    assert_eq!(w.handle.resume("source:system@other", "ops").await, None);
    assert!(w.handle.resume("source:system@mx.test", "ops").await.is_some());
    seconds(2).await;
    assert!(ids.iter().all(|id| w.states(*id) == [RecipientState::Delivered]));
    assert_eq!(w.handle.take_shaping_changes().len(), 3);
}

/// The suspension ends while what was put off for it is not on disk yet.
#[tokio::test(start_paused = true)]
async fn mail_that_is_put_off_while_a_suspension_ends_goes_at_once() {
    let w = World::new();
    w.net.domain("a.test", &[("mx.test", accepts())]);
    let of = Suspended::Source(None);
    w.handle.suspend(of, "mx.test", Duration::from_secs(9000), ("ops", "maintenance")).await;
    w.queue.fail(FailingCall::Settle, || StoreError::Io("broken".into()));
    let id = w.to("u@a.test");
    seconds(2).await;
    assert!(w.handle.resume("source:system@mx.test", "ops").await.is_some());
    w.queue.heal(FailingCall::Settle);
    seconds(10).await;
    assert_eq!(w.states(id), [RecipientState::Delivered]);
}

/// The relay was restarted after the suspension was ended, and before its mail was sent.
#[tokio::test(start_paused = true)]
async fn what_waits_for_a_suspension_that_an_earlier_run_ended_goes_at_once() {
    let w = World::new();
    w.net.domain("a.test", &[("mx.test", accepts())]);
    let end = w.now() + 9_000_000;
    *w.handle.shared.table().shaping_mut() = Shaping::restored(Vec::new(), vec![end], Vec::new());
    let waited = w.send_at(end, "t", DAY, &[("a.test", &["u@a.test"])]);
    let scheduled = w.send_at(end - 1, "t", DAY, &[("a.test", &["u@a.test"])]);
    seconds(2).await;
    assert_eq!(w.states(waited), [RecipientState::Delivered]);
    assert_eq!(w.states(scheduled), [RecipientState::Pending]);
}

#[tokio::test(start_paused = true)]
async fn a_suspension_that_is_shortened_or_resumed_is_remembered_to_end_earlier() {
    let w = World::new();
    for (hours, early) in [(3, 0), (5, 0), (2, 1)] {
        let span = Duration::from_secs(hours * 3600);
        w.handle.suspend(Suspended::Source(None), "mx.test", span, ("ops", "")).await;
        let changes = w.handle.take_shaping_changes();
        let ends = changes.iter().filter(|change| matches!(change, ShapingChange::EndsEarlier(_)));
        assert_eq!(ends.count(), early, "{changes:?}");
    }
    let ended = w.handle.resume("source:system@mx.test", "ops").await;
    assert!(ended.is_some());
    let changes = w.handle.take_shaping_changes();
    // First: a crash between the two leaves the suspension in force.
    assert!(matches!(changes[..], [ShapingChange::EndsEarlier(_), ShapingChange::Resumed(..)]));
}

#[tokio::test(start_paused = true)]
async fn only_the_mail_of_a_suspended_tenant_waits() {
    let w = world("[[reply]]\nname = \"spam\"\ncategory = \"554\"\ndo = \"suspend_tenant\"\nfor = \"1h\"\n");
    let script = |r: &str| match r.starts_with("bad") {
        true => RecipientOutcome::Failed(failed(DialogueStep::Rcpt, reply(554, None, "spam"))),
        false => RecipientOutcome::Delivered(reply(250, None, "ok")),
    };
    w.net.domain("a.test", &[("mx.test", Host::Up(Arc::new(script)))]);
    w.send("bad", DAY, &[("a.test", &["bad@a.test"])]);
    seconds(1).await;
    let waits = w.send("bad", DAY, &[("a.test", &["u@a.test"])]);
    let goes = w.send("good", DAY, &[("a.test", &["u@a.test"])]);
    seconds(5).await;
    assert_eq!(
        (w.states(goes), w.states(waits)),
        (vec![RecipientState::Delivered], vec![RecipientState::Pending])
    );
    let why = why(&w, waits).await;
    assert!(why.starts_with("mail of tenant bad to mx.test is suspended by the rule spam (spam)"), "{why}");
    seconds(3600).await;
    assert_eq!(w.states(waits), [RecipientState::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn greylisting_is_waited_for_as_announced() {
    let w = world("[[reply]]\nname = \"grey\"\ncategory = \"451\"\ndo = \"back_off\"\n");
    w.net.domain("a.test", &[("mx.test", says(451, "greylisted, try again in 400 seconds"))]);
    let id = w.to("u@a.test");
    seconds(10).await;
    w.net.domain("a.test", &[("mx.test", accepts())]);
    seconds(390).await;
    assert_eq!(w.net.transactions().len(), 1);
    seconds(5).await;
    assert_eq!(w.states(id), [RecipientState::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn a_complaint_counts_against_the_address_that_the_message_came_from() {
    let w = World::warming(&["192.0.2.1", "192.0.2.2"], rules("[warmup]\nladder = [10, 20]\nhour = 1.0\n"));
    w.net.domain("a.test", &[("mx.test", accepts())]);
    for _ in 0..20 {
        w.to("u@a.test");
    }
    for _ in 0..20 {
        seconds(1).await;
        let counts = w.handle.unstored_warmups();
        w.handle.stored_warmups(&counts);
    }
    let ip = |text: &str| text.parse().ok();
    let counted = || {
        let mut all: Vec<_> = w.handle.warmups().into_iter().map(|at| (at.address, at.complaints)).collect();
        all.sort();
        all.into_iter().map(|(_, complaints)| complaints).collect::<Vec<_>>()
    };
    w.handle.complained("MX.test.", ip("192.0.2.2"));
    w.handle.complained("mx.test", ip("::ffff:192.0.2.2"));
    assert_eq!(counted(), [0, 2]);
    w.handle.complained("mx.test", None);
    // What is no address of ours says nothing: there is another relay in front.
    w.handle.complained("mx.test", ip("198.51.100.1"));
    assert_eq!(counted(), [2, 4]);
    w.handle.complained("mx.other.example", None);
    assert_eq!(counted(), [2, 4]);
}

/// The caps of two addresses are used up, and no more is sent before the next day.
#[tokio::test(start_paused = true)]
async fn new_addresses_send_what_the_ladder_says() {
    let w = World::warming(&["192.0.2.1", "192.0.2.2"], rules("[warmup]\nladder = [10, 20]\nhour = 1.0\n"));
    w.net.domain("a.test", &[("mx.test", accepts())]);
    let ids: Vec<_> = (0..30).map(|_| w.to("u@a.test")).collect();
    let several = w.send("t", 3 * DAY, &[("a.test", &["1@a.test", "2@a.test", "3@a.test"])]);
    let store = async || {
        let counts = w.handle.unstored_warmups();
        w.handle.stored_warmups(&counts);
    };
    for _ in 0..20 {
        seconds(1).await;
        store().await;
    }
    let sent = |w: &World| w.net.transactions().iter().map(|t| t.recipients.len()).sum::<usize>();
    assert_eq!(sent(&w), 20);
    let waits = ids.iter().find(|id| w.states(**id) == [RecipientState::Pending]).expect("one waits");
    let why = why(&w, *waits).await;
    assert!(
        why.contains("is being warmed up: the 10 recipients of this day at mx.test are used up"),
        "{why}"
    );
    let midnight = 86_400 - u64::try_from(START / 1000 % 86_400).expect("positive");
    seconds(midnight - 60).await;
    assert_eq!(sent(&w), 20);
    for _ in 0..100 {
        seconds(1).await;
        store().await;
    }
    assert_eq!(sent(&w), 33, "{:?}", w.handle.warmups());
    assert!(w.handle.warmups().iter().all(|warmup| warmup.cap == Some(20)));
    assert_eq!(w.states(several).len(), 3);
}

/// What is beyond the cap of a day goes to the other next hop, until the next day.
#[tokio::test(start_paused = true)]
async fn mail_beyond_the_cap_spills_over() {
    let w = World::spilling(&["192.0.2.1"], rules("[warmup]\nladder = [10, 20]\nhour = 1.0\n"));
    w.net.domain("a.test", &[("mx.test", accepts())]);
    w.net.domain("b.test", &[("mx.test", accepts())]);
    w.net.domain("partner.test", &[("partner.test", accepts())]);
    let store = async || {
        for _ in 0..30 {
            seconds(1).await;
            let counts = w.handle.unstored_warmups();
            w.handle.stored_warmups(&counts);
        }
    };
    let sent = |host: &str| {
        let transactions = w.net.transactions();
        transactions.iter().filter(|t| t.host == host).map(|t| t.recipients.len()).sum::<usize>()
    };
    let ids: Vec<_> = (0..30).map(|_| w.to("u@a.test")).collect();
    store().await;
    assert_eq!((sent("mx.test"), sent("partner.test")), (10, 20));
    assert!(ids.iter().all(|id| w.states(*id) == [RecipientState::Delivered]));
    // Of another domain of the site, too: the cap is the provider's.
    w.to("u@b.test");
    store().await;
    assert_eq!((sent("mx.test"), sent("partner.test")), (10, 21));
    w.net.domain("partner.test", &[("partner.test", Host::Refuses)]);
    let waits = w.to("u@a.test");
    store().await;
    let reason = why(&w, waits).await;
    assert!(reason.contains("the caps of warm-up are used up for now: it goes to"), "{reason}");
    let midnight = 86_400 - u64::try_from(START / 1000 % 86_400).expect("positive");
    seconds(midnight).await;
    let next = w.to("u@a.test");
    store().await;
    assert_eq!(w.states(next), [RecipientState::Delivered]);
    assert_eq!(sent("partner.test"), 21);
}

/// What an hour may have is a part of the cap. What is beyond it goes in the next hour, or another way.
#[tokio::test(start_paused = true)]
async fn the_cap_of_a_day_is_spread_over_its_hours() {
    let of_an_hour = rules("[warmup]\nladder = [8, 20]\nhour = 0.25\n");
    let w = World::warming(&["192.0.2.1"], of_an_hour.clone());
    let sent = minutes_of_a_day(&w, "mx.test").await;
    assert_eq!((sent[..59].iter().max(), sent[60..119].iter().max()), (Some(&2), Some(&4)));
    assert_eq!((sent[120..179].iter().max(), sent.last()), (Some(&6), Some(&8)));

    let w = World::spilling(&["192.0.2.1"], of_an_hour);
    w.net.domain("partner.test", &[("partner.test", accepts())]);
    let sent = minutes_of_a_day(&w, "mx.test").await;
    assert_eq!((sent[50], sent.last()), (2, Some(&2)), "the rest went another way at once");
}

/// What cannot go the other way waits for its own hour, or for the end of what holds the other way.
#[tokio::test(start_paused = true)]
async fn mail_waits_for_the_way_that_is_free_first() {
    let w = World::spilling(&["192.0.2.1"], rules("[warmup]\nladder = [8, 20]\nhour = 0.25\n"));
    w.net.domain("partner.test", &[("partner.test", accepts())]);
    let partner = Suspended::Source(None);
    // Longer than it takes to use the cap of the day up, and shorter than the day.
    w.handle.suspend(partner, "partner.test", Duration::from_secs(20_000), ("ops", "repairs")).await;
    let sent = minutes_of_a_day(&w, "mx.test").await;
    assert_eq!((sent[50], sent[110], sent[170], sent[230]), (2, 4, 6, 8));
    let to = |host: &str| w.net.transactions().iter().filter(|t| t.host == host).count();
    assert_eq!((to("mx.test"), to("partner.test")), (8, 4));
}

/// Twelve messages at the beginning of an hour. Returns how many arrived by each minute.
async fn minutes_of_a_day(w: &World, host: &str) -> Vec<usize> {
    w.net.domain("a.test", &[(host, accepts())]);
    let to_the_hour = 3_600 - u64::try_from(START / 1000 % 3_600).expect("positive");
    seconds(to_the_hour).await;
    let _ids: Vec<_> = (0..12).map(|_| w.to("u@a.test")).collect();
    let mut sent = Vec::new();
    for minute in 0..360 {
        for _ in 0..if minute % 60 < 2 { 60 } else { 1 } {
            seconds(if minute % 60 < 2 { 1 } else { 60 }).await;
            let counts = w.handle.unstored_warmups();
            w.handle.stored_warmups(&counts);
        }
        let transactions = w.net.transactions();
        sent.push(transactions.iter().filter(|t| t.host == host).map(|t| t.recipients.len()).sum());
    }
    sent
}

/// A block is not evaded by another way.
#[tokio::test(start_paused = true)]
async fn mail_of_a_suspended_address_does_not_spill_over() {
    let w = World::spilling(&["192.0.2.1"], rules("[warmup]\nladder = [10, 20]\nhour = 1.0\n"));
    w.net.domain("a.test", &[("mx.test", accepts())]);
    w.net.domain("partner.test", &[("partner.test", accepts())]);
    let of = Suspended::Source(Some([192, 0, 2, 1].into()));
    w.handle.suspend(of, "mx.test", Duration::from_secs(9000), ("ops", "blocked")).await;
    let id = w.to("u@a.test");
    seconds(20).await;
    assert_eq!((w.states(id), w.net.transactions()), (vec![RecipientState::Pending], vec![]));
}

/// Counts that the store had are shown before the address sends again.
#[tokio::test(start_paused = true)]
async fn addresses_that_were_not_used_since_the_start_are_shown() {
    let w = World::warming(&["192.0.2.1"], rules("[warmup]\nladder = [10, 20]\nhour = 1.0\n"));
    let key = WarmupKey { address: [192, 0, 2, 1].into(), provider: "mx.test".into() };
    let count = WarmupCount { day: 20_000, step: 1, used: 7, ..WarmupCount::default() };
    *w.handle.shared.table().shaping_mut() = Shaping::restored(Vec::new(), Vec::new(), vec![(key, count)]);
    let reports = w.handle.warmups();
    assert_eq!(reports.len(), 1);
    assert_eq!((reports[0].step, reports[0].cap, reports[0].used), (2, Some(20), 7));
}
