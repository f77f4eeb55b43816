//! Mailboxes of the envelope (RFC 5321 section 4.1.2, RFC 6531 section 3.3) and domain names as
//! A-labels.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

/// Octets of a local part (RFC 5321 section 4.5.3.1.1).
pub const MAX_LOCAL: usize = 64;

/// Octets of a mailbox: a path has 256 with its angle brackets (RFC 5321 section 4.5.3.1.3).
pub const MAX_ADDRESS: usize = 254;

/// Octets of a domain name without a final dot (RFC 1035 section 2.3.4).
pub const MAX_DOMAIN: usize = 253;

/// A mailbox that may stand in MAIL FROM or RCPT TO.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// As written, with its quotes if it has them. Compared without regard to case by nobody but
    /// its owner.
    pub local: String,
    /// Lower case A-labels, or an address literal with its brackets.
    pub domain: String,
}

/// Why something is not a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressError {
    /// No `@` outside quotes.
    NoDomain,
    /// Empty, a dot in the wrong place, an open quote, or a character that must be quoted.
    LocalPart,
    /// More than [`MAX_LOCAL`] octets.
    LocalPartTooLong,
    /// Not a domain name.
    Domain,
    /// Not an address literal.
    Literal,
    /// More than [`MAX_ADDRESS`] octets in all.
    TooLong,
}

impl std::fmt::Display for AddressError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoDomain => "the address has no domain",
            Self::LocalPart => "the local part is not well formed",
            Self::LocalPartTooLong => "the local part has more than 64 octets",
            Self::Domain => "the domain is not a domain name",
            Self::Literal => "the address literal is not well formed",
            Self::TooLong => "the address has more than 254 octets",
        })
    }
}

impl std::error::Error for AddressError {}

impl Address {
    /// Parses `local@domain`, without angle brackets. The domain may have U-labels.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        // Before anything is converted: conversion takes time for long input.
        if text.len() > 4 * MAX_ADDRESS {
            return Err(AddressError::TooLong);
        }
        let at = local_part(text)?;
        let (local, domain) = (&text[..at], &text[at + 1..]);
        if local.len() > MAX_LOCAL {
            return Err(AddressError::LocalPartTooLong);
        }
        let domain = canonical_domain(domain)?;
        if local.len() + 1 + domain.len() > MAX_ADDRESS {
            return Err(AddressError::TooLong);
        }
        Ok(Self { local: local.to_owned(), domain })
    }

    /// The local part is not ASCII, so every hop needs SMTPUTF8. (A domain never does: it has
    /// A-labels.)
    #[must_use]
    pub fn needs_smtputf8(&self) -> bool {
        !self.local.is_ascii()
    }

    /// The domain is an address literal, such as `[192.0.2.1]`.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.domain.starts_with('[')
    }

    /// The address in an IPv4 or IPv6 literal.
    #[must_use]
    pub fn literal_ip(&self) -> Option<IpAddr> {
        ip_of(self.domain.strip_prefix('[')?.strip_suffix(']')?)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

/// The offset of the `@` after a well-formed local part.
fn local_part(text: &str) -> Result<usize, AddressError> {
    let at = if text.starts_with('"') { quoted(text)? } else { dot_string(text)? };
    if at == text.len() { Err(AddressError::NoDomain) } else { Ok(at) }
}

fn dot_string(text: &str) -> Result<usize, AddressError> {
    let at = text.find('@').unwrap_or(text.len());
    let atom = |a: &str| !a.is_empty() && a.chars().all(is_atext);
    if text[..at].split('.').all(atom) { Ok(at) } else { Err(AddressError::LocalPart) }
}

fn quoted(text: &str) -> Result<usize, AddressError> {
    let mut escaped = false;
    for (i, c) in text.char_indices().skip(1) {
        match c {
            _ if !(matches!(c, ' '..='~') || is_utf8_text(c)) => break,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            // `""@example.com` names nobody, and readers of mailboxes disagree about it.
            '"' if i > 1 && (text[i + 1..].starts_with('@') || i + 1 == text.len()) => return Ok(i + 1),
            '"' => break,
            _ => {}
        }
    }
    Err(AddressError::LocalPart)
}

/// RFC 5322 section 3.2.3 and RFC 6531 section 3.3.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_utf8_text(c)
}

