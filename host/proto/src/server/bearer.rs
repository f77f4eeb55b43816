//! Bearer tokens: OAUTHBEARER (RFC 7628), and XOAUTH2, which came before it.

use super::offers::Mechanisms;
use super::replies::{self, Fixed};

const MAX_USERNAME: usize = 255;
/// Octets of a token. Those of large providers have up to 4 KiB.
const MAX_TOKEN: usize = 8192;

/// A bearer token (RFC 6750) and whose it claims to be.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken {
    /// The user that the client names; the token decides. OAUTHBEARER may leave it out.
    pub username: Option<String>,
    /// The host that the client believes to be connected with (OAUTHBEARER). RFC 7628 section 3.2:
    /// must be one of ours.
    pub host: Option<String>,
    /// The same of the port.
    pub port: Option<u16>,
    /// At most 8 KiB.
    pub token: String,
}

impl std::fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BearerToken").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BearerMechanism {
    OAuthBearer,
    XOAuth2,
}

/// Reads the client's message.
pub(super) fn parse(mechanism: BearerMechanism, message: &str) -> Result<BearerToken, Fixed> {
    let parsed = match mechanism {
        BearerMechanism::OAuthBearer => oauthbearer(message),
        BearerMechanism::XOAuth2 => xoauth2(message),
    };
    parsed
        .filter(|bearer| bearer.username.as_ref().is_none_or(|name| is_username(name)))
        .ok_or(replies::BAD_AUTH_RESPONSE)
}

