//! What is known of a reply before any rule is asked.

use std::borrow::Cow;

use relevo_mailkit::classification::ReceiverReply;
use relevo_mailkit::reply::EnhancedCode;

use crate::tokens::{names_any, read};

/// Octets of a text that count.
pub(crate) const MAX_TEXT: usize = 4096;
/// How far into a text a reply code may stand.
const CODE_WITHIN: usize = 200;

/// A reply, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) code: Option<u16>,
    pub(crate) status: Option<EnhancedCode>,
    /// In capitals.
    pub(crate) command: Option<&'static str>,
    /// Lower case, without a final dot.
    pub(crate) host: Option<String>,
    /// See [`crate::words`]; with a space before and after each.
    pub(crate) words: String,
    /// The text names an address or a host of ours, or an IP address that can only be ours.
    pub(crate) names_us: bool,
    /// The text names an IP address.
    pub(crate) names_ip: bool,
}

/// The words for commands, as a mail server repeats them and as the host names them.
const COMMANDS: [(&str, &str); 12] = [
    ("end of data", "DOT"),
    ("message body", "DOT"),
    ("rcpt", "RCPT"),
    ("mail", "MAIL"),
    ("ehlo", "EHLO"),
    ("helo", "EHLO"),
    ("lhlo", "EHLO"),
    ("starttls", "STARTTLS"),
    ("auth", "AUTH"),
    ("data", "DATA"),
    ("dot", "DOT"),
    ("connect", "CONNECT"),
];

impl Facts {
    /// Takes a reply apart. What the caller did not tell is looked for in the text.
    pub(crate) fn new(reply: &ReceiverReply) -> Self {
        let text = quoted_printable(bounded(&reply.text));
        let names_own = names_any(&text, &reply.own);
        let (said_by, text) = without_prefixes(&text);
        let (text, said_to) = without_command(text);
        let code = reply.code.or_else(|| find_code(&text));
        let status = reply.status.as_deref().and_then(|status| status.trim().parse().ok());
        let status = status.or_else(|| find_status(&text, code));
        let command = reply.command.as_deref().and_then(known_command).or(said_to);
        let host = reply.host.as_deref().or(said_by).map(|host| {
            let host = bounded(host).trim().trim_end_matches('.');
            host.to_ascii_lowercase()
        });
        let tokens = read(&text, code, status);
        Self {
            code,
            status,
            command,
            host: host.filter(|host| !host.is_empty()),
            names_us: names_own || tokens.names_ip,
            names_ip: tokens.names_ip,
            words: tokens.words,
        }
    }
}

