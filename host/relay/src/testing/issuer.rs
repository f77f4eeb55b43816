//! An OpenID provider in this process. It signs by itself, so that tokens are checked by other code than
//! makes them.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Where the browser comes back to.
pub(crate) const REDIRECT: &str = "https://mail.example.com/panel/oidc";
pub(crate) const CLIENT: &str = "relevo";
pub(crate) const SECRET: &str = "a:secret";
pub(crate) const CODE: &str = "the-code";

/// A key that signs tokens.
pub(crate) enum Key {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

fn base64(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

impl Key {
    pub(crate) fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"))
    }

    pub(crate) fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
    }

    pub(crate) fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().expect("a key"))
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    pub(crate) fn public(&self, id: &str) -> Value {
        match self {
            Self::Rsa(key) => {
                let parts = RsaPublicKeyComponents::<Vec<u8>>::from(key.public_key());
                json!({"kty": "RSA", "use": "sig", "kid": id, "n": base64(&parts.n), "e": base64(&parts.e)})
            }
            Self::Ec(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": id, "x": base64(x), "y": base64(y)})
            }
            Self::Ed(key) => {
                let x = base64(key.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": x})
            }
        }
    }

    fn sign(&self, text: &str) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).expect("signs");
                signature
            }
            Self::Ec(key) => key.sign(&random, text.as_bytes()).expect("signs").as_ref().to_vec(),
            Self::Ed(key) => key.sign(text.as_bytes()).as_ref().to_vec(),
        }
    }

    /// A token with this header, claims and signature.
    pub(crate) fn token(&self, id: &str, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm(), "kid": id, "typ": "JWT"});
        let text = unsigned(&header, claims);
        format!("{text}.{}", base64(&self.sign(&text)))
    }

    /// The octets that a careless verifier would take for a shared secret.
    pub(crate) fn as_secret(&self) -> Vec<u8> {
        match self {
            Self::Rsa(key) => key
                .public_key()
                .as_der()
                .map(|der: aws_lc_rs::encoding::PublicKeyX509Der<'_>| der.as_ref().to_vec()),
            _ => Ok(Vec::new()),
        }
        .expect("a key")
    }
}

pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()))
}

/// What the provider answers, and what it was asked.
#[derive(Default)]
pub(crate) struct Answers {
    pub(crate) keys: Vec<Value>,
    pub(crate) token: String,
    /// Of the sign-in that was begun.
    pub(crate) challenge: String,
    /// Requests for keys.
    pub(crate) key_requests: u32,
    /// The issuer that it says it is.
    pub(crate) named: Option<String>,
    /// The token endpoint takes the secret in the body.
    pub(crate) posts_secret: bool,
}

pub(crate) struct Issuer {
    pub(crate) url: String,
    pub(crate) answers: Arc<Mutex<Answers>>,
}

#[derive(Clone)]
struct Served {
    url: String,
    answers: Arc<Mutex<Answers>>,
}

impl Issuer {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let answers = Arc::<Mutex<Answers>>::default();
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(configuration))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .with_state(Served { url: url.clone(), answers: answers.clone() });
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, answers }
    }
}

async fn configuration(State(served): State<Served>) -> Json<Value> {
    let answers = served.answers.lock();
    let url = &served.url;
    let mut found = json!({
        "issuer": answers.named.as_ref().unwrap_or(url),
        "authorization_endpoint": format!("{url}/authorize?tenant=x"),
        "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/keys"),
    });
    if answers.posts_secret {
        found["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
    }
    Json(found)
}

async fn keys(State(served): State<Served>) -> Json<Value> {
    let mut answers = served.answers.lock();
    answers.key_requests += 1;
    let unknown = json!({"kty": "AKP", "alg": "ML-DSA-65", "kid": "new", "pub": "AA"});
    Json(json!({"keys": std::iter::once(&unknown).chain(&answers.keys).collect::<Vec<_>>()}))
}

/// Gives the token for the code, the verifier and the secret.
async fn token(State(served): State<Served>, headers: HeaderMap, body: String) -> (StatusCode, Json<Value>) {
    let answers = served.answers.lock();
    let form: HashMap<String, String> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let basic = format!("Basic {}", STANDARD.encode("relevo:a%3Asecret"));
    let knows_secret = match answers.posts_secret {
        true => (field("client_id"), field("client_secret")) == (CLIENT, SECRET),
        false => headers.get("authorization").is_some_and(|sent| *sent == *basic),
    };
    let challenge = base64(&Sha256::digest(field("code_verifier").as_bytes()));
    let is_good = knows_secret
        && field("grant_type") == "authorization_code"
        && field("code") == CODE
        && field("redirect_uri") == REDIRECT
        && challenge == answers.challenge;
    match is_good {
        true => (StatusCode::OK, Json(json!({"access_token": "x", "id_token": answers.token}))),
        false => (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"}))),
    }
}
