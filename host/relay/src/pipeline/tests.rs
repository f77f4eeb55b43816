//! From a submission to a stored item, or to a reply with nothing stored.

use std::sync::Mutex;

use relevo_mailkit::envelope::Parameter;
use relevo_mailkit::event::Event;
use relevo_mailkit::model::{Edit, Encoding, Note, Refusal, Report, Rewrite, Segment, Span};
use relevo_queue::testing::{FailingCall, TestQueue};
use relevo_runtime::{Fault, Stage};

use super::*;
use crate::copies::Recipe;
use crate::testing::{World, forward, submission};

const PLAIN: &str = "From: a@example.com\r\nTo: b@b.example\r\n\r\nHello\r\n";
const TRACKED: &str = "From: a@tracked.example\r\n\r\n<a href=\"https://x.example/\">x</a>\r\n";

fn recipe_of(queue: &TestQueue) -> Recipe {
    Recipe::decode(&queue.last_item().meta.recipe).expect("a recipe")
}

fn insert(at: u64, segments: Vec<Segment>) -> Edit {
    Edit { at: Span { offset: at, length: 0 }, encoding: Encoding::Identity, segments, part: Some(0) }
}

/// A link and the pixel.
fn rewrite() -> Rewrite {
    Rewrite {
        edits: vec![
            Edit { at: Span { offset: 36, length: 18 }, ..insert(0, vec![Segment::Click(0)]) },
            insert(61, vec![Segment::Open]),
        ],
        links: vec!["https://x.example/".into()],
        notes: vec![Note { name: "html-too-large".into(), detail: "part 3".into() }],
    }
}

#[tokio::test]
async fn an_accepted_message_is_stored_with_its_event() {
    let world = World::new();
    let accepted = world.pipeline.submit(submission(&world, PLAIN)).await.expect("accepted");
    assert_eq!(accepted.tenant.as_deref(), Some("acme"));
    assert_eq!(world.steps.names(), ["validate", "authorise", "commit"]);

    let item = world.queue.last_item();
    assert_eq!(item.id, accepted.id);
    assert_eq!(item.meta.tenant, "acme");
    assert_eq!(item.meta.sender, "a@example.com");
    assert_eq!(item.meta.accepted_at, world.clock.now());
    assert_eq!(item.meta.expires_at, world.clock.now() + 5 * 24 * 3600 * 1000);
    assert_eq!((item.meta.size, item.meta.source.as_str()), (PLAIN.len() as u64, "smtp"));
    assert_eq!((item.meta.no_bounce, item.meta.is_bounce), (false, false));

    let recipe = recipe_of(&world.queue);
    let top = String::from_utf8(recipe.prepend).expect("ASCII");
    let (received, date) = top.split_at(top.find("Date:").expect("the addition of validate"));
    assert!(received.starts_with("Received: from client.example ([192.0.2.7])\r\n"), "{received}");
    assert!(received.contains(&format!("id {}\r\n\tfor <b@b.example>;", accepted.id)), "{received}");
    assert_eq!(date, "Date: Sun, 22 Nov 2026 05:33:41 +0000\r\n");
    let signing = recipe.signing.expect("signed");
    assert_eq!((signing.domain.as_str(), signing.selectors), ("example.com", vec!["s1".into(), "s2".into()]));
    assert_eq!(signing.from_field, b"From: a@example.com");

    let event = world.queue.last_event();
    assert_eq!((event.tenant.as_str(), event.item), ("acme", Some(accepted.id)));
    let Event::Queued(queued) = event.event else { panic!("{event:?}") };
    assert_eq!(
        (queued.recipients, queued.message_id_header.as_str()),
        (vec!["b@b.example".to_owned()], "<m@example.com>")
    );
}

/// RFC 2852: what is late is returned, or its sender is told.
#[tokio::test]
async fn a_time_that_the_sender_gives_is_kept_to() {
    let days = 5 * 24 * 3600 * 1000;
    for (by, expires, is_given, told) in
        [("60;R", 60_000, true, None), ("999999;R", days, false, None), ("60;N", days, false, Some(60_000))]
    {
        let world = World::new();
        let mut submission = submission(&world, PLAIN);
        submission.envelope.parameters.push(Parameter { keyword: "BY".into(), value: by.into() });
        world.pipeline.submit(submission).await.expect("accepted");
        let item = world.queue.last_item();
        let (meta, now) = (&item.meta, world.clock.now());
        assert_eq!((meta.expires_at - now, meta.is_expiry_given), (expires, is_given), "{by}");
        let recipient = &item.deliveries[0].recipients[0];
        assert_eq!(recipient.delay_report_at.map(|at| at - now), told, "{by}");
    }
}

