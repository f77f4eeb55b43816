//! Paths of MAIL and RCPT (RFC 5321 section 4.1.2): the brackets and the source route. The grammar
//! of mailboxes is that of [`relevo_mailkit::address`].

use relevo_mailkit::address::{Address, canonical_domain};

/// What stands between the angle brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Path<'a> {
    /// `<>`.
    Null,
    /// `<postmaster>`, the one mailbox without a domain (RFC 5321 section 4.1.1.3), as written.
    Postmaster(&'a str),
    /// A mailbox, as written and as parsed.
    Mailbox(&'a str, Address),
}

/// A path and what follows its closing bracket. `None`: bad syntax.
pub(crate) fn parse(input: &str) -> Option<(Path<'_>, &str)> {
    let inner = input.strip_prefix('<')?;
    if let Some(rest) = inner.strip_prefix('>') {
        return Some((Path::Null, rest));
    }
    let inner = skip_route(inner)?;
    let end = closing_bracket(inner)?;
    let (text, rest) = (&inner[..end], &inner[end + 1..]);
    let path = match text.eq_ignore_ascii_case("postmaster") {
        true => Path::Postmaster(text),
        false => Path::Mailbox(text, Address::parse(text).ok()?),
    };
    Some((path, rest))
}

/// The offset of the first `>` that is not in a quoted local part.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (text.starts_with('"'), false);
    for (i, c) in text.char_indices().skip(usize::from(quoted)) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if quoted => quoted = false,
            '>' if !quoted => return Some(i),
            _ => {}
        }
    }
    None
}

/// A-d-l: `@one,@two:`, to be accepted and ignored (RFC 5321 appendix C).
fn skip_route(mut text: &str) -> Option<&str> {
    if !text.starts_with('@') {
        return Some(text);
    }
    loop {
        text = text.strip_prefix('@')?;
        // A literal may have colons.
        let literal = if text.starts_with('[') { text.find(']')? } else { 0 };
        let end = literal + text[literal..].find([',', ':'])?;
        canonical_domain(&text[..end]).ok()?;
        match text[end..].strip_prefix(',') {
            Some(next) => text = next,
            None => return text[end..].strip_prefix(':'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(input: &str) -> Option<&str> {
        parse(input).map(|(path, _)| match path {
            Path::Null => "",
            Path::Postmaster(text) | Path::Mailbox(text, _) => text,
        })
    }

    #[test]
    fn good_paths() {
        for (input, text) in [
            ("<>", ""),
            ("<a@b.example>", "a@b.example"),
            ("<@x.example,@y.example:a@b.example>", "a@b.example"),
            ("<@[IPv6:::1],@y.example:a@b.example>", "a@b.example"),
            ("<\"a> b\\\"@\"@b.example>", "\"a> b\\\"@\"@b.example"),
            ("<postmaster>", "postmaster"),
            ("<a@[192.0.2.1]>", "a@[192.0.2.1]"),
            ("<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]"),
            ("<grå@blå.example>", "grå@blå.example"),
        ] {
            assert_eq!(address(input), Some(text));
        }
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
            "<a>",
            "<a@>",
            "<@b>",
            "<a@b@c>",
            "<a b@c>",
            "<.a@b>",
            "<a@.b>",
            "<a@b.>",
            "<\"a@b>",
            "<\"\"@b>",
            "<\"a\"b@c>",
            "<a@[]>",
            "<a@[1.2.3.4>",
            "<@x:>",
            "<@x,y:a@b>",
            "<@x_y:a@b>",
            "<a@-b>",
            "<<a@b>>",
            "<a@b c>",
            "< a@b>",
            "<a@b >",
            "<\"a\u{0}\"@b>",
            "<(c)a@b>",
            "<a\u{202e}@b>",
        ] {
            assert_eq!(address(input), None, "{input:?}");
        }
    }
}
