//! Law 3: what is to be signed is what was granted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{LineEnds, header_fields};
use crate::model::{Algorithm, SigningInput};
use crate::signing::{MAX_NAMES, MAX_TO_SIGN};

/// Checks what a signing component returned against what the host granted, before the host signs
/// it.
///
/// `to_sign` has complete fields, ended by CRLF, in the order of h=, and one DKIM-Signature at its
/// end, without CRLF; that one is what `field` canonicalises to. Its tags are known ones, without
/// repeats, with d=, s= and a= as granted, an empty b= at the end, no l=, and no i= but `@` and the
/// domain. There is exactly one From, and it is `from_field` (unfolded; compared after relaxed
/// canonicalisation). `domain` is lower case.
///
/// # Errors
/// The rule that is broken.
pub fn signing_input(
    unsigned: &SigningInput,
    domain: &str,
    selector: &str,
    algorithm: Algorithm,
    from_field: &[u8],
) -> Result<(), &'static str> {
    header_fields(&[&unsigned.field, &b"\r\n"[..]].concat())?;
    let checked = ToSign::check(&unsigned.to_sign, domain, selector, algorithm)?;
    if !checked.is_made_of(&unsigned.field) {
        return Err("the field is not the one in what is to be signed");
    }
    let is_same = is_named(from_field, "from") && relax(checked.from) == relax(from_field);
    if is_same { Ok(()) } else { Err("From is not this message's") }
}

/// The part of [`signing_input`] that needs no message: what a signer checks that sees nothing but
/// the octets that it signs.
///
/// # Errors
/// The rule that is broken.
pub fn to_sign(
    to_sign: &[u8],
    domain: &str,
    selector: &str,
    algorithm: Algorithm,
) -> Result<(), &'static str> {
    ToSign::check(to_sign, domain, selector, algorithm).map(|_| ())
}

/// Octets to be signed that keep the rules.
struct ToSign<'a> {
    is_relaxed: bool,
    /// The only From.
    from: &'a [u8],
    /// The DKIM-Signature.
    signature: &'a [u8],
}

impl<'a> ToSign<'a> {
    fn check(
        octets: &'a [u8],
        domain: &str,
        selector: &str,
        algorithm: Algorithm,
    ) -> Result<Self, &'static str> {
        if octets.len() > MAX_TO_SIGN {
            return Err("there is too much to sign");
        }
        if octets.ends_with(b"\r\n") {
            return Err("what is to be signed ends with CRLF");
        }
        // Not `header_fields`: a relaxed field is one line of any length, and what the message has is
        // not the component's doing.
        let mut lines = LineEnds::default();
        let whole = lines.push(octets).and_then(|()| lines.finish());
        whole.map_err(|_| "what is to be signed has a bare CR or LF, or a NUL")?;
        let mut fields = split_fields(octets);
        let signature = fields.pop().ok_or("there is nothing to sign")?;
        if !is_named(signature, "dkim-signature") {
            return Err("the last field is not DKIM-Signature");
        }
        if fields.iter().any(|f| is_named(f, "dkim-signature")) {
            return Err("there is more than one DKIM-Signature");
        }
        if fields.iter().any(|f| !f.contains(&b':')) {
            return Err("a field has no colon");
        }
        let tags = Tags::parse(value(signature))?;
        granted(&tags, domain, selector, algorithm)?;
        let is_relaxed = is_relaxed(&tags)?;
        if is_relaxed && fields.iter().chain([&signature]).any(|f| relax(f) != *f) {
            return Err("a field is not in relaxed form");
        }
        fields_match(tags.required("h")?, &fields)?;
        Ok(Self { is_relaxed, from: only_from(&fields)?, signature })
    }

    /// Returns true if the signature is the canonical form of `field`.
    fn is_made_of(&self, field: &[u8]) -> bool {
        if self.is_relaxed { relax(field) == self.signature } else { field == self.signature }
    }
}

