//! The DKIM-Signature field that is to be signed (RFC 6376 section 3.5).

use crate::header::Field;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relevo_mailkit::model::{Canonicalization, SignatureRequest};
use relevo_mailkit::signing::{OVERSIGNED, SIGNED_WHEN_PRESENT};

/// The name of the field.
pub(crate) const NAME: &str = "DKIM-Signature";

/// The names in `h=`.
pub(crate) fn signed_names(fields: &[Field<'_>]) -> Vec<&'static str> {
    let mut names = Vec::with_capacity(32);
    let mut mention = |name: &'static str, times: usize| names.extend(std::iter::repeat_n(name, times));
    let count = |name: &str| fields.iter().filter(|field| field.is(name.as_bytes())).count();
    for name in OVERSIGNED {
        mention(name, count(name) + 1);
    }
    for name in SIGNED_WHEN_PRESENT {
        mention(name, count(name));
    }
    names
}

/// The field from its name to `b=`, folded, without CRLF.
pub(crate) fn write(request: &SignatureRequest, names: &[&str], body_hash: &[u8]) -> Vec<u8> {
    let mut out = Folded::new();
    out.text(NAME);
    out.text(":");
    out.tag("v=1;");
    out.tag(&format!("a={};", request.algorithm.as_str()));
    out.tag(&format!(
        "c={}/{};",
        canonicalization(request.header_canonicalization),
        canonicalization(request.body_canonicalization)
    ));
    out.tag(&format!("d={};", request.domain));
    out.tag(&format!("s={};", request.selector));
    out.tag(&format!("t={};", request.timestamp));
    if let Some(expiration) = request.expiration {
        out.tag(&format!("x={expiration};"));
    }
    out.list("h=", names);
    out.tag(&format!("bh={};", STANDARD.encode(body_hash)));
    // On a line of its own: the host starts folding after it.
    out.line("b=");
    out.octets
}

fn canonicalization(c: Canonicalization) -> &'static str {
    match c {
        Canonicalization::Relaxed => "relaxed",
        Canonicalization::Simple => "simple",
    }
}

/// Lines are shorter than this unless one name or value alone is longer (RFC 5322 section 2.1.1).
const COLUMNS: usize = 78;

/// Text that is folded between its tags, and between the names of a list.
struct Folded {
    octets: Vec<u8>,
    column: usize,
}

impl Folded {
    fn new() -> Self {
        Self { octets: Vec::with_capacity(640), column: 0 }
    }

    fn text(&mut self, text: &str) {
        self.octets.extend_from_slice(text.as_bytes());
        self.column += text.len();
    }

    fn fold(&mut self) {
        self.octets.extend_from_slice(b"\r\n\t");
        self.column = 1;
    }

    /// A tag, after a space or a fold.
    fn tag(&mut self, tag: &str) {
        if self.column + 1 + tag.len() >= COLUMNS {
            self.fold();
        } else {
            self.text(" ");
        }
        self.text(tag);
    }

    fn line(&mut self, tag: &str) {
        self.fold();
        self.text(tag);
    }

    /// A tag with names joined by colons; whitespace is allowed round a colon.
    fn list(&mut self, tag: &str, names: &[&str]) {
        self.line(tag);
        for (i, name) in names.iter().enumerate() {
            let end = if i + 1 == names.len() { ";" } else { ":" };
            if self.column + name.len() + end.len() >= COLUMNS {
                self.fold();
            }
            self.text(name);
            self.text(end);
        }
    }
}
