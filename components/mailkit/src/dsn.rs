//! Delivery status notifications asked for by MAIL and RCPT (RFC 3461): the parameters, decoded.
//! The parameters as they were written stand in [`Recipient::parameters`] and
//! [`Envelope::parameters`].

use std::fmt::Write as _;

use crate::envelope::{Envelope, Parameter, Recipient};

/// Characters of ENVID (RFC 3461 section 4.4).
pub const MAX_ENVID: usize = 100;
/// Characters of ORCPT (RFC 3461 section 4.2).
pub const MAX_ORCPT: usize = 500;

/// RET of MAIL (RFC 3461 section 4.3): how much of the message a failure report returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ret {
    /// FULL: the message.
    Full,
    /// HDRS: its headers.
    Headers,
}

/// The DSN parameters of MAIL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DsnMail {
    /// RET.
    pub ret: Option<Ret>,
    /// ENVID, decoded: printable ASCII and spaces.
    pub envid: Option<String>,
}

/// NOTIFY of RCPT (RFC 3461 section 4.1): the reports that the sender wants. None of them: NEVER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Notify {
    /// SUCCESS.
    pub success: bool,
    /// FAILURE.
    pub failure: bool,
    /// DELAY.
    pub delay: bool,
}

/// ORCPT of RCPT (RFC 3461 section 4.2): the recipient that the sender named first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Orcpt {
    /// `rfc822`, or `utf-8` (RFC 6533); lower case.
    pub address_type: String,
    /// Decoded: printable, ASCII unless the type is `utf-8`.
    pub address: String,
}

impl Ret {
    /// Reads the value of RET.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        match value {
            _ if value.eq_ignore_ascii_case("FULL") => Some(Self::Full),
            _ if value.eq_ignore_ascii_case("HDRS") => Some(Self::Headers),
            _ => None,
        }
    }
}

impl Notify {
    /// NEVER.
    pub const NEVER: Self = Self { success: false, failure: false, delay: false };

    /// Reads the value of NOTIFY. NEVER stands alone, and nothing stands twice.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        if value.eq_ignore_ascii_case("NEVER") {
            return Some(Self::NEVER);
        }
        let mut notify = Self::NEVER;
        for word in value.split(',') {
            let wanted = match word {
                _ if word.eq_ignore_ascii_case("SUCCESS") => &mut notify.success,
                _ if word.eq_ignore_ascii_case("FAILURE") => &mut notify.failure,
                _ if word.eq_ignore_ascii_case("DELAY") => &mut notify.delay,
                _ => return None,
            };
            if std::mem::replace(wanted, true) {
                return None;
            }
        }
        Some(notify)
    }

    /// Returns true if no report is wanted.
    #[must_use]
    pub fn is_never(self) -> bool {
        self == Self::NEVER
    }
}

