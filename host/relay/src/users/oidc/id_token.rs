//! ID tokens (OpenID Connect Core 1.0 section 3.1.3.7).

use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

/// Algorithms that are accepted. None of them has a shared key.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
/// Seconds that the clocks of provider and relay may differ.
const LEEWAY: i64 = 60;
/// Octets of a token.
const MAX_TOKEN: usize = 64 * 1024;

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

/// Why a token is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenFault {
    #[error("its ID token is signed with a key that it does not publish")]
    UnknownKey,
    #[error("its ID token is not valid: {0}")]
    Wrong(String),
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
        let nested = || {
            let mut parts = claim.split('.');
            let first = self.others.get(parts.next()?)?;
            parts.try_fold(first, |found, part| found.get(part))
        };
        match self.others.get(claim).or_else(nested) {
            Some(Value::String(text)) => text == value,
            Some(Value::Array(texts)) => texts.iter().any(|text| text.as_str() == Some(value)),
            _ => false,
        }
    }
}

/// Verifies signature and claims.
pub(super) fn verify(token: &str, keys: &[Jwk], expected: &Expected<'_>) -> Result<Claims, TokenFault> {
    let wrong = |reason: &str| TokenFault::Wrong(reason.to_owned());
    if token.len() > MAX_TOKEN {
        return Err(wrong("it is too large"));
    }
    let header = decode_header(token).map_err(|error| TokenFault::Wrong(error.to_string()))?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(wrong("its algorithm is not RS256, ES256 or EdDSA"));
    }
    let mut fault = TokenFault::UnknownKey;
    let signs = |key: &&Jwk| {
        let usage = key.common.public_key_use.as_ref();
        let is_named = header.kid.is_none() || header.kid == key.common.key_id;
        is_named && usage.is_none_or(|usage| *usage == PublicKeyUse::Signature)
    };
    for key in keys.iter().filter(signs) {
        match decode_with(token, key, header.alg, expected) {
            Ok(claims) => return check(claims, expected),
            Err(error) => fault = TokenFault::Wrong(error.to_string()),
        }
    }
    Err(fault)
}

fn decode_with(
    token: &str,
    key: &Jwk,
    algorithm: Algorithm,
    expected: &Expected<'_>,
) -> jsonwebtoken::errors::Result<Claims> {
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[expected.issuer]);
    validation.set_audience(&[expected.client_id]);
    validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
    // By the relay's clock, below.
    validation.validate_exp = false;
    let decoded = decode::<Claims>(token, &DecodingKey::from_jwk(key)?, &validation)?;
    Ok(decoded.claims)
}

fn check(claims: Claims, expected: &Expected<'_>) -> Result<Claims, TokenFault> {
    let wrong = |reason: &str| Err(TokenFault::Wrong(reason.to_owned()));
    #[expect(clippy::cast_precision_loss, reason = "seconds of this age are exact")]
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
