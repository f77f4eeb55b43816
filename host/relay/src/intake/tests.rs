//! The answers of a session, row by row of the table of bad input, and the way through.

use relevo_queue::StoreError;
use relevo_queue::testing::FailingCall;
use relevo_smtp::server::BodyWriter as _;
use relevo_submission::EgressGrants;

use super::*;
use crate::testing::{FixedSuppressions, World, credentials, no_suppressions, open_suppressions, suppressed};

const MESSAGE: &[u8] = b"From: a@example.com\r\n\r\nHello\r\n";

/// One session against one world.
struct Dialogue {
    world: World,
    intake: Intake,
    session: IntakeSession,
    info: SessionInfo,
}

fn peer(listener: ListenerKind, remote: &str) -> SmtpPeer {
    let local = "192.0.2.25:587".parse().expect("address");
    SmtpPeer::new(remote.parse().expect("address"), local, listener)
}

fn short(reply: &Reply) -> String {
    format!("{} {}", reply.code, reply.enhanced.expect("enhanced"))
}

fn outcome(result: Result<(), Reply>) -> String {
    result.map_or_else(|r| short(&r), |()| "ok".into())
}

impl Dialogue {
    async fn on(listener: ListenerKind, remote: &str) -> Self {
        Self::in_world(World::new(), listener, remote).await
    }

    async fn in_world(world: World, listener: ListenerKind, remote: &str) -> Self {
        Self::with_lists(world, FixedSuppressions::default(), listener, remote).await
    }

    async fn with_lists(
        world: World,
        lists: FixedSuppressions,
        listener: ListenerKind,
        remote: &str,
    ) -> Self {
        let suppressed = open_suppressions(lists, world.queue.clone(), world.clock.clone()).await;
        let metrics = IntakeMetrics::default();
        let intake = Intake::new(world.pipeline.clone(), suppressed, world.settings.clone(), metrics);
        let intake = intake.expect("randomness");
        let session = intake.connect(&peer(listener, remote)).await.expect("admitted");
        let info = SessionInfo { helo: "client.example".into(), extended: true, ..SessionInfo::default() };
        Self { world, intake, session, info }
    }

    /// On the submission port as acme.
    async fn acme() -> Self {
        let mut it = Self::on(ListenerKind::Submission, "192.0.2.7:1234").await;
        assert_eq!(it.auth("acme", "acme").await, "ok");
        it
    }

    async fn auth(&mut self, username: &str, password: &str) -> String {
        let result =
            self.intake.authenticate(&mut self.session, &self.info, credentials(username, password)).await;
        if result.is_ok() {
            self.info.username = Some(username.into());
        }
        outcome(result)
    }

    async fn mail_with(&mut self, address: &str) -> Result<(), Reply> {
        let domain = address.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
        let from = MailFrom { address: address.into(), domain, ..MailFrom::default() };
        self.intake.mail(&mut self.session, &self.info, &from).await
    }

    async fn mail(&mut self, address: &str) -> String {
        outcome(self.mail_with(address).await)
    }

    async fn rcpt(&mut self, address: &str) -> String {
        let to = Address::parse(address).map_or_else(|_| Recipient::new(address, ""), Recipient::from);
        outcome(self.intake.rcpt(&mut self.session, &self.info, &to).await)
    }

    async fn send(&mut self, message: &[u8]) -> Reply {
        let mut writer = match self.intake.data(&mut self.session, &self.info).await {
            Ok(writer) => writer,
            Err(reply) => return reply,
        };
        for chunk in message.chunks(1000) {
            if let Err(reply) = writer.write(chunk).await {
                self.intake.reset(&mut self.session);
                return reply;
            }
        }
        self.intake.finish(&mut self.session, &self.info, writer).await
    }

    fn addresses(&self) -> Vec<String> {
        let item = self.world.queue.last_item();
        item.deliveries.iter().flat_map(|d| &d.recipients).map(|r| r.address.clone()).collect()
    }
}

#[tokio::test]
async fn a_message_is_queued() {
    let mut it = Dialogue::acme().await;
    assert_eq!(it.mail("a@example.com").await, "ok");
    assert_eq!(it.rcpt("b@B.example").await, "ok");
    let reply = it.send(MESSAGE).await;
    let item = it.world.queue.last_item();
    assert_eq!(short(&reply), "250 2.0.0");
    assert_eq!(reply.text, format!("queued as {}", item.id));
    assert_eq!(item.meta.tenant, "acme");
    assert_eq!(item.deliveries[0].key.domain, "b.example");
    assert_eq!(crate::testing::read(&*item.body), MESSAGE);
    // The transaction is over, the session goes on.
    assert_eq!(it.rcpt("b@b.example").await, "451 4.3.0");
    assert_eq!(it.mail("a@example.com").await, "ok");
}

