//! The check of signatures (RFC 6376 section 6).

use crate::body::{BodyHashes, Digests};
use crate::header::{self, Divider, Field, MAX_HEADER};
use crate::{canonical, field, tags};
use mail_auth::common::crypto::Algorithm;
use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::common::verify::{DomainKey, VerifySignature as _};
use mail_auth::dkim::Signature;
use relevo_mailkit::model::{Canonicalization, SignatureVerdict, Txt};

/// Signatures of one message that are checked; further ones are reported as not checked. A verifier
/// must limit its work somewhere (RFC 6376 section 6.1).
pub const MAX_SIGNATURES: usize = 16;

/// RFC 8301 section 3.2: signatures by shorter keys are not valid.
const MIN_RSA_BITS: usize = 1024;

/// Names in `h=`. The choice of fields is quadratic in the worst case.
const MAX_SIGNED_FIELDS: usize = 1000;

/// Checks every signature of a message against the TXT records given.
///
/// Holds the header block, at most [`MAX_HEADER`] octets, and nothing of the body.
pub struct Verifier {
    records: Vec<Txt>,
    now: i64,
    divider: Divider,
    body: BodyHashes,
}

impl Verifier {
    /// `now` is in seconds since 1970 and is compared with `x=`.
    #[must_use]
    pub fn new(records: Vec<Txt>, now: i64) -> Self {
        Self { records, now, divider: Divider::default(), body: BodyHashes::default() }
    }

    /// The next octets of the message.
    pub fn push(&mut self, chunk: &[u8]) {
        let known = self.divider.in_body();
        let body = self.divider.push(chunk);
        if !known && self.divider.in_body() {
            self.want_hashes();
        }
        self.body.push(body);
    }

    /// One verdict for each DKIM-Signature field, from top to bottom. No field, no verdict.
    #[must_use]
    pub fn finish(mut self) -> Vec<SignatureVerdict> {
        if self.divider.too_long() {
            let detail = format!("the header block is longer than {MAX_HEADER} octets");
            let none = String::new;
            return vec![SignatureVerdict {
                domain: none(),
                selector: none(),
                algorithm: none(),
                pass: false,
                detail,
            }];
        }
        if !self.divider.in_body() {
            // A message without a body.
            self.want_hashes();
        }
        let digests = self.body.finish();
        let fields = header::fields(self.divider.header());
        let message = Message { fields: &fields, digests: &digests, records: &self.records, now: self.now };
        let signatures = fields.iter().enumerate().filter(|(_, field)| field.is(field::NAME.as_bytes()));
        signatures.enumerate().map(|(nth, (at, field))| message.verdict(nth, at, field.value)).collect()
    }

    fn want_hashes(&mut self) {
        let fields = header::fields(self.divider.header());
        for field in fields.iter().filter(|field| field.is(field::NAME.as_bytes())).take(MAX_SIGNATURES) {
            if let Ok(signature) = Signature::parse(field.value) {
                self.body.want(canonicalization(signature.cb));
            }
        }
    }
}

struct Message<'a> {
    fields: &'a [Field<'a>],
    digests: &'a Digests,
    records: &'a [Txt],
    now: i64,
}

