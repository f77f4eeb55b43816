//! The text of a reply, token by token: what is put back together, left out, or only named.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use relevo_mailkit::reply::EnhancedCode;

use crate::words::{ADDRESS, IP, push_placeholder, push_words};

/// The words of a text, with a space before and after each; and what was seen on the way.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) words: String,
    /// An IP address was in it.
    pub(crate) names_ip: bool,
}

/// Reads `text`. Its code and status are left out wherever they are repeated, as at the beginning
/// of each line of a reply.
pub(crate) fn read(text: &str, code: Option<u16>, status: Option<EnhancedCode>) -> Tokens {
    let mut tokens = Tokens { words: String::with_capacity(text.len() + 8), names_ip: false };
    tokens.words.push(' ');
    let mut rest = text.split_whitespace().peekable();
    while let Some(token) = rest.next() {
        let token = without_code(token, code, status);
        if token.is_empty() {
            continue;
        }
        // A word that was broken at the end of a line: `mes- sage`.
        let joined = match (token.strip_suffix('-'), rest.peek()) {
            (Some(head), Some(tail)) if is_broken(head, tail) => {
                let joined = format!("{head}{tail}");
                rest.next();
                Cow::Owned(joined)
            }
            _ => Cow::Borrowed(token),
        };
        tokens.push(&joined);
    }
    tokens
}

fn is_broken(head: &str, tail: &str) -> bool {
    let (last, first) = (head.chars().last(), tail.chars().next());
    head.len() > 1 && last.is_some_and(char::is_alphabetic) && first.is_some_and(char::is_lowercase)
}

/// `550-5.7.26`, `550-text`, `550` and `5.7.26` without code and status.
fn without_code(token: &str, code: Option<u16>, status: Option<EnhancedCode>) -> &str {
    let mut token = token;
    if let Some(code) = code
        && let Some((digits, rest)) = token.split_at_checked(3)
        && digits.parse() == Ok(code)
        && rest.chars().next().is_none_or(|c| c == '-')
    {
        token = rest.trim_start_matches('-');
    }
    let bare = token.trim_matches(['#', '(', ')', ':', ';', ',', '-', '/']);
    if status.is_some() && bare.parse().ok() == status { "" } else { token }
}

impl Tokens {
    /// Appends the words of a token, and placeholders for addresses in it.
    fn push(&mut self, token: &str) {
        let mut rest = token;
        while let Some((before, placeholder, after)) = next_address(rest) {
            push_words(&mut self.words, before);
            push_placeholder(&mut self.words, placeholder);
            self.names_ip |= placeholder == IP;
            rest = after;
        }
        push_words(&mut self.words, rest);
    }
}

/// The first address of a token, with what stands before and after it.
fn next_address(token: &str) -> Option<(&str, char, &str)> {
    let trimmed = token.trim_matches(|c: char| !c.is_ascii_hexdigit() && c != ':');
    if trimmed.contains(':') && trimmed.trim_matches(':').parse::<Ipv6Addr>().is_ok() {
        return Some(("", IP, ""));
    }
    let mail = token.find('@').map(|at| mail_address(token, at));
    let ip = ipv4(token);
    match (mail, ip) {
        (Some(mail), Some(ip)) if ip.0 < mail.0 && ip.1 <= mail.0 => Some(cut(token, ip, IP)),
        (Some(mail), _) => Some(cut(token, mail, ADDRESS)),
        (None, Some(ip)) => Some(cut(token, ip, IP)),
        (None, None) => None,
    }
}

fn cut(token: &str, (from, to): (usize, usize), placeholder: char) -> (&str, char, &str) {
    (&token[..from], placeholder, &token[to..])
}

/// From where to where the mail address round the `@` at `at` goes.
fn mail_address(token: &str, at: usize) -> (usize, usize) {
    let is_end = |c: char| "<>()[]{}:;,=".contains(c);
    let from = token[..at].rfind(is_end).map_or(0, |end| end + 1);
    let domain = &token[at + 1..];
    let is_domain = |c: char| c.is_alphanumeric() || c == '.' || c == '-' || c == '_' || c == '@';
    let length = domain.find(|c| !is_domain(c)).unwrap_or(domain.len());
    (from, at + 1 + length)
}