fn is_username(name: &str) -> bool {
    (1..=MAX_USERNAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// RFC 7628 section 3.1: `n,a=user,^Ahost=...^Aport=...^Aauth=Bearer token^A^A`.
fn oauthbearer(message: &str) -> Option<BearerToken> {
    let (gs2, pairs) = message.split_once('\u{1}')?;
    let mut fields = gs2.split(',');
    // RFC 7628 section 3.1: no channel binding.
    let (Some("n" | "y"), Some(authzid), Some(""), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return None;
    };
    let username = match authzid {
        "" => None,
        // saslname (RFC 5801 section 4).
        _ => Some(authzid.strip_prefix("a=")?.replace("=2C", ",").replace("=3D", "=")),
    };
    with_pairs(username, pairs)
}

/// `user=name^Aauth=Bearer token^A^A`.
fn xoauth2(message: &str) -> Option<BearerToken> {
    let (user, pairs) = message.split_once('\u{1}')?;
    with_pairs(Some(user.strip_prefix("user=")?.to_owned()), pairs)
}

/// Pairs that each end in `^A`, with one more at the end. Those that are unknown are passed over.
fn with_pairs(username: Option<String>, pairs: &str) -> Option<BearerToken> {
    let (mut host, mut port, mut token) = (None, None, None);
    for pair in pairs.strip_suffix("\u{1}\u{1}")?.split('\u{1}') {
        let is_first = match pair.split_once('=')? {
            ("host", value) => host.replace(value.to_owned()).is_none(),
            ("port", value) => port.replace(value.parse().ok()?).is_none(),
            ("auth", value) => token.replace(bearer(value)?).is_none(),
            _ => true,
        };
        if !is_first {
            return None;
        }
    }
    let host = host.filter(|host| is_username(host));
    Some(BearerToken { username, host, port, token: token? })
}

/// `Bearer token`, or nothing: the client asks what it would need (RFC 7628 section 4.3).
fn bearer(value: &str) -> Option<String> {
    if value.is_empty() {
        return Some(String::new());
    }
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_matches(' ');
    let is_b64token = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    let fits = scheme.eq_ignore_ascii_case("Bearer")
        && (1..=MAX_TOKEN).contains(&token.len())
        && token.bytes().all(is_b64token);
    fits.then(|| token.to_owned())
}

/// The error that the client reads before it is refused (RFC 7628 section 3.2.2).
pub(super) fn error(mechanism: BearerMechanism, mechanisms: &Mechanisms) -> String {
    let status = match mechanism {
        BearerMechanism::OAuthBearer => "invalid_token",
        BearerMechanism::XOAuth2 => "401",
    };
    // Neither a scope nor a URL holds any of the characters that JSON escapes.
    let member = |name: &str, value: &Option<String>| {
        let value = value.as_deref().filter(|value| {
            value.bytes().all(|b| (b == b' ' || b.is_ascii_graphic()) && !matches!(b, b'"' | b'\\'))
        });
        value.map_or_else(String::new, |value| format!(r#","{name}":"{value}""#))
    };
    let scope = member("scope", &mechanisms.oauth_scope);
    let configuration = member("openid-configuration", &mechanisms.openid_configuration);
    format!(r#"{{"status":"{status}","schemes":"bearer"{scope}{configuration}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let (oauth, xoauth) = (BearerMechanism::OAuthBearer, BearerMechanism::XOAuth2);
        let bearer = |username: Option<&str>, token: &str| BearerToken {
            username: username.map(str::to_owned),
            host: None,
            port: None,
            token: token.to_owned(),
        };
        for (mechanism, message, expected) in [
            (
                oauth,
                "n,a=u@a.test,\x01host=x\x01port=143\x01auth=Bearer vF9.d==\x01\x01",
                BearerToken {
                    host: Some("x".to_owned()),
                    port: Some(143),
                    ..bearer(Some("u@a.test"), "vF9.d==")
                },
            ),
            (oauth, "y,,\x01auth=bearer t\x01\x01", bearer(None, "t")),
            (oauth, "n,,\x01auth=\x01\x01", bearer(None, "")),
            (oauth, "n,a=a=2Cb,\x01auth=Bearer t\x01\x01", bearer(Some("a,b"), "t")),
            (xoauth, "user=u@a.test\x01auth=Bearer t\x01\x01", bearer(Some("u@a.test"), "t")),
        ] {
            assert_eq!(parse(mechanism, message), Ok(expected), "{message:?}");
        }
        let long = format!("n,,\x01auth=Bearer {}\x01\x01", "t".repeat(MAX_TOKEN + 1));
        for message in [
            "",
            "n,,",
            "n,,\x01\x01",
            "n,,\x01auth=Bearer t\x01",
            "n,,\x01auth=Bearer \x01\x01",
            "n,,\x01auth=Basic t\x01\x01",
            "n,,\x01auth=Bearer a b\x01\x01",
            "n,,\x01auth=Bearer t\x01auth=Bearer u\x01\x01",
            "n,,\x01port=x\x01auth=Bearer t\x01\x01",
            "n,,\x01nothing\x01auth=Bearer t\x01\x01",
            "p=tls-exporter,,\x01auth=Bearer t\x01\x01",
            "n,u,\x01auth=Bearer t\x01\x01",
            "n,a=,\x01auth=Bearer t\x01\x01",
            "user=u\x01auth=Bearer t\x01\x01",
            long.as_str(),
        ] {
            assert_eq!(parse(oauth, message), Err(replies::BAD_AUTH_RESPONSE), "{message:?}");
        }
        assert_eq!(parse(xoauth, "n,,\x01auth=Bearer t\x01\x01"), Err(replies::BAD_AUTH_RESPONSE));
        assert_eq!(parse(xoauth, "user=\x01auth=Bearer t\x01\x01"), Err(replies::BAD_AUTH_RESPONSE));
    }

    #[test]
    fn errors_are_json() {
        let mut mechanisms = Mechanisms::default();
        let plain = r#"{"status":"401","schemes":"bearer"}"#;
        assert_eq!(error(BearerMechanism::XOAuth2, &mechanisms), plain);
        let url = "https://id.test/.well-known/openid-configuration";
        mechanisms.oauth_scope = Some("mail".to_owned());
        mechanisms.openid_configuration = Some(url.to_owned());
        assert_eq!(
            error(BearerMechanism::OAuthBearer, &mechanisms),
            format!(
                r#"{{"status":"invalid_token","schemes":"bearer","scope":"mail","openid-configuration":"{url}"}}"#
            )
        );
        mechanisms.oauth_scope = Some("x\"y".to_owned());
        assert!(!error(BearerMechanism::OAuthBearer, &mechanisms).contains("scope"));
    }
}
