//! Verdicts of checks, and what they do to a message.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use relevo_mailkit::event::Event;
use relevo_mailkit::model::Report;
use relevo_queue::testing::FailingCall;
use relevo_queue::{RecipientState, StoreError};
use relevo_runtime::Stage;
use relevo_smtp::server::Reply;

use super::*;
use crate::copies::Recipe;
use crate::emails::{EmailFilter, Emails};
use crate::pipeline::{Origin, Submission};
use crate::policy::{Check, PluginAnswer, PolicyRequest, RecipientDecision};
use crate::settings::EgressGrants;
use crate::testing::{World, forward, submission};

const PLAIN: &str = "From: a@example.com\r\nTo: b@b.example\r\n\r\nHello\r\n";

/// A check of `acme`'s mail that always gives the same answer.
#[derive(Default)]
struct Scripted {
    result: PolicyResult,
    asked: AtomicUsize,
}

#[async_trait]
impl Check for Scripted {
    fn name(&self) -> &'static str {
        "policy"
    }

    fn applies_to(&self, tenant: &Tenant) -> bool {
        tenant.id == "acme"
    }

    fn reads_fields(&self) -> bool {
        true
    }

    async fn check(&self, _: &PolicyRequest) -> PolicyResult {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.result.clone()
    }
}

fn scripted(plugin: &str, verdicts: &[Verdict]) -> Arc<Scripted> {
    let decide = |v: &Verdict| RecipientDecision { verdict: v.clone(), decided_by: Some(0) };
    let answer =
        PluginAnswer { plugin: plugin.into(), digest: "d".into(), verdict: "x".into(), reason: "why".into() };
    let result = PolicyResult {
        decisions: verdicts.iter().map(decide).collect(),
        prepend: b"X-Seen: yes\r\n".to_vec(),
        attributes: vec![("campaign".into(), "spring".into())],
        answers: vec![answer],
        ..PolicyResult::default()
    };
    Arc::new(Scripted { result, ..Scripted::default() })
}

struct Scene {
    world: World,
    told: Arc<AtomicUsize>,
    check: Arc<Scripted>,
}

fn scene(verdicts: &[Verdict]) -> Scene {
    let mut world = World::new();
    let told = Arc::new(AtomicUsize::new(0));
    let telling = Arc::clone(&told);
    let check = scripted("p", verdicts);
    world.pipeline.checks = vec![Arc::clone(&check) as Arc<dyn Check>];
    world.pipeline.recipient_refused = Arc::new(move || {
        telling.fetch_add(1, Ordering::SeqCst);
    });
    Scene { world, told, check }
}

impl Scene {
    fn submission(&self) -> Submission {
        let mut it = submission(&self.world, PLAIN);
        it.envelope.recipients = ["b@b.example", "c@b.example", "d@d.example"].map(forward).to_vec();
        it
    }

    fn asked(&self) -> usize {
        self.check.asked.load(Ordering::SeqCst)
    }
}

fn reject(code: u16) -> Verdict {
    let class = u8::try_from(code / 100).expect("a digit");
    Verdict::Reject(Reply::new(code, (class, 7, 1), format!("no {code}")))
}

fn hold() -> Verdict {
    Verdict::Hold("a look".into())
}

#[tokio::test]
async fn refused_for_all_is_that_reply_and_a_temporary_one_goes_first() {
    let of = scene(&[reject(550), reject(450), reject(551)]);
    let rejection = of.world.pipeline.submit(of.submission()).await.expect_err("refused");
    assert_eq!((rejection.reply.code, rejection.rule.as_str()), (450, "policy"));
    assert_eq!(of.world.queue.items().len(), 0);
    assert_eq!(of.world.queue.last_event().tenant, "acme");
    let event = of.world.queue.last_event_json();
    assert_eq!((&event["plugin"], &event["policies"][0]["digest"]), (&"p".into(), &"d".into()));
    let domain = of.world.queue.last_event().labels.domain;
    assert_eq!(domain, "example.com", "by domain, too, it is counted as refused");

    let of = scene(&[reject(550), reject(551), reject(550)]);
    let rejection = of.world.pipeline.submit(of.submission()).await.expect_err("refused");
    assert_eq!(rejection.reply.code, 550);
    assert_eq!(of.world.queue.last_event_json()["type"], "email.rejected");
}

