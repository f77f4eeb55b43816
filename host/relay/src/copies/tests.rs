//! Copies: complete, signed, the same on every retry.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use relevo_delivery::REPORT_SOURCE;
use relevo_mailkit::labels::{Stream, Tag};
use relevo_mailkit::model::{Edit, Encoding, Refusal, Report, Rewrite, Segment, SigningInput, Span};
use relevo_mailkit::token::{Kind, Scope};
use relevo_queue::testing::AcceptedItem;
use relevo_queue::{OperatorAction, Queue as _};
use relevo_runtime::{FaultKind, Stage};

use super::*;
use crate::settings::{DkimKey, Settings};
use crate::testing::{World, forward, key, read, submission};

const PLAIN: &str = "From: a@example.com\r\nTo: b@b.example\r\n\r\nHello\r\n";
const EIGHT: &str = "From: a@example.com\r\n\r\nGr\u{fc}n\r\n";
const TRACKED: &str = "From: a@tracked.example\r\n\r\n<a href=\"https://x.example/\">x</a>\r\n";
const ALL: HopAbilities = HopAbilities { eight_bit: true, smtputf8: true };
const NONE: HopAbilities = HopAbilities { eight_bit: false, smtputf8: false };

async fn accept(world: &World, message: &str, sender: &str, to: &[&str]) -> AcceptedItem {
    let mut it = submission(world, message);
    it.envelope.sender = sender.into();
    it.envelope.recipients = to.iter().map(|t| forward(t)).collect();
    world.pipeline.submit(it).await.expect("accepted");
    world.queue.last_item()
}

/// A scheduled message is signed and dated at its release.
#[tokio::test]
async fn a_scheduled_message_has_the_date_of_its_release() {
    let world = World::new();
    let mut it = submission(&world, PLAIN);
    it.options.send_at = Some(1_795_400_000_000);
    world.pipeline.submit(it).await.expect("accepted");
    let stored = world.queue.last_item();
    assert_eq!(stored.deliveries[0].due_at, 1_795_400_000_000);
    let copy = text(&world, &stored, 0).await;
    let header = copy.split("\r\n\r\n").next().expect("a header");
    assert_eq!(header.matches("\r\nDate: ").count(), 1, "{header}");
    assert!(header.contains("\r\nDate: Mon, 23 Nov 2026 02:13:20 +0000"), "{header}");
    assert!(header.contains("t=1795400000;"), "{header}");
    let mut moved = stored.lease(0);
    Arc::make_mut(&mut moved.meta).scheduled_at = Some(1_795_400_060_000);
    let copy = world.copies.make(&moved, ALL).await.expect("a copy");
    let copy = String::from_utf8(read(&*copy.source)).expect("UTF-8");
    assert!(copy.contains("\r\nDate: Mon, 23 Nov 2026 02:14:20 +0000"), "{copy}");
}

async fn plain(world: &World) -> AcceptedItem {
    accept(world, PLAIN, "a@example.com", &["b@b.example", "c@c.example"]).await
}

async fn tracked(world: &World) -> AcceptedItem {
    *world.stages.rewrite.lock().expect("lock") = Some(Rewrite {
        edits: vec![
            Edit {
                at: Span { offset: 36, length: 18 },
                encoding: Encoding::Identity,
                segments: vec![Segment::Click(0)],
                part: Some(0),
            },
            Edit {
                at: Span { offset: 61, length: 0 },
                encoding: Encoding::Identity,
                segments: vec![Segment::Open],
                part: Some(0),
            },
        ],
        links: vec!["https://x.example/".into()],
        notes: vec![],
    });
    accept(world, TRACKED, "a@tracked.example", &["b@b.example", "c@b.example"]).await
}

async fn text(world: &World, stored: &AcceptedItem, number: usize) -> String {
    let copy = world.copies.make(&stored.lease(number), ALL).await.expect("a copy");
    String::from_utf8(read(&*copy.source)).expect("UTF-8")
}

