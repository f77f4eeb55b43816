//! Access tokens of an issuer that runs in this process.

use relevo_smtp::server::ListenerKind;
use rustls::RootCertStore;
use serde_json::json;

use super::*;
use crate::clock::SystemClock;
use crate::testing::NoNames;
use crate::testing::issuer::{self, Key, unsigned};

struct Scene {
    issuer: issuer::Issuer,
    tokens: AccessTokens,
    clock: Arc<SystemClock>,
    key: Key,
    peer: SmtpPeer,
}

impl Scene {
    async fn new(key: Key) -> Self {
        Self::with_claim(key, "email").await
    }

    async fn with_claim(key: Key, claim: &str) -> Self {
        let (issuer, clock) = (issuer::Issuer::start().await, Arc::new(SystemClock::new()));
        issuer.answers.lock().keys = vec![key.public("k1")];
        let config = OauthConfig {
            issuer: issuer.url.clone(),
            audience: "relevo".to_owned(),
            username_claim: claim.to_owned(),
            scope: None,
            hosts: vec!["mta1.example".to_owned()],
        };
        let allowed = vec!["127.0.0.0/8".parse().expect("a network")];
        let fetcher = Fetcher::new(Arc::new(NoNames), RootCertStore::empty(), allowed).expect("a fetcher");
        let address = |text: &str| text.parse().expect("an address");
        let peer =
            SmtpPeer::new(address("192.0.2.7:1234"), address("192.0.2.25:2525"), ListenerKind::Submission);
        Self { tokens: AccessTokens::new(config, fetcher, clock.clone()), issuer, clock, key, peer }
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.issuer.url,
            "aud": ["other", "relevo"],
            "exp": self.now() + 300,
            "nbf": self.now() - 1,
            "email": "app@example.com",
        })
    }

    fn now(&self) -> i64 {
        self.clock.now() / 1_000
    }

    async fn ask(&self, token: BearerToken) -> Option<String> {
        self.tokens.username(&self.peer, &token).await.expect("the issuer answers")
    }

    /// Asks with claims that were changed.
    async fn with(&self, change: impl FnOnce(&mut Value)) -> Option<String> {
        let mut claims = self.claims();
        change(&mut claims);
        self.ask(bearer(self.key.token("k1", &claims))).await
    }
}

fn bearer(token: String) -> BearerToken {
    BearerToken { username: Some("app@example.com".to_owned()), host: None, port: None, token }
}

fn app() -> Option<String> {
    Some("app@example.com".to_owned())
}

#[tokio::test]
async fn a_signed_token_names_the_user() {
    for key in [Key::rsa(), Key::ec(), Key::ed()] {
        let scene = Scene::new(key).await;
        assert_eq!(scene.with(|_| ()).await, app());
        assert_eq!(scene.with(|claims| claims["email_verified"] = json!("true")).await, app());
        assert_eq!(scene.issuer.answers.lock().key_requests, 1, "keys are remembered");
    }
}

#[tokio::test]
async fn the_user_may_be_left_out_and_may_not_be_another() {
    let scene = Scene::new(Key::ed()).await;
    let named = |username: Option<&str>| {
        let token = bearer(scene.key.token("k1", &scene.claims()));
        BearerToken { username: username.map(str::to_owned), ..token }
    };
    assert_eq!(scene.ask(named(None)).await, app());
    assert_eq!(scene.ask(named(Some("other@example.com"))).await, None);
    assert_eq!(scene.ask(named(Some("APP@example.com"))).await, None);
}

#[tokio::test]
async fn a_token_with_a_wrong_claim_is_refused() {
    let scene = Scene::new(Key::ec()).await;
    let now = scene.now();
    let changes: [(&str, Value); 12] = [
        ("iss", json!("https://other.example")),
        ("aud", json!("other")),
        ("aud", Value::Null),
        ("exp", json!(now - 61)),
        ("exp", json!("soon")),
        ("exp", Value::Null),
        ("nbf", json!(now + 120)),
        ("email", Value::Null),
        ("email", json!("")),
        ("email", json!(["app@example.com"])),
        ("email_verified", json!(false)),
        ("email_verified", json!("false")),
    ];
    for (name, value) in changes {
        assert_eq!(scene.with(|claims| claims[name] = value.clone()).await, None, "{name}: {value}");
    }
    assert_eq!(scene.with(|_| ()).await, app());
}

#[tokio::test]
async fn only_the_issuers_signature_counts() {
    let scene = Scene::new(Key::rsa()).await;
    let claims = scene.claims();
    let token = scene.key.token("k1", &claims);
    let (signed, signature) = token.rsplit_once('.').expect("a signature");
    let other = unsigned(&json!({"alg": "RS256", "kid": "k1"}), &claims);
    for text in [
        Key::rsa().token("k1", &claims),
        Key::ed().token("k1", &claims),
        format!("{}.", unsigned(&json!({"alg": "none"}), &claims)),
        format!("{signed}."),
        format!("{other}.{signature}"),
        "opaque".to_owned(),
        String::new(),
    ] {
        assert_eq!(scene.ask(bearer(text.clone())).await, None, "{text}");
    }
}

#[tokio::test]
async fn a_token_for_another_host_is_refused() {
    let scene = Scene::new(Key::ed()).await;
    let token = scene.key.token("k1", &scene.claims());
    for (host, port, expected) in [
        (Some("mta1.example"), Some(2525), app()),
        (Some("MTA1.example."), None, app()),
        (Some("192.0.2.25"), Some(587), app()),
        (None, Some(465), app()),
        (Some("mta2.example"), None, None),
        (Some("192.0.2.26"), None, None),
        (Some("mta1.example"), Some(143), None),
    ] {
        let asked = BearerToken { host: host.map(str::to_owned), port, ..bearer(token.clone()) };
        assert_eq!(scene.ask(asked).await, expected, "{host:?} {port:?}");
    }
}

#[tokio::test]
async fn another_claim_may_name_the_user() {
    let scene = Scene::with_claim(Key::ed(), "mail.account").await;
    let found = scene.with(|claims| {
        claims["mail"] = json!({"account": "app@example.com"});
        // It is not the address that counts.
        claims["email"] = json!("other@example.com");
        claims["email_verified"] = json!(false);
    });
    assert_eq!(found.await, app());
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_refuses_nobody() {
    let scene = Scene::new(Key::ed()).await;
    scene.issuer.answers.lock().named = Some("https://other.example".to_owned());
    let token = bearer(scene.key.token("k1", &scene.claims()));
    assert_eq!(scene.tokens.username(&scene.peer, &token).await, Err(IssuerUnavailable));
}

/// The new key may have been published since the keys were read: the client comes again.
#[tokio::test]
async fn a_token_of_a_new_key_is_refused_for_now() {
    let scene = Scene::new(Key::ed()).await;
    assert_eq!(scene.with(|_| ()).await, app());
    let new = Key::ec();
    scene.issuer.answers.lock().keys = vec![new.public("k2")];
    let token = bearer(new.token("k2", &scene.claims()));
    assert_eq!(scene.tokens.username(&scene.peer, &token).await, Err(IssuerUnavailable));
    assert_eq!(scene.issuer.answers.lock().key_requests, 1, "they are not read more often for that");
}
