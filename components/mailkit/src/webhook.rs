//! Signatures of webhooks, as the Standard Webhooks specification 1.0 has them.
//!
//! Signed are the id, the time and the body, joined by full stops. A receiver that has the secret
//! knows that the body is ours, whole, and not older than it says.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The prefix of a secret in text.
const PREFIX: &str = "whsec_";
/// Octets of a secret (Standard Webhooks: 24 to 64).
const OCTETS: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret that an endpoint shares with us. Its text is never in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    /// A secret of these octets; none unless there are 24 to 64.
    #[must_use]
    pub fn new(octets: Vec<u8>) -> Option<Self> {
        OCTETS.contains(&octets.len()).then_some(Self(octets))
    }

    /// Reads `whsec_` and base64. The prefix may be left out.
    ///
    /// # Errors
    /// The mistake, in words without the secret.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let octets = STANDARD
            .decode(text.strip_prefix(PREFIX).unwrap_or(text))
            .map_err(|_| "a secret is `whsec_` and base64")?;
        Self::new(octets).ok_or("a secret has 24 to 64 octets")
    }

    /// `whsec_` and base64: for the endpoint's owner alone.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}

/// The value of `webhook-signature`: `v1,BASE64` for each secret, separated by spaces. While a
/// secret is rotated there are two.
///
/// `id` has no full stop; `timestamp` is in seconds since 1970.
#[must_use]
pub fn signature(secrets: &[WebhookSecret], id: &str, timestamp: i64, body: &[u8]) -> String {
    let each = secrets.iter().filter_map(|secret| {
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0).ok()?;
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    });
    each.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = signature(
            std::slice::from_ref(&secret),
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let both = signature(&[secret.clone(), secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b"x");
        assert_eq!(both.split(' ').count(), 2);
    }

    #[test]
    fn secrets_are_read_and_never_shown() {
        let secret = WebhookSecret::new(vec![7; 32]).unwrap();
        assert_eq!(WebhookSecret::parse(&secret.reveal()), Ok(secret.clone()));
        assert_eq!(format!("{secret:?}"), "WebhookSecret(..)");
        for text in ["", "whsec_", "whsec_%%", "whsec_c2hvcnQ="] {
            assert!(WebhookSecret::parse(text).is_err(), "{text}");
        }
    }
}
