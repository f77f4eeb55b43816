//! SCRAM-SHA-256 (RFC 5802, RFC 7677): the server learns no password that it does not know, and
//! proves that it knows it. Names and passwords go in the form of SASLprep (RFC 4013).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::{SaslError, saslname};
use crate::server::sasl_prepared;

/// The fewest iterations: what RFC 7677 section 4 asks of servers.
pub const MIN_ITERATIONS: u32 = 4096;
/// The most iterations: what is recommended for stored passwords today. A server that asks for more
/// wants our processor.
pub const MAX_ITERATIONS: u32 = 600_000;

type Digest = [u8; 32];

/// One login.
pub(super) struct Scram {
    password: String,
    nonce: String,
    /// Whether and how the TLS connection is bound in.
    gs2_header: &'static str,
    binding: Option<[u8; 32]>,
    bare: String,
    state: State,
}

enum State {
    /// The first message is sent.
    First,
    /// The proof is sent; the server is to answer with this.
    Proof(Digest),
    /// The server has proved that it knows the password.
    Proved,
}

impl Scram {
    /// `plus` binds the login to the TLS connection. Without it the server is told that we could,
    /// if we could: one that could, too, knows then that its offer was cut (RFC 5802 section 6).
    pub(super) fn new(
        username: &str,
        password: &str,
        nonce: &str,
        binding: Option<[u8; 32]>,
        plus: bool,
    ) -> Self {
        let gs2_header = match (plus, binding) {
            (true, _) => "p=tls-exporter,,",
            (false, Some(_)) => "y,,",
            (false, None) => "n,,",
        };
        Self {
            password: sasl_prepared(password).into_owned(),
            nonce: nonce.to_owned(),
            gs2_header,
            binding: binding.filter(|_| plus),
            bare: format!("n={},r={nonce}", saslname(&sasl_prepared(username))),
            state: State::First,
        }
    }

    /// The first message.
    pub(super) fn first(&self) -> Vec<u8> {
        format!("{}{}", self.gs2_header, self.bare).into_bytes()
    }

    /// The server has proved that it knows the password.
    pub(super) fn is_proved(&self) -> bool {
        matches!(self.state, State::Proved)
    }

    pub(super) fn respond(&mut self, challenge: &str) -> Result<Vec<u8>, SaslError> {
        match self.state {
            State::First => {
                let (answer, expected) = self.prove(challenge)?;
                self.state = State::Proof(expected);
                Ok(answer.into_bytes())
            }
            State::Proof(expected) => {
                check(challenge, &expected)?;
                self.state = State::Proved;
                Ok(Vec::new())
            }
            State::Proved => Err(SaslError::TooMany),
        }
    }

    /// The last message, and what the server signs it with.
    fn prove(&self, challenge: &str) -> Result<(String, Digest), SaslError> {
        let mut attributes = challenge.split(',');
        let mut attribute = |name: &str| {
            let found = attributes.next().and_then(|attribute| attribute.strip_prefix(name));
            found.filter(|value| !value.is_empty()).ok_or(SaslError::Malformed)
        };
        let (nonce, salt, iterations) = (attribute("r=")?, attribute("s=")?, attribute("i=")?);
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(SaslError::Nonce);
        }
        let salt = STANDARD.decode(salt).map_err(|_| SaslError::Malformed)?;
        let iterations: u32 = iterations.parse().map_err(|_| SaslError::Malformed)?;
        if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
            return Err(SaslError::Iterations(iterations));
        }
        let mut binding = self.gs2_header.as_bytes().to_vec();
        binding.extend(self.binding.iter().flatten());
        let unproved = format!("c={},r={nonce}", STANDARD.encode(binding));
        let salted = salted_password(self.password.as_bytes(), &salt, iterations);
        let all = format!("{},{challenge},{unproved}", self.bare);
        let client_key = mac(&salted, b"Client Key");
        let signature = mac(&Sha256::digest(client_key), all.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, sign)| key ^ sign).collect();
        let expected = mac(&mac(&salted, b"Server Key"), all.as_bytes());
        Ok((format!("{unproved},p={}", STANDARD.encode(proof)), expected))
    }
}

/// What the server says last: its signature, or why not.
fn check(words: &str, expected: &Digest) -> Result<(), SaslError> {
    let first = words.split(',').next().unwrap_or_default();
    if first.starts_with("e=") {
        return Err(SaslError::Refused);
    }
    let signature = first.strip_prefix("v=").ok_or(SaslError::Malformed)?;
    let signature = STANDARD.decode(signature).map_err(|_| SaslError::Malformed)?;
    if signature == expected { Ok(()) } else { Err(SaslError::Unproved) }
}

/// `Hi` of RFC 5802 section 2.2: PBKDF2 with one block.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Digest {
    let mac = KeyedMac::new(password);
    let mut block = mac.of(&[salt, &1u32.to_be_bytes()]);
    let mut result = block;
    for _ in 1..iterations {
        block = mac.of(&[&block]);
        result.iter_mut().zip(block).for_each(|(all, one)| *all ^= one);
    }
    result
}

fn mac(key: &[u8], message: &[u8]) -> Digest {
    KeyedMac::new(key).of(&[message])
}

/// HMAC-SHA-256 (RFC 2104) with its key taken in: two compressions for each iteration instead of
/// four.
struct KeyedMac {
    inner: Sha256,
    outer: Sha256,
}

impl KeyedMac {
    fn new(key: &[u8]) -> Self {
        let mut block = [0; 64];
        if key.len() > block.len() {
            block[..32].copy_from_slice(&Sha256::digest(key));
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        let with = |pad: u8| Sha256::new_with_prefix(block.map(|octet| octet ^ pad));
        Self { inner: with(0x36), outer: with(0x5c) }
    }

    fn of(&self, message: &[&[u8]]) -> Digest {
        let mut inner = self.inner.clone();
        message.iter().for_each(|part| inner.update(part));
        self.outer.clone().chain_update(inner.finalize()).finalize().into()
    }
}