/// Puts settings in force whose domain `name` has `keys`.
fn rekey(world: &World, name: &str, keys: Vec<DkimKey>) {
    let mut settings = crate::testing::settings();
    settings.directory.edit(|entries| {
        entries.by_domain.get_mut(name).map(Arc::make_mut).expect("configured").dkim = keys;
    });
    world.settings.replace(settings);
}

fn keys_of(settings: &Settings, name: &str) -> Vec<DkimKey> {
    settings.directory.configured_domain(name).expect("configured").dkim.clone()
}

/// RFC 9477, and Gmail's Feedback-ID: under the signatures, and of one recipient.
#[tokio::test]
async fn signed_marketing_mail_has_the_fields_of_feedback_loops() {
    let world = World::with(|settings| {
        settings.returns.domains = vec!["return.example.com".into()];
        settings.returns.cfbl = true;
    });
    let submit = async |header: &str, stream: Stream| {
        let mut it = submission(&world, &format!("{header}{PLAIN}"));
        it.envelope.recipients = vec![forward("b@b.example"), forward("c@b.example")];
        it.options.labels.stream = stream;
        it.options.labels.tags = vec![Tag { name: "campaign".into(), value: "spring".into() }];
        world.pipeline.submit(it).await.expect("accepted");
        world.queue.last_item()
    };
    // It unsubscribes by itself, so that no tracking host is needed.
    let leaves = "List-Unsubscribe: <https://x.example/>\r\n";
    let stored = submit(leaves, Stream::Marketing).await;
    assert_eq!(stored.deliveries.len(), 2, "a copy for each recipient");
    for (number, recipient) in [(0, 0), (1, 1)] {
        let copy = text(&world, &stored, number).await;
        let field = |name: &str| {
            let mut found = copy.split("\r\n").filter_map(|line| line.strip_prefix(name));
            let value = found.next().map(str::to_owned);
            assert_eq!(found.next(), None, "{copy}");
            value
        };
        assert!(copy.starts_with("DKIM-Signature:"), "above them");
        assert_eq!(field("Feedback-ID: ").as_deref(), Some("spring:acme:marketing:example.com"));
        assert_eq!(field("CFBL-Address: ").as_deref(), Some("fbl@return.example.com; report=arf"));
        let id = field("CFBL-Feedback-ID: ").expect("an id");
        let settings = world.settings.get();
        let claims = settings.tracking_keys.verify_feedback_id(&settings.returns.domains, &id);
        assert_eq!(claims.map(|claims| (claims.message, claims.recipient)), Some((stored.id.0, recipient)));
    }
    let own = format!("{leaves}Feedback-ID: own\r\nCFBL-Address: fbl@other.example\r\n");
    for (header, stream) in [(own.as_str(), Stream::Marketing), ("", Stream::Transactional)] {
        let stored = submit(header, stream).await;
        assert_eq!(stored.deliveries.len(), 1);
        let copy = text(&world, &stored, 0).await.replace(header, "");
        assert!(!copy.contains("Feedback-ID") && !copy.contains("CFBL"), "{copy}");
    }
    let mut settings = crate::testing::settings();
    settings.directory.edit(|entries| {
        entries.by_domain.values_mut().for_each(|domain| Arc::make_mut(domain).dkim.clear());
    });
    settings.returns.domains = vec!["return.example.com".into()];
    settings.returns.cfbl = true;
    world.settings.replace(settings);
    let copy = text(&world, &submit(leaves, Stream::Marketing).await, 0).await;
    assert!(!copy.contains("Feedback-ID") && !copy.contains("CFBL"), "nobody signs it: {copy}");
}

#[tokio::test]
async fn signatures_then_received_then_the_message() {
    let world = World::new();
    let stored = plain(&world).await;
    let copy = text(&world, &stored, 0).await;
    let names: Vec<_> = copy
        .split("\r\n")
        .take_while(|l| !l.is_empty())
        .filter(|l| !l.starts_with([' ', '\t']))
        .filter_map(|l| l.split_once(':').map(|(name, _)| name))
        .collect();
    assert_eq!(names, ["DKIM-Signature", "DKIM-Signature", "Received", "Date", "From", "To"]);
    assert!(copy.ends_with(PLAIN), "{copy}");
    assert!(copy.contains("d=example.com; s=s1; t=1795325621; h=from;"), "{copy}");
    assert!(copy.contains("d=example.com; s=s2;") && !copy.contains(" x="), "{copy}");
}

