//! Records as section 4.6.1 and 12 of RFC 7208 write them.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::macros;

/// Terms of one record at most: more is hostile.
const MAX_TERMS: usize = 200;

/// What a mechanism that matches says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qualifier {
    /// `+`
    Pass,
    /// `-`
    Fail,
    /// `~`
    SoftFail,
    /// `?`
    Neutral,
}

/// A mechanism. Domains are macro strings; none is the current domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mechanism {
    /// `all`
    All,
    /// `include:`
    Include(String),
    /// `a`, with prefix lengths for IPv4 and IPv6
    A(Option<String>, u8, u8),
    /// `mx`, with prefix lengths for IPv4 and IPv6
    Mx(Option<String>, u8, u8),
    /// `ptr`
    Ptr(Option<String>),
    /// `ip4:`
    Ip4(Ipv4Addr, u8),
    /// `ip6:`
    Ip6(Ipv6Addr, u8),
    /// `exists:`
    Exists(String),
}

/// A term as it is written, and as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// As it is written.
    pub text: String,
    /// As it is read.
    pub kind: TermKind,
}

/// Directives and modifiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TermKind {
    /// A mechanism with its qualifier.
    Directive(Qualifier, Mechanism),
    /// `redirect=`
    Redirect(String),
    /// `exp=`, and modifiers that nobody knows.
    Modifier,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpfRecord {
    /// In their order.
    pub terms: Vec<Term>,
}

impl SpfRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// Names the first mistake: receivers take a record with one for an error.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        if !words.next().is_some_and(|version| version.eq_ignore_ascii_case("v=spf1")) {
            return Err("it does not begin with v=spf1".to_owned());
        }
        let terms: Vec<Term> = words.take(MAX_TERMS + 1).map(Term::parse).collect::<Result<_, _>>()?;
        if terms.len() > MAX_TERMS {
            return Err(format!("it has more than {MAX_TERMS} terms"));
        }
        if terms.iter().filter(|term| matches!(term.kind, TermKind::Redirect(_))).count() > 1 {
            return Err("redirect= is there twice".to_owned());
        }
        if terms.iter().filter(|term| term.text.to_ascii_lowercase().starts_with("exp=")).count() > 1 {
            return Err("exp= is there twice".to_owned());
        }
        Ok(Self { terms })
    }

    /// The qualifier of `all`.
    #[must_use]
    pub fn all(&self) -> Option<Qualifier> {
        self.terms.iter().find_map(|term| match term.kind {
            TermKind::Directive(qualifier, Mechanism::All) => Some(qualifier),
            _ => None,
        })
    }

    /// The domain of `redirect=`.
    #[must_use]
    pub fn redirect(&self) -> Option<&str> {
        self.terms.iter().find_map(|term| match &term.kind {
            TermKind::Redirect(domain) => Some(domain.as_str()),
            _ => None,
        })
    }
}

impl Term {
    /// Reads a term.
    ///
    /// # Errors
    /// Names the mistake.
    pub fn parse(text: &str) -> Result<Self, String> {
        let kind = kind(text).map_err(|mistake| format!("`{text}` {mistake}"))?;
        Ok(Self { text: text.to_owned(), kind })
    }
}

fn kind(text: &str) -> Result<TermKind, String> {
    let end = text.find(['=', ':', '/']).unwrap_or(text.len());
    if text[end..].starts_with('=') {
        return modifier(&text[..end], &text[end + 1..]);
    }
    let (qualifier, rest) = match text.as_bytes().first() {
        Some(b'+') => (Qualifier::Pass, &text[1..]),
        Some(b'-') => (Qualifier::Fail, &text[1..]),
        Some(b'~') => (Qualifier::SoftFail, &text[1..]),
        Some(b'?') => (Qualifier::Neutral, &text[1..]),
        _ => (Qualifier::Pass, text),
    };
    Ok(TermKind::Directive(qualifier, mechanism(rest)?))
}

fn modifier(name: &str, value: &str) -> Result<TermKind, String> {
    let is_name = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !is_name {
        return Err("is no modifier".to_owned());
    }
    macros::check(value)?;
    match name.to_ascii_lowercase().as_str() {
        "redirect" => Ok(TermKind::Redirect(domain(value)?)),
        "exp" => domain(value).map(|_| TermKind::Modifier),
        _ => Ok(TermKind::Modifier),
    }
}