/// The tags that are about identity and form.
fn granted(tags: &Tags<'_>, domain: &str, selector: &str, algorithm: Algorithm) -> Result<(), &'static str> {
    if tags
        .0
        .iter()
        .any(|(name, _)| !["v", "a", "c", "d", "i", "s", "q", "t", "x", "h", "bh", "b"].contains(name))
    {
        return Err("the DKIM-Signature has a tag that is not granted");
    }
    let b = tags.0.last().filter(|(name, _)| *name == "b").ok_or("b= is not the last tag")?;
    if !b.1.is_empty() {
        return Err("b= is not empty");
    }
    if tags.required("v")? != "1" {
        return Err("v= is not 1");
    }
    if tags.required("a")? != algorithm.as_str() {
        return Err("a= is not the algorithm that was granted");
    }
    if tags.required("d")? != domain {
        return Err("d= is not the domain that was granted");
    }
    if tags.required("s")? != selector {
        return Err("s= is not the selector that was granted");
    }
    if tags.get("i").is_some_and(|i| i.strip_prefix('@') != Some(domain)) {
        return Err("i= is not the domain that was granted");
    }
    if tags.get("q").is_some_and(|q| q != "dns/txt") {
        return Err("q= is not dns/txt");
    }
    // Folding white space may stand within the base64.
    let bh: Vec<u8> = tags.required("bh")?.bytes().filter(|c| !c.is_ascii_whitespace()).collect();
    if STANDARD.decode(bh).map(|h| h.len()) != Ok(32) {
        return Err("bh= is not a SHA-256 in base64");
    }
    times(tags)
}

fn times(tags: &Tags<'_>) -> Result<(), &'static str> {
    let seconds = |name| match tags.get(name) {
        None => Ok(None),
        Some(text) if text.bytes().all(|c| c.is_ascii_digit()) => {
            text.parse::<u64>().map(Some).map_err(|_| "t= or x= is not a time")
        }
        Some(_) => Err("t= or x= is not a time"),
    };
    match (seconds("t")?, seconds("x")?) {
        (_, None) => Ok(()),
        (Some(t), Some(x)) if x > t => Ok(()),
        _ => Err("x= is not later than t="),
    }
}

/// c= of the header.
fn is_relaxed(tags: &Tags<'_>) -> Result<bool, &'static str> {
    match tags.get("c") {
        Some("relaxed/relaxed" | "relaxed/simple" | "relaxed") => Ok(true),
        Some("simple/simple" | "simple/relaxed" | "simple") | None => Ok(false),
        Some(_) => Err("c= is not known"),
    }
}

/// The fields are those of h= in its order; a name in h= without a field is over-signed (RFC 6376
/// section 5.4.2).
fn fields_match(h: &str, fields: &[&[u8]]) -> Result<(), &'static str> {
    let mut fields = fields.iter().peekable();
    let mut absent: Vec<&str> = Vec::new();
    if h.split(':').count() > MAX_NAMES {
        return Err("h= has too many names");
    }
    for name in h.split(':').map(trim) {
        if name.is_empty() || !name.bytes().all(|c| c.is_ascii_graphic() && c != b';') {
            return Err("h= has something that is not a field name");
        }
        if name.eq_ignore_ascii_case("dkim-signature") {
            return Err("h= contains DKIM-Signature");
        }
        // Once there is no more field of a name, there is none for its later places either.
        let gone = absent.iter().any(|a| name.eq_ignore_ascii_case(a));
        if gone || fields.next_if(|f| is_named(f, name)).is_none() {
            absent.push(name);
        }
    }
    if fields.next().is_some() { Err("the fields are not those of h= in order") } else { Ok(()) }
}

fn only_from<'a>(fields: &[&'a [u8]]) -> Result<&'a [u8], &'static str> {
    let mut from = fields.iter().filter(|f| is_named(f, "from"));
    match (from.next(), from.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err("From is not signed"),
        (Some(_), Some(_)) => Err("there is more than one From"),
    }
}

/// Fields without their last CRLF. A line that begins with white space belongs to the field before
/// it.
fn split_fields(block: &[u8]) -> Vec<&[u8]> {
    let mut fields = Vec::new();
    let mut start = 0;
    for at in block.windows(3).enumerate().filter(|(_, w)| w.starts_with(b"\r\n")) {
        if !matches!(at.1[2], b' ' | b'\t') {
            fields.push(&block[start..at.0]);
            start = at.0 + 2;
        }
    }
    fields.push(&block[start..]);
    fields
}

fn name(field: &[u8]) -> &[u8] {
    field.split(|c| *c == b':').next().unwrap_or_default().trim_ascii_end()
}

fn value(field: &[u8]) -> &[u8] {
    let colon = field.iter().position(|c| *c == b':').map_or(field.len(), |n| n + 1);
    &field[colon..]
}

fn is_named(field: &[u8], wanted: &str) -> bool {
    name(field).eq_ignore_ascii_case(wanted.as_bytes())
}

/// A field without its CRLF, by RFC 6376 section 3.4.2.
fn relax(field: &[u8]) -> Vec<u8> {
    let mut out = name(field).to_ascii_lowercase();
    out.push(b':');
    let words = value(field).split(|c| matches!(c, b' ' | b'\t' | b'\r' | b'\n')).filter(|w| !w.is_empty());
    for (i, word) in words.enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
    out
}

fn trim(s: &str) -> &str {
    s.trim_matches([' ', '\t', '\r', '\n'])
}

/// A tag list (RFC 6376 section 3.2), in order.
struct Tags<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Tags<'a> {
    fn parse(list: &'a [u8]) -> Result<Self, &'static str> {
        let list = std::str::from_utf8(list).map_err(|_| "the DKIM-Signature is not UTF-8")?;
        if !list.is_ascii() {
            return Err("the DKIM-Signature is not ASCII");
        }
        let mut tags: Vec<(&str, &str)> = Vec::new();
        for spec in list.split(';') {
            let (name, value) =
                spec.split_once('=').ok_or("the DKIM-Signature has something that is not a tag")?;
            let (name, value) = (trim(name), trim(value));
            if name.is_empty() || !name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_') {
                return Err("the DKIM-Signature has a malformed tag name");
            }
            if tags.iter().any(|(n, _)| *n == name) {
                return Err("the DKIM-Signature has a tag twice");
            }
            if tags.len() == 16 {
                return Err("the DKIM-Signature has too many tags");
            }
            tags.push((name, value));
        }
        Ok(Self(tags))
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
    }

    fn required(&self, name: &str) -> Result<&'a str, &'static str> {
        self.get(name).ok_or("the DKIM-Signature lacks a tag that it must have")
    }
}