#[tokio::test]
async fn refused_for_some_is_taken_and_its_sender_is_told() {
    let of = scene(&[Verdict::Accept, reject(550), hold()]);
    of.world.pipeline.submit(of.submission()).await.expect("accepted");
    assert_eq!(of.told.load(Ordering::SeqCst), 1);
    let item = of.world.queue.last_item();
    let states: Vec<_> = item.deliveries.iter().map(|d| (d.recipients[0].state.clone(), d.held)).collect();
    let failed = RecipientState::Failed { reported: false };
    assert_eq!(states, [(RecipientState::Pending, false), (failed, false), (RecipientState::Pending, true)]);
    assert_eq!(item.deliveries[2].hold_reason.as_deref(), Some("by plugin p (d): a look"));
    assert_eq!(of.world.queue.kinds(), ["email.queued", "email.rejected", "email.held"]);
    let events = of.world.queue.events();
    assert!(events.iter().all(|event| event.labels.domain == "example.com"), "{events:?}");
    let recipe = Recipe::decode(&item.meta.recipe).expect("a recipe");
    assert_eq!(item.meta.attributes, [("campaign".to_owned(), "spring".to_owned())]);
    let top = String::from_utf8(recipe.prepend).expect("ASCII");
    let seen = top.find("X-Seen: yes\r\n").expect("the field of the plugin");
    assert!(top.starts_with("Received:") && seen < top.find("Date:").expect("validate's"), "{top}");
}

#[tokio::test]
async fn held_mail_expires_by_itself_and_has_a_quota() {
    let of = scene(&[hold(), hold(), hold()]);
    of.world.pipeline.submit(of.submission()).await.expect("accepted");
    let expires = of.world.queue.last_item().meta.expires_at - of.world.queue.last_item().meta.accepted_at;
    let settings = of.world.settings.get();
    assert_eq!(u128::try_from(expires), Ok(settings.plugins.hold_expire.as_millis()));
    // Two deliveries are held, and two are allowed.
    let rejection = of.world.pipeline.submit(of.submission()).await.expect_err("too much is held");
    assert_eq!((rejection.reply.code, rejection.reply.enhanced), (452, Some((4, 3, 1).into())));
    assert_eq!(of.world.queue.items().len(), 1);
}

#[tokio::test]
async fn a_discard_is_not_answered_before_its_event_is_stored() {
    let discard = Verdict::Discard("spam".into());
    let of = scene(&[discard.clone(), discard.clone(), discard.clone()]);
    of.world.pipeline.submit(of.submission()).await.expect("accepted");
    assert_eq!(
        (of.world.queue.items().len(), of.world.queue.kinds()),
        (0, vec!["email.discarded".to_owned()])
    );
    assert_eq!(of.world.queue.last_event_json()["reason"], "spam");
    assert_eq!(of.world.queue.last_event().labels.domain, "example.com");

    of.world.queue.fail(FailingCall::Append, || StoreError::Io("disk".into()));
    let rejection = of.world.pipeline.submit(of.submission()).await.expect_err("not stored");
    assert_eq!(rejection.reply.code, 451);
}

#[tokio::test]
async fn a_discarded_message_is_listed_once() {
    let discard = |why: &str| Verdict::Discard(why.into());
    let of = scene(&[discard("spam"), discard("a virus"), discard("spam")]);
    let accepted = of.world.pipeline.submit(of.submission()).await.expect("accepted");
    assert_eq!(of.world.queue.kinds(), ["email.discarded", "email.discarded"]);
    let queued = scene(&[Verdict::Accept, discard("spam"), Verdict::Accept]);
    queued.world.pipeline.submit(queued.submission()).await.expect("accepted");
    for of in [&of, &queued] {
        let emails = Emails::new(of.world.queue.clone());
        let page = emails
            .list("acme", &EmailFilter::default(), relevo_queue::EventPosition::newest(), 10)
            .await
            .expect("a page");
        let [email] = page.emails.try_into().expect("one");
        assert_eq!((email.recipients.len(), email.sender.is_empty()), (3, false));
        assert!(email.recipients.iter().any(|to| to.last_event == "discarded"));
    }
    let emails = Emails::new(of.world.queue.clone());
    assert_eq!(emails.find("acme", accepted.id).await.expect("read").expect("known").queued, None);
}

#[tokio::test]
async fn later_checks_can_only_be_stricter() {
    let mut of = scene(&[Verdict::Accept, hold(), reject(550)]);
    let second = scripted("q", &[hold(), reject(551), Verdict::Accept]);
    of.world.pipeline.checks.push(Arc::clone(&second) as Arc<dyn Check>);
    of.world.pipeline.submit(of.submission()).await.expect("accepted");
    assert_eq!(of.world.steps.names(), ["validate", "authorise", "policy", "policy", "commit"]);
    let item = of.world.queue.last_item();
    let held: Vec<_> = item.deliveries.iter().map(|d| (d.recipients[0].index, d.held)).collect();
    assert_eq!(held, [(0, true), (1, false), (2, false)]);
    let first = of.world.queue.events().remove(0).event;
    let Event::Queued(queued) = first else { panic!("{first:?}") };
    let recorded = queued.policies.len();
    assert_eq!((of.asked(), second.asked.load(Ordering::SeqCst), recorded), (1, 1, 2));

    let rejected = scripted("r", &[reject(550), reject(550), reject(550)]);
    of.world.pipeline.checks.insert(0, rejected as Arc<dyn Check>);
    of.world.pipeline.submit(of.submission()).await.expect_err("refused");
    assert_eq!((of.asked(), second.asked.load(Ordering::SeqCst)), (1, 1), "nothing is left to decide");
}

