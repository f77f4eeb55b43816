//! Signing in with a provider that runs in this process.

use hmac::{Hmac, Mac as _};
use relevo_fetch::Fetcher;
use rustls::RootCertStore;
use serde_json::{Value, json};

use super::*;
use crate::testing::NoNames;
use crate::testing::issuer::{CLIENT, CODE, Issuer, Key, REDIRECT, SECRET, unsigned};
use crate::users::tests::Scene;
use crate::users::{User, UserChange};

struct World {
    scene: Scene,
    issuer: Issuer,
    oidc: Oidc,
    key: Key,
}

impl World {
    async fn new(key: Key) -> Self {
        let (scene, issuer) = (Scene::new().await, Issuer::start().await);
        issuer.answers.lock().keys = vec![key.public("k1")];
        let rule = |value: &str, tenant: Option<&str>, role| OidcRole {
            claim: "realm.groups".to_owned(),
            value: value.to_owned(),
            tenant: tenant.map(str::to_owned),
            role,
        };
        let config = OidcConfig {
            issuer: issuer.url.clone(),
            client_id: CLIENT.to_owned(),
            client_secret: Some(SECRET.to_owned()),
            name: "Example".to_owned(),
            roles: vec![
                rule("root", None, UserRole::Operator),
                rule("mail-admins", Some("acme"), UserRole::Owner),
                rule("staff", Some("acme"), UserRole::Viewer),
            ],
        };
        let allowed = vec!["127.0.0.0/8".parse().expect("a network")];
        let fetcher = Fetcher::new(Arc::new(NoNames), RootCertStore::empty(), allowed).expect("a fetcher");
        let oidc = Oidc::new(config, fetcher, scene.users.clone(), scene.clock.clone());
        Self { scene, issuer, oidc, key }
    }

    async fn begin(&self) -> OidcBegin {
        let begun = self.oidc.begin(REDIRECT).await.expect("begins");
        let url = Url::parse(&begun.url).expect("a URL");
        let challenge = url.query_pairs().find(|(name, _)| name == "code_challenge").expect("is there").1;
        self.issuer.answers.lock().challenge = challenge.into_owned();
        begun
    }

    fn claims(&self, begun: &OidcBegin) -> Value {
        json!({
            "iss": self.issuer.url,
            "aud": CLIENT,
            "sub": "subject-1",
            "exp": self.scene.clock.now() / 1_000 + 300,
            "nonce": begun.nonce,
            "email": "Ann@example.com",
            "email_verified": true,
            "name": "Ann",
            "realm": {"groups": ["staff"]},
        })
    }

    async fn finish(&self, begun: &OidcBegin, token: String) -> Result<NewSession, OidcRefusal> {
        self.issuer.answers.lock().token = token;
        self.oidc.finish(finish(begun)).await
    }

    /// Signs in with claims that were changed.
    async fn sign_in(&self, change: impl FnOnce(&mut Value)) -> Result<User, OidcRefusal> {
        let begun = self.begin().await;
        let mut claims = self.claims(&begun);
        change(&mut claims);
        let new = self.finish(&begun, self.key.token("k1", &claims)).await?;
        let session = self.scene.users.session(&new.token).await.expect("reads").expect("is in");
        assert_eq!(session, new.session);
        Ok(session.user)
    }
}

fn finish(begun: &OidcBegin) -> OidcFinish<'_> {
    OidcFinish {
        code: CODE,
        state: &begun.state,
        issuer: None,
        expected_state: &begun.state,
        verifier: &begun.verifier,
        nonce: &begun.nonce,
        redirect_uri: REDIRECT,
        client: None,
        user_agent: "Browser/1",
    }
}

#[tokio::test]
async fn a_rule_makes_a_user_whom_the_subject_knows_from_then_on() {
    for key in [Key::rsa(), Key::ec(), Key::ed()] {
        let world = World::new(key).await;
        let user = world.sign_in(|_| ()).await.expect("signs in");
        assert_eq!((user.email.as_str(), user.name.as_str()), ("ann@example.com", "Ann"));
        assert_eq!((user.tenant.as_deref(), user.role), (Some("acme"), UserRole::Viewer));
        assert!(user.has_oidc && !user.has_password);
        // Rules make users; they do not change them. A subject may change the address.
        let again = world.sign_in(|claims| {
            claims["email"] = json!("other@example.com");
            claims["email_verified"] = json!(false);
            claims["realm"] = json!({"groups": ["mail-admins"]});
        });
        assert_eq!(again.await.expect("signs in").id, user.id);
    }
}

