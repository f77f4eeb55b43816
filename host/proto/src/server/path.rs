//! Paths of MAIL and RCPT: RFC 5321 section 4.1.2, with the UTF-8 of RFC 6531 section 3.3.

/// RFC 5321 section 4.5.3.1.1.
const MAX_LOCAL: usize = 64;
/// RFC 5321 section 4.5.3.1.2.
const MAX_DOMAIN: usize = 255;
/// RFC 5321 section 4.5.3.1.3, with room for a local part and a domain in full.
const MAX_PATH: usize = 512;

/// The mailbox of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mailbox<'a> {
    /// `local@domain`, or a local part alone.
    pub(crate) text: &'a str,
    /// Empty when there is none.
    pub(crate) domain: &'a str,
}

impl Mailbox<'_> {
    pub(crate) fn is_literal(&self) -> bool {
        self.domain.starts_with('[')
    }
}

/// A path and what follows its closing bracket. `None`: bad syntax. `<>` has an empty mailbox.
pub(crate) fn parse(input: &str) -> Option<(Mailbox<'_>, &str)> {
    let inner = input.strip_prefix('<')?;
    if let Some(rest) = inner.strip_prefix('>') {
        return Some((Mailbox { text: "", domain: "" }, rest));
    }
    let inner = skip_route(inner)?;
    let local = local_part(inner)?;
    let after = &inner[local..];
    let (domain, end) = match after.strip_prefix('@') {
        Some(text) => {
            let n = domain(text)?;
            (&text[..n], local + 1 + n)
        }
        None => ("", local),
    };
    let rest = inner[end..].strip_prefix('>')?;
    (local <= MAX_LOCAL && domain.len() <= MAX_DOMAIN && end <= MAX_PATH)
        .then_some((Mailbox { text: &inner[..end], domain }, rest))
}

/// A-d-l: `@one,@two:`, to be accepted and ignored (RFC 5321 appendix C).
fn skip_route(mut text: &str) -> Option<&str> {
    if !text.starts_with('@') {
        return Some(text);
    }
    loop {
        text = text.strip_prefix('@')?;
        text = &text[domain(text)?..];
        match text.strip_prefix(',') {
            Some(next) => text = next,
            None => return text.strip_prefix(':'),
        }
    }
}

/// Octets of the local part: Dot-string or Quoted-string.
fn local_part(text: &str) -> Option<usize> {
    if text.starts_with('"') { quoted_string(text) } else { dotted(text, is_atext) }
}

fn quoted_string(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (i, c) in text.char_indices().skip(1) {
        match c {
            _ if c.is_control() => return None,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            // `""@example.com` names nobody, and mailbox parsers disagree about it.
            '"' => return (i > 1).then_some(i + 1),
            _ => {}
        }
    }
    None
}

/// Octets of a Domain or address-literal.
fn domain(text: &str) -> Option<usize> {
    if let Some(literal) = text.strip_prefix('[') {
        let n = literal.find(']')?;
        let valid =
            literal[..n].bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'.' | b'-'));
        return (n > 0 && valid).then_some(n + 2);
    }
    let n = dotted(text, is_domain_char)?;
    let labels_fit =
        text[..n].split('.').all(|l| l.len() <= 63 * 4 && !l.starts_with('-') && !l.ends_with('-'));
    labels_fit.then_some(n)
}

/// Octets of one or more runs of `allowed`, joined by single dots.
fn dotted(text: &str, allowed: fn(char) -> bool) -> Option<usize> {
    let n = text.find(|c| c != '.' && !allowed(c)).unwrap_or(text.len());
    let run = &text[..n];
    (n > 0 && !run.starts_with('.') && !run.ends_with('.') && !run.contains("..")).then_some(n)
}

fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !c.is_control())
}

/// Letters, digits, hyphen; the underscore occurs in practice; UTF-8 labels need SMTPUTF8.
fn is_domain_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_' || (!c.is_ascii() && !c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(input: &str) -> Option<&str> {
        parse(input).map(|(mailbox, _)| mailbox.text)
    }

    #[test]
    fn good_paths() {
        assert_eq!(address("<>"), Some(""));
        assert_eq!(address("<a@b.example>"), Some("a@b.example"));
        assert_eq!(address("<@x.example,@y.example:a@b.example>"), Some("a@b.example"));
        assert_eq!(address("<\"a> b\\\"@\"@b.example>"), Some("\"a> b\\\"@\"@b.example"));
        assert_eq!(address("<postmaster>"), Some("postmaster"));
        assert_eq!(address("<a@[192.0.2.1]>"), Some("a@[192.0.2.1]"));
        assert_eq!(address("<a@[IPv6:2001:db8::1]>"), Some("a@[IPv6:2001:db8::1]"));
        assert_eq!(address("<grå@blå.example>"), Some("grå@blå.example"));
        assert_eq!(address("<a+b/c=d@x_y.example>"), Some("a+b/c=d@x_y.example"));
        assert_eq!(parse("<a@b> SIZE=1").map(|p| p.1), Some(" SIZE=1"));
    }

    #[test]
    fn bad_paths() {
        for input in [
            "",
            "<",
            "a@b",
            "<a@b",
            "a@b>",
            "<a@>",
            "<@b>",
            "<a@b@c>",
            "<a b@c>",
            "<.a@b>",
            "<a.@b>",
            "<a..b@c>",
            "<a@.b>",
            "<a@b.>",
            "<a@b..c>",
            "<\"a@b>",
            "<\"\"@b>",
            "<\"a\"b@c>",
            "<a@[]>",
            "<a@[1.2.3.4>",
            "<@x:>",
            "<@x,y:a@b>",
            "<a@-b>",
            "<a@b-.c>",
            "<<a@b>>",
            "<a\u{7f}@b>",
            "<a@b c>",
            "< a@b>",
            "<a@b >",
            "<\"a\u{0}\"@b>",
            "<(c)a@b>",
            "<a\u{85}@b>",
        ] {
            assert_eq!(address(input), None, "{input:?}");
        }
        assert_eq!(address(&format!("<{}@b>", "a".repeat(65))), None);
        assert_eq!(address(&format!("<a@{}b>", "b.".repeat(128))), None);
    }
}