#[tokio::test]
async fn validate_is_told_what_it_needs() {
    let world = World::new();
    let mut it = submission(&world, PLAIN);
    it.envelope.parameters.push(Parameter { keyword: "SMTPUTF8".into(), value: String::new() });
    let accepted = world.pipeline.submit(it).await.expect("accepted");
    let options = world.stages.options.lock().expect("lock").pop().expect("called");
    assert_eq!(options.now, world.clock.now() / 1000);
    assert_eq!(options.message_id_left, accepted.id.to_string());
    assert_eq!((options.max_size, options.max_received), (10_000, 100));
    assert_eq!((options.smtputf8, options.downgrade), (true, false));
    assert_eq!(options.hostname, "mta1.example");
}

#[tokio::test]
async fn a_refusal_names_the_rule_and_stores_nothing() {
    let world = World::new();
    *world.stages.refusal.lock().expect("lock") = Some(Refusal {
        code: 554,
        enhanced: "5.4.6".into(),
        rule: "too-many-received".into(),
        detail: "more than 100".into(),
    });
    let rejection = world.pipeline.submit(submission(&world, PLAIN)).await.expect_err("refused");
    assert_eq!(rejection.reply.code, 554);
    assert_eq!(rejection.reply.enhanced, Some((5, 4, 6).into()));
    assert_eq!(rejection.reply.text, "too-many-received: more than 100");
    assert_eq!(world.queue.items().len(), 0);
    let event = world.queue.last_event();
    assert_eq!(event.tenant, "acme");
    let Event::Rejected(refusal) = event.event else { panic!("{event:?}") };
    assert_eq!((refusal.rule.as_str(), refusal.status), ("too-many-received", Some((5, 4, 6).into())));
}

#[tokio::test]
async fn a_refusal_that_is_none_is_the_components_fault() {
    let world = World::new();
    for (code, enhanced, detail) in
        [(250, "2.0.0", ""), (421, "4.3.0", ""), (550, "5.6", ""), (550, "5.6.0", "no\r\n250 ok")]
    {
        *world.stages.refusal.lock().expect("lock") =
            Some(Refusal { code, enhanced: enhanced.into(), rule: "r".into(), detail: detail.into() });
        let rejection = world.pipeline.submit(submission(&world, PLAIN)).await.expect_err("refused");
        assert_eq!((rejection.reply.code, rejection.rule.as_str()), (451, "component-fault"));
    }
}

#[tokio::test]
async fn foreign_claims_are_refused_after_data_too() {
    let world = World::new();
    let message = "From: a@example.com\r\nSender: x@other.example\r\n\r\n";
    let rejection = world.pipeline.submit(submission(&world, message)).await.expect_err("refused");
    assert_eq!(rejection.reply.code, 550);
    assert!(rejection.reply.text.contains("Sender domain other.example"), "{rejection:?}");
    let mut it = submission(&world, PLAIN);
    it.envelope.sender = "x@other.example".into();
    assert!(world.pipeline.submit(it).await.is_err());
    assert_eq!(world.queue.items().len(), 0);
    assert_eq!(world.queue.kinds(), ["email.rejected", "email.rejected"]);
}

#[tokio::test]
async fn a_broken_stage_is_a_temporary_failure_with_blame() {
    for stage in [Stage::Validate, Stage::Track] {
        let world = World::new();
        world.stages.break_stage(stage);
        let mut it = submission(&world, TRACKED);
        it.envelope.sender = "a@tracked.example".into();
        let rejection = world.pipeline.submit(it).await.expect_err("put off");
        assert_eq!((rejection.reply.code, rejection.reply.enhanced), (451, Some((4, 3, 0).into())));
        assert!(!rejection.reply.text.contains("secret"), "{rejection:?}");
        assert_eq!(world.queue.items().len(), 0);
        let event = world.queue.last_event_json();
        assert_eq!(event["type"], "email.failed");
        let blame = serde_json::json!({"stage": stage.name(), "who": "guest", "kind": "trap"});
        assert_eq!(event["blame"], blame);
        assert!(!event.to_string().contains("secret"));
    }
}

