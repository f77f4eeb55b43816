//! The keys that a signer has.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relevo_mailkit::model::Algorithm;
use relevo_mailkit::recheck;
use zeroize::Zeroizing;

use crate::key::Key;

/// Keys. Reading them takes time, RSA above all: do it once.
const MAX_KEYS: usize = 64;

/// Private keys, each for one domain, selector and algorithm.
pub struct Keyring(Vec<Entry>);

struct Entry {
    domain: String,
    selector: String,
    algorithm: Algorithm,
    key: Key,
}

/// A list of keys that cannot be read. No octet of a key is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// There is no key.
    #[error("has no key: give `DOMAIN:SELECTOR:ALGORITHM:BASE64` with the PKCS #8 of each, by commas")]
    Empty,
    /// There are too many.
    #[error("has more than {MAX_KEYS} keys")]
    TooMany,
    /// An entry, counted from 1.
    #[error("has a mistake in entry {number}: {reason}")]
    Entry {
        /// Its number.
        number: usize,
        /// The mistake.
        reason: &'static str,
    },
}

/// Why nothing was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// There is no such key.
    #[error("there is no such key")]
    UnknownKey,
    /// The rule of [`recheck::to_sign`] that is broken.
    #[error("this may not be signed: {0}")]
    Refused(&'static str),
    /// The crypto library refused.
    #[error("the key cannot be used")]
    Unavailable,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|e| (&e.domain, &e.selector, e.algorithm.as_str()));
        f.debug_list().entries(names).finish()
    }
}

impl Keyring {
    /// Reads `DOMAIN:SELECTOR:ALGORITHM:BASE64`, separated by commas or white space. The algorithm is
    /// `rsa-sha256` or `ed25519-sha256`, and the base64 is that of the key in PKCS #8: what stands in
    /// a PEM file between its first and last line, without line breaks.
    ///
    /// # Errors
    /// The first entry that is wrong, by its number. A list is usable as a whole or not at all.
    pub fn read(list: &str) -> Result<Self, KeyringError> {
        let mut entries: Vec<Entry> = Vec::new();
        let listed = list.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|e| !e.is_empty());
        for (number, text) in (1..).zip(listed) {
            if entries.len() == MAX_KEYS {
                return Err(KeyringError::TooMany);
            }
            let entry = entry(text).map_err(|reason| KeyringError::Entry { number, reason })?;
            if entries.iter().any(|other| other.is(&entry.domain, &entry.selector, entry.algorithm)) {
                return Err(KeyringError::Entry { number, reason: "its name was given before" });
            }
            entries.push(entry);
        }
        if entries.is_empty() { Err(KeyringError::Empty) } else { Ok(Self(entries)) }
    }

    /// Signs what `dkim` returned as `to-sign`. Returns the raw signature.
    ///
    /// # Errors
    /// There is no such key, or the octets are not what this key may sign.
    pub fn sign(
        &self,
        domain: &str,
        selector: &str,
        algorithm: &str,
        to_sign: &[u8],
    ) -> Result<Vec<u8>, SignError> {
        let named = |entry: &&Entry| entry.is(domain, selector, entry.algorithm);
        let entry = self.0.iter().filter(named).find(|entry| entry.algorithm.as_str() == algorithm);
        let entry = entry.ok_or(SignError::UnknownKey)?;
        recheck::to_sign(to_sign, domain, selector, entry.algorithm).map_err(SignError::Refused)?;
        entry.key.sign(to_sign).ok_or(SignError::Unavailable)
    }
}

impl Entry {
    fn is(&self, domain: &str, selector: &str, algorithm: Algorithm) -> bool {
        self.domain == domain && self.selector == selector && self.algorithm == algorithm
    }
}

fn entry(text: &str) -> Result<Entry, &'static str> {
    let mut parts = text.splitn(4, ':');
    let mut part = || parts.next().filter(|part| !part.is_empty());
    let (Some(domain), Some(selector), Some(algorithm), Some(key)) = (part(), part(), part(), part()) else {
        return Err("it is not `DOMAIN:SELECTOR:ALGORITHM:BASE64`");
    };
    let algorithm =
        Algorithm::parse(algorithm).ok_or("the algorithm is neither `rsa-sha256` nor `ed25519-sha256`")?;
    // As large as it may get: growing would leave copies behind.
    let mut der = Zeroizing::new(vec![0; key.len() / 4 * 3 + 3]);
    let length =
        STANDARD.decode_slice(key, &mut der).map_err(|_| "the key is not base64 (RFC 4648 section 4)")?;
    let key = Key::from_pkcs8(&der[..length], algorithm)?;
    Ok(Entry { domain: domain.to_ascii_lowercase(), selector: selector.to_owned(), algorithm, key })
}

#[cfg(test)]
mod tests;