#[tokio::test]
async fn the_first_rule_that_fits_counts() {
    let world = World::new(Key::ed()).await;
    for (n, groups, expected) in [
        (1, json!(["staff", "mail-admins"]), Ok(UserRole::Owner)),
        (2, json!("staff"), Ok(UserRole::Viewer)),
        (3, json!(["root"]), Ok(UserRole::Operator)),
        (4, json!(["others"]), Err(OidcRefusal::NoUser)),
        (5, json!({"staff": true}), Err(OidcRefusal::NoUser)),
        (6, Value::Null, Err(OidcRefusal::NoUser)),
    ] {
        let found = world.sign_in(|claims| {
            claims["sub"] = json!(format!("subject-{n}"));
            claims["email"] = json!(format!("user{n}@example.com"));
            claims["realm"]["groups"] = groups;
        });
        assert_eq!(found.await.map(|user| user.role), expected, "{n}");
    }
}

#[tokio::test]
async fn a_user_with_the_address_is_bound_to_one_subject() {
    let world = World::new(Key::ed()).await;
    let (invited, _) = world.scene.invite(Some("globex"), "ann@example.com", UserRole::Developer).await;
    for verified in [json!(false), Value::Null, json!("false"), json!(1)] {
        let refused = world.sign_in(|claims| claims["email_verified"] = verified).await;
        assert_eq!(refused, Err(OidcRefusal::Unverified));
    }
    let user = world.sign_in(|_| ()).await.expect("signs in");
    assert_eq!((user.id, user.role), (invited.id.clone(), UserRole::Developer));
    let another = world.sign_in(|claims| claims["sub"] = json!("subject-2")).await;
    assert_eq!(another, Err(OidcRefusal::Refused));
    let change = UserChange { disabled: Some(true), ..UserChange::default() };
    world.scene.users.change(Some("globex"), &invited.id, &change).await.expect("disables");
    assert_eq!(world.sign_in(|_| ()).await, Err(OidcRefusal::Refused));
}

#[tokio::test]
async fn tokens_that_say_something_else_are_refused() {
    let world = World::new(Key::rsa()).await;
    let now = world.scene.clock.now() / 1_000;
    for (name, value) in [
        ("nonce", json!("another")),
        ("nonce", Value::Null),
        ("aud", json!("another")),
        ("aud", json!(["another"])),
        ("aud", Value::Null),
        ("azp", json!("another")),
        ("iss", json!("https://another.example")),
        ("iss", Value::Null),
        ("exp", json!(now - 61)),
        ("exp", json!("never")),
        ("exp", Value::Null),
        ("sub", json!("")),
        ("sub", Value::Null),
    ] {
        let refused = world.sign_in(|claims| claims[name] = value.clone()).await;
        assert!(matches!(refused, Err(OidcRefusal::Token(_))), "{name} {value}: {refused:?}");
    }
    world.sign_in(|claims| claims["exp"] = json!(now - 30)).await.expect("clocks may differ");
    let several = world.sign_in(|claims| claims["aud"] = json!(["another", CLIENT])).await;
    several.expect("it is one of them");
}

