//! One private key.

use ed25519_dalek::Signer as _;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use relevo_mailkit::model::Algorithm;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use sha2::{Digest as _, Sha256};

use crate::random::HostRandom;

/// Bits of an RSA key. Shorter ones are weak (RFC 8301 section 3.2), and verifiers need not take
/// longer ones.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// What stands before a SHA-256 that is signed (RFC 8017 section 9.2 note 1): the DER of its algorithm.
const SHA_256: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

/// A private key. Its memory is overwritten when it is dropped.
pub(crate) enum Key {
    Rsa(Box<RsaPrivateKey>),
    Ed25519(Box<ed25519_dalek::SigningKey>),
}

impl Key {
    /// Reads PKCS #8 (RFC 5208, RFC 8410).
    ///
    /// # Errors
    /// What is wrong with it, without any of its octets.
    pub(crate) fn from_pkcs8(der: &[u8], algorithm: Algorithm) -> Result<Self, &'static str> {
        match algorithm {
            Algorithm::RsaSha256 => {
                let key = RsaPrivateKey::from_pkcs8_der(der)
                    .map_err(|_| "is not an RSA key of at most 4096 bits in PKCS #8")?;
                match RSA_BITS.contains(&key.n().bits()) {
                    true => Ok(Self::Rsa(Box::new(key))),
                    false => Err("is an RSA key that has not 2048 to 4096 bits"),
                }
            }
            Algorithm::Ed25519Sha256 => ed25519_dalek::SigningKey::from_pkcs8_der(der)
                .map(|key| Self::Ed25519(Box::new(key)))
                .map_err(|_| "is not an Ed25519 key in PKCS #8"),
        }
    }

    /// Signs the SHA-256 of the octets. None: the key cannot be used, such as one of which a factor
    /// is wrong.
    pub(crate) fn sign(&self, octets: &[u8]) -> Option<Vec<u8>> {
        let hash = Sha256::digest(octets);
        match self {
            // Blinded: the time of the exponentiation does not depend on what is signed. The result is
            // checked with the public key before it is given out.
            Self::Rsa(key) => {
                let padding = Pkcs1v15Sign { hash_len: Some(hash.len()), prefix: Box::new(SHA_256) };
                key.sign_with_rng(&mut HostRandom, padding, &hash).ok()
            }
            // RFC 8463 section 3: PureEdDSA over the SHA-256.
            Self::Ed25519(key) => Some(key.sign(&hash).to_bytes().to_vec()),
        }
    }
}