#[tokio::test]
async fn the_list_is_asked_last_and_what_it_refuses_is_not_kept() {
    let world = World::with(|settings| settings.intake.max_recipients = 1);
    let entries = vec![suppressed("gone@b.example", "all"), suppressed("c@b.example", "transactional")];
    let lists = FixedSuppressions { entries, broken: Some("broken@b.example") };
    let mut it = Dialogue::with_lists(world, lists, ListenerKind::Submission, "192.0.2.7:1234").await;
    assert_eq!(it.auth("acme", "acme").await, "ok");
    assert_eq!(it.mail("a@example.com").await, "ok");
    assert_eq!(it.rcpt("\"Gone\"@b.example").await, "550 5.7.1");
    assert_eq!(it.rcpt("broken@b.example").await, "451 4.3.0");
    assert_eq!(it.rcpt("c@b.example").await, "ok", "that stream is judged after DATA");
    assert_eq!(it.rcpt("broken@b.example").await, "452 4.5.3", "nothing is looked up");
    it.send(MESSAGE).await;
    assert_eq!(it.addresses(), ["c@b.example"]);
}

#[tokio::test]
async fn the_relay_port_is_for_trusted_networks() {
    let world = World::new();
    let suppressed = no_suppressions(world.queue.clone(), world.clock.clone()).await;
    let metrics = IntakeMetrics::default();
    let intake = Intake::new(world.pipeline.clone(), suppressed, world.settings.clone(), metrics);
    let intake = intake.expect("randomness");
    for (remote, listener, answer) in [
        ("127.0.0.1:1", ListenerKind::Relay, "ok"),
        ("[::ffff:10.1.2.3]:1", ListenerKind::Relay, "ok"),
        ("192.0.2.7:1", ListenerKind::Relay, "554 5.7.1"),
        ("[::1]:1", ListenerKind::Relay, "554 5.7.1"),
        ("192.0.2.7:1", ListenerKind::Submission, "ok"),
        ("192.0.2.7:1", ListenerKind::Submissions, "ok"),
    ] {
        let result = intake.connect(&peer(listener, remote)).await.map(|_| ());
        assert_eq!(outcome(result), answer, "{remote} {listener:?}");
    }
}

#[tokio::test]
async fn never_an_open_relay() {
    let mut it = Dialogue::on(ListenerKind::Submission, "127.0.0.1:1").await;
    assert_eq!(it.mail("a@example.com").await, "530 5.7.0");
    assert_eq!(it.mail("").await, "530 5.7.0");
    assert_eq!(it.rcpt("b@b.example").await, "451 4.3.0");
    assert_eq!(short(&it.send(MESSAGE).await), "451 4.3.0");
    assert_eq!(it.auth("acme", "wrong").await, "535 5.7.8");
    assert_eq!(it.mail("a@example.com").await, "530 5.7.0");
    assert_eq!(it.auth("acme", "acme").await, "ok");
    // STARTTLS forgets who it was.
    it.info.username = None;
    it.intake.reset(&mut it.session);
    assert_eq!(it.mail("a@example.com").await, "530 5.7.0");
}

#[tokio::test]
async fn a_withdrawn_credential_ends_with_the_next_mail() {
    let mut it = Dialogue::acme().await;
    let mut settings = crate::testing::settings();
    settings.directory.edit(|entries| drop(entries.by_username.remove("acme")));
    it.world.settings.replace(settings);
    assert_eq!(it.mail("a@example.com").await, "530 5.7.0");
}

#[tokio::test]
async fn reverse_paths() {
    let mut it = Dialogue::acme().await;
    for (address, answer) in [
        ("", "ok"),
        ("a@sub.example.com", "ok"),
        ("a@other.example", "550 5.7.1"),
        ("a@unknown.example", "550 5.7.1"),
        ("a@[192.0.2.1]", "550 5.7.1"),
        ("ü@example.com", "ok"),
    ] {
        assert_eq!(it.mail(address).await, answer, "{address}");
        it.intake.reset(&mut it.session);
    }
    let reply = it.mail_with("a@other.example").await.expect_err("refused");
    assert!(reply.text.contains("other.example"), "{reply:?}");
}

