//! The client's side of AUTH (RFC 4954): which mechanism is used, and what is said.

mod scram;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::abilities::{AuthMechanism, AuthMechanisms};

pub use scram::{MAX_ITERATIONS, MIN_ITERATIONS};

use scram::Scram;

/// Octets of the nonce of SCRAM that [`SaslExchange::new`] wants.
pub const NONCE: usize = 18;

/// What proves who we are.
#[derive(Clone, Copy)]
pub enum SaslSecret<'a> {
    /// A password: SCRAM, or PLAIN or LOGIN.
    Password(&'a str),
    /// A bearer token of OAuth 2.0: OAUTHBEARER or XOAUTH2.
    Token(&'a str),
}

/// Who logs in, and where.
#[derive(Clone, Copy)]
pub struct SaslIdentity<'a> {
    /// User name.
    pub username: &'a str,
    /// The name of the server, for OAUTHBEARER.
    pub host: &'a str,
    /// Its port, for OAUTHBEARER.
    pub port: u16,
    /// `tls-exporter` of the connection (RFC 9266). None: it has none, because it is in clear or
    /// under TLS 1.2.
    pub channel_binding: Option<[u8; 32]>,
}

/// Why a login does not go on. The server is not told more than that it is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// The mechanism knows no such challenge.
    #[error("malformed challenge")]
    Malformed,
    /// The server asks for more steps than the mechanism has.
    #[error("a challenge too many")]
    TooMany,
    /// The nonce of the server does not begin with ours.
    #[error("the server answered to another nonce")]
    Nonce,
    /// The iteration count of SCRAM is too small to protect the password, or too large to compute.
    #[error("an iteration count of {0}, not {MIN_ITERATIONS} to {MAX_ITERATIONS}")]
    Iterations(u32),
    /// The server does not know the password, and only repeats what it was told.
    #[error("the server did not prove that it knows the password")]
    Unproved,
    /// The server refused in its last words of SCRAM.
    #[error("refused by the server")]
    Refused,
}

/// A login under way: [`Self::command`], then [`Self::respond`] to each 334, and at 235
/// [`Self::finish`].
pub struct SaslExchange {
    mechanism: AuthMechanism,
    /// The next answers, not encoded.
    answers: std::vec::IntoIter<Vec<u8>>,
    initial: Vec<u8>,
    scram: Option<Scram>,
}

impl AuthMechanisms {
    /// The strongest that is offered and can be used with this secret. SCRAM sends no password, and
    /// with `has_binding` it also tells a server in the middle; a token goes as it is either way.
    #[must_use]
    pub fn strongest(self, secret: SaslSecret<'_>, has_binding: bool) -> Option<AuthMechanism> {
        let by_strength: &[_] = match secret {
            SaslSecret::Password(_) if has_binding => &[
                AuthMechanism::ScramSha256Plus,
                AuthMechanism::ScramSha256,
                AuthMechanism::Plain,
                AuthMechanism::Login,
            ],
            SaslSecret::Password(_) => {
                &[AuthMechanism::ScramSha256, AuthMechanism::Plain, AuthMechanism::Login]
            }
            SaslSecret::Token(_) => &[AuthMechanism::OauthBearer, AuthMechanism::Xoauth2],
        };
        by_strength.iter().copied().find(|&mechanism| self.contains(mechanism))
    }
}

impl SaslExchange {
    /// A login by `mechanism`, which [`AuthMechanisms::strongest`] chose for this secret. `nonce` is
    /// random, and never the same again.
    #[must_use]
    pub fn new(
        mechanism: AuthMechanism,
        secret: SaslSecret<'_>,
        identity: &SaslIdentity<'_>,
        nonce: [u8; NONCE],
    ) -> Self {
        let (SaslSecret::Password(secret) | SaslSecret::Token(secret)) = secret;
        let SaslIdentity { username, host, port, .. } = identity;
        let (mut answers, mut scram) = (Vec::new(), None);
        let initial = match mechanism {
            AuthMechanism::Plain => format!("\0{username}\0{secret}").into_bytes(),
            AuthMechanism::Login => {
                answers = vec![(*username).as_bytes().to_vec(), secret.as_bytes().to_vec()];
                Vec::new()
            }
            // A challenge says why the token is refused. It has to be answered so that the server
            // goes on to its reply (RFC 7628 section 3.2.3).
            AuthMechanism::OauthBearer => {
                answers = vec![b"\x01".to_vec()];
                let user = saslname(username);
                format!("n,a={user},\x01host={host}\x01port={port}\x01auth=Bearer {secret}\x01\x01")
                    .into_bytes()
            }
            AuthMechanism::Xoauth2 => {
                answers = vec![Vec::new()];
                format!("user={username}\x01auth=Bearer {secret}\x01\x01").into_bytes()
            }
            AuthMechanism::ScramSha256 | AuthMechanism::ScramSha256Plus => {
                let plus = mechanism == AuthMechanism::ScramSha256Plus;
                let started =
                    Scram::new(username, secret, &STANDARD.encode(nonce), identity.channel_binding, plus);
                let first = started.first();
                scram = Some(started);
                first
            }
        };
        Self { mechanism, answers: answers.into_iter(), initial, scram }
    }

    /// The command, with its line end and what the mechanism says first.
    #[must_use]
    pub fn command(&self) -> String {
        let name = self.mechanism.name();
        if self.initial.is_empty() {
            return format!("AUTH {name}\r\n");
        }
        format!("AUTH {name} {}\r\n", STANDARD.encode(&self.initial))
    }

    /// The answer to a 334 with this text, with its line end. Computes for up to half a second if
    /// the server wants many iterations.
    ///
    /// # Errors
    /// The login must be cancelled with `*`.
    pub fn respond(&mut self, challenge: &str) -> Result<String, SaslError> {
        let answer = match &mut self.scram {
            Some(scram) => {
                let challenge = STANDARD.decode(challenge.trim()).map_err(|_| SaslError::Malformed)?;
                let challenge = String::from_utf8(challenge).map_err(|_| SaslError::Malformed)?;
                scram.respond(&challenge)?
            }
            None => self.answers.next().ok_or(SaslError::TooMany)?,
        };
        Ok(format!("{}\r\n", STANDARD.encode(answer)))
    }

    /// The server took the login. Whether we believe it: with SCRAM it must have proved that it
    /// knows the password.
    ///
    /// # Errors
    /// The server may not be who it says.
    pub fn finish(&self) -> Result<(), SaslError> {
        match &self.scram {
            Some(scram) if !scram.is_proved() => Err(SaslError::Unproved),
            _ => Ok(()),
        }
    }
}

/// A user name between commas (RFC 5802 section 5.1).
fn saslname(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

#[cfg(test)]
mod tests;
