//! Who is logged in, and for how long.

use std::sync::Arc;

use relevo_smtp::server::{ListenerKind, MailFrom, Service as _};

use super::*;
use crate::intake::IntakeMetrics;
use crate::testing::{FixedSuppressions, World, open_suppressions};

const CERTIFICATE: &[u8] = b"a certificate";

struct Scene {
    world: World,
    intake: Intake,
    info: SessionInfo,
}

impl Scene {
    /// The user acme has everything.
    async fn new() -> Self {
        let world = World::new();
        let lists = FixedSuppressions::default();
        let suppressed = open_suppressions(lists, world.queue.clone(), world.clock.clone()).await;
        let metrics = IntakeMetrics::default();
        let intake = Intake::new(world.pipeline.clone(), suppressed, world.settings.clone(), metrics);
        let info = SessionInfo { extended: true, ..SessionInfo::default() };
        let scene = Self { world, intake: intake.expect("randomness"), info };
        scene.change(|acme| {
            acme.scram = ScramVerifier::derive("acme", b"salt".to_vec(), 4_096);
            acme.certificates = vec![[7; 32], Sha256::digest(CERTIFICATE).into()];
        });
        scene
    }

    fn change(&self, change: impl FnOnce(&mut Credential)) {
        let mut settings = Settings::clone(&self.world.settings.get());
        settings.directory.edit(|entries| change(entries.by_username.entry("acme".into()).or_default()));
        self.world.settings.replace(settings);
    }

    async fn connect(&mut self, peer: SmtpPeer) -> Result<IntakeSession, Reply> {
        self.info.username = peer.login.clone();
        self.intake.connect(&peer).await
    }

    /// The code of the reply to MAIL.
    async fn mail(&self, session: &mut IntakeSession, address: &str) -> u16 {
        let domain = address.rsplit('@').next().unwrap_or_default().to_owned();
        let from = MailFrom { address: address.into(), domain, ..MailFrom::default() };
        let answer = self.intake.mail(session, &self.info, &from).await;
        self.intake.reset(session);
        answer.map_or_else(|reply| reply.code, |()| 250)
    }

    async fn external(&mut self, certificate: Option<&[u8]>, identity: Option<&str>) -> Option<String> {
        let mut session = self.connect(peer(ListenerKind::Submission, None)).await.expect("admitted");
        self.info.client_certificate = certificate.map(Arc::from);
        let identity = identity.map(str::to_owned);
        let answer = self.intake.authenticate_certificate(&mut session, &self.info, identity).await;
        assert_eq!(session.user.map(|user| user.name), answer.clone().ok());
        answer.map_err(|reply| assert_eq!(reply.code, 535)).ok()
    }
}

fn peer(listener: ListenerKind, login: Option<&str>) -> SmtpPeer {
    let address = |text: &str| text.parse().expect("an address");
    let peer = SmtpPeer::new(address("192.0.2.7:1234"), address("192.0.2.25:587"), listener);
    SmtpPeer { login: login.map(str::to_owned), ..peer }
}

#[tokio::test]
async fn scram_until_a_reload_withdraws_it() {
    let mut scene = Scene::new().await;
    let mut session = scene.connect(peer(ListenerKind::Submission, None)).await.expect("admitted");
    let known = scene.intake.scram_verifier(&mut session, &scene.info, "acme").await.expect("answers");
    assert_eq!(known, ScramVerifier::derive("acme", b"salt".to_vec(), 4_096));
    // Without SCRAM a user is like one who is unknown.
    for user in ["other", "nobody"] {
        assert_eq!(scene.intake.scram_verifier(&mut session, &scene.info, user).await, Ok(None));
        assert!(scene.intake.authenticate_scram(&mut session, &scene.info, user).await.is_err());
    }
    scene.intake.authenticate_scram(&mut session, &scene.info, "acme").await.expect("granted");
    scene.info.username = Some("acme".to_owned());
    assert_eq!(scene.mail(&mut session, "a@example.com").await, 250);
    scene.change(|acme| acme.scram = None);
    assert_eq!(scene.mail(&mut session, "a@example.com").await, 530);
    assert!(scene.intake.authenticate_scram(&mut session, &scene.info, "acme").await.is_err());
}

#[tokio::test]
async fn a_user_without_a_password_cannot_log_in_with_one() {
    let mut scene = Scene::new().await;
    scene.change(|acme| acme.password_hash = None);
    let mut session = scene.connect(peer(ListenerKind::Submission, None)).await.expect("admitted");
    let credentials = crate::testing::credentials("acme", "acme");
    let answer = scene.intake.authenticate(&mut session, &scene.info, credentials).await;
    assert_eq!(answer.map_err(|reply| reply.code), Err(535));
}

#[tokio::test]
async fn a_certificate_stands_for_one_user() {
    let mut scene = Scene::new().await;
    let acme = || Some("acme".to_owned());
    assert_eq!(scene.external(Some(CERTIFICATE), None).await, acme());
    assert_eq!(scene.external(Some(CERTIFICATE), Some("acme")).await, acme());
    assert_eq!(scene.external(Some(CERTIFICATE), Some("other")).await, None);
    assert_eq!(scene.external(Some(b"another"), None).await, None);
    assert_eq!(scene.external(None, Some("acme")).await, None);
    scene.change(|acme| acme.certificates.clear());
    assert_eq!(scene.external(Some(CERTIFICATE), None).await, None);
}

#[tokio::test]
async fn tokens_are_refused_without_an_issuer() {
    let mut scene = Scene::new().await;
    let mut session = scene.connect(peer(ListenerKind::Submission, None)).await.expect("admitted");
    let token = BearerToken { username: None, host: None, port: None, token: "x".to_owned() };
    let answer = scene.intake.authenticate_token(&mut session, &scene.info, token).await;
    assert_eq!(answer.map_err(|reply| reply.code), Err(535));
}

/// The users of tokens are configured.
#[tokio::test]
async fn a_token_is_worth_nothing_for_a_user_who_has_none() {
    let scene = Scene::new().await;
    assert_eq!(scene.intake.verdict("acme", &LoginMethod::Token), Verdict::Denied);
    assert_eq!(scene.intake.verdict("nobody", &LoginMethod::Token), Verdict::Denied);
    scene.change(|acme| acme.oauth = true);
    assert_eq!(scene.intake.verdict("acme", &LoginMethod::Token), Verdict::Granted("acme".into()));
}

#[tokio::test]
async fn a_proxy_names_the_user() {
    let mut scene = Scene::new().await;
    for listener in [ListenerKind::Submission, ListenerKind::Relay] {
        let mut session = scene.connect(peer(listener, Some("acme"))).await.expect("admitted");
        assert_eq!(scene.mail(&mut session, "a@example.com").await, 250, "{listener:?}");
        // The rights of the user, not those of the network.
        assert_eq!(scene.mail(&mut session, "a@other.example").await, 550, "{listener:?}");
        // STARTTLS forgets the user; the address behind the proxy has no rights then.
        scene.info.username = None;
        assert_eq!(scene.mail(&mut session, "a@example.com").await, 530, "{listener:?}");
    }
}

#[tokio::test]
async fn a_user_of_a_proxy_who_is_unknown_has_no_rights() {
    let mut scene = Scene::new().await;
    let mut session = scene.connect(peer(ListenerKind::Submission, Some("nobody"))).await.expect("admitted");
    assert_eq!(scene.mail(&mut session, "a@example.com").await, 530);
    let refused = scene.connect(peer(ListenerKind::Relay, Some("nobody"))).await;
    assert_eq!(refused.err().map(|reply| reply.code), Some(554));
}
