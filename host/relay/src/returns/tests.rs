//! What comes of mail that came back: events, replies, forwarded mail.

use std::sync::Mutex;

use relevo_delivery::Unclassified;
use relevo_mailkit::event::{Attempt, Event};
use relevo_mailkit::model::SignatureVerdict;
use relevo_mailkit::returned::{FeedbackReport, OriginalMessage, ReportedAction, ReportedRecipient};
use relevo_queue::{ItemId, NewEvent};
use relevo_resolve::testing::NoNames;
use relevo_submission::Protocol;

use super::*;
use crate::clock::RandomIds;
use crate::settings::SpfFail;
use crate::testing::World;

const ITEM: ItemId = ItemId([1; 16]);
const CLAIMS: ReturnClaims = ReturnClaims { message: ITEM.0, recipient: 0 };

/// The MX host, and the source address in the words of the reporter.
type Heard = (String, Option<IpAddr>);

struct Came {
    world: World,
    returns: Returns,
    /// What was told of complaints.
    heard: Arc<Mutex<Vec<Heard>>>,
}

fn delivered(index: u32, recipient: &str) -> NewEvent {
    let attempt = Attempt {
        recipient: recipient.into(),
        recipient_index: index,
        sender: "shop@example.com".into(),
        status: "2.0.0".into(),
        attempt: 2,
        mx: Some("mx.reader.test".into()),
        ..Attempt::default()
    };
    NewEvent {
        tenant: "acme".into(),
        at: 1,
        item: Some(ITEM),
        labels: relevo_mailkit::labels::Labels::default(),
        event: Event::Delivered(attempt),
    }
}

/// Takes what comes back to a world.
pub(crate) fn of_world(world: &World) -> Returns {
    Returns::new(parts(world))
}

fn parts(world: &World) -> ReturnParts {
    ReturnParts {
        queue: world.queue.clone(),
        events: world.queue.clone(),
        sandbox: Sandbox::new(world.stages.clone()),
        resolve: Arc::new(NoNames),
        look_up: Arc::new(NoNames),
        classify: Arc::new(Unclassified),
        clock: world.clock.clone(),
        ids: Arc::new(RandomIds),
        metrics: ReturnMetrics::default(),
        complained: Arc::new(|_, _| {}),
    }
}

impl Came {
    async fn new() -> Self {
        let world = World::with(|settings| {
            settings.returns.domains = vec!["return.example.com".into()];
            settings.returns.feedback_networks = vec!["198.51.100.0/24".parse().expect("a network")];
        });
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = heard.clone();
        let complained: Arc<HearComplaint> = Arc::new(move |mx, source| {
            hears.lock().expect("lock").push((mx.to_owned(), source));
        });
        let returns = Returns::new(ReturnParts { complained, ..parts(&world) });
        let known = vec![delivered(0, "ada@reader.test"), delivered(1, "bob@reader.test")];
        EventLog::append(&*world.queue, known).await.expect("stored");
        Self { world, returns, heard }
    }

    async fn mail_from(&self, peer: &str, to: ReturnAddress, mail: ReturnedMail) -> (u16, Vec<NewEvent>) {
        *self.world.stages.returned.lock().expect("lock") = mail;
        let peer: IpAddr = peer.parse().expect("an address");
        let via = Via { protocol: Protocol::Smtp, peer: Some(peer), helo: None, tls: None, auth_user: None };
        let recipient = Recipient::new("x@return.example.com", "return.example.com");
        let settings = self.world.settings.get();
        let (reverse_path, spf) = ("mailer@reader.test".to_owned(), OnceCell::new());
        let returned = Returned { settings, to, recipient, via, peer, smtputf8: false, reverse_path, spf };
        let reply = self.returns.receive(returned, SpooledBody::in_memory(b"a: b\r\n\r\n".to_vec())).await;
        let events = self.world.queue.events().into_iter().skip(2).collect();
        (reply.code, events)
    }

    async fn mail(&self, mail: ReturnedMail) -> (u16, Vec<NewEvent>) {
        self.mail_from("203.0.113.1", ReturnAddress::ReturnPath(CLAIMS), mail).await
    }

