//! SASL (RFC 4422) in AUTH (RFC 4954): from the responses of the client to what is to be judged.
//! PLAIN (RFC 4616), LOGIN, EXTERNAL (RFC 4422 appendix A), SCRAM and bearer tokens.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::bearer::{self, BearerMechanism, BearerToken};
use super::offers::Mechanisms;
use super::replies::{self, Fixed};
use super::scram::{ChannelBinding, ClientFirst, ScramExchange};
use super::types::Credentials;
use crate::Reply;

/// RFC 4616 section 2, and what [`Credentials`] promises.
const MAX_USERNAME: usize = 255;
const MAX_PASSWORD: usize = 1024;

/// Which response is awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exchange {
    Plain,
    LoginUsername,
    LoginPassword(String),
    External,
    Bearer(BearerMechanism),
    /// The client has been told why, and is to answer before it is refused.
    TokenRefused(Reply),
    ScramFirst {
        plus: bool,
    },
    ScramFinal(Box<ScramExchange>),
    /// The user has proven the password and was let in, and is to acknowledge the proof of the server.
    ScramEnd(String),
}

/// What follows a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Challenge(Reply, Exchange),
    Password(Credentials),
    Token(BearerMechanism, BearerToken),
    /// The authorization identity, if there was one.
    External(Option<String>),
    ScramUser(Box<ClientFirst>),
    /// The user whose proof was wrong.
    ScramFailed(String),
    /// The user whose proof was right, and server-final-message.
    ScramProven(String, String),
    /// The client took the proof of the server.
    LoggedIn(String),
    /// The last reply of an exchange that the product has refused.
    Refused(Reply),
}

/// The mechanisms of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Available<'a> {
    pub(super) mechanisms: &'a Mechanisms,
    /// `tls-exporter` (RFC 9266), under TLS 1.3.
    pub(super) exporter: Option<[u8; 32]>,
    pub(super) has_certificate: bool,
}

impl Available<'_> {
    fn channel(self) -> ChannelBinding {
        let is_offered = self.mechanisms.scram_sha_256 && self.exporter.is_some();
        ChannelBinding { is_offered, exporter: self.exporter }
    }

    /// The names, the strongest first, each with the state in which its exchange begins and the
    /// challenge for a client that has sent no initial response.
    fn exchanges(self) -> Vec<(&'static str, Exchange, Fixed)> {
        let Mechanisms { plain, login, scram_sha_256, external, oauthbearer, xoauth2, .. } = *self.mechanisms;
        let empty = replies::CHALLENGE_EMPTY;
        let bearer = Exchange::Bearer;
        let all = [
            (self.channel().is_offered, "SCRAM-SHA-256-PLUS", Exchange::ScramFirst { plus: true }, empty),
            (scram_sha_256, "SCRAM-SHA-256", Exchange::ScramFirst { plus: false }, empty),
            (external && self.has_certificate, "EXTERNAL", Exchange::External, empty),
            (oauthbearer, "OAUTHBEARER", bearer(BearerMechanism::OAuthBearer), empty),
            (xoauth2, "XOAUTH2", bearer(BearerMechanism::XOAuth2), empty),
            (plain, "PLAIN", Exchange::Plain, empty),
            (login, "LOGIN", Exchange::LoginUsername, replies::CHALLENGE_USERNAME),
        ];
        all.into_iter().filter(|(is_offered, ..)| *is_offered).map(|(_, name, e, c)| (name, e, c)).collect()
    }

    /// The names, for EHLO.
    pub(super) fn names(self) -> Vec<&'static str> {
        self.exchanges().into_iter().map(|(name, ..)| name).collect()
    }
}

/// AUTH itself, with its optional initial response (RFC 4954 section 4).
pub(crate) fn start(mechanism: &str, initial: Option<&str>, available: Available<'_>) -> Result<Next, Fixed> {
    let mut offered = available.exchanges().into_iter();
    let (_, exchange, challenge) =
        offered.find(|(name, ..)| name.eq_ignore_ascii_case(mechanism)).ok_or(replies::UNKNOWN_MECHANISM)?;
    match initial {
        None => Ok(Next::Challenge(challenge.into(), exchange)),
        // A zero-length initial response is written as one equals sign.
        Some("=") => respond(exchange, "", available),
        Some(text) => respond(exchange, text, available),
    }
}