impl Message<'_> {
    fn verdict(&self, nth: usize, at: usize, value: &[u8]) -> SignatureVerdict {
        let result =
            if nth < MAX_SIGNATURES { self.check(at, value) } else { Err("too many signatures".to_owned()) };
        SignatureVerdict {
            domain: tags::text(value, "d"),
            selector: tags::text(value, "s"),
            algorithm: tags::text(value, "a"),
            pass: result.is_ok(),
            detail: result.err().unwrap_or_else(|| "pass".to_owned()),
        }
    }

    /// Verifies the signature in the field with this index.
    fn check(&self, at: usize, value: &[u8]) -> Result<(), String> {
        let signature = Signature::parse(value).map_err(|e| e.to_string())?;
        check_signature(&signature, value, self.now)?;
        if signature.bh != self.digests.get(canonicalization(signature.cb)) {
            return Err("body hash did not verify".to_owned());
        }
        let key = self.key(&signature)?;
        let mut to_verify = Vec::with_capacity(1024);
        // The field that is being verified is never one of those that its own h= names.
        let (above, below) = (&self.fields[..at], &self.fields[at + 1..]);
        let others: Vec<Field<'_>> = above.iter().chain(below).copied().collect();
        let canonicalization = canonicalization(signature.ch);
        for field in header::select(&others, signature.h.iter().map(|name| name.trim().as_bytes())) {
            canonical::write_field(canonicalization, field.name, field.value, &mut to_verify);
        }
        let unsigned = tags::without_signature(value);
        canonical::write_field(canonicalization, self.fields[at].name, &unsigned, &mut to_verify);
        key.p.verify_bytes(&to_verify, &signature.b, signature.a).map_err(|e| e.to_string())
    }

    /// The key record (RFC 6376 section 3.6.2). One that is not among the records given does not
    /// exist.
    fn key(&self, signature: &Signature) -> Result<DomainKey, String> {
        let name = signature.domain_key();
        let name = name.trim_end_matches('.');
        let record = self
            .records
            .iter()
            .find(|txt| txt.name.trim_end_matches('.').eq_ignore_ascii_case(name))
            .ok_or_else(|| format!("no key at {name}"))?;
        let key = DomainKey::parse(record.value.as_bytes()).map_err(|e| e.to_string())?;
        if signature.a == Algorithm::RsaSha256 && key.p.public_key_bits() < MIN_RSA_BITS {
            return Err(format!("key is shorter than {MIN_RSA_BITS} bits (RFC 8301)"));
        }
        check_identity(signature, &record.value)?;
        Ok(key)
    }
}

/// What can be said without a key (RFC 6376 section 6.1.1, RFC 8301).
fn check_signature(signature: &Signature, value: &[u8], now: i64) -> Result<(), String> {
    let problem = if signature.v != 1 {
        "no version"
    } else if signature.a == Algorithm::RsaSha1 {
        "rsa-sha1 is not accepted (RFC 8301)"
    } else if tags::value(value, "l").is_some() {
        "l= is not accepted: anything can be appended to such a message"
    } else if signature.h.len() > MAX_SIGNED_FIELDS {
        "too many fields in h="
    } else if !signature.h.iter().any(|name| name.trim().eq_ignore_ascii_case("from")) {
        "From is not signed"
    } else if signature.x != 0
        && (signature.x <= signature.t || i64::try_from(signature.x).is_ok_and(|x| x <= now))
    {
        "expired"
    } else {
        return Ok(());
    };
    Err(problem.to_owned())
}

/// RFC 6376 section 3.5: the domain of `i=` is that of `d=` or below it; with `t=s` in the record
/// (section 3.6.1) it is the same.
fn check_identity(signature: &Signature, record: &str) -> Result<(), String> {
    let Some((_, identity)) = signature.i.rsplit_once('@') else {
        return if signature.i.is_empty() { Ok(()) } else { Err("i= has no domain".to_owned()) };
    };
    let strict = tags::value(record.as_bytes(), "t")
        .is_some_and(|flags| flags.split(|b| *b == b':').any(|flag| flag.trim_ascii() == b"s"));
    let (identity, domain) = (identity.to_ascii_lowercase(), signature.d.to_ascii_lowercase());
    let below = identity.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'));
    if identity == domain || (below && !strict) { Ok(()) } else { Err("i= does not match d=".to_owned()) }
}

fn canonicalization(c: mail_auth::dkim::Canonicalization) -> Canonicalization {
    match c {
        mail_auth::dkim::Canonicalization::Relaxed => Canonicalization::Relaxed,
        mail_auth::dkim::Canonicalization::Simple => Canonicalization::Simple,
    }
}