    fn count(&self, result: &'static str) -> u64 {
        self.returns.parts.metrics.count(result)
    }
}

fn report(action: ReportedAction) -> ReturnedMail {
    let recipient = ReportedRecipient {
        address: "ada@reader.test".into(),
        action,
        status: "5.0.0".into(),
        diagnostic: "550 5.1.1 no such user".into(),
        is_smtp: true,
        ..ReportedRecipient::default()
    };
    ReturnedMail {
        kind: ReturnedKind::DeliveryReport,
        reporter: "mx.reader.test".into(),
        recipients: vec![recipient],
        ..ReturnedMail::default()
    }
}

fn complaint(feedback_type: &str, original: OriginalMessage, about: &[&str]) -> ReturnedMail {
    let feedback = FeedbackReport {
        feedback_type: feedback_type.into(),
        recipients: about.iter().map(|address| (*address).to_owned()).collect(),
        ..FeedbackReport::default()
    };
    let kind = ReturnedKind::Feedback;
    ReturnedMail { kind, feedback: Some(feedback), original, ..ReturnedMail::default() }
}

#[tokio::test]
async fn a_failure_is_one_bounce_however_often_it_is_reported() {
    let came = Came::new().await;
    for _ in 0..3 {
        assert_eq!(came.mail(report(ReportedAction::Failed)).await.0, 250);
    }
    let (_, events) = came.mail(report(ReportedAction::Delayed)).await;
    let [NewEvent { event: Event::Bounced(bounce), tenant, item, .. }] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((tenant.as_str(), *item), ("acme", Some(ITEM)));
    assert_eq!((bounce.recipient.as_str(), bounce.status.as_str()), ("ada@reader.test", "5.1.1"));
    assert_eq!((bounce.code, bounce.attempt), (Some(550), 2));
    let report = bounce.report.as_ref().expect("a report");
    assert_eq!((report.reported_by.as_str(), report.action.as_str()), ("mx.reader.test", "failed"));
    assert_eq!(report.peer, "203.0.113.1");
    let spf = report.spf.as_ref().map(|spf| (spf.result.as_str(), spf.domain.as_str()));
    assert_eq!(spf, Some(("none", "reader.test")));
    assert_eq!((came.count("bounced"), came.count("repeated")), (1, 3));
}

#[tokio::test]
async fn a_delay_is_no_bounce_and_good_news_is_no_event() {
    let came = Came::new().await;
    for action in [ReportedAction::Delivered, ReportedAction::Relayed, ReportedAction::Expanded] {
        assert_eq!(came.mail(report(action)).await, (250, Vec::new()));
    }
    came.mail(report(ReportedAction::Delayed)).await;
    came.mail(report(ReportedAction::Delayed)).await;
    let (_, events) = came.mail(report(ReportedAction::Failed)).await;
    let names: Vec<_> = events.iter().map(|event| event.event.name()).collect();
    assert_eq!(names, ["email.delivery_delayed", "email.bounced"]);
}

#[tokio::test]
async fn what_is_about_no_message_of_ours_changes_nothing() {
    let came = Came::new().await;
    let unknown = ReturnAddress::ReturnPath(ReturnClaims { message: [9; 16], recipient: 0 });
    let failed = report(ReportedAction::Failed);
    assert_eq!(came.mail_from("203.0.113.1", unknown, failed.clone()).await, (250, Vec::new()));
    let none = came.mail_from("203.0.113.1", ReturnAddress::Feedback, failed.clone()).await;
    assert_eq!(none, (250, Vec::new()));
    let forged = OriginalMessage {
        return_path: "bounce+forged@return.example.com".into(),
        message_id: format!("<{ITEM}@mta1.example>"),
        ..OriginalMessage::default()
    };
    let with_id = ReturnedMail { original: forged, ..failed.clone() };
    assert_eq!(came.mail_from("203.0.113.1", ReturnAddress::Postmaster, with_id).await, (250, Vec::new()));
    assert_eq!((came.count("unknown_message"), came.count("no_return_path")), (1, 2));

    // The returned message has a genuine return path.
    let keys = came.world.settings.get().tracking_keys.clone();
    let return_path = keys.mint_return_path("return.example.com", &CLAIMS).expect("a key");
    let original = OriginalMessage { return_path, ..OriginalMessage::default() };
    let genuine = ReturnedMail { original, ..failed };
    let (_, events) = came.mail_from("203.0.113.1", ReturnAddress::Postmaster, genuine).await;
    assert_eq!(events.len(), 1);
}