/// The first octets of a text, up to a whole character.
fn bounded(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Decodes what was left in quoted-printable (RFC 2045 section 6.7): letters beyond ASCII and
/// spaces. Other `=XX` may be part of a URL and stay.
fn quoted_printable(text: &str) -> Cow<'_, str> {
    if !text.contains('=') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let octet = bytes.get(at + 1..at + 3).filter(|_| byte == b'=').and_then(hex_octet);
        match octet {
            Some(octet) if octet >= 0x80 || octet == b' ' => {
                out.push(octet);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    match String::from_utf8(out) {
        Ok(decoded) => Cow::Owned(decoded),
        Err(_) => Cow::Borrowed(text),
    }
}

fn hex_octet(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok()?;
    let is_upper = digits.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
    u8::from_str_radix(digits, 16).ok().filter(|_| is_upper)
}

/// Leaves out the type of a Diagnostic-Code (RFC 3464 section 2.3.6), and the host that a mail
/// server says it quotes.
fn without_prefixes(text: &str) -> (Option<&str>, &str) {
    let mut text = text.trim().trim_matches('"').trim();
    if let Some((kind, rest)) = text.split_once(';')
        && !kind.is_empty()
        && kind.len() <= 40
        && kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    {
        text = rest.trim();
    }
    for marker in [" refused to talk to me:", " said:"] {
        if let Some(at) = text.find(marker)
            && at <= CODE_WITHIN
            && !text[at + marker.len()..].trim().is_empty()
        {
            let (before, rest) = (&text[..at], &text[at + marker.len()..]);
            let host =
                before.rsplit([' ', '(']).next().map(|host| host.split(['[', '(']).next().unwrap_or(host));
            return (host.filter(|host| host.contains('.') && !host.contains('@')), rest.trim());
        }
    }
    (None, text)
}

/// Leaves out `(in reply to RCPT TO command)`, and says which command it was.
fn without_command(text: &str) -> (Cow<'_, str>, Option<&'static str>) {
    let Some(at) = text.find("(in reply to ") else { return (Cow::Borrowed(text), None) };
    let rest = &text[at + "(in reply to ".len()..];
    let (said, after) = rest.split_once(')').unwrap_or((rest, ""));
    (Cow::Owned(format!("{} {after}", &text[..at])), known_command(said))
}

fn known_command(said: &str) -> Option<&'static str> {
    let said = said.trim().to_ascii_lowercase();
    COMMANDS.iter().find(|(words, _)| said.starts_with(words)).map(|(_, command)| *command)
}

/// The reply code: the first word, or a later one that stands before a status or a line of a reply.
fn find_code(text: &str) -> Option<u16> {
    let mut previous = "";
    for (index, token) in text.split_whitespace().enumerate() {
        let from = token.as_ptr().addr() - text.as_ptr().addr();
        if from > CODE_WITHIN {
            return None;
        }
        let digits = token.trim_start_matches(['(', '[', '"', '\'', '<', '#']);
        let (number, rest) = digits.split_at_checked(3).unwrap_or((digits, ""));
        let code = number.parse().ok().filter(|code| (400..600).contains(code) && number.len() == 3);
        let goes_on = text[from + token.len()..].trim_start();
        let is_reply = index == 0
            || rest.starts_with('-')
            || previous.ends_with(':')
            || previous == "-"
            || EnhancedCode::leading(goes_on).is_some();
        let ends = rest.is_empty() || !rest.starts_with(|c: char| c.is_alphanumeric() || c == '.');
        if let Some(code) = code
            && is_reply
            && ends
        {
            return Some(code);
        }
        previous = token;
    }
    None
}

/// The status: right after the code, or else the first one in the text.
fn find_status(text: &str, code: Option<u16>) -> Option<EnhancedCode> {
    let is_mark = |c: char| c.is_whitespace() || "()[]<>#:;,\"'/".contains(c);
    let mut first = None;
    for piece in text.split(is_mark).filter(|piece| !piece.is_empty()) {
        let piece = match (code, piece.split_at_checked(4)) {
            (Some(code), Some((head, tail))) if head == format!("{code}-") => tail,
            _ => piece,
        };
        // A range, as in documentation: `5.7.606-649`.
        let piece = piece.split_once('-').map_or(piece, |(from, _)| from).trim_end_matches('.');
        if let Some(status) = piece.parse::<EnhancedCode>().ok().filter(|status| status.class >= 4) {
            if code.is_none_or(|code| status.fits(code)) {
                return Some(status);
            }
            first = first.or(Some(status));
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(text: &str) -> Facts {
        Facts::new(&ReceiverReply { text: text.to_owned(), ..ReceiverReply::default() })
    }

    fn head(text: &str) -> (Option<u16>, Option<String>, Option<&'static str>) {
        let facts = facts(text);
        (facts.code, facts.status.map(|status| status.to_string()), facts.command)
    }

    #[test]
    fn code_status_and_command_are_found() {
        let some = |code, status: &str, command| (Some(code), Some(status.to_owned()), command);
        assert_eq!(head("550 5.1.1 no"), some(550, "5.1.1", None));
        assert_eq!(head("smtp;550-5.1.1 no such 550 5.1.1 user"), some(550, "5.1.1", None));
        assert_eq!(head("SMTP; 550 #5.1.0 Address rejected."), some(550, "5.1.0", None));
        assert_eq!(
            head("host mx.a.example[192.0.2.1] said: 452 4.2.2 full (in reply to RCPT TO command)"),
            some(452, "4.2.2", Some("RCPT"))
        );
        assert_eq!(head("smtp; 5.3.0 - Other problem 550-'Unknown'"), some(550, "5.3.0", None));
        assert_eq!(head("more than 450 recipients"), (None, None, None));
        assert_eq!(head("5.7.606-649 Access denied").1.as_deref(), Some("5.7.606"));
        assert_eq!(head("552 x (in reply to end of DATA command)"), (Some(552), None, Some("DOT")));
        assert_eq!(head(""), (None, None, None));
    }

    #[test]
    fn the_host_that_is_quoted_is_the_host() {
        let found = facts("host MX.a.example[192.0.2.1] said: 550 no");
        assert_eq!((found.host.as_deref(), found.names_us), (Some("mx.a.example"), false));
        let found = facts("delivery suspended: host b.example[192.0.2.1] refused to talk to me: 421 busy");
        assert_eq!((found.host.as_deref(), found.code), (Some("b.example"), Some(421)));
    }

    #[test]
    fn what_the_caller_tells_counts() {
        let reply = ReceiverReply {
            code: Some(450),
            status: Some("4.2.0".to_owned()),
            command: Some("RCPT".to_owned()),
            host: Some("MX.Example.".to_owned()),
            text: "550 5.1.1 listed: mta.example.com".to_owned(),
            own: vec!["mta.example.com".to_owned()],
        };
        let facts = Facts::new(&reply);
        assert_eq!((facts.code, facts.command), (Some(450), Some("RCPT")));
        assert_eq!((facts.host.as_deref(), facts.names_us), (Some("mx.example"), true));
    }

    #[test]
    fn leftovers_of_quoted_printable_are_decoded() {
        assert_eq!(facts("Bo=C3=AEte=20pleine").words, " boite pleine ");
        assert_eq!(facts("see http://a.example/?ip=22&=E9").words, " see http a example ip 22 e9 ");
        assert_eq!(facts("over quo=").words, " over quo ");
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let long = "é".repeat(MAX_TEXT);
        assert_eq!(facts(&format!("x{long}")).words.trim().len(), 2048);
    }
}