#[tokio::test]
async fn forward_paths() {
    let mut it = Dialogue::acme().await;
    assert_eq!(it.mail("a@example.com").await, "ok");
    for (address, answer) in [
        ("PostMaster", "ok"),
        ("b@b.example", "ok"),
        ("b@b.example", "ok"),
        ("c@b.example", "ok"),
        ("d@b.example", "452 4.5.3"),
    ] {
        assert_eq!(it.rcpt(address).await, answer, "{address}");
    }
    assert_eq!(it.send(MESSAGE).await.code, 250);
    assert_eq!(it.addresses(), ["postmaster@mta1.example", "b@b.example", "c@b.example"]);
}

#[tokio::test]
async fn a_credential_has_so_many_recipients_an_hour() {
    let world = World::with(|s| s.intake.recipients_per_hour = 2);
    let mut it = Dialogue::in_world(world, ListenerKind::Submissions, "192.0.2.7:1").await;
    assert_eq!(it.auth("acme", "acme").await, "ok");
    assert_eq!(it.mail("a@example.com").await, "ok");
    assert_eq!(it.rcpt("1@b.example").await, "ok");
    assert_eq!(it.rcpt("2@b.example").await, "ok");
    assert_eq!(it.rcpt("3@b.example").await, "451 4.7.1");
    assert_eq!(it.send(MESSAGE).await.code, 250);
    assert_eq!(it.mail("a@example.com").await, "ok");
    assert_eq!(it.rcpt("3@b.example").await, "451 4.7.1");
    it.world.clock.0.fetch_add(1_800_000, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(it.rcpt("3@b.example").await, "ok");
}

#[tokio::test]
async fn larger_than_the_limit_by_bytes() {
    let mut it = Dialogue::acme().await;
    for (size, answer) in [(9_970, 250), (10_001, 552), (100_000, 552)] {
        assert_eq!(it.mail("a@example.com").await, "ok");
        assert_eq!(it.rcpt("b@b.example").await, "ok");
        let message = [MESSAGE, &vec![b'x'; size - MESSAGE.len()][..]].concat();
        let reply = it.send(&message).await;
        assert_eq!(reply.code, answer);
        assert_eq!(it.world.queue.items().len(), 1);
    }
}

#[tokio::test]
async fn a_full_disk_is_said_before_the_data_comes() {
    let mut it = Dialogue::acme().await;
    assert_eq!(it.mail("a@example.com").await, "ok");
    assert_eq!(it.rcpt("b@b.example").await, "ok");
    it.world.queue.fail(FailingCall::Spool, || StoreError::Full);
    assert_eq!(short(&it.send(MESSAGE).await), "452 4.3.1");
    it.intake.reset(&mut it.session);
    assert_eq!(it.mail("a@example.com").await, "452 4.3.1");
    it.world.queue.fail(FailingCall::Spool, || StoreError::Io("x".into()));
    assert_eq!(it.mail("a@example.com").await, "451 4.3.0");
    assert_eq!(it.world.queue.items().len(), 0);
}

#[tokio::test]
async fn after_any_refusal_the_state_is_gone() {
    let mut it = Dialogue::acme().await;
    assert_eq!(it.mail("a@example.com").await, "ok");
    assert_eq!(it.rcpt("b@b.example").await, "ok");
    let reply = it.send(b"From: a@other.example\r\n\r\n").await;
    assert_eq!(short(&reply), "550 5.7.1");
    assert_eq!(short(&it.send(MESSAGE).await), "451 4.3.0");
    assert_eq!(it.rcpt("b@b.example").await, "451 4.3.0");
    assert_eq!(it.world.queue.kinds(), ["email.rejected"]);
}

#[tokio::test]
async fn the_relay_port_needs_no_password_but_a_tenants_domain() {
    let mut it = Dialogue::on(ListenerKind::Relay, "10.2.0.1:1").await;
    for (address, answer) in [
        ("a@example.com", "ok"),
        ("a@unknown.example", "550 5.7.1"),
        // Its networks do not contain the peer.
        ("a@other.example", "550 5.7.1"),
        ("", "ok"),
    ] {
        assert_eq!(it.mail(address).await, answer, "{address}");
        it.intake.reset(&mut it.session);
    }
    assert_eq!(it.mail("a@example.com").await, "ok");
    assert_eq!(it.rcpt("b@b.example").await, "ok");
    assert_eq!(it.send(MESSAGE).await.code, 250);
    assert_eq!(it.world.queue.last_item().meta.tenant, "acme");
    let recipe = crate::copies::Recipe::decode(&it.world.queue.last_item().meta.recipe).expect("a recipe");
    let top = String::from_utf8(recipe.prepend).expect("ASCII");
    assert!(top.contains(" with ESMTP\r\n"), "{top}");
}

/// A session on the relay port of a relay that mail comes back to.
async fn returning(remote: &str) -> Dialogue {
    let world = World::with(|settings| {
        settings.returns.domains = vec!["return.example.com".into()];
        settings.returns.max_size = 500;
    });
    let suppressed = no_suppressions(world.queue.clone(), world.clock.clone()).await;
    let intake =
        Intake::new(world.pipeline.clone(), suppressed, world.settings.clone(), IntakeMetrics::default());
    let returns = Arc::new(crate::returns::tests::of_world(&world));
    let intake = intake.expect("randomness").with_returns(returns);
    let session = intake.connect(&peer(ListenerKind::Relay, remote)).await.expect("admitted");
    let info = SessionInfo { helo: "mx.reader.test".into(), extended: true, ..SessionInfo::default() };
    Dialogue { world, intake, session, info }
}

fn return_path(it: &Dialogue) -> String {
    let claims = relevo_mailkit::token::return_path::ReturnClaims { message: [1; 16], recipient: 0 };
    let keys = it.world.settings.get().tracking_keys.clone();
    keys.mint_return_path("return.example.com", &claims).expect("a key")
}

#[tokio::test]
async fn a_stranger_may_bring_mail_back_and_nothing_else() {
    let mut it = returning("203.0.113.5:1").await;
    let genuine = return_path(&it);
    for from in ["", "mailer-daemon@reader.test", "a@example.com"] {
        assert_eq!(it.mail(from).await, "ok", "{from}");
        for (to, answer) in [
            ("b@b.example", "550 5.7.1"),
            ("a@example.com", "550 5.7.1"),
            ("a@return.example.com", "550 5.1.1"),
            ("bounce+x@return.example.com", "550 5.1.1"),
            (genuine.as_str(), "ok"),
            (genuine.as_str(), "452 4.5.3"),
            ("fbl@return.example.com", "452 4.5.3"),
            ("b@b.example", "550 5.7.1"),
        ] {
            assert_eq!(it.rcpt(to).await, answer, "{to}");
        }
        assert_eq!(short(&it.send(MESSAGE).await), "250 2.0.0");
    }
    assert_eq!(it.mail("").await, "ok");
    assert_eq!(it.rcpt("postmaster").await, "ok");
    assert_eq!(short(&it.send(&[b'x'; 501]).await), "552 5.3.4");
    assert_eq!(it.world.queue.items().len(), 0, "nothing of it was queued");
}

#[tokio::test]
async fn a_trusted_peer_may_relay_and_bring_mail_back_but_not_at_once() {
    let mut it = returning("10.2.0.1:1").await;
    let genuine = return_path(&it);
    assert_eq!(it.mail("mailer-daemon@reader.test").await, "ok", "it is known only with the recipient");
    assert_eq!(it.rcpt("b@b.example").await, "550 5.7.1");
    assert_eq!(it.rcpt(&genuine).await, "ok");
    assert_eq!(it.send(MESSAGE).await.code, 250);
    assert_eq!(it.mail("a@example.com").await, "ok");
    assert_eq!(it.rcpt("b@b.example").await, "ok");
    assert_eq!(it.rcpt(&genuine).await, "452 4.5.3");
    assert_eq!(it.send(MESSAGE).await.code, 250);
    assert_eq!(it.addresses(), ["b@b.example"]);
    assert_eq!(it.mail("a@example.com").await, "ok");
    assert_eq!(it.rcpt(&genuine).await, "ok");
    assert_eq!(it.rcpt("b@b.example").await, "452 4.5.3");
}

fn parameter(keyword: &str, value: &str) -> Parameter {
    Parameter { keyword: keyword.to_owned(), value: value.to_owned() }
}

fn from_acme() -> MailFrom {
    MailFrom { address: "a@example.com".into(), domain: "example.com".into(), ..MailFrom::default() }
}

#[tokio::test]
async fn a_message_is_held_until_the_time_that_mail_names() {
    let mut it = Dialogue::acme().await;
    let now = it.world.pipeline.clock.now();
    for (hold, wanted) in [
        (Hold::For(3_600), Some(now + 3_600_000)),
        (Hold::Until(now / 1_000 + 60), Some((now / 1_000 + 60) * 1_000)),
        (Hold::Until(now / 1_000 - 60), None),
    ] {
        let from = MailFrom { hold: Some(hold), ..from_acme() };
        it.intake.mail(&mut it.session, &it.info, &from).await.expect("taken");
        assert_eq!(it.rcpt("b@b.example").await, "ok");
        assert_eq!(short(&it.send(MESSAGE).await), "250 2.0.0");
        let item = it.world.queue.last_item();
        assert_eq!(item.meta.scheduled_at, wanted, "{hold:?}");
        assert_eq!(item.deliveries[0].due_at, wanted.unwrap_or(now));
    }
}

#[tokio::test]
async fn what_is_asked_of_reports_is_kept_unless_the_tenant_has_them_off() {
    for dsn in [true, false] {
        let world = World::with(|settings| {
            settings.directory.edit(|entries| {
                entries.by_id.get_mut("acme").map(Arc::make_mut).expect("configured").dsn = dsn;
            });
        });
        let mut it = Dialogue::in_world(world, ListenerKind::Submission, "192.0.2.7:1234").await;
        assert_eq!(it.auth("acme", "acme").await, "ok");
        let parameters = vec![parameter("RET", "FULL"), parameter("REQUIRETLS", "")];
        let from = MailFrom { parameters, ..from_acme() };
        it.intake.mail(&mut it.session, &it.info, &from).await.expect("taken");
        let parameters = vec![parameter("NOTIFY", "NEVER")];
        let to = Recipient { parameters, ..Recipient::new("b@b.example", "b.example") };
        it.intake.rcpt(&mut it.session, &it.info, &to).await.expect("taken");
        assert_eq!(it.rcpt("b@b.example").await, "ok", "one copy");
        it.send(MESSAGE).await;
        let item = it.world.queue.last_item();
        let [recipient] = &*item.deliveries[0].recipients else { panic!("one recipient") };
        assert_eq!(item.meta.options.dsn.ret.is_some(), dsn);
        assert_eq!(recipient.dsn.notify.is_some(), dsn);
        assert!(item.meta.options.require_tls, "it has nothing to do with reports");
    }
}

#[tokio::test]
async fn a_priority_goes_as_far_as_it_is_granted() {
    for (granted, asked, wanted) in [(0, "4", 0), (3, "4", 3), (9, "-2", -2), (1, "-9", -1)] {
        let world = World::with(|settings| {
            settings.directory.edit(|entries| {
                let domain = entries.by_domain.get_mut("example.com").map(Arc::make_mut).expect("configured");
                domain.grants = Arc::new(EgressGrants { max_priority: granted, ..EgressGrants::default() });
            });
        });
        let mut it = Dialogue::in_world(world, ListenerKind::Submission, "192.0.2.7:1234").await;
        assert_eq!(it.auth("acme", "acme").await, "ok");
        let from = MailFrom { parameters: vec![parameter("MT-PRIORITY", asked)], ..from_acme() };
        it.intake.mail(&mut it.session, &it.info, &from).await.expect("taken");
        assert_eq!(it.rcpt("b@b.example").await, "ok");
        assert_eq!(short(&it.send(MESSAGE).await), "250 2.0.0");
        assert_eq!(it.world.queue.last_item().deliveries[0].priority, wanted, "{asked} of {granted}");
    }
}

#[tokio::test]
async fn policies_stop_mail_unless_its_sender_says_otherwise() {
    const FIELD: &[u8] = b"From: a@example.com\r\nTLS-Required: No\r\n\r\nHello\r\n";
    for (message, requiretls, wanted) in [(MESSAGE, false, false), (FIELD, false, true), (FIELD, true, false)]
    {
        let mut it = Dialogue::acme().await;
        let parameters = if requiretls { vec![parameter("REQUIRETLS", "")] } else { Vec::new() };
        let from = MailFrom { parameters, ..from_acme() };
        it.intake.mail(&mut it.session, &it.info, &from).await.expect("taken");
        assert_eq!(it.rcpt("b@b.example").await, "ok");
        assert_eq!(short(&it.send(message).await), "250 2.0.0");
        assert_eq!(it.world.queue.last_item().meta.tls_optional, wanted);
    }
}