#[tokio::test]
async fn what_a_component_returns_is_checked_again() {
    let bad: [fn(Report) -> Report; 9] = [
        |r| Report { added_headers: b"X: 1\r\n\r\nsmuggled".to_vec(), ..r },
        |r| Report { added_headers: b"X: 1\nY: 2\r\n".to_vec(), ..r },
        |r| Report { edits: vec![insert(1_000_000, vec![])], ..r },
        |r| Report { edits: vec![insert(5, vec![]), insert(5, vec![])], ..r },
        |r| Report { edits: vec![insert(5, vec![Segment::Literal(b"\r\n.\n".to_vec())])], ..r },
        |r| Report { edits: vec![insert(5, vec![Segment::Open])], ..r },
        // Between CR and LF of the first line.
        |r| Report { edits: vec![insert(20, vec![Segment::Literal(b"x".to_vec())])], ..r },
        |r| Report { from_field: b"From: a@example.com\r\nX: y".to_vec(), ..r },
        |r| Report { message_id: "<a>\r\nX: y".into(), ..r },
    ];
    for (n, tamper) in bad.into_iter().enumerate() {
        let world = World::new();
        world.stages.tamper_report(tamper);
        let rejection = world.pipeline.submit(submission(&world, PLAIN)).await.expect_err("put off");
        assert_eq!(rejection.reply.code, 451, "tampering {n}");
        assert_eq!(world.queue.items().len(), 0);
        assert_eq!(world.queue.last_event_json()["blame"]["kind"], "answer");
    }
}

#[tokio::test]
async fn store_errors_reach_the_reply() {
    type Case = (fn() -> StoreError, u16, (u8, u16, u16));
    let cases: [Case; 2] =
        [(|| StoreError::Full, 452, (4, 3, 1)), (|| StoreError::Io("disk gone".into()), 451, (4, 3, 0))];
    for (failure, code, enhanced) in cases {
        let world = World::new();
        world.queue.fail(FailingCall::Accept, failure);
        world.queue.fail(FailingCall::Append, failure);
        let rejection = world.pipeline.submit(submission(&world, PLAIN)).await.expect_err("not stored");
        assert_eq!((rejection.reply.code, rejection.reply.enhanced), (code, Some(enhanced.into())));
        assert!(!rejection.reply.text.contains("disk gone"));
        assert_eq!((world.queue.items().len(), world.queue.kinds().len()), (0, 0));
    }
}

#[tokio::test]
async fn mail_of_nobody_passes_unsigned_and_unanswered() {
    let world = World::new();
    let mut it = submission(&world, "From: MAILER-DAEMON@unknown.example\r\n\r\nbounce\r\n");
    it.origin = Origin::Relay("10.9.0.1".parse().expect("address"));
    it.envelope.sender = String::new();
    it.via.protocol = Protocol::Smtp;
    let accepted = world.pipeline.submit(it).await.expect("accepted");
    assert_eq!(accepted.tenant, None);
    let meta = world.queue.last_item().meta;
    assert_eq!((meta.tenant.as_str(), meta.no_bounce), ("", true));
    assert_eq!(recipe_of(&world.queue).signing, None);
}

#[tokio::test]
async fn a_null_sender_of_a_tenant_is_signed_and_unanswered() {
    let world = World::new();
    let mut it = submission(&world, PLAIN);
    it.envelope.sender = String::new();
    world.pipeline.submit(it).await.expect("accepted");
    assert!(world.queue.last_item().meta.no_bounce);
    assert!(recipe_of(&world.queue).signing.is_some());
}

fn tracked_submission(world: &World) -> Submission {
    let mut it = submission(world, TRACKED);
    it.envelope.sender = "a@tracked.example".into();
    it.envelope.recipients = vec![forward("b@b.example"), forward("c@b.example")];
    it
}

#[tokio::test]
async fn a_tracked_message_has_a_delivery_for_each_recipient() {
    let world = World::new();
    *world.stages.rewrite.lock().expect("lock") = Some(rewrite());
    world.pipeline.submit(tracked_submission(&world)).await.expect("accepted");
    assert_eq!(world.steps.names(), ["validate", "authorise", "track", "commit"]);
    assert_eq!(world.queue.last_item().deliveries.len(), 2);
    let recipe = recipe_of(&world.queue);
    let links = recipe.links.expect("links");
    assert_eq!((links.base_url.as_str(), links.key.as_str()), ("https://t.example.com", "k1"));
    assert_eq!(links.table, ["https://x.example/"]);
    assert_eq!(recipe.edits.len(), 2);
    assert_eq!(world.queue.last_event_json()["notes"][0]["name"], "html-too-large");
    let options = world.stages.tracked.lock().expect("lock").pop().expect("called");
    assert_eq!(options.max_html, 4 << 20);
    assert_eq!((options.clicks, options.opens), (true, true));
}