#[tokio::test]
async fn untracked_copies_are_signed_once_for_all() {
    let world = World::new();
    let stored = plain(&world).await;
    assert_eq!(stored.deliveries.len(), 2);
    let first = text(&world, &stored, 0).await;
    assert_eq!(first, text(&world, &stored, 1).await);
    assert_eq!(first, text(&world, &stored, 0).await);
    assert_eq!(world.stages.signed.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_retry_is_the_same_even_when_nothing_is_remembered() {
    let world = World::new();
    let stored = plain(&world).await;
    let first = text(&world, &stored, 0).await;
    world.clock.0.fetch_add(86_400_000, Ordering::SeqCst);
    world.settings.replace(crate::testing::settings());
    assert_eq!(first, text(&world, &stored, 0).await);
    assert_eq!(world.stages.signed.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_key_that_came_later_does_not_sign_and_one_that_went_is_replaced() {
    let world = World::new();
    let stored = plain(&world).await;
    let first = text(&world, &stored, 0).await;
    let old = keys_of(&world.settings.get(), "example.com");
    let new = key("s3");
    rekey(&world, "example.com", [old.clone(), vec![new.clone()]].concat());
    assert_eq!(first, text(&world, &stored, 0).await);
    rekey(&world, "example.com", vec![old[0].clone(), new]);
    let later = text(&world, &stored, 0).await;
    assert!(later.contains("s=s1;") && later.contains("s=s3;") && !later.contains("s=s2;"), "{later}");
}

#[tokio::test]
async fn a_report_about_tls_is_signed_by_a_domain_that_is_a_tenants() {
    let world = World::new();
    let stored = plain(&world).await;
    for (source, is_signed) in [("smtp", false), (REPORT_SOURCE, true)] {
        let mut lease = stored.lease(0);
        let meta = Arc::make_mut(&mut lease.meta);
        (meta.tenant, meta.source) = (String::new(), source.to_owned());
        let copy = world.copies.make(&lease, ALL).await;
        let text = copy.map(|copy| String::from_utf8(read(&*copy.source)).expect("UTF-8"));
        assert_eq!(text.is_ok_and(|text| text.contains("DKIM-Signature:")), is_signed, "{source}");
    }
}

#[tokio::test]
async fn a_domain_that_is_gone_puts_the_copy_off() {
    let world = World::new();
    let stored = plain(&world).await;
    let mut settings = crate::testing::settings();
    settings.directory.edit(|entries| drop(entries.by_domain.remove("example.com")));
    world.settings.replace(settings);
    let error = world.copies.make(&stored.lease(0), ALL).await.map(|_| ()).expect_err("no key");
    assert!(matches!(error, CopyError::Host(_)), "{error}");
}

#[tokio::test]
async fn each_recipient_has_tokens_of_its_own() {
    let world = World::new();
    let stored = tracked(&world).await;
    let settings = world.settings.get();
    let scope = Scope { tenant: "acme", host: "t.example.com" };
    let mut copies = Vec::new();
    for number in 0..2 {
        let copy = text(&world, &stored, number).await;
        let token = |kind: &str| {
            let after =
                copy.split(&format!("https://t.example.com/{kind}/")).nth(1).expect("a URL").to_owned();
            after
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
                .next()
                .expect("one")
                .to_owned()
        };
        let click = settings.tracking_keys.verify(Kind::Click, &scope, &token("c")).expect("genuine");
        assert_eq!((click.message, click.recipient as usize), (stored.id.0, number));
        assert_eq!(click.destination, "https://x.example/");
        let open = settings.tracking_keys.verify(Kind::Open, &scope, &token("o")).expect("genuine");
        assert_eq!(open.recipient as usize, number);
        assert!(!copy.contains("b@b.example") || !copy.contains("for <"), "{copy}");
        assert_eq!(copy, text(&world, &stored, number).await, "the same on retry");
        copies.push(copy);
    }
    assert_ne!(copies[0], copies[1]);
}

#[tokio::test]
async fn a_new_tracking_key_mints_only_when_the_old_one_is_gone() {
    let world = World::new();
    let stored = tracked(&world).await;
    let first = text(&world, &stored, 0).await;
    let new = relevo_mailkit::token::TokenKey { id: "k2".into(), secret: vec![9; 32] };
    let mut settings = crate::testing::settings();
    settings.tracking_keys.0.insert(0, new.clone());
    world.settings.replace(settings);
    assert_eq!(first, text(&world, &stored, 0).await);
    let mut settings = crate::testing::settings();
    settings.tracking_keys.0 = vec![new];
    world.settings.replace(settings);
    assert_ne!(first, text(&world, &stored, 0).await);
}

#[tokio::test]
async fn x_is_never_earlier_than_a_week_after_expiry() {
    let day = 24 * 3600;
    for (lifetime, days) in [(day, 12), (30 * day, 30)] {
        let world = World::new();
        let mut keys = keys_of(&world.settings.get(), "example.com");
        keys[0].signature_lifetime = Some(Duration::from_secs(lifetime));
        rekey(&world, "example.com", keys);
        let stored = plain(&world).await;
        let copy = text(&world, &stored, 0).await;
        let x = 1_795_325_621 + days * day;
        assert!(copy.contains(&format!("s=s1; t=1795325621; x={x};")), "{copy}");
        assert!(copy.contains("s=s2; t=1795325621; h="), "{copy}");
    }
}

#[tokio::test]
async fn eight_bit_goes_as_it_is_or_is_turned() {
    let world = World::new();
    let stored = accept(&world, EIGHT, "a@example.com", &["b@b.example"]).await;
    let copy = world.copies.make(&stored.lease(0), ALL).await.expect("a copy");
    assert!(copy.eight_bit && read(&*copy.source).ends_with(EIGHT.as_bytes()));

    world.stages.tamper_report(|r| Report {
        edits: vec![Edit {
            at: Span { offset: 0, length: 0 },
            encoding: Encoding::Identity,
            segments: vec![Segment::Literal(b"X-Turned: yes\r\n".to_vec())],
            part: None,
        }],
        eight_bit: false,
        ..r
    });
    let copy = world.copies.make(&stored.lease(0), NONE).await.expect("a copy");
    let text = String::from_utf8(read(&*copy.source)).expect("UTF-8");
    assert!(!copy.eight_bit);
    // Turned first, signed afterwards.
    assert!(text.starts_with("DKIM-Signature:"), "{text}");
    let turned = text.find("X-Turned: yes\r\nReceived:").expect("the edit");
    assert!(text.rfind("DKIM-Signature:").expect("signed") < turned);
    let options = world.stages.options.lock().expect("lock").pop().expect("called");
    assert_eq!((options.downgrade, options.max_received), (true, u32::MAX));
}

#[tokio::test]
async fn what_cannot_be_turned_fails_for_good() {
    let world = World::new();
    let stored = accept(&world, EIGHT, "a@example.com", &["b@b.example"]).await;
    let refusal = Refusal {
        code: 550,
        enhanced: "5.6.3".into(),
        rule: "sealed".into(),
        detail: "multipart/signed".into(),
    };
    *world.stages.refusal.lock().expect("lock") = Some(refusal);
    let error = world.copies.make(&stored.lease(0), NONE).await.map(|_| ()).expect_err("not convertible");
    assert!(
        matches!(&error, CopyError::NotConvertible { status, text } if *status == (5, 6, 3) && text == "multipart/signed")
    );
    assert!(world.copies.make(&stored.lease(0), ALL).await.is_ok());
}

#[tokio::test]
async fn a_utf8_header_needs_smtputf8() {
    let world = World::new();
    world.stages.tamper_report(|r| Report { utf8_header: true, ..r });
    let stored = plain(&world).await;
    let hop = HopAbilities { eight_bit: true, smtputf8: false };
    let error = world.copies.make(&stored.lease(0), hop).await.map(|_| ()).expect_err("no way");
    assert!(matches!(error, CopyError::NotConvertible { status, .. } if status == (5, 6, 9)), "{error}");
    assert!(world.copies.make(&stored.lease(0), ALL).await.expect("a copy").utf8_header);
}

#[tokio::test]
async fn a_signer_cannot_have_anything_else_signed() {
    let tampering: [fn(Vec<SigningInput>) -> Vec<SigningInput>; 4] = [
        |mut u| {
            u.pop();
            u
        },
        |u| replaced(u, "example.com", "other.example"),
        |u| replaced(u, "s=s1", "s=s9"),
        |u| replaced(u, "h=from", "l=0; h=from"),
    ];
    for tamper in tampering {
        let world = World::new();
        let stored = plain(&world).await;
        world.stages.tamper_unsigned(tamper);
        let error = world.copies.make(&stored.lease(0), ALL).await.map(|_| ()).expect_err("refused");
        assert!(
            matches!(&error, CopyError::Fault(f) if f.stage == Stage::Dkim && f.kind == FaultKind::Answer),
            "{error}"
        );
    }
}

fn replaced(unsigned: Vec<SigningInput>, what: &str, with: &str) -> Vec<SigningInput> {
    let replace = |octets: &[u8]| String::from_utf8_lossy(octets).replace(what, with).into_bytes();
    unsigned
        .into_iter()
        .map(|u| SigningInput { to_sign: replace(&u.to_sign), field: replace(&u.field) })
        .collect()
}

#[tokio::test]
async fn faults_and_lost_bodies_are_temporary() {
    let world = World::new();
    let stored = plain(&world).await;
    world.stages.break_stage(Stage::Dkim);
    let error = world.copies.make(&stored.lease(0), ALL).await.map(|_| ()).expect_err("a fault");
    assert!(matches!(error, CopyError::Fault(_)), "{error}");
    world.queue.act(stored.id, OperatorAction::Drop, 0, Vec::new()).await.expect("dropped");
    let error = world.copies.make(&stored.lease(0), ALL).await.map(|_| ()).expect_err("no body");
    assert!(matches!(error, CopyError::Host(_)), "{error}");
}

#[tokio::test]
async fn bytes_without_a_recipe_go_as_they_are() {
    let world = World::new();
    let mut stored = plain(&world).await;
    let mut meta = (*stored.meta).clone();
    meta.recipe.clear();
    stored.meta = Arc::new(meta);
    let copy = world.copies.make(&stored.lease(0), NONE).await.expect("a copy");
    assert_eq!(read(&*copy.source), PLAIN.as_bytes());
}

#[tokio::test]
async fn what_was_changed_is_told() {
    let world = World::new();
    let stored = tracked(&world).await;
    let changes = world.copies.changes(&stored.lease(1)).expect("changes");
    let copy = text(&world, &stored, 1).await;
    let [link] = changes.links.as_slice() else { panic!("{changes:?}") };
    assert_eq!(link.from, "https://x.example/");
    assert!(copy.contains(&link.to), "{link:?}: {copy}");
    assert_ne!(*link, world.copies.changes(&stored.lease(0)).expect("changes").links[0], "each has its own");
    assert_eq!((changes.has_open_pixel, changes.unsubscribe_links, changes.edits), (true, 0, 2));
    assert_eq!(changes.fields[0].name, "Received");
    let signed: Vec<_> = changes.signatures.iter().map(|s| (&*s.domain, &*s.selector)).collect();
    assert_eq!(signed, [("tracked.example", "t1")]);
    let plain = plain(&world).await;
    let changes = world.copies.changes(&plain.lease(0)).expect("changes");
    assert_eq!((changes.links.len(), changes.has_open_pixel, changes.signatures.len()), (0, false, 2));
}