#[tokio::test]
async fn a_complaint_counts_only_from_a_source_that_is_trusted() {
    let came = Came::new().await;
    let abuse = || complaint("abuse", OriginalMessage::default(), &[]);
    assert_eq!(came.mail(abuse()).await, (250, Vec::new()));
    assert_eq!(came.count("feedback_unauthenticated"), 1);
    let to = ReturnAddress::ReturnPath(CLAIMS);
    let trusted = "198.51.100.7";
    for kind in ["not-spam", "auth-failure", "other", ""] {
        let mail = complaint(kind, OriginalMessage::default(), &[]);
        assert_eq!(came.mail_from(trusted, to, mail).await, (250, Vec::new()), "{kind}");
    }
    assert_eq!(*came.heard.lock().expect("lock"), []);
    let mut named = abuse();
    named.feedback.as_mut().expect("feedback").source_ip = "192.0.2.25".into();
    came.mail_from(trusted, to, named).await;
    let (_, events) = came.mail_from(trusted, to, abuse()).await;
    let source = "192.0.2.25".parse().ok();
    assert_eq!(*came.heard.lock().expect("lock"), [("mx.reader.test".to_owned(), source)], "once");
    let [NewEvent { event: Event::Complained(complained), .. }] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((complained.recipient.as_str(), complained.recipient_index), ("ada@reader.test", 0));
    assert_eq!(complained.report.action, "abuse");
}

#[tokio::test]
async fn a_complaint_without_a_return_path_finds_its_recipient_by_our_id_and_the_address() {
    let came = Came::new().await;
    let by_id = || OriginalMessage { received_ids: vec![ITEM.to_string()], ..OriginalMessage::default() };
    let trusted = "198.51.100.7";
    for about in [&[][..], &["nobody@reader.test"]] {
        let mail = complaint("abuse", by_id(), about);
        let none = came.mail_from(trusted, ReturnAddress::Feedback, mail).await;
        assert_eq!(none, (250, Vec::new()), "one of several recipients is meant, and not which");
    }
    let mail = complaint("abuse", by_id(), &["BOB@reader.test"]);
    let (_, events) = came.mail_from(trusted, ReturnAddress::Feedback, mail).await;
    let [NewEvent { event: Event::Complained(complained), .. }] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(complained.recipient_index, 1);
}

#[tokio::test]
async fn a_signature_counts_if_it_is_of_a_feedback_source() {
    let came = Came::new().await;
    let mut settings = crate::settings::Settings::clone(&came.world.settings.get());
    settings.returns.feedback_domains = vec!["arf.example".into()];
    came.world.settings.replace(settings);
    let verdict = |domain: &str, pass| SignatureVerdict {
        domain: domain.into(),
        selector: "s".into(),
        algorithm: "rsa-sha256".into(),
        pass,
        detail: String::new(),
    };
    let keys = vec![relevo_mailkit::model::Txt { name: "s._domainkey.x".into(), value: "v=DKIM1".into() }];
    *came.world.stages.verdicts.lock().expect("lock") =
        vec![verdict("ARF.example", true), verdict("other.example", false), verdict("arf.example", true)];
    let message: Arc<dyn Source> = Arc::new(Vec::new());
    let signed = signers::verified(&came.returns.parts.sandbox, keys, &message, 0).await;
    assert_eq!(signed, ["arf.example"]);
    assert!(came.world.settings.get().returns.trusts_domain(&signed[0]));
}

