//! Messages as applications send them: a text and an HTML part with links, and one with a large
//! attachment.

use std::fmt::Write as _;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::sink::Behaviour;

const LINE: &str = "It was a bright cold day in April and the clocks were striking thirteen.";
/// Of a language, and different texts of them.
const WORDS: usize = 4000;
const TEXTS: usize = 2048;
/// Links of the HTML part.
const LINKS: usize = 8;

/// A message of about `size` octets whose numbered places are filled in for every copy.
pub struct Message {
    sender: String,
    /// What follows the header fields, in turn.
    rests: Vec<String>,
}

impl Message {
    /// A `multipart/alternative` from an address of `domain`, `size` octets within a line or two.
    pub fn new(domain: &str, size: usize) -> Self {
        let sender = format!("news@{domain}");
        let fixed = head(&sender, 0, "").len() + alternative(0).len();
        let rest = alternative(size.saturating_sub(fixed) / (LINE.len() + 2));
        Self { sender, rests: vec![rest] }
    }

    /// The same with words at random, as mail of many people: it shrinks as text does, and one message
    /// says nothing of another.
    pub fn of_words(domain: &str, size: usize) -> Self {
        let sender = format!("news@{domain}");
        let fixed = head(&sender, 0, "").len() + alternative(0).len();
        let lines = size.saturating_sub(fixed) / (LINE.len() + 2);
        let mut rng = StdRng::seed_from_u64(1);
        let words = words(&mut rng);
        let rests = (0..TEXTS).map(|_| filled(lines, || line(&words, &mut rng))).collect();
        Self { sender, rests }
    }

    /// For MAIL.
    pub fn sender(&self) -> &str {
        &self.sender
    }

    /// Appends the content with its final dot; `to` is for the header. No line of it begins with a
    /// dot.
    pub fn compose(&self, serial: u64, to: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(head(&self.sender, serial, to).as_bytes());
        let turn = usize::try_from(serial).unwrap_or(0) % self.rests.len();
        if let Some(rest) = self.rests.get(turn) {
            out.extend_from_slice(rest.as_bytes());
        }
        out.extend_from_slice(b".\r\n");
    }
}

/// A message with an attachment of `octets` (before base64) beside an HTML part with links, in
/// pieces.
pub struct Attachment {
    message: Message,
    lines: usize,
}

/// Octets of the attachment in a line of base64.
const PER_LINE: usize = 57;
const BASE64: &str = "TG9yZW0gaXBzdW0gZG9sb3Igc2l0IGFtZXQsIGNvbnNlY3RldHVyIGFkaXBpc2NpbmcgZWxpdCwg\r\n";

impl Attachment {
    /// From an address of `domain`.
    pub fn new(domain: &str, octets: usize) -> Self {
        Self { message: Message::new(domain, 4096), lines: octets / PER_LINE }
    }

    /// For MAIL.
    pub fn sender(&self) -> &str {
        self.message.sender()
    }

    /// The content, without the final dot.
    pub fn pieces(&self, serial: u64, to: &str) -> impl Iterator<Item = String> {
        let head = head(&self.message.sender, serial, to);
        // The alternative becomes the first part of a mixed message.
        let rest = self.message.rests.first().map_or("", String::as_str);
        let inner = rest.trim_start_matches("MIME-Version: 1.0\r\n");
        let first = format!(
            "{head}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_m\"\r\n\r\n--=_m\r\n{inner}\
             --=_m\r\nContent-Type: application/octet-stream; name=\"report.bin\"\r\n\
             Content-Disposition: attachment; filename=\"report.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        );
        const AT_ONCE: usize = 800;
        let (whole, left) = (self.lines / AT_ONCE, self.lines % AT_ONCE);
        let body = std::iter::repeat_with(|| BASE64.repeat(AT_ONCE)).take(whole);
        std::iter::once(first).chain(body).chain([BASE64.repeat(left), "--=_m--\r\n".to_owned()])
    }
}

/// A text and an HTML part with links and this many lines of filling; a quarter of them text, as in
/// most newsletters.
fn alternative(lines: usize) -> String {
    filled(lines, || LINE.to_owned())
}

fn filled(lines: usize, mut line: impl FnMut() -> String) -> String {
    let mut html = String::from("<!DOCTYPE html><html><body>\r\n");
    let mut text = String::new();
    for link in 0..LINKS {
        let url = format!("https://shop.example/offer/{link}?c=spring");
        let _ = write!(text, "Offer {link}: {url}\r\n");
        let _ = write!(html, "<p><a href=\"{url}\">Offer {link}</a></p>\r\n");
    }
    (0..lines / 4).for_each(|_| text.push_str(&(line() + "\r\n")));
    html.push_str("<p>\r\n");
    (lines / 4..lines).for_each(|_| html.push_str(&(line() + "\r\n")));
    html.push_str("</p></body></html>\r\n");
    format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=\"=_a\"\r\n\r\n\
         --=_a\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n\
         --=_a\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{html}\r\n--=_a--\r\n"
    )
}