fn mechanism(text: &str) -> Result<Mechanism, String> {
    let end = text.find([':', '/']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let value = rest.strip_prefix(':');
    let required = || value.ok_or_else(|| "needs a value".to_owned());
    match name.to_ascii_lowercase().as_str() {
        "all" if rest.is_empty() => Ok(Mechanism::All),
        "include" => Ok(Mechanism::Include(domain(required()?)?)),
        "exists" => Ok(Mechanism::Exists(domain(required()?)?)),
        "a" => {
            let (domain, v4, v6) = hosts(rest)?;
            Ok(Mechanism::A(domain, v4, v6))
        }
        "mx" => {
            let (domain, v4, v6) = hosts(rest)?;
            Ok(Mechanism::Mx(domain, v4, v6))
        }
        "ptr" if rest.is_empty() => Ok(Mechanism::Ptr(None)),
        "ptr" => Ok(Mechanism::Ptr(Some(domain(required()?)?))),
        "ip4" => {
            let (address, length) = network(required()?, 32)?;
            Ok(Mechanism::Ip4(address.parse().map_err(|_| "is no IPv4 address".to_owned())?, length))
        }
        "ip6" => {
            let (address, length) = network(required()?, 128)?;
            Ok(Mechanism::Ip6(address.parse().map_err(|_| "is no IPv6 address".to_owned())?, length))
        }
        _ => Err("is no mechanism".to_owned()),
    }
}

/// A domain (section 7.1): a macro string.
fn domain(text: &str) -> Result<String, String> {
    macros::check(text)?;
    if text.is_empty() {
        return Err("needs a domain".to_owned());
    }
    if !text.contains('%') && !text.trim_end_matches('.').contains('.') {
        return Err("names no full domain".to_owned());
    }
    Ok(text.to_owned())
}

/// `[":" domain] ["/" length] ["//" length]`
fn hosts(rest: &str) -> Result<(Option<String>, u8, u8), String> {
    let (rest, v6) = match rest.split_once("//") {
        Some((before, length)) => (before, prefix(length, 128)?),
        None => (rest, 128),
    };
    // A slash in a macro is a delimiter, not a length.
    let at = rest.rfind('/').filter(|at| !rest[*at..].contains('}'));
    let (rest, v4) = match at {
        Some(at) => (&rest[..at], prefix(&rest[at + 1..], 32)?),
        None => (rest, 32),
    };
    match rest.strip_prefix(':') {
        Some(name) => Ok((Some(domain(name)?), v4, v6)),
        None if rest.is_empty() => Ok((None, v4, v6)),
        None => Err("is no mechanism".to_owned()),
    }
}

fn network(text: &str, max: u8) -> Result<(&str, u8), String> {
    match text.split_once('/') {
        Some((address, length)) => Ok((address, prefix(length, max)?)),
        None => Ok((text, max)),
    }
}

fn prefix(text: &str, max: u8) -> Result<u8, String> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let length = if is_plain { text.parse().ok().filter(|length| *length <= max) } else { None };
    length.ok_or_else(|| format!("has a prefix length that is not 0 to {max}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind_of(text: &str) -> TermKind {
        Term::parse(text).unwrap_or_else(|e| panic!("{e}")).kind
    }

    #[test]
    fn terms_are_read() {
        use Mechanism::{A, Exists, Include, Ip4, Ip6, Mx, Ptr};
        let pass = |mechanism| TermKind::Directive(Qualifier::Pass, mechanism);
        for (text, want) in [
            ("a", pass(A(None, 32, 128))),
            ("A/24//64", pass(A(None, 24, 64))),
            ("+a:mail.example/24", pass(A(Some("mail.example".into()), 24, 128))),
            ("mx//48", pass(Mx(None, 32, 48))),
            ("a:%{d1r/}.example/8", pass(A(Some("%{d1r/}.example".into()), 8, 128))),
            ("ptr", pass(Ptr(None))),
            ("include:_spf.example", pass(Include("_spf.example".into()))),
            ("exists:%{ir}.%{v}.example", pass(Exists("%{ir}.%{v}.example".into()))),
            ("ip4:192.0.2.0/24", pass(Ip4([192, 0, 2, 0].into(), 24))),
            ("ip6:2001:db8::/32", pass(Ip6("2001:db8::".parse().expect("an address"), 32))),
            ("-all", TermKind::Directive(Qualifier::Fail, Mechanism::All)),
            ("redirect=_spf.example", TermKind::Redirect("_spf.example".into())),
            ("exp=explain.example", TermKind::Modifier),
            ("unknown=x/y:z", TermKind::Modifier),
        ] {
            assert_eq!(kind_of(text), want, "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for text in [
            "ip4:192.0.2.300",
            "ip4:192.0.2.1/33",
            "ip4",
            "ip6:192.0.2.1",
            "a/032",
            "include:",
            "include",
            "include:localhost",
            "all:x",
            "alll",
            "=x",
            "redirect=",
            "a:%{x}.test",
            "exists:%",
            "mx/24/64",
            "https://example.com",
            "include_:a.test",
        ] {
            assert!(Term::parse(text).is_err(), "{text}");
        }
        assert!(SpfRecord::parse("v=spf1 redirect=a.test redirect=b.test").is_err());
        assert!(SpfRecord::parse("v=spf10 -all").is_err());
        assert!(SpfRecord::parse(&format!("v=spf1 {}", "a ".repeat(MAX_TERMS + 1))).is_err());
        assert!(SpfRecord::parse("V=SPF1   a  -all ").is_ok());
    }

    proptest! {
        /// Nothing that DNS may say breaks the parser, and what it reads it reads again.
        #[test]
        fn any_text_is_read_or_refused(text in "(v=spf1 )?([a-z%{}/:=~+?.0-9-]{0,20} ?){0,8}|\\PC*") {
            if let Ok(record) = SpfRecord::parse(&text) {
                let texts: Vec<_> = record.terms.iter().map(|term| term.text.as_str()).collect();
                prop_assert_eq!(SpfRecord::parse(&format!("v=spf1 {}", texts.join(" "))), Ok(record.clone()));
            }
        }
    }
}