/// A line of the client during the exchange.
pub(crate) fn respond(exchange: Exchange, line: &str, available: Available<'_>) -> Result<Next, Fixed> {
    // RFC 7628 section 3.2.3: whatever the client answers to the error, it is refused.
    if let Exchange::TokenRefused(reply) = exchange {
        return Ok(Next::Refused(reply));
    }
    if line == "*" {
        return Err(replies::AUTH_CANCELLED);
    }
    let response = STANDARD.decode(line).map_err(|_| replies::BAD_AUTH_RESPONSE)?;
    let response = String::from_utf8(response).map_err(|_| replies::BAD_AUTH_RESPONSE)?;
    match exchange {
        Exchange::Plain => plain(&response),
        Exchange::LoginUsername => {
            // Refused here rather than after the password: the line may hold anything.
            if response.is_empty() || response.len() > MAX_USERNAME {
                return Err(replies::BAD_AUTH_RESPONSE);
            }
            Ok(Next::Challenge(replies::CHALLENGE_PASSWORD.into(), Exchange::LoginPassword(response)))
        }
        Exchange::LoginPassword(username) => credentials(&username, &response),
        Exchange::External => external(response),
        Exchange::Bearer(mechanism) => {
            let token = bearer::parse(mechanism, &response)?;
            if token.token.is_empty() {
                let error = challenge(&bearer::error(mechanism, available.mechanisms));
                let refusal = Exchange::TokenRefused(replies::BAD_CREDENTIALS.into());
                return Ok(Next::Challenge(error, refusal));
            }
            Ok(Next::Token(mechanism, token))
        }
        Exchange::TokenRefused(reply) => Ok(Next::Refused(reply)),
        Exchange::ScramFirst { plus } => {
            let first = ClientFirst::parse(&response, plus, available.channel())?;
            Ok(Next::ScramUser(Box::new(first)))
        }
        Exchange::ScramFinal(exchange) => Ok(match exchange.verify(&response)? {
            // The product hears of it now, whatever the client makes of the answer.
            Some(signature) => Next::ScramProven(exchange.username().to_owned(), signature),
            None => Next::ScramFailed(exchange.username().to_owned()),
        }),
        // RFC 4954 section 4: the data of success goes as a challenge, and an empty response follows.
        Exchange::ScramEnd(username) if response.is_empty() => Ok(Next::LoggedIn(username)),
        Exchange::ScramEnd(_) => Err(replies::BAD_AUTH_RESPONSE),
    }
}

/// A challenge with `text`, in base64.
pub(super) fn challenge(text: &str) -> Reply {
    Reply { code: 334, enhanced: None, text: STANDARD.encode(text) }
}

/// The authorization identity, or nothing: the one of the certificate.
fn external(identity: String) -> Result<Next, Fixed> {
    if identity.len() > MAX_USERNAME || identity.contains('\0') {
        return Err(replies::BAD_AUTH_RESPONSE);
    }
    Ok(Next::External(Some(identity).filter(|identity| !identity.is_empty())))
}

/// `[authzid] NUL authcid NUL passwd`
fn plain(response: &str) -> Result<Next, Fixed> {
    let mut fields = response.split('\0');
    let (Some(authzid), Some(authcid), Some(password), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(replies::BAD_AUTH_RESPONSE);
    };
    // Nobody may act for somebody else.
    if !authzid.is_empty() && authzid != authcid {
        return Err(replies::BAD_CREDENTIALS);
    }
    credentials(authcid, password)
}

fn credentials(username: &str, password: &str) -> Result<Next, Fixed> {
    let fits = !username.is_empty() && username.len() <= MAX_USERNAME && password.len() <= MAX_PASSWORD;
    if !fits || username.contains('\0') || password.contains('\0') {
        return Err(replies::BAD_AUTH_RESPONSE);
    }
    let (username, password) = (sasl_prepared(username).into_owned(), sasl_prepared(password).into_owned());
    if username.is_empty() {
        return Err(replies::BAD_AUTH_RESPONSE);
    }
    Ok(Next::Password(Credentials { username, password }))
}