/// RFC 9477 section 3.5.
#[tokio::test]
async fn a_complaint_with_our_feedback_id_counts_from_whom_its_author_domain_signed() {
    let came = Came::new().await;
    let mut settings = crate::settings::Settings::clone(&came.world.settings.get());
    settings.returns.cfbl = true;
    let off = came.world.settings.get();
    let id = settings.tracking_keys.mint_feedback_id("return.example.com", &CLAIMS).expect("a key");
    let returned = |settings: Arc<Settings>| Returned {
        settings,
        to: ReturnAddress::Feedback,
        recipient: Recipient::new("fbl@return.example.com", "return.example.com"),
        via: Via { protocol: Protocol::Smtp, peer: None, helo: None, tls: None, auth_user: None },
        peer: [203, 0, 113, 1].into(),
        smtputf8: false,
        reverse_path: String::new(),
        spf: OnceCell::new(),
    };
    let on = returned(Arc::new(settings));
    let mail = |id: &str, from: &str| {
        let original = OriginalMessage { cfbl_feedback_id: id.into(), ..OriginalMessage::default() };
        ReturnedMail { from_domain: from.into(), ..complaint("abuse", original, &[]) }
    };
    let may = |returned: &Returned, id: &str, from: &str, signer: &str| {
        feedback::may_complain(returned, &mail(id, from), signer)
    };
    assert!(may(&on, &id, "isp.example", "ISP.example"));
    assert!(may(&on, &id, "mail.isp.example", "isp.example"));
    assert!(may(&on, &id.to_uppercase(), "isp.example", "isp.example"));
    for (from, signer) in [
        ("isp.example", "mail.isp.example"),
        ("isp.example", "other.example"),
        ("notisp.example", "isp.example"),
        ("isp.example", "example"),
        ("", "isp.example"),
        ("isp.example", ""),
    ] {
        assert!(!may(&on, &id, from, signer), "{from} {signer}");
    }
    let forged = id.replacen(|c: char| c == id.as_bytes()[20] as char, "7", 1);
    for id in [forged.as_str(), "", &ITEM.to_string()] {
        assert!(!may(&on, id, "isp.example", "isp.example"), "{id}");
    }
    assert!(!may(&returned(off), &id, "isp.example", "isp.example"), "it is not configured");

    // What is genuine names message and recipient.
    let genuine = mail(&id, "isp.example");
    let candidates = came.returns.candidates(&on, &genuine, None);
    assert_eq!(candidates, [(ITEM, history::Whom::Index(0))]);
}

fn to_postmaster(settings: crate::settings::Settings, spf: SpfVerdict) -> Returned {
    Returned {
        settings: Arc::new(settings),
        to: ReturnAddress::Postmaster,
        recipient: Recipient::new("postmaster@return.example.com", "return.example.com"),
        via: Via { protocol: Protocol::Smtp, peer: None, helo: None, tls: None, auth_user: None },
        peer: [203, 0, 113, 1].into(),
        smtputf8: false,
        reverse_path: "x@reader.test".into(),
        spf: OnceCell::new_with(Some(spf)),
    }
}

#[tokio::test]
async fn a_nul_octet_is_not_passed_on() {
    let came = Came::new().await;
    for (body, code) in [(&b"a: b\r\n\r\n\0.\r\n"[..], 550), (b"a: b\r\n\r\n.\r\n", 250)] {
        let settings = crate::settings::Settings::clone(&came.world.settings.get());
        let returned =
            to_postmaster(settings, SpfVerdict { result: "pass".into(), domain: "reader.test".into() });
        let reply = came.returns.receive(returned, SpooledBody::in_memory(body.to_vec())).await;
        assert_eq!(reply.code, code, "{reply:?}");
    }
    assert_eq!(came.world.queue.items().len(), 1);
}

#[tokio::test]
async fn what_spf_says_is_forged_is_refused_where_that_is_set() {
    let came = Came::new().await;
    let mut settings = crate::settings::Settings::clone(&came.world.settings.get());
    let verdict = |result: &str| SpfVerdict { result: result.into(), domain: "reader.test".into() };
    for (spf_fail, result, refused) in [
        (SpfFail::Record, "fail", false),
        (SpfFail::Reject, "fail", true),
        (SpfFail::Reject, "softfail", false),
        (SpfFail::Reject, "temperror", false),
    ] {
        settings.returns.spf_fail = spf_fail;
        let returned = to_postmaster(settings.clone(), verdict(result));
        let reply = came.returns.receive(returned, SpooledBody::in_memory(b"a: b\r\n\r\n".to_vec())).await;
        assert_eq!(reply.code == 550, refused, "{spf_fail:?} {result} {reply:?}");
    }
    assert_eq!(came.count("spf_fail"), 1);
}