#[tokio::test]
async fn tokens_that_the_provider_did_not_sign_are_refused() {
    let world = World::new(Key::rsa()).await;
    let begun = world.begin().await;
    let claims = world.claims(&begun);
    let good = world.key.token("k1", &claims);
    let (text, signature) = good.rsplit_once('.').expect("three parts");
    let mut other_claims = claims.clone();
    other_claims["sub"] = json!("subject-2");
    let mut forged = Vec::new();
    for alg in ["none", "None", "NONE", ""] {
        forged.push(format!("{}.", unsigned(&json!({"alg": alg, "kid": "k1"}), &claims)));
    }
    // The public key as a shared secret.
    let hs256 = unsigned(&json!({"alg": "HS256", "kid": "k1"}), &claims);
    let mut mac = <Hmac<Sha256>>::new_from_slice(&world.key.as_secret()).expect("any length");
    mac.update(hs256.as_bytes());
    forged.push(format!("{hs256}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())));
    forged.push(Key::rsa().token("k1", &claims));
    forged.push(Key::ed().token("k1", &claims));
    let header = json!({"alg": "RS256", "kid": "k1", "typ": "JWT"});
    forged.push(format!("{}.{signature}", unsigned(&header, &other_claims)));
    forged.push(format!("{text}."));
    forged.push(text.to_owned());
    forged.push(String::new());
    forged.push("x".repeat(100_000));
    // A key that the token brings.
    let own = Key::ed();
    let header = json!({"alg": "EdDSA", "jwk": own.public("k1")});
    forged.push(format!("{}.{signature}", unsigned(&header, &claims)));
    for token in forged {
        let refused = world.finish(&begun, token.clone()).await;
        assert!(matches!(refused, Err(OidcRefusal::Token(_))), "{token}: {refused:?}");
    }
    world.finish(&begun, good).await.expect("the good one");
}

#[tokio::test]
async fn another_browsers_sign_in_is_refused() {
    let world = World::new(Key::ed()).await;
    let (begun, other) = (world.begin().await, world.oidc.begin(REDIRECT).await.expect("begins"));
    let token = world.key.token("k1", &world.claims(&begun));
    world.issuer.answers.lock().token = token;
    let given = finish(&begun);
    for refused in [
        OidcFinish { state: &other.state, ..given },
        OidcFinish { state: "", expected_state: "", ..given },
        OidcFinish { issuer: Some("https://another.example"), ..given },
    ] {
        assert_eq!(world.oidc.finish(refused).await, Err(OidcRefusal::State));
    }
    for refused in [
        OidcFinish { verifier: &other.verifier, ..given },
        OidcFinish { code: "another", ..given },
        OidcFinish { redirect_uri: "https://another.example", ..given },
        OidcFinish { nonce: &other.nonce, ..given },
    ] {
        let refused = world.oidc.finish(refused).await;
        assert!(matches!(refused, Err(OidcRefusal::Token(_))), "{refused:?}");
    }
    world.oidc.finish(OidcFinish { issuer: Some(&world.issuer.url), ..given }).await.expect("signs in");
    let url = Url::parse(&begun.url).expect("a URL");
    let pairs: Vec<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(pairs[..5], ["tenant", "response_type", "client_id", "redirect_uri", "scope"]);
    assert!(!format!("{begun:?}").contains(&begun.verifier) && !begun.url.contains(&begun.verifier));
}

#[tokio::test]
async fn keys_are_remembered_and_new_ones_are_found() {
    let mut world = World::new(Key::ed()).await;
    world.issuer.answers.lock().posts_secret = true;
    world.sign_in(|_| ()).await.expect("signs in");
    world.sign_in(|_| ()).await.expect("signs in");
    assert_eq!(world.issuer.answers.lock().key_requests, 1);
    let new = Key::ec();
    world.issuer.answers.lock().keys = vec![new.public("k2")];
    world.key = new;
    let begun = world.begin().await;
    let token = world.key.token("k2", &world.claims(&begun));
    world.scene.pass(1_000);
    let early = world.finish(&begun, token.clone()).await;
    assert!(matches!(early, Err(OidcRefusal::Unavailable)), "it was asked a moment ago: {early:?}");
    world.scene.pass(30_000);
    world.finish(&begun, token).await.expect("signs in");
    let unknown = world.finish(&begun, world.key.token("k3", &world.claims(&begun))).await;
    assert!(matches!(unknown, Err(OidcRefusal::Token(_))), "{unknown:?}");
    assert_eq!(world.issuer.answers.lock().key_requests, 2, "whatever keys tokens name");
}

#[tokio::test]
async fn a_provider_that_names_another_issuer_is_of_no_use() {
    let world = World::new(Key::ed()).await;
    world.issuer.answers.lock().named = Some("https://another.example".to_owned());
    assert_eq!(world.oidc.begin(REDIRECT).await, Err(OidcRefusal::Unavailable));
    world.issuer.answers.lock().named = None;
    assert_eq!(world.oidc.begin(REDIRECT).await, Err(OidcRefusal::Unavailable), "it was asked a moment ago");
    world.scene.pass(30_000);
    world.oidc.begin(REDIRECT).await.expect("begins");
}
