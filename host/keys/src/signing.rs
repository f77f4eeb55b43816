//! A private key and what it signs.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relevo_mailkit::model::{Algorithm, SigningInput};
use relevo_mailkit::{recheck, signing};
use zeroize::Zeroizing;

use crate::api::{Grant, KeyError};
use crate::{file, pem};

/// Bits that every verifier must take (RFC 8301 section 3.2).
const COMMON_RSA_BITS: usize = 4096;

/// A DKIM private key. Its secret never leaves this crate, except for [`SigningKey::to_pem`].
pub struct SigningKey(Pair);

enum Pair {
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads a key file in PEM, with a warning about its permissions or its size when there is one.
    ///
    /// # Errors
    /// [`KeyError::File`]: unreadable, open to others, writable by its group, or what [`SigningKey::from_pem`] refuses.
    pub fn load(path: &Path, algorithm: Algorithm) -> Result<(Self, Option<String>), KeyError> {
        let (content, warning) = file::read_secret_file(path)?;
        let text = std::str::from_utf8(&content).map_err(|_| file::problem(path, "is not PEM".to_owned()))?;
        let key = parse(text, algorithm).map_err(|problem| file::problem(path, problem))?;
        let size = match &key.0 {
            Pair::Rsa(rsa) if rsa.public_modulus_len() * 8 > COMMON_RSA_BITS => Some(format!(
                "{} has {} bits: verifiers need not take more than {COMMON_RSA_BITS} (RFC 8301)",
                path.display(),
                rsa.public_modulus_len() * 8
            )),
            _ => None,
        };
        Ok((key, warning.or(size)))
    }

    /// Reads PKCS #8 (`PRIVATE KEY`; for Ed25519 version 1 and 2) or PKCS #1 (`RSA PRIVATE KEY`).
    /// RSA keys have 2048 to 8192 bits: shorter ones are weak (RFC 8301) and the crypto library
    /// does not sign with them.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] for anything else.
    pub fn from_pem(text: &str, algorithm: Algorithm) -> Result<Self, KeyError> {
        parse(text, algorithm).map_err(|problem| KeyError::Crypto(format!("the key {problem}")))
    }

    /// A new key: RSA of 2048 bits, or Ed25519.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] when there is no randomness.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Crypto("a key could not be made".to_owned());
        Ok(Self(match algorithm {
            Algorithm::RsaSha256 => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?),
            Algorithm::Ed25519Sha256 => Pair::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
        }))
    }

    /// The key in PEM, PKCS #8 version 1 (which OpenSSL reads too). This is the secret itself.
    ///
    /// # Errors
    /// [`KeyError::Crypto`].
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        let failed = |_| KeyError::Crypto("the key cannot be encoded".to_owned());
        let der: Pkcs8V1Der<'_> = match &self.0 {
            Pair::Rsa(pair) => pair.as_der().map_err(failed)?,
            Pair::Ed25519(pair) => pair.as_der().map_err(failed)?,
        };
        Ok(pem::encode("PRIVATE KEY", der.as_ref()))
    }

    /// Writes a new file that only its owner can read. An existing file is never overwritten.
    ///
    /// # Errors
    /// [`KeyError::File`].
    pub fn write(&self, path: &Path) -> Result<(), KeyError> {
        file::create(path, self.to_pem()?.as_bytes()).map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => {
                file::problem(path, "exists already and is not overwritten".to_owned())
            }
            _ => file::problem(path, format!("cannot be made: {e}")),
        })
    }

    /// What it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Pair::Rsa(_) => Algorithm::RsaSha256,
            Pair::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    /// The value of the TXT record at `<selector>._domainkey.<domain>`, whole: a
    /// `SubjectPublicKeyInfo` for RSA (RFC 6376 section 3.6.1), the 32 octets themselves for
    /// Ed25519 (RFC 8463 section 4).
    #[must_use]
    pub fn public_record(&self) -> String {
        match &self.0 {
            Pair::Rsa(pair) => {
                // Encoding a key that was decoded or generated does not fail.
                let der: Result<PublicKeyX509Der<'_>, _> = pair.public_key().as_der();
                format!("v=DKIM1; k=rsa; p={}", der.map(|d| STANDARD.encode(d.as_ref())).unwrap_or_default())
            }
            Pair::Ed25519(pair) => {
                format!("v=DKIM1; k=ed25519; p={}", STANDARD.encode(pair.public_key().as_ref()))
            }
        }
    }

    /// Checks `input` against `grant` and signs it. Returns the whole DKIM-Signature field with its
    /// final CRLF, its signature folded.
    ///
    /// # Errors
    /// [`KeyError::NotGranted`] when it is not exactly what was granted.
    pub fn sign(&self, grant: &Grant<'_>, input: &SigningInput) -> Result<Vec<u8>, KeyError> {
        if grant.algorithm != self.algorithm() {
            return Err(KeyError::NotGranted("the key is of another algorithm"));
        }
        recheck::signing_input(input, grant.domain, grant.selector, grant.algorithm, grant.from_field)
            .map_err(KeyError::NotGranted)?;
        Ok(signing::signature_field(&input.field, &self.signature(&input.to_sign)?))
    }

    fn signature(&self, to_sign: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.0 {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), to_sign, &mut signature)
                    .map_err(|_| KeyError::Crypto("RSA".to_owned()))?;
                Ok(signature)
            }
            // RFC 8463 section 3: PureEdDSA over the SHA-256 of the input.
            Pair::Ed25519(pair) => Ok(pair.sign(digest(&SHA256, to_sign).as_ref()).as_ref().to_vec()),
        }
    }
}

fn parse(text: &str, algorithm: Algorithm) -> Result<SigningKey, String> {
    let (label, der) = pem::first_private_key(text)?;
    let pair = match (algorithm, label) {
        (Algorithm::RsaSha256, "RSA PRIVATE KEY") => RsaKeyPair::from_der(&der).map(Pair::Rsa),
        (Algorithm::RsaSha256, "PRIVATE KEY") => RsaKeyPair::from_pkcs8(&der).map(Pair::Rsa),
        (Algorithm::Ed25519Sha256, "PRIVATE KEY") => Ed25519KeyPair::from_pkcs8(&der).map(Pair::Ed25519),
        _ => return Err(format!("is `{label}`, which is no key for {}", algorithm.as_str())),
    };
    pair.map(SigningKey).map_err(|e| refused(&e.to_string(), algorithm))
}

fn refused(reason: &str, algorithm: Algorithm) -> String {
    match (reason, algorithm) {
        ("TooSmall", _) => "has less than 2048 bits: make a new one (relevo key generate)".to_owned(),
        _ => format!("is not a key for {}: {reason}", algorithm.as_str()),
    }
}

#[cfg(test)]
mod tests;