/// Non-ASCII that may stand in a local part: no control characters, no white space, nothing that
/// turns the direction of text.
fn is_utf8_text(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    !c.is_ascii() && !c.is_control() && !c.is_whitespace() && !turns
}

/// What may follow the `@` of a mailbox: a domain name as lower case A-labels, or an address
/// literal.
///
/// # Errors
/// [`AddressError::Domain`] or [`AddressError::Literal`].
pub fn canonical_domain(text: &str) -> Result<String, AddressError> {
    if text.starts_with('[') { literal(text) } else { to_ascii(text) }
}

/// `[192.0.2.1]`, `[IPv6:2001:db8::1]`, or `[tag:content]` (RFC 5321 section 4.1.3), in canonical
/// spelling.
fn literal(text: &str) -> Result<String, AddressError> {
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).ok_or(AddressError::Literal)?;
    match ip_of(inner) {
        Some(IpAddr::V4(v4)) => return Ok(format!("[{v4}]")),
        Some(IpAddr::V6(v6)) => return Ok(format!("[IPv6:{v6}]")),
        None => {}
    }
    let (tag, content) = inner.split_once(':').ok_or(AddressError::Literal)?;
    let dcontent = |c: u8| matches!(c, 33..=90 | 94..=126);
    if is_label(tag)
        && !tag.eq_ignore_ascii_case("ipv6")
        && !content.is_empty()
        && content.bytes().all(dcontent)
    {
        Ok(text.to_owned())
    } else {
        Err(AddressError::Literal)
    }
}

