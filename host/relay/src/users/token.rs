//! Tokens of sessions and links: 256 random bits. Only their SHA-256 is stored.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

/// Octets of a token.
const OCTETS: usize = 32;
/// Characters of a token.
const LENGTH: usize = 43;

/// Makes a token.
///
/// # Errors
/// The system gives no randomness.
pub(super) fn new() -> std::io::Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(random::<OCTETS>()?))
}

/// Unguessable octets.
pub(super) fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(octets)
}

/// What is stored of a token. None: [`new`] cannot have made it.
pub(super) fn hash(token: &str) -> Option<[u8; 32]> {
    if token.len() != LENGTH || URL_SAFE_NO_PAD.decode(token).is_err() {
        return None;
    }
    Some(Sha256::digest(token.as_bytes()).into())
}

/// The token that forms of a session carry. Nobody can derive it from what is stored.
pub(super) fn csrf(token: &str) -> String {
    let mac = <Hmac<Sha256>>::new_from_slice(token.as_bytes());
    let Ok(mut mac) = mac else { return String::new() };
    mac.update(b"relevo panel csrf");
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}
