//! What a policy plugin answered. `wit/relevo-policy-0.1.0/types.wit` has the rules; the names of
//! its limits are here.
//!
//! A plugin belongs to a stranger, so everything is bounded and nothing is trusted: what passes
//! adds no recipient, ends no line and no header, and says nothing to the sender that is not a
//! reply.

use crate::policy::{Attribute, Decision, HeaderField, Verdict};
use crate::reply::Reply;
use crate::text::escaped;

/// Header fields that one answer may add.
pub const MAX_HEADERS: usize = 16;
/// Octets of the name of a field or an attribute.
pub const MAX_NAME: usize = 64;
/// Octets of the value of a field.
pub const MAX_HEADER_VALUE: usize = 900;
/// Octets of all header fields of `decide` and `inspect` together. They are stored with the message
/// and signed for each copy.
pub const MAX_HEADER_OCTETS: usize = 16 << 10;
/// Attributes of `decide` and `inspect` together. They are in several events of the message.
pub const MAX_ATTRIBUTES: usize = 16;
/// Octets of the value of an attribute.
pub const MAX_ATTRIBUTE_VALUE: usize = 256;
/// Octets of a reply's text.
pub const MAX_REPLY: usize = 400;
/// Octets of a reason that are kept.
pub const MAX_REASON: usize = 200;

/// Fields that no allow list can allow: those that RFC 5322 section 3.6 defines, trace,
/// authentication, list and MIME fields, and the host's own. With `*` at the end: all that begin
/// so.
const NEVER: [&str; 32] = [
    "date",
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "message-id",
    "in-reply-to",
    "references",
    "subject",
    "comments",
    "keywords",
    "resent-*",
    "return-path",
    "received",
    "received-spf",
    "delivered-to",
    "dkim-signature",
    "dkim2-*",
    "domainkey-*",
    "arc-*",
    "authentication-results",
    "bimi-*",
    "tls-required",
    "require-recipient-valid-since",
    "list-*",
    "mime-version",
    "content-*",
    "auto-submitted",
    "message-context",
    "x-relevo-*",
];

/// Whether `name` is `pattern`, or begins with what stands before the `*` at its end. Without
/// regard to case.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix)),
        None => pattern.eq_ignore_ascii_case(name),
    }
}

/// The names of the header fields that a plugin may add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderNames(Vec<String>);

impl Default for HeaderNames {
    /// Those that begin with `X-`.
    fn default() -> Self {
        Self(vec!["X-*".into()])
    }
}

impl HeaderNames {
    /// An allow list. `X-Shop-*` stands for all that begin with `X-Shop-`; case does not matter.
    ///
    /// # Errors
    /// The first pattern that is not a field name or stands for fields that are never allowed.
    pub fn new(patterns: Vec<String>) -> Result<Self, String> {
        for pattern in &patterns {
            let name = pattern.strip_suffix('*').unwrap_or(pattern);
            if name.is_empty() || !is_field_name(name) || name.contains('*') {
                return Err(format!("`{pattern}` is not the name of a header field"));
            }
            if NEVER.iter().any(|never| matches(never, name)) {
                return Err(format!("`{pattern}`: a plugin never adds this field"));
            }
        }
        Ok(Self(patterns))
    }

    /// Whether a field of this name may be added. Never one that the module's list of forbidden
    /// ones has.
    #[must_use]
    pub fn allow(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern, name)) && !NEVER.iter().any(|never| matches(never, name))
    }
}

/// RFC 5322 section 3.6.8: printable ASCII without colon.
fn is_field_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|octet| octet.is_ascii_graphic() && octet != b':')
}

/// An answer that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// With reasons escaped and cut, and replies that broke a rule replaced.
    pub decision: Decision,
    /// The rule that a replaced reply broke: a fault of the plugin, though the refusal stands.
    pub replaced: Option<&'static str>,
}

/// Checks an answer about a message with `recipients` recipients, of which at most `octets` octets
/// are taken.
///
/// # Errors
/// The rule that is broken; nothing of the answer is to be used.
pub fn decision(
    mut decision: Decision,
    recipients: usize,
    names: &HeaderNames,
    octets: usize,
) -> Result<Checked, &'static str> {
    if size(&decision) > octets {
        return Err("the answer is larger than allowed");
    }
    overrides(&decision, recipients)?;
    headers(&decision.headers, names)?;
    attributes(&decision.attributes)?;
    let mut replaced = None;
    let own = std::iter::once(&mut decision.verdict);
    for verdict in own.chain(decision.overrides.iter_mut().map(|own| &mut own.verdict)) {
        replaced = replaced.or(settle(verdict));
    }
    Ok(Checked { decision, replaced })
}

/// Checks what `decide` and `inspect` answered together.
///
/// # Errors
/// The rule that is broken; nothing of either answer is to be used.
pub fn together(decision: &Decision) -> Result<(), &'static str> {
    let octets: usize = decision.headers.iter().map(|field| field.name.len() + field.value.len()).sum();
    if octets > MAX_HEADER_OCTETS {
        return Err("more than 16 KiB of header fields");
    }
    if decision.attributes.len() > MAX_ATTRIBUTES {
        return Err("more than 16 attributes");
    }
    Ok(())
}

