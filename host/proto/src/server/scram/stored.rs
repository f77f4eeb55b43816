//! Verifiers as text, in the form of PostgreSQL:
//! `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`. Salt and keys are in base64.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ScramVerifier;

/// Iterations of a verifier. RFC 7677 section 4 has the minimum. More than the maximum is a
/// mistake, and a burden for clients.
const ITERATIONS: RangeInclusive<u32> = 4_096..=1_000_000;
/// Octets of a salt.
const MAX_SALT: usize = 64;

/// Why a text is no verifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScramVerifierError {
    /// It does not have the form.
    Form,
    /// Fewer or more iterations than allowed.
    Iterations,
}

impl fmt::Display for ScramVerifierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("is not `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`"),
            Self::Iterations => {
                write!(
                    f,
                    "has fewer than {} or more than {} iterations",
                    ITERATIONS.start(),
                    ITERATIONS.end()
                )
            }
        }
    }
}

impl std::error::Error for ScramVerifierError {}

impl FromStr for ScramVerifier {
    type Err = ScramVerifierError;

    fn from_str(text: &str) -> Result<Self, ScramVerifierError> {
        let verifier = read(text).ok_or(ScramVerifierError::Form)?;
        match ITERATIONS.contains(&verifier.iterations) {
            true => Ok(verifier),
            false => Err(ScramVerifierError::Iterations),
        }
    }
}

fn read(text: &str) -> Option<ScramVerifier> {
    let (cost, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
    let (iterations, salt) = cost.split_once(':')?;
    let (stored, server) = keys.split_once(':')?;
    let key = |text: &str| <[u8; 32]>::try_from(STANDARD.decode(text).ok()?).ok();
    let salt = STANDARD.decode(salt).ok().filter(|salt| (1..=MAX_SALT).contains(&salt.len()))?;
    // `parse` takes a sign, too.
    let is_number = iterations.bytes().all(|octet| octet.is_ascii_digit());
    let iterations = iterations.parse().ok().filter(|_| is_number)?;
    Some(ScramVerifier { salt, iterations, stored_key: key(stored)?, server_key: key(server)? })
}

impl ScramVerifier {
    /// The text that is stored. It is a secret.
    #[must_use]
    pub fn to_text(&self) -> String {
        let [salt, stored, server] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|octets| STANDARD.encode(octets));
        format!("SCRAM-SHA-256${}:{salt}${stored}:{server}", self.iterations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The user of RFC 7677 section 3, made by another implementation.
    const PENCIL: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn the_text_of_a_password() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let derived = ScramVerifier::derive("pencil", salt, 4_096).unwrap();
        assert_eq!(derived.to_text(), PENCIL);
        assert_eq!(PENCIL.parse(), Ok(derived));
    }

    #[test]
    fn what_is_no_verifier() {
        use ScramVerifierError::{Form, Iterations};
        for (text, error) in [
            (String::new(), Form),
            (PENCIL.replace("256", "1"), Form),
            (PENCIL.replace("$4096", "$+4096"), Form),
            (PENCIL.replace("$4096", "$"), Form),
            (PENCIL.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""), Form),
            (PENCIL.replace("W22ZaJ0SNY7soEsUEjb6gQ==", &STANDARD.encode([7; 65])), Form),
            (format!("{PENCIL}A"), Form),
            (PENCIL.rsplit_once(':').unwrap().0.to_owned(), Form),
            (PENCIL.replace("$4096", "$4095"), Iterations),
            (PENCIL.replace("$4096", "$1000001"), Iterations),
        ] {
            assert_eq!(text.parse::<ScramVerifier>(), Err(error), "{text}");
        }
    }
}