/// From where to where the first IPv4 address goes that stands for itself.
fn ipv4(token: &str) -> Option<(usize, usize)> {
    let bytes = token.as_bytes();
    let is_part = |b: u8| b.is_ascii_digit() || b == b'.';
    let mut at = 0;
    while let Some(from) = bytes.get(at..)?.iter().position(u8::is_ascii_digit).map(|found| at + found) {
        let to = bytes[from..].iter().position(|b| !is_part(*b)).map_or(bytes.len(), |length| from + length);
        let stands_alone = from == 0 || !(bytes[from - 1].is_ascii_alphanumeric() || bytes[from - 1] == b'.');
        let ends = bytes.get(to).is_none_or(|b| !b.is_ascii_alphanumeric());
        let text = token[from..to].trim_end_matches('.');
        if stands_alone && ends && text.parse::<Ipv4Addr>().is_ok() {
            return Some((from, from + text.len()));
        }
        at = to;
    }
    None
}

/// Returns true if `text` names one of `own`: host names and addresses, each as a whole.
pub(crate) fn names_any(text: &str, own: &[String]) -> bool {
    let text = text.to_ascii_lowercase();
    own.iter().filter(|name| name.len() >= 4 && name.contains(['.', ':'])).any(|name| {
        let name = name.to_ascii_lowercase();
        let is_ip = name.parse::<IpAddr>().is_ok();
        text.match_indices(&name).any(|(at, _)| {
            let is_inside = |c: char| c.is_alphanumeric() || c == '-' || c == '@' || (is_ip && c == '.');
            let before = text[..at].chars().last();
            let mut after = text[at + name.len()..].chars();
            let (next, then) = (after.next(), after.next());
            // A full stop may end a sentence; a dot before a letter goes on.
            let goes_on = next.is_some_and(|c| c.is_alphanumeric() || c == '-')
                || (next == Some('.') && then.is_some_and(char::is_alphanumeric));
            !before.is_some_and(|c| is_inside(c) || c == '.') && !goes_on
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str, code: u16, status: &str) -> String {
        read(text, Some(code), status.parse().ok()).words
    }

    #[test]
    fn code_and_status_are_left_out_on_every_line() {
        assert_eq!(words("550-5.7.26 not signed 550 5.7.26 at all", 550, "5.7.26"), " not signed at all ");
        assert_eq!(words("550-'Unknown user' (#5.1.1)", 550, "5.1.1"), " unknown user ");
        assert_eq!(words("552 bytes", 550, "5.1.1"), " 552 bytes ");
    }

    #[test]
    fn addresses_are_only_named() {
        let found = read("<full.box@a.example>... [192.0.2.1]: user=x@b.example;blocked", None, None);
        assert_eq!(found.words, format!(" {ADDRESS} {IP} user {ADDRESS} blocked "));
        assert!(found.names_ip);
        let found = read("client 2001:db8::1 x[192.0.2.7]:49309 v1.2.3.4 1.2.3", None, None);
        assert_eq!(found.words, format!(" client {IP} x {IP} 49309 v1 2 3 4 1 2 3 "));
        assert!(!read("4.2.1 on 12:30:45 at a:b", None, None).names_ip);
    }

    #[test]
    fn broken_words_are_joined() {
        assert_eq!(read("the mes- sage - and more-", None, None).words, " the message and more ");
        assert_eq!(read("one- Two", None, None).words, " one two ");
    }

    #[test]
    fn own_names_are_found_as_a_whole() {
        let own = ["mta1.example.com".to_owned(), "192.0.2.1".to_owned(), "2001:db8::1".to_owned()];
        for text in ["from MTA1.example.com.", "[192.0.2.1]:25", "ip=192.0.2.1", "(2001:db8::1)"] {
            assert!(names_any(text, &own), "{text}");
        }
        for text in
            ["u@mta1.example.com", "xmta1.example.com", "mta1.example.com.au", "192.0.2.10", "1192.0.2.1"]
        {
            assert!(!names_any(text, &own), "{text}");
        }
    }
}