/// Octets of an answer: text, and what each entry of a list costs besides.
#[must_use]
pub fn size(decision: &Decision) -> usize {
    const ENTRY: usize = 16;
    let verdict = |verdict: &Verdict| match verdict {
        Verdict::Accept => 0,
        Verdict::Reject(reply) => ENTRY + reply.text.len(),
        Verdict::Hold(reason) | Verdict::Discard(reason) => reason.len(),
    };
    let overrides: usize = decision.overrides.iter().map(|own| ENTRY + verdict(&own.verdict)).sum();
    let headers: usize = decision.headers.iter().map(|f| ENTRY + f.name.len() + f.value.len()).sum();
    let attributes: usize = decision.attributes.iter().map(|a| ENTRY + a.name.len() + a.value.len()).sum();
    verdict(&decision.verdict) + overrides + headers + attributes
}

/// Overrides are for recipients that there are, one for each: nobody is added.
fn overrides(decision: &Decision, recipients: usize) -> Result<(), &'static str> {
    if decision.overrides.len() > recipients {
        return Err("more overrides than recipients");
    }
    let mut seen = vec![false; recipients];
    for own in &decision.overrides {
        let slot = usize::try_from(own.recipient).ok().and_then(|index| seen.get_mut(index));
        let slot = slot.ok_or("an override for a recipient that there is not")?;
        if std::mem::replace(slot, true) {
            return Err("two overrides for one recipient");
        }
    }
    Ok(())
}

fn headers(fields: &[HeaderField], names: &HeaderNames) -> Result<(), &'static str> {
    if fields.len() > MAX_HEADERS {
        return Err("more than 16 header fields");
    }
    for field in fields {
        if !is_field_name(&field.name) {
            return Err("the name of a header field is not one");
        }
        if !names.allow(&field.name) {
            return Err("a header field that is not allowed");
        }
        if field.value.len() > MAX_HEADER_VALUE {
            return Err("the value of a header field has more than 900 octets");
        }
        if !field.value.iter().all(|octet| matches!(octet, b'\t' | b' '..=b'~')) {
            return Err("the value of a header field is not printable ASCII");
        }
    }
    Ok(())
}

/// Names are lower case letters, digits, `-` and `.`; values have no control characters. Also for
/// what a plugin is configured with.
///
/// # Errors
/// The rule that is broken.
pub fn attribute(attribute: &Attribute, value: usize) -> Result<(), &'static str> {
    let letter = |octet: u8| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    if !(1..=MAX_NAME).contains(&attribute.name.len()) || !attribute.name.bytes().all(letter) {
        return Err("the name of an attribute is not one");
    }
    if attribute.value.len() > value {
        return Err("the value of an attribute is too long");
    }
    if attribute.value.chars().any(char::is_control) {
        return Err("the value of an attribute has a control character");
    }
    Ok(())
}

fn attributes(attributes: &[Attribute]) -> Result<(), &'static str> {
    if attributes.len() > MAX_ATTRIBUTES {
        return Err("more than 16 attributes");
    }
    attributes.iter().try_for_each(|a| attribute(a, MAX_ATTRIBUTE_VALUE))
}

/// Makes a verdict one that can be carried out. Returns the rule that its reply broke.
fn settle(verdict: &mut Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Accept => None,
        Verdict::Hold(text) | Verdict::Discard(text) => {
            *text = escaped(text, MAX_REASON);
            None
        }
        Verdict::Reject(answer) => {
            let rule = reply(answer).err()?;
            let text = "Refused by a policy that gave no proper reply";
            *answer = Reply::new(451, (4, 3, 5), text);
            Some(rule)
        }
    }
}

/// A reply to the sender: RFC 5321 section 4.2, RFC 3463 section 2.
///
/// # Errors
/// The rule that is broken.
pub fn reply(reply: &Reply) -> Result<(), &'static str> {
    if !matches!(reply.code, 450..=459 | 550..=559) {
        return Err("the code of a reply is neither 45x nor 55x");
    }
    let Some(enhanced) = reply.enhanced else {
        return Err("an enhanced code is not class.subject.detail");
    };
    if !enhanced.fits(reply.code) {
        return Err("the class of an enhanced code is not that of the code");
    }
    if !(1..=MAX_REPLY).contains(&reply.text.len()) {
        return Err("the text of a reply has not 1 to 400 characters");
    }
    if !reply.text.bytes().all(|octet| (b' '..=b'~').contains(&octet)) {
        return Err("the text of a reply is not printable ASCII");
    }
    Ok(())
}

/// Checked fields as a block to be put above a message: one space after the colon, folded at white
/// space where a line would have more than 78 characters (RFC 5322 section 2.1.1). White space at
/// the ends of a value is left out.
#[must_use]
pub fn header_block(fields: &[HeaderField]) -> Vec<u8> {
    /// Without CRLF.
    const LINE: usize = 78;
    let mut block = Vec::new();
    for field in fields {
        let mut line = field.name.len() + 1;
        block.extend_from_slice(field.name.as_bytes());
        block.push(b':');
        let mut first = true;
        for word in words(field.value.trim_ascii()) {
            let word = if first { [b" ", word].concat() } else { word.to_vec() };
            // A line needs something before it can be ended, and a folded one begins with the
            // word's own white space.
            if !first && line + word.len() > LINE {
                block.extend_from_slice(b"\r\n");
                line = 0;
            }
            line += word.len();
            block.extend_from_slice(&word);
            first = false;
        }
        block.extend_from_slice(b"\r\n");
    }
    block
}

/// Cut before each run of white space; each word but the first begins with it.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let blank = |octet: &u8| matches!(octet, b' ' | b'\t');
    text.chunk_by(move |left, right| blank(left) || !blank(right))
}

#[cfg(test)]
mod tests;