#[tokio::test]
async fn nothing_to_rewrite_means_one_copy() {
    let world = World::new();
    world.pipeline.submit(tracked_submission(&world)).await.expect("accepted");
    assert_eq!(world.queue.last_item().deliveries.len(), 1);
    assert_eq!(recipe_of(&world.queue).links, None);
}

#[tokio::test]
async fn foreign_signed_mail_is_rewritten_only_when_configured() {
    let signed = format!("DKIM-Signature: v=1\r\n{TRACKED}");
    for (rewrite_signed, calls) in [(false, 0), (true, 1)] {
        let world = World::with(|s| {
            s.directory.edit(|entries| {
                let domain =
                    entries.by_domain.get_mut("tracked.example").map(Arc::make_mut).expect("configured");
                domain.tracking.as_mut().expect("on").rewrite_signed = rewrite_signed;
            });
        });
        let mut it = submission(&world, &signed);
        it.envelope.sender = "a@tracked.example".into();
        world.pipeline.submit(it).await.expect("accepted");
        assert_eq!(world.stages.tracked.lock().expect("lock").len(), calls);
    }
}

#[tokio::test]
async fn hostile_edits_of_track_are_not_applied() {
    let click = |n| insert(40, vec![Segment::Click(n)]);
    let bad = [
        Rewrite { edits: vec![click(1)], links: vec!["https://x.example/".into()], notes: vec![] },
        Rewrite { edits: vec![click(0)], links: vec!["https://x.example/\r\n".into()], notes: vec![] },
        Rewrite { edits: vec![click(0)], links: vec!["x".repeat(2001)], notes: vec![] },
        Rewrite { edits: vec![insert(24, vec![Segment::Open])], links: vec![], notes: vec![] },
    ];
    for rewrite in bad {
        let world = World::new();
        *world.stages.rewrite.lock().expect("lock") = Some(rewrite);
        let rejection = world.pipeline.submit(tracked_submission(&world)).await.expect_err("put off");
        assert_eq!(rejection.reply.code, 451);
        assert_eq!(rejection.fault.map(|f: Fault| f.stage), Some(Stage::Track));
        assert_eq!(world.queue.items().len(), 0);
    }
}

#[tokio::test]
async fn parts_that_are_reencoded_are_replaced_as_a_whole() {
    let world = World::new();
    world
        .stages
        .tamper_report(|r| Report { edits: vec![insert(30, vec![Segment::Literal(b"v".to_vec())])], ..r });
    *world.stages.rewrite.lock().expect("lock") = Some(rewrite());
    world.pipeline.submit(tracked_submission(&world)).await.expect("accepted");
    let options = world.stages.tracked.lock().expect("lock").pop().expect("called");
    assert_eq!(options.reencode, [0]);
    assert_eq!(recipe_of(&world.queue).edits, rewrite().edits);
}

#[derive(Default)]
struct Seen(Mutex<Vec<(ItemId, &'static str)>>);

impl TraceObserver for Seen {
    fn step(&self, item: ItemId, step: &TraceStep) {
        self.0.lock().expect("lock").push((item, step.stage));
    }
}

#[tokio::test]
async fn an_observer_sees_each_step() {
    let mut world = World::new();
    let seen = Arc::new(Seen::default());
    world.pipeline.observer = Some(Arc::clone(&seen) as _);
    let id = world.pipeline.submit(submission(&world, PLAIN)).await.expect("accepted").id;
    let seen = seen.0.lock().expect("lock").clone();
    assert_eq!(seen, [(id, "validate"), (id, "authorise"), (id, "commit")]);
}

/// The domain of a subdomain's parent counts: a subdomain that is not configured belongs to the
/// tenant of its parent.
#[test]
fn a_trusted_peers_mail_uses_the_share_of_the_tenant_that_covers_its_reverse_path() {
    let settings = crate::testing::settings();
    let relay = Origin::Relay("127.0.0.1".parse().expect("an address"));
    let tenant = |sender: &str| super::preparing::provisional_tenant(&settings, &relay, sender);
    assert_eq!(tenant("a@example.com"), "acme");
    assert_eq!(tenant("a@news.Example.com"), "acme");
    assert_eq!(tenant("a@sub.special.example.com"), "other");
    assert_eq!((tenant("a@nobody.test"), tenant("")), ("nobody.test".to_owned(), String::new()));
}
