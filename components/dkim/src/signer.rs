//! What is to be signed.

use crate::body::BodyHashes;
use crate::header::{self, Divider, Field, MAX_HEADER};
use crate::{canonical, field};
use relevo_mailkit::model::{Canonicalization, SignatureRequest, SigningInput};

/// Makes the octets for several signatures in one pass over a message, which comes in chunks of any
/// size.
///
/// Holds the header block, at most [`MAX_HEADER`] octets, and nothing of the body.
pub struct Signer {
    requests: Vec<SignatureRequest>,
    divider: Divider,
    body: BodyHashes,
}

impl Signer {
    /// For these signatures.
    #[must_use]
    pub fn new(requests: Vec<SignatureRequest>) -> Self {
        let mut body = BodyHashes::default();
        for request in &requests {
            body.want(request.body_canonicalization);
        }
        Self { requests, divider: Divider::default(), body }
    }

    /// The next octets of the message.
    pub fn push(&mut self, chunk: &[u8]) {
        self.body.push(self.divider.push(chunk));
    }

    /// One for each request, in order.
    ///
    /// # Errors
    /// Text for the log: a request that cannot be written as a signature, a message without From
    /// (RFC 6376 section 5.4), a header block over [`MAX_HEADER`] octets.
    pub fn finish(self) -> Result<Vec<SigningInput>, String> {
        for request in &self.requests {
            check(request)?;
        }
        if self.divider.too_long() {
            return Err(format!("the header block is longer than {MAX_HEADER} octets"));
        }
        let fields = header::fields(self.divider.header());
        if !fields.iter().any(|field| field.is(b"from")) {
            return Err("no From field".to_owned());
        }
        let names = field::signed_names(&fields);
        let digests = self.body.finish();
        let mut headers = CanonicalHeaders { fields: &fields, names: &names, relaxed: None, simple: None };
        Ok(self
            .requests
            .iter()
            .map(|request| {
                let field = field::write(request, &names, digests.get(request.body_canonicalization));
                let canonicalization = request.header_canonicalization;
                let signed = headers.get(canonicalization);
                let mut to_sign = Vec::with_capacity(signed.len() + field.len());
                to_sign.extend_from_slice(signed);
                let value = &field[field::NAME.len() + 1..];
                canonical::write_field(canonicalization, field::NAME.as_bytes(), value, &mut to_sign);
                SigningInput { to_sign, field }
            })
            .collect())
    }
}

/// The signed fields, canonicalised once for each kind that is used.
struct CanonicalHeaders<'a> {
    fields: &'a [Field<'a>],
    names: &'a [&'static str],
    relaxed: Option<Vec<u8>>,
    simple: Option<Vec<u8>>,
}

impl CanonicalHeaders<'_> {
    fn get(&mut self, canonicalization: Canonicalization) -> &[u8] {
        let (fields, names) = (self.fields, self.names);
        let slot = match canonicalization {
            Canonicalization::Relaxed => &mut self.relaxed,
            Canonicalization::Simple => &mut self.simple,
        };
        slot.get_or_insert_with(|| {
            let mut out = Vec::with_capacity(1024);
            for field in header::select(fields, names.iter().map(|name| name.as_bytes())) {
                canonical::write_field(canonicalization, field.name, field.value, &mut out);
            }
            out
        })
    }
}

/// What goes into the field must not be able to end a tag.
fn check(request: &SignatureRequest) -> Result<(), String> {
    for (tag, value) in [("d", &request.domain), ("s", &request.selector)] {
        if !is_name(value) {
            return Err(format!("{tag}= is not a domain name in A-labels: {value:?}"));
        }
    }
    if request.timestamp < 0 {
        return Err(format!("t= is before 1970: {}", request.timestamp));
    }
    match request.expiration {
        // RFC 6376 section 3.5: x= must be greater than t=.
        Some(expiration) if expiration <= request.timestamp => {
            Err(format!("x={expiration} is not after t={}", request.timestamp))
        }
        _ => Ok(()),
    }
}

/// Labels of letters, digits, hyphens and underscores, joined by dots, at most 253 octets.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 253 && name.split('.').all(label)
}
