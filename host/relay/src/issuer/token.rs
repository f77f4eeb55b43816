//! Signed tokens (RFC 7515, RFC 7519).

use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Algorithms that are accepted. None of them has a shared key.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
/// Seconds that the clocks of issuer and relay may differ.
pub(crate) const LEEWAY: i64 = 60;
/// Octets of a token.
const MAX_TOKEN: usize = 64 * 1024;

/// Why a token is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenFault {
    /// Its key may be newer than what is known of the issuer.
    #[error("is signed with a key that its issuer does not publish")]
    UnknownKey,
    /// Everything else.
    #[error("is not valid: {0}")]
    Wrong(String),
}

impl TokenFault {
    pub(crate) fn wrong(reason: &str) -> Self {
        Self::Wrong(reason.to_owned())
    }
}

/// Verifies signature, `iss` and `aud`, and returns the claims. `required` names claims that must be
/// there. The caller checks times, because the clock is its own.
pub(crate) fn verify_signature<C: DeserializeOwned + Clone>(
    token: &str,
    keys: &[Jwk],
    (issuer, audience): (&str, &str),
    required: &[&str],
) -> Result<C, TokenFault> {
    if token.len() > MAX_TOKEN {
        return Err(TokenFault::wrong("it is too large"));
    }
    let header = decode_header(token).map_err(|error| TokenFault::Wrong(error.to_string()))?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(TokenFault::wrong("its algorithm is not RS256, ES256 or EdDSA"));
    }
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(required);
    validation.validate_exp = false;
    let mut fault = TokenFault::UnknownKey;
    let signs = |key: &&Jwk| {
        let usage = key.common.public_key_use.as_ref();
        let is_named = header.kid.is_none() || header.kid == key.common.key_id;
        is_named && usage.is_none_or(|usage| *usage == PublicKeyUse::Signature)
    };
    for key in keys.iter().filter(signs) {
        let decoded = DecodingKey::from_jwk(key).and_then(|key| decode::<C>(token, &key, &validation));
        match decoded {
            Ok(decoded) => return Ok(decoded.claims),
            Err(error) => fault = TokenFault::Wrong(error.to_string()),
        }
    }
    Err(fault)
}

/// The claim with this name. Dots lead into objects.
pub(crate) fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let nested = || {
        let mut parts = name.split('.');
        let first = claims.get(parts.next()?)?;
        parts.try_fold(first, |found, part| found.get(part))
    };
    claims.get(name).or_else(nested)
}
