//! Keys, signing as the host does it, and mail-auth's own verifier.
#![allow(
    dead_code,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "shared by several test programs"
)]

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::common::verify::DomainKey;
use mail_auth::{
    AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, ResolverCache, Txt as Record,
};
use relevo_dkim::{Signer, Verifier};
use relevo_mailkit::model::{
    Algorithm, Canonicalization, SignatureRequest, SignatureVerdict, SigningInput, Txt,
};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

pub const NOW: i64 = 1_760_000_000;

pub struct Keys {
    rsa: RsaKeyPair,
    ed25519: Ed25519KeyPair,
}

pub fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys {
        rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        ed25519: Ed25519KeyPair::generate().unwrap(),
    })
}

impl Keys {
    pub fn records(&self) -> Vec<Txt> {
        let rsa: PublicKeyX509Der<'_> = self.rsa.public_key().as_der().unwrap();
        let (rsa, ed) = (STANDARD.encode(rsa.as_ref()), STANDARD.encode(self.ed25519.public_key().as_ref()));
        vec![
            Txt { name: "rsa._domainkey.example.com".into(), value: format!("v=DKIM1; k=rsa; p={rsa}") },
            Txt { name: "ed._domainkey.example.com".into(), value: format!("v=DKIM1; k=ed25519; p={ed}") },
        ]
    }

    /// RFC 8017 section 8.2 over the octets; RFC 8463 section 3: Ed25519 over their SHA-256.
    pub fn sign(&self, algorithm: Algorithm, to_sign: &[u8]) -> Vec<u8> {
        match algorithm {
            Algorithm::RsaSha256 => {
                let mut out = vec![0; self.rsa.public_modulus_len()];
                let rng = rand::SystemRandom::new();
                self.rsa.sign(&signature::RSA_PKCS1_SHA256, &rng, to_sign, &mut out).unwrap();
                out
            }
            Algorithm::Ed25519Sha256 => {
                let hash = digest::digest(&digest::SHA256, to_sign);
                self.ed25519.sign(hash.as_ref()).as_ref().to_vec()
            }
        }
    }
}

pub fn request(algorithm: Algorithm, header: Canonicalization, body: Canonicalization) -> SignatureRequest {
    SignatureRequest {
        domain: "example.com".into(),
        selector: if algorithm == Algorithm::RsaSha256 { "rsa".into() } else { "ed".into() },
        algorithm,
        header_canonicalization: header,
        body_canonicalization: body,
        timestamp: NOW,
        expiration: None,
    }
}

/// Every pair of algorithm and canonicalisations.
pub fn all_requests() -> Vec<SignatureRequest> {
    use Algorithm::{Ed25519Sha256, RsaSha256};
    use Canonicalization::{Relaxed, Simple};
    let mut all = Vec::new();
    for algorithm in [RsaSha256, Ed25519Sha256] {
        for header in [Relaxed, Simple] {
            for body in [Relaxed, Simple] {
                all.push(request(algorithm, header, body));
            }
        }
    }
    all
}

pub fn unsigned(message: &[u8], requests: &[SignatureRequest]) -> Vec<SigningInput> {
    unsigned_in_chunks(message, requests, &[usize::MAX])
}

/// Pushes chunks of these sizes, over and over.
pub fn unsigned_in_chunks(
    message: &[u8],
    requests: &[SignatureRequest],
    sizes: &[usize],
) -> Vec<SigningInput> {
    let mut signer = Signer::new(requests.to_vec());
    let (mut rest, mut sizes) = (message, sizes.iter().cycle());
    while !rest.is_empty() {
        let (chunk, tail) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        signer.push(chunk);
        rest = tail;
    }
    signer.finish().unwrap()
}

/// The field as the host completes it.
pub fn complete(unsigned: &SigningInput, signature: &[u8]) -> Vec<u8> {
    let mut out = unsigned.field.clone();
    for line in STANDARD.encode(signature).as_bytes().chunks(70) {
        out.extend_from_slice(b"\r\n\t");
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The message with one signature for each request above it.
pub fn signed(message: &[u8], requests: &[SignatureRequest]) -> Vec<u8> {
    let mut out = Vec::new();
    for (request, unsigned) in requests.iter().zip(unsigned(message, requests)) {
        out.extend(complete(&unsigned, &keys().sign(request.algorithm, &unsigned.to_sign)));
    }
    out.extend_from_slice(message);
    out
}

pub fn verdicts(message: &[u8], records: &[Txt], now: i64) -> Vec<SignatureVerdict> {
    let mut verifier = Verifier::new(records.to_vec(), now);
    for chunk in message.chunks(1000) {
        verifier.push(chunk);
    }
    verifier.finish()
}

/// What mail-auth says of each signature. Every record must be given: a missing one would be looked
/// up.
pub fn mail_auth_verdicts(message: &[u8], records: &[Txt]) -> Vec<String> {
    let cache = Cache(
        records
            .iter()
            .map(|txt| {
                let key = DomainKey::parse(txt.value.as_bytes()).unwrap();
                (format!("{}.", txt.name).into_boxed_str(), Record::DomainKey(Arc::new(key)))
            })
            .collect(),
    );
    let message = AuthenticatedMessage::parse(message).unwrap();
    let authenticator = MessageAuthenticator::new_doh("https://127.0.0.1:1/");
    let parameters = Parameters::from(&message).with_txt_cache(&cache);
    let mut future = Box::pin(authenticator.verify_dkim(parameters));
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outputs) => outputs
            .iter()
            .map(|output| match output.result() {
                DkimResult::Pass => "pass".to_owned(),
                other => other.to_string(),
            })
            .collect(),
        Poll::Pending => vec!["looked up a record".to_owned()],
    }
}

struct Cache(HashMap<Box<str>, Record>);

impl ResolverCache<Box<str>, Record> for Cache {
    fn get<Q>(&self, name: &Q) -> Option<Record>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.get(name).cloned()
    }

    fn remove<Q>(&self, _: &Q) -> Option<Record>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Record, _: std::time::Instant) {}
}
