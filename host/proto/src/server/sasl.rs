//! AUTH PLAIN (RFC 4616) and LOGIN: from the responses of the client to credentials.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::replies::{self, Fixed};
use super::types::Credentials;

/// RFC 4616 section 2, and what [`Credentials`] promises.
const MAX_USERNAME: usize = 255;
const MAX_PASSWORD: usize = 1024;

/// Which response is awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exchange {
    Plain,
    LoginUsername,
    LoginPassword(String),
}

/// What follows a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Challenge(Fixed, Exchange),
    Done(Credentials),
}

/// AUTH itself, with its optional initial response (RFC 4954 section 4).
pub(crate) fn start(mechanism: &str, initial: Option<&str>) -> Result<Next, Fixed> {
    let (exchange, challenge) = if mechanism.eq_ignore_ascii_case("PLAIN") {
        (Exchange::Plain, replies::CHALLENGE_EMPTY)
    } else if mechanism.eq_ignore_ascii_case("LOGIN") {
        (Exchange::LoginUsername, replies::CHALLENGE_USERNAME)
    } else {
        return Err(replies::UNKNOWN_MECHANISM);
    };
    match initial {
        None => Ok(Next::Challenge(challenge, exchange)),
        // A zero-length initial response is written as one equals sign.
        Some("=") => respond(exchange, ""),
        Some(text) => respond(exchange, text),
    }
}

/// A line of the client during the exchange.
pub(crate) fn respond(exchange: Exchange, line: &str) -> Result<Next, Fixed> {
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
            Ok(Next::Challenge(replies::CHALLENGE_PASSWORD, Exchange::LoginPassword(response)))
        }
        Exchange::LoginPassword(username) => credentials(&username, &response),
    }
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
    Ok(Next::Done(Credentials { username: username.to_owned(), password: password.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain_line(text: &str) -> Result<Next, Fixed> {
        start("plain", Some(&STANDARD.encode(text)))
    }

    #[test]
    fn plain_fields() {
        let done = Next::Done(Credentials { username: "u".into(), password: "p".into() });
        assert_eq!(plain_line("\0u\0p"), Ok(done));
        assert!(matches!(plain_line("u\0u\0p"), Ok(Next::Done(_))));
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
        assert_eq!(challenge, replies::CHALLENGE_USERNAME);
        let Ok(Next::Challenge(challenge, exchange)) = respond(exchange, "dQ==") else { panic!() };
        assert_eq!(challenge, replies::CHALLENGE_PASSWORD);
        assert_eq!(respond(exchange.clone(), "*"), Err(replies::AUTH_CANCELLED));
        let done = Next::Done(Credentials { username: "u".into(), password: "p".into() });
        assert_eq!(respond(exchange, "cA=="), Ok(done));
        assert_eq!(start("CRAM-MD5", None), Err(replies::UNKNOWN_MECHANISM));
    }
}