impl Orcpt {
    /// Reads the value of ORCPT: an address type and the encoded address.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        if value.len() > MAX_ORCPT {
            return None;
        }
        let (address_type, address) = value.split_once(';')?;
        let is_atom = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*-/?^_`{|}~".contains(&b);
        if address_type.is_empty() || address.is_empty() || !address_type.bytes().all(is_atom) {
            return None;
        }
        let address_type = address_type.to_ascii_lowercase();
        let address = match address_type.as_str() {
            // RFC 6533 section 3: code points are written as `\x{...}`, or as they are where the
            // transaction has SMTPUTF8.
            "utf-8" => decode_unicode(&decode_escapes(address)?)?,
            _ => decode_xtext(address)?,
        };
        let is_printable =
            |c: char| c == ' ' || c.is_ascii_graphic() || (address_type == "utf-8" && is_text(c));
        address.chars().all(is_printable).then_some(Self { address_type, address })
    }
}

/// Beyond ASCII, and no control character.
fn is_text(c: char) -> bool {
    !c.is_ascii() && !c.is_control()
}

/// Decodes xtext (RFC 3461 section 4): printable ASCII without `=`, where `+` begins two upper case
/// hexadecimal digits. The result must be UTF-8.
#[must_use]
pub fn decode_xtext(text: &str) -> Option<String> {
    text.is_ascii().then(|| decode_escapes(text))?
}

/// Like [`decode_xtext`], with characters beyond ASCII left as they are.
fn decode_escapes(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        match octet {
            b'+' => {
                let (high, low) = (hex_digit(octets.next()?)?, hex_digit(octets.next()?)?);
                out.push(high << 4 | low);
            }
            b'=' => return None,
            _ if octet.is_ascii_graphic() || !octet.is_ascii() => out.push(octet),
            _ => return None,
        }
    }
    String::from_utf8(out).ok()
}

fn hex_digit(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    }
}

/// Encodes as xtext.
#[must_use]
pub fn encode_xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        if octet.is_ascii_graphic() && !matches!(octet, b'+' | b'=') {
            out.push(char::from(octet));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "+{octet:02X}");
        }
    }
    out
}

/// RFC 6533 section 3: `\x{HEX}`, two to six digits, is a code point.
fn decode_unicode(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (digits, after) = rest[at..].strip_prefix("\\x{")?.split_once('}')?;
        let is_hex = digits.bytes().all(|b| hex_digit(b).is_some());
        if !(2..=6).contains(&digits.len()) || !is_hex {
            return None;
        }
        out.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

/// Decodes the value of ENVID.
#[must_use]
pub fn parse_envid(value: &str) -> Option<String> {
    if !(1..=MAX_ENVID).contains(&value.len()) {
        return None;
    }
    let envid = decode_xtext(value)?;
    // RFC 3461 section 4.4: graphic and white space characters of ASCII.
    envid.bytes().all(|b| b == b' ' || b.is_ascii_graphic()).then_some(envid)
}

fn value<'a>(parameters: &'a [Parameter], keyword: &str) -> Option<&'a str> {
    parameters.iter().find(|parameter| parameter.keyword == keyword).map(|parameter| parameter.value.as_str())
}

impl Recipient {
    /// NOTIFY, if it was given.
    #[must_use]
    pub fn notify(&self) -> Option<Notify> {
        value(&self.parameters, "NOTIFY").and_then(Notify::parse)
    }

    /// ORCPT, if it was given.
    #[must_use]
    pub fn orcpt(&self) -> Option<Orcpt> {
        value(&self.parameters, "ORCPT").and_then(Orcpt::parse)
    }
}

impl Envelope {
    /// RET and ENVID, as far as they were given.
    #[must_use]
    pub fn dsn(&self) -> DsnMail {
        DsnMail {
            ret: value(&self.parameters, "RET").and_then(Ret::parse),
            envid: value(&self.parameters, "ENVID").and_then(parse_envid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext() {
        for (encoded, text) in
            [("QQ314159", "QQ314159"), ("a+2Bb+3Dc", "a+b=c"), ("+20", " "), ("+C3+A5", "å"), ("", "")]
        {
            assert_eq!(decode_xtext(encoded).as_deref(), Some(text), "{encoded}");
            assert_eq!(encode_xtext(text), encoded);
        }
        for bad in ["a=b", "+", "+2", "+2b", "+zz", "a b", "\u{7f}", "å", "+C3", "a\tb"] {
            assert_eq!(decode_xtext(bad), None, "{bad}");
        }
    }

    #[test]
    fn notify_words() {
        let all = Notify { success: true, failure: true, delay: true };
        assert_eq!(Notify::parse("Success,DELAY,failure"), Some(all));
        assert_eq!(Notify::parse("never"), Some(Notify::NEVER));
        assert!(Notify::NEVER.is_never() && !all.is_never());
        for bad in ["", "NEVER,DELAY", "DELAY,NEVER", "DELAY,", "DELAY,DELAY", "ALWAYS", "DELAY, FAILURE"] {
            assert_eq!(Notify::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn original_recipients() {
        for (value, kind, address) in [
            ("rfc822;Bob@example.com", "rfc822", "Bob@example.com"),
            ("RFC822;a+2Bb@example.com", "rfc822", "a+b@example.com"),
            ("x-400;/c=us".replace('=', "+3D").as_str(), "x-400", "/c=us"),
            ("utf-8;\\x{E5}\\x{2B}@b.example", "utf-8", "å+@b.example"),
            ("utf-8;å@b.example", "utf-8", "å@b.example"),
            ("utf-8;\\x{1F600}", "utf-8", "😀"),
        ] {
            let orcpt = Orcpt { address_type: kind.to_owned(), address: address.to_owned() };
            assert_eq!(Orcpt::parse(value), Some(orcpt), "{value}");
        }
        let long = format!("rfc822;{}", "a".repeat(MAX_ORCPT));
        for bad in [
            "rfc822",
            ";a@b",
            "rfc822;",
            "rfc 822;a@b",
            "rfc822;a=b",
            "rfc822;a+0Ab",
            "rfc822;+C3+A5",
            "rfc822;å@b",
            "utf-8;\\x{D800}",
            "utf-8;\\x{0A}",
            "utf-8;\\x{e5}",
            "utf-8;\\x{5}",
            "utf-8;\\x{E5",
            "utf-8;\\u00e5",
            long.as_str(),
        ] {
            assert_eq!(Orcpt::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn envelope_identifiers() {
        assert_eq!(parse_envid("QQ+20314159").as_deref(), Some("QQ 314159"));
        assert_eq!(parse_envid(&"a".repeat(100)).map(|id| id.len()), Some(100));
        for bad in [String::new(), "a".repeat(101), "a+0Db".to_owned(), "+C3+A5".to_owned()] {
            assert_eq!(parse_envid(&bad), None, "{bad}");
        }
    }

    #[test]
    fn parameters_are_read_back() {
        let parameter =
            |keyword: &str, value: &str| Parameter { keyword: keyword.into(), value: value.into() };
        let mut recipient = Recipient::new("a@b.example", "b.example");
        assert_eq!((recipient.notify(), recipient.orcpt()), (None, None));
        recipient.parameters = vec![parameter("NOTIFY", "DELAY"), parameter("ORCPT", "rfc822;x@y.example")];
        assert_eq!(recipient.notify().map(|notify| notify.delay), Some(true));
        assert_eq!(recipient.orcpt().map(|orcpt| orcpt.address).as_deref(), Some("x@y.example"));
        let mut envelope = Envelope::default();
        assert_eq!(envelope.dsn(), DsnMail::default());
        envelope.parameters = vec![parameter("RET", "hdrs"), parameter("ENVID", "x+20y")];
        assert_eq!(envelope.dsn(), DsnMail { ret: Some(Ret::Headers), envid: Some("x y".to_owned()) });
    }
}