#[tokio::test]
async fn a_refused_message_comes_to_no_check() {
    let of = scene(&[Verdict::Accept]);
    let refused = async |message: &str, rule: &str| {
        let rejection = of.world.pipeline.submit(submission(&of.world, message)).await.expect_err(rule);
        assert_eq!(rejection.rule, rule);
    };
    refused("From: a@other.example\r\n\r\n", "domain-not-owned").await;
    of.world.stages.tamper_report(|report| Report { added_headers: b"no field".to_vec(), ..report });
    refused(PLAIN, "component-fault").await;
    of.world.stages.break_stage(Stage::Validate);
    refused(PLAIN, "component-fault").await;
    assert_eq!(of.asked(), 0);
}

#[tokio::test]
async fn other_tenants_are_not_asked_about() {
    let of = scene(&[reject(550)]);
    let mut it = submission(&of.world, "From: a@other.example\r\n\r\n");
    it.origin = Origin::Tenant("other".into());
    it.envelope.sender = "a@other.example".into();
    of.world.pipeline.submit(it).await.expect("accepted");
    assert_eq!(of.world.queue.items().len(), 1);
}

/// Whose mail it is of a trusted peer's is known only when it was looked at.
#[tokio::test]
async fn the_header_is_listed_for_plugins_only() {
    let listed = async |origin: Origin, sender: &str, from: &str| {
        let of = scene(&[Verdict::Accept]);
        let mut it = submission(&of.world, &format!("From: {from}\r\n\r\n"));
        (it.origin, it.envelope.sender) = (origin, sender.into());
        of.world.pipeline.submit(it).await.expect("accepted");
        let options = of.world.stages.options.lock().expect("lock");
        options.iter().map(|o| o.include_headers).collect::<Vec<_>>()
    };
    let tenant = |id: &str| Origin::Tenant(id.into());
    assert_eq!(listed(tenant("acme"), "a@example.com", "a@example.com").await, [true]);
    assert_eq!(listed(tenant("other"), "a@other.example", "a@other.example").await, [false]);
    let peer = || Origin::Relay("10.1.0.1".parse().expect("address"));
    assert_eq!(listed(peer(), "a@other.example", "a@other.example").await, [false]);
    assert_eq!(listed(peer(), "a@example.com", "a@example.com").await, [true]);
    // One look is enough for a subdomain, too.
    assert_eq!(listed(peer(), "a@news.example.com", "a@example.com").await, [true]);
    assert_eq!(listed(peer(), "", "a@example.com").await, [false, true]);
}

#[tokio::test]
async fn the_routing_is_stored_with_each_delivery() {
    let mut of = scene(&[Verdict::Accept, hold(), Verdict::Accept]);
    let mut settings = crate::testing::settings();
    let grants =
        EgressGrants { pools: vec!["own".into(), "bulk".into()], routes: vec!["eu".into()], max_priority: 4 };
    settings.directory.edit(|entries| {
        let domain = entries.by_domain.get_mut("example.com").map(Arc::make_mut).expect("configured");
        domain.grants = Arc::new(grants);
    });
    of.world.settings.replace(settings);
    let routing = |of: &Scene| {
        let item = of.world.queue.last_item();
        item.deliveries.iter().map(|d| (d.key.to_string(), d.priority)).collect::<Vec<_>>()
    };
    of.world.pipeline.submit(of.submission()).await.expect("accepted");
    let usual = |domain: &str| (format!("{domain}, tenant acme, sending domain example.com, pool own"), 0);
    assert_eq!(routing(&of), [usual("b.example"), usual("b.example"), usual("d.example")]);

    let attributes = [("pool", "bulk"), ("route", "eu"), ("priority", "-4")];
    let result = PolicyResult {
        attributes: attributes.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
        ..PolicyResult::default()
    };
    of.world.pipeline.checks = vec![Arc::new(Scripted { result, ..Scripted::default() })];
    of.world.pipeline.submit(of.submission()).await.expect("accepted");
    let chosen = |domain: &str| {
        (format!("{domain}, tenant acme, sending domain example.com, pool bulk, route eu"), -4)
    };
    assert_eq!(routing(&of), [chosen("b.example"), chosen("d.example")]);
    let data = of.world.queue.last_event_json();
    assert_eq!(
        (&data["pool"], &data["route"], &data["priority"]),
        (&"bulk".into(), &"eu".into(), &(-4).into())
    );

    // Another tenant's mail has the key of its domain.
    let mut it = submission(&of.world, "From: a@other.example\r\n\r\n");
    it.origin = Origin::Tenant("other".into());
    it.envelope.sender = "a@other.example".into();
    of.world.pipeline.submit(it).await.expect("accepted");
    assert_eq!(routing(&of), [("b.example".to_owned(), 0)]);
}