/// User name or password in the form of SASLprep (RFC 4013), in which they are compared (RFC 4616
/// section 2): two ways to write the same character are one. Text with characters that SASLprep
/// forbids stays as it is: all that are newer than Unicode 3.2 are among them.
#[must_use]
pub fn sasl_prepared(text: &str) -> Cow<'_, str> {
    stringprep::saslprep(text).unwrap_or(Cow::Borrowed(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(mechanism: &str, initial: Option<&str>) -> Result<Next, Fixed> {
        super::start(mechanism, initial, available(&Mechanisms::default()))
    }

    fn respond(exchange: Exchange, line: &str) -> Result<Next, Fixed> {
        super::respond(exchange, line, available(&Mechanisms::default()))
    }

    fn available(mechanisms: &Mechanisms) -> Available<'_> {
        Available { mechanisms, exporter: None, has_certificate: false }
    }

    fn plain_line(text: &str) -> Result<Next, Fixed> {
        start("plain", Some(&STANDARD.encode(text)))
    }

    #[test]
    fn plain_fields() {
        let done = Next::Password(Credentials { username: "u".into(), password: "p".into() });
        assert_eq!(plain_line("\0u\0p"), Ok(done));
        assert!(matches!(plain_line("u\0u\0p"), Ok(Next::Password(_))));
        assert_eq!(plain_line("x\0u\0p"), Err(replies::BAD_CREDENTIALS));
        for bad in ["", "u", "\0u", "\0\0p", "\0u\0p\0x"] {
            assert_eq!(plain_line(bad), Err(replies::BAD_AUTH_RESPONSE), "{bad:?}");
        }
        assert_eq!(start("PLAIN", Some("=")), Err(replies::BAD_AUTH_RESPONSE));
        assert_eq!(start("PLAIN", Some("AHU")), Err(replies::BAD_AUTH_RESPONSE));
        assert_eq!(plain_line(&format!("\0{}\0p", "u".repeat(256))), Err(replies::BAD_AUTH_RESPONSE));
    }

    #[test]
    fn login_in_two_steps() {
        let Ok(Next::Challenge(challenge, exchange)) = start("LOGIN", None) else { panic!() };
        assert_eq!(challenge, replies::CHALLENGE_USERNAME.into());
        let Ok(Next::Challenge(challenge, exchange)) = respond(exchange, "dQ==") else { panic!() };
        assert_eq!(challenge, replies::CHALLENGE_PASSWORD.into());
        assert_eq!(respond(exchange.clone(), "*"), Err(replies::AUTH_CANCELLED));
        let done = Next::Password(Credentials { username: "u".into(), password: "p".into() });
        assert_eq!(respond(exchange, "cA=="), Ok(done));
        assert_eq!(start("CRAM-MD5", None), Err(replies::UNKNOWN_MECHANISM));
    }

    #[test]
    fn what_is_announced() {
        let all = Mechanisms {
            scram_sha_256: true,
            external: true,
            oauthbearer: true,
            xoauth2: true,
            ..Mechanisms::default()
        };
        assert_eq!(available(&Mechanisms::default()).names(), ["PLAIN", "LOGIN"]);
        let plain = ["SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN"];
        assert_eq!(available(&all).names(), plain);
        let bound = Available { exporter: Some([0; 32]), has_certificate: true, ..available(&all) };
        assert_eq!(bound.names()[..3], ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "EXTERNAL"]);
        assert_eq!(super::start("EXTERNAL", None, available(&all)), Err(replies::UNKNOWN_MECHANISM));
        assert_eq!(super::start("external", Some("="), bound), Ok(Next::External(None)));
        let named = Ok(Next::External(Some("u".to_owned())));
        assert_eq!(super::start("EXTERNAL", Some("dQ=="), bound), named);
        assert_eq!(
            super::start("EXTERNAL", Some(&STANDARD.encode("u\0")), bound),
            Err(replies::BAD_AUTH_RESPONSE)
        );
    }

    #[test]
    fn names_and_passwords_of_plain_are_prepared() {
        let given = |text: &str| match plain(text) {
            Ok(Next::Password(given)) => Some((given.username, given.password)),
            _ => None,
        };
        let pair = |username: &str, password: &str| Some((username.to_owned(), password.to_owned()));
        assert_eq!(given("\0u\u{308}\0\u{2168}\u{a0}x"), pair("\u{fc}", "IX x"));
        assert_eq!(given("\0u\0\u{1f511}"), pair("u", "\u{1f511}"), "newer than SASLprep");
        assert_eq!(given("\0\u{ad}\0x"), None, "nothing is left of the name");
    }
}
