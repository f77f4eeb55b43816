//! ID tokens (OpenID Connect Core 1.0 section 3.1.3.7).

use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

use crate::issuer::{self, LEEWAY, TokenFault, verify_signature};

/// What a token must say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// Seconds since 1970.
    pub(super) now: i64,
}

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Claims {
    pub(super) sub: String,
    exp: f64,
    nonce: Option<String>,
    azp: Option<String>,
    email: Option<String>,
    email_verified: Option<Value>,
    pub(super) name: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Claims {
    /// The address, if the provider says that it is the person's.
    pub(super) fn verified_email(&self) -> Option<&str> {
        let is_verified = match self.email_verified.as_ref()? {
            Value::Bool(verified) => *verified,
            // Some providers write it as a string.
            Value::String(text) => text == "true",
            _ => false,
        };
        self.email.as_deref().filter(|_| is_verified)
    }

    /// Returns true if a claim is this text, or a list that has it. Dots lead into objects.
    pub(super) fn has(&self, claim: &str, value: &str) -> bool {
        match issuer::claim(&self.others, claim) {
            Some(Value::String(text)) => text == value,
            Some(Value::Array(texts)) => texts.iter().any(|text| text.as_str() == Some(value)),
            _ => false,
        }
    }
}

/// Verifies signature and claims.
pub(super) fn verify(token: &str, keys: &[Jwk], expected: &Expected<'_>) -> Result<Claims, TokenFault> {
    let parties = (expected.issuer, expected.client_id);
    check(verify_signature(token, keys, parties, &["iss", "aud", "sub", "exp"])?, expected)
}

fn check(claims: Claims, expected: &Expected<'_>) -> Result<Claims, TokenFault> {
    let wrong = |reason: &str| Err(TokenFault::wrong(reason));
    // Seconds of this age are exact.
    let earliest = (expected.now - LEEWAY) as f64;
    let nonce = claims.nonce.as_deref().unwrap_or_default();
    if claims.exp.is_nan() || claims.exp <= earliest {
        return wrong("it has expired");
    }
    if expected.nonce.is_empty() || !bool::from(nonce.as_bytes().ct_eq(expected.nonce.as_bytes())) {
        return wrong("it is of another sign-in");
    }
    if claims.azp.as_deref().is_some_and(|party| party != expected.client_id) {
        return wrong("it is for another client");
    }
    if claims.sub.is_empty() || claims.sub.len() > 255 {
        return wrong("it names no subject");
    }
    Ok(claims)
}