/// Words of three to ten letters.
pub(crate) fn words(rng: &mut StdRng) -> Vec<String> {
    let mut word = || -> String {
        let letters = rng.random_range(3..=10);
        (0..letters).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect()
    };
    std::iter::repeat_with(&mut word).take(WORDS).collect()
}

/// A line of them, about as long as the one that is always the same.
pub(crate) fn line(words: &[String], rng: &mut StdRng) -> String {
    let mut line = String::new();
    while line.len() + 8 < LINE.len() {
        let word = words.get(rng.random_range(0..words.len())).map_or("", String::as_str);
        let _ = write!(line, "{word} ");
    }
    line.truncate(line.trim_end().len());
    line
}

/// Recipients: a letter that tells whose they are, a number, and one of the sink's domains.
#[derive(Debug, Clone)]
pub struct Addresses {
    tag: char,
    domains: Domains,
}

#[derive(Debug, Clone)]
enum Domains {
    Weighted(Arc<Behaviour>),
    One(Arc<str>),
}

impl Addresses {
    /// At the domains of a sink, by their weight.
    pub fn weighted(tag: char, behaviour: Arc<Behaviour>) -> Self {
        Self { tag, domains: Domains::Weighted(behaviour) }
    }

    /// All at one domain.
    pub fn at(tag: char, domain: &str) -> Self {
        Self { tag, domains: Domains::One(domain.into()) }
    }

    /// The one with this number.
    pub fn recipient(&self, serial: u64) -> String {
        let domain = match &self.domains {
            Domains::Weighted(behaviour) => behaviour.domain_of(serial),
            Domains::One(domain) => domain,
        };
        format!("{}{serial}@{domain}", self.tag)
    }
}

/// The number in a recipient's address; none in an address with another tag, or that was not made
/// here.
pub fn serial(tag: char, address: &str) -> Option<u64> {
    address.strip_prefix(tag)?.split_once('@')?.0.parse().ok()
}

fn head(sender: &str, serial: u64, to: &str) -> String {
    let domain = sender.rsplit_once('@').map_or(sender, |s| s.1);
    format!(
        "From: News <{sender}>\r\nTo: <{to}>\r\nSubject: Spring offers, number {serial}\r\n\
         Date: Mon, 06 Apr 2026 09:00:00 +0000\r\nMessage-ID: <{serial}@{domain}>\r\n",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_of_the_size_that_was_asked_for() {
        for size in [4 << 10, 100 << 10] {
            let mut out = Vec::new();
            Message::new("a.test", size).compose(7, "r7@b.test", &mut out);
            assert!(out.len().abs_diff(size) < 200, "{} for {size}", out.len());
        }
        let (words, mut texts) = (Message::of_words("a.test", 4 << 10), [Vec::new(), Vec::new()]);
        for (serial, text) in (0..).zip(&mut texts) {
            words.compose(serial, "r@b.test", text);
            assert!(text.len().abs_diff(4 << 10) < 400, "{}", text.len());
        }
        assert_ne!(texts[0][600..], texts[1][600..]);
    }

    #[test]
    fn reads_the_serial_number() {
        let addresses = Addresses::at('r', "a.test");
        assert_eq!(serial('r', &addresses.recipient(42)), Some(42));
        assert_eq!(serial('q', &addresses.recipient(42)), None);
        assert_eq!(serial('p', "postmaster@a.test"), None);
    }

    #[test]
    fn no_line_begins_with_a_dot_but_the_last() {
        let mut out = Vec::new();
        Message::new("a.test", 8192).compose(7, "r7@b.test", &mut out);
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text.split("\r\n").filter(|l| l.starts_with('.')).count(), 1);
        assert!(text.ends_with("\r\n.\r\n"));
        assert!(text.split("\r\n").all(|l| l.len() < 998));
    }

    #[test]
    fn the_attachment_has_its_octets() {
        assert_eq!(BASE64.trim_end().len(), PER_LINE.div_ceil(3) * 4);
        let length: usize =
            Attachment::new("a.test", 5_000_000).pieces(1, "r1@b.test").map(|p| p.len()).sum();
        let encoded = 5_000_000 / PER_LINE * BASE64.len();
        assert!(length > encoded && length < encoded + 6000, "{length}");
    }
}