fn ip_of(inner: &str) -> Option<IpAddr> {
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("ipv6:") => inner[5..].parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// A domain name in lower case A-labels: UTS #46, non-transitional, letters, digits and hyphens
/// only. A final dot is refused.
///
/// # Errors
/// [`AddressError::Domain`].
pub fn to_ascii(domain: &str) -> Result<String, AddressError> {
    if domain.is_empty() || domain.len() > 4 * MAX_DOMAIN {
        return Err(AddressError::Domain);
    }
    let plain = domain.is_ascii() && !domain.to_ascii_lowercase().split('.').any(|l| l.starts_with("xn--"));
    let ascii = if plain {
        domain.to_ascii_lowercase()
    } else {
        Uts46::new()
            .to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
            .map_err(|_| AddressError::Domain)?
            .into_owned()
    };
    // All-numeric top labels are addresses without brackets (RFC 3696 section 2).
    let numeric = ascii.rsplit('.').next().is_none_or(|l| l.bytes().all(|c| c.is_ascii_digit()));
    if ascii.len() <= MAX_DOMAIN && ascii.split('.').all(is_label) && !numeric {
        Ok(ascii)
    } else {
        Err(AddressError::Domain)
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> (String, String) {
        let a = Address::parse(text).unwrap();
        (a.local, a.domain)
    }

    #[test]
    fn well_formed_mailboxes() {
        for (text, local, domain) in [
            ("a@b", "a", "b"),
            ("Joe.O'Neil+tag@Example.COM", "Joe.O'Neil+tag", "example.com"),
            (r#""a b@c\"d"@example.com"#, r#""a b@c\"d""#, "example.com"),
            ("josé@bücher.example", "josé", "xn--bcher-kva.example"),
            ("a@XN--BCHER-KVA.example", "a", "xn--bcher-kva.example"),
            ("a@faß.example", "a", "xn--fa-hia.example"),
            ("用户@例え。テスト", "用户", "xn--r8jz45g.xn--zckzah"),
            ("a@r3---sn.example", "a", "r3---sn.example"),
            ("a@[192.0.2.1]", "a", "[192.0.2.1]"),
            ("a@[ipv6:2001:DB8:0::1]", "a", "[IPv6:2001:db8::1]"),
            ("a@[x400:stuff]", "a", "[x400:stuff]"),
        ] {
            assert_eq!(parsed(text), (local.to_owned(), domain.to_owned()), "{text}");
        }
    }

    #[test]
    fn malformed_mailboxes() {
        use AddressError::*;
        for (text, error) in [
            ("", LocalPart),
            ("a", NoDomain),
            ("\"a\"", NoDomain),
            ("@b", LocalPart),
            (".a@b", LocalPart),
            ("a.@b", LocalPart),
            ("a..b@c", LocalPart),
            ("a b@c", LocalPart),
            ("\"\"@b", LocalPart),
            ("\"a@b", LocalPart),
            ("\"a\"b@c", LocalPart),
            ("\"a\r\n\"@c", LocalPart),
            ("\"a\\\"@c", LocalPart),
            ("a\u{7f}@c", LocalPart),
            ("a\u{202e}b@c", LocalPart),
            ("a@b@c", Domain),
            ("a@", Domain),
            ("a@b.", Domain),
            ("a@.b", Domain),
            ("a@b..c", Domain),
            ("a@-b.c", Domain),
            ("a@b_c.example", Domain),
            ("a@192.0.2.1", Domain),
            ("a@xn--a.example", Domain),
            ("a@b c", Domain),
            ("a@b>", Domain),
            ("a@[192.0.2.256]", Literal),
            ("a@[IPv6:1::2::3]", Literal),
            ("a@[192.0.2.1", Literal),
            ("a@[]", Literal),
            ("a@[x:\r\n]", Literal),
        ] {
            assert_eq!(Address::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn lengths() {
        let local = "l".repeat(64);
        let label = "d".repeat(61);
        let domain = format!("{label}.{label}.{label}.e.f");
        assert_eq!(local.len() + 1 + domain.len(), 254);
        assert!(Address::parse(&format!("{local}@{domain}")).is_ok());
        assert_eq!(Address::parse(&format!("{local}@{domain}g")), Err(AddressError::TooLong));
        assert_eq!(Address::parse(&format!("{local}l@b")), Err(AddressError::LocalPartTooLong));
        assert!(to_ascii(&"a".repeat(64)).is_err());
        assert!(to_ascii(&"é".repeat(60)).is_err());
    }

    #[test]
    fn smtputf8_is_needed_for_the_local_part_only() {
        assert!(Address::parse("josé@example.com").unwrap().needs_smtputf8());
        assert!(!Address::parse("jose@bücher.example").unwrap().needs_smtputf8());
    }

    #[test]
    fn literals_give_their_address() {
        let ip = |t| Address::parse(t).unwrap().literal_ip();
        assert_eq!(ip("a@[192.0.2.1]"), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(ip("a@[IPv6:::1]"), Some("::1".parse().unwrap()));
        assert_eq!(ip("a@[x:y]"), None);
        assert_eq!(ip("a@b"), None);
    }

    proptest! {
        #[test]
        fn what_is_parsed_reads_back_the_same(text in "(\"?[a-z\\.é@ \\\\]{0,9}\"?@[a-z0-9.é\\[\\]:-]{0,12}|\\PC{0,40})") {
            if let Ok(a) = Address::parse(&text) {
                prop_assert!(a.domain.is_ascii());
                prop_assert!(!a.to_string().contains(['\r', '\n', '\0', '<', '>']) || a.local.starts_with('"'));
                prop_assert_eq!(Address::parse(&a.to_string()), Ok(a));
            }
        }

        #[test]
        fn domains_convert_once(domain in "\\PC{0,40}") {
            if let Ok(ascii) = to_ascii(&domain) {
                prop_assert_eq!(to_ascii(&ascii), Ok(ascii));
            }
        }
    }
}