#[tokio::test]
async fn ordinary_mail_is_dropped_or_goes_to_the_postmaster_without_a_way_back() {
    let came = Came::new().await;
    assert_eq!(came.mail(ReturnedMail::default()).await.0, 250);
    assert_eq!((came.world.queue.items().len(), came.count("dropped")), (0, 1));
    let to = ReturnAddress::Postmaster;
    assert_eq!(came.mail_from("203.0.113.1", to, ReturnedMail::default()).await.0, 250);
    let item = came.world.queue.last_item();
    assert_eq!((item.meta.sender.as_str(), item.meta.no_bounce, item.meta.is_bounce), ("", true, true));
    assert_eq!(item.deliveries[0].recipients[0].address, "postmaster@mta1.example");
    let automatic = ReturnedMail { kind: ReturnedKind::AutoReply, ..ReturnedMail::default() };
    assert_eq!(came.mail_from("203.0.113.1", to, automatic).await.0, 250);
    let looping = ReturnedMail { received: 51, ..ReturnedMail::default() };
    assert_eq!(came.mail_from("203.0.113.1", to, looping).await.0, 554);
    assert_eq!(came.world.queue.items().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_stored_or_read_is_not_taken() {
    let came = Came::new().await;
    came.world.stages.break_stage(relevo_runtime::Stage::Reports);
    assert_eq!(came.mail(report(ReportedAction::Failed)).await.0, 554, "the guest is to blame");
    let came = Came::new().await;
    came.world.queue.fail(relevo_queue::testing::FailingCall::Accept, || StoreError::Io("x".into()));
    let to = ReturnAddress::Postmaster;
    assert_eq!(came.mail_from("203.0.113.1", to, ReturnedMail::default()).await.0, 451);
}

#[tokio::test]
async fn only_addresses_that_exist_are_taken() {
    let came = Came::new().await;
    let settings = came.world.settings.get();
    let address = |text: &str| {
        let (_, domain) = text.rsplit_once('@').expect("an address");
        let to = Recipient::new(text, domain.to_ascii_lowercase());
        came.returns.address(&settings, &to).map_err(|reply| reply.code)
    };
    let genuine = settings.tracking_keys.mint_return_path("return.example.com", &CLAIMS).expect("a key");
    assert_eq!(address(&genuine), Ok(Some(ReturnAddress::ReturnPath(CLAIMS))));
    assert_eq!(address(&genuine.to_uppercase()), Ok(Some(ReturnAddress::ReturnPath(CLAIMS))));
    assert_eq!(address("Postmaster@return.example.com"), Ok(Some(ReturnAddress::Postmaster)));
    assert_eq!(address("abuse@return.example.com"), Ok(Some(ReturnAddress::Postmaster)));
    assert_eq!(address("FBL@return.example.com"), Ok(Some(ReturnAddress::Feedback)));
    let forged = genuine.replacen(|c: char| c == genuine.as_bytes()[20] as char, "7", 1);
    for text in ["ada@return.example.com", "bounce+abc@return.example.com", forged.as_str()] {
        assert_eq!(address(text), Err(550), "{text}");
    }
    assert_eq!(address("ada@reader.test"), Ok(None));
}

#[tokio::test]
async fn strangers_have_limits() {
    let came = Came::new().await;
    let mut settings = crate::settings::Settings::clone(&came.world.settings.get());
    settings.returns.max_connections = 2;
    settings.returns.messages_per_minute = 3;
    settings.returns.messages_per_minute_per_client = 2;
    let open: Vec<_> = (0..3).map(|_| came.returns.connect(&settings)).collect();
    assert_eq!(open.iter().filter(|open| open.is_some()).count(), 2);
    drop(open);
    assert!(came.returns.connect(&settings).is_some());
    let admit = |peer: &str| came.returns.admit(&settings, peer.parse().expect("an address")).is_ok();
    assert_eq!(["192.0.2.1", "192.0.2.1", "192.0.2.1"].map(admit), [true, true, false]);
    assert_eq!(["192.0.2.2", "192.0.2.3"].map(admit), [true, false], "all together");
}
