//! The messages that are sent: made from a seed and a serial number, so that both ends know them.

use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use relevo_bench::relay::{PLAIN, TRACKED};
use sha2::{Digest, Sha256};

/// How the receivers of this harness behave: see `tests/bench/sinks` for the format.
pub(crate) const RECEIVERS: &str = r#"
seed = 7
[[domain]]
name = "ok{n}.test"
count = 8
weight = 6
[[domain]]
name = "slow.test"
weight = 2
latency = { from = "50ms", to = "400ms" }
[[domain]]
name = "later{n}.test"
count = 2
weight = 2
provider = "small"
temporary = 60
[[domain]]
name = "never{n}.test"
count = 2
weight = 1
provider = "small"
permanent = 100
"#;

/// First line of every message.
const SERIAL: &str = "X-Serial: ";
const LINE: &str = "The clocks were striking thirteen, and nobody had been told why.";

/// A message as it is submitted.
pub(crate) struct Mail {
    pub(crate) serial: u64,
    /// Of its own, so that a bounce says what it is about.
    pub(crate) sender: String,
    pub(crate) recipients: Vec<String>,
    /// Header and body with CRLF, no dots stuffed.
    pub(crate) content: Vec<u8>,
    pub(crate) tracked: bool,
}

impl Mail {
    /// `domains` names the domain of the recipient with a number.
    pub(crate) fn new(seed: u64, serial: u64, domains: impl Fn(u64) -> String) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ serial.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let tracked = rng.random_ratio(1, 6);
        let sender = format!("s{serial}@{}", if tracked { TRACKED } else { PLAIN });
        let count = if rng.random_ratio(1, 3) { rng.random_range(2..=5) } else { 1 };
        let recipient = |n: u64| format!("r{serial}-{n}@{}", domains(rng.random()));
        let recipients: Vec<String> = (0..count).map(recipient).collect();
        let mut rng = StdRng::seed_from_u64(rng_seed(seed, serial));
        let octets = match rng.random_range(0..10) {
            0 => rng.random_range(66 << 10..160 << 10),
            1 | 2 => rng.random_range(8 << 10..60 << 10),
            _ => rng.random_range(200..8 << 10),
        };
        let content = content(serial, &sender, &recipients, octets, tracked, &mut rng).into_bytes();
        Self { serial, sender, recipients, content, tracked }
    }

    /// As it goes over the wire, with its final dot (RFC 5321 section 4.5.2).
    pub(crate) fn stuffed(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(self.content.len() + 64);
        for line in self.content.split_inclusive(|b| *b == b'\n') {
            if line.first() == Some(&b'.') {
                wire.push(b'.');
            }
            wire.extend_from_slice(line);
        }
        wire.extend_from_slice(b".\r\n");
        wire
    }
}

fn rng_seed(seed: u64, serial: u64) -> u64 {
    seed.rotate_left(17) ^ serial
}

fn content(
    serial: u64,
    sender: &str,
    recipients: &[String],
    octets: usize,
    tracked: bool,
    rng: &mut StdRng,
) -> String {
    let mut text = format!(
        "{SERIAL}{serial}\r\nFrom: Crash <{sender}>\r\nTo: {}\r\nSubject: number {serial}, {octets} octets\r\n\
         Date: Mon, 06 Apr 2026 09:00:00 +0000\r\nMessage-ID: <{serial}.crash@{PLAIN}>\r\nMIME-Version: 1.0\r\n",
        recipients.join(",\r\n ")
    );
    let kind = if tracked { "html" } else { "plain" };
    let _ = write!(text, "Content-Type: text/{kind}; charset=us-ascii\r\n\r\n");
    if tracked {
        text.push_str("<html><body>\r\n");
    }
    let begin = text.len();
    while text.len() - begin < octets {
        let n: u32 = rng.random();
        match n % 8 {
            0 if tracked => {
                let _ =
                    write!(text, "<p><a href=\"https://shop.example/{n}?c={serial}\">offer {n}</a></p>\r\n");
            }
            1 if !tracked => {
                let _ = write!(text, ".{n} begins with a dot\r\n");
            }
            2 if !tracked => text.push_str(".\r\n"),
            _ => {
                let _ = write!(text, "{n:08x} {LINE}\r\n");
            }
        }
    }
    if tracked {
        text.push_str("</body></html>\r\n");
    }
    let _ = write!(text, "{}\r\n", marker(serial));
    text
}

/// Ends the content of a message, and is in no other.
pub(crate) fn marker(serial: u64) -> String {
    format!("<!-- end of {serial} -->")
}

/// The serial number and the number of a recipient's address.
pub(crate) fn serial_of(address: &str) -> Option<u64> {
    let local = address.split_once('@')?.0;
    let number = local.strip_prefix('r').or_else(|| local.strip_prefix('s'))?;
    number.split('-').next()?.parse().ok()
}

pub(crate) type Sum = [u8; 32];

pub(crate) fn sum(octets: &[u8]) -> Sum {
    Sha256::digest(octets).into()
}

/// What must be the same at both ends: everything from the first submitted line on. A relay adds
/// fields above it. Where it was to track links and opens, URLs and images are left out, and so are
/// line ends, since a rewritten line may be folded.
pub(crate) fn essence(content: &[u8], tracked: bool) -> Option<Sum> {
    let start = find(content, SERIAL.as_bytes())?;
    let submitted = content.get(start..)?;
    if !tracked {
        return Some(sum(submitted));
    }
    let text = String::from_utf8_lossy(submitted).replace("\r\n", "");
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find("https://").into_iter().chain(rest.find("<img ")).min() {
        let (before, from) = rest.split_at(at);
        kept.push_str(before);
        let end = if from.starts_with('<') { from.find('>').map(|at| at + 1) } else { from.find('"') };
        rest = from.get(end?..)?;
    }
    kept.push_str(rest);
    Some(sum(kept.as_bytes()))
}

fn find(octets: &[u8], what: &[u8]) -> Option<usize> {
    octets.windows(what.len()).position(|window| window == what)
}

/// Takes the dots off again.
pub(crate) fn unstuffed(wire: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(wire.len());
    for line in wire.split_inclusive(|b| *b == b'\n') {
        content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(serial: u64) -> Mail {
        Mail::new(3, serial, |n| format!("ok{}.test", n % 8))
    }

    #[test]
    fn the_same_every_time_and_all_kinds_are_there() {
        let mails: Vec<Mail> = (0..200).map(mail).collect();
        assert_eq!(mails[7].content, mail(7).content);
        assert!(mails.iter().any(|m| m.content.len() > 64 << 10));
        assert!(mails.iter().any(|m| m.tracked) && mails.iter().any(|m| !m.tracked));
        assert!(mails.iter().any(|m| m.recipients.len() > 2));
        for mail in &mails {
            assert_eq!(mail.recipients.iter().filter_map(|r| serial_of(r)).max(), Some(mail.serial));
            assert_eq!(serial_of(&mail.sender), Some(mail.serial));
        }
    }

    #[test]
    fn stuffing_is_undone() {
        for serial in 0..50 {
            let mail = mail(serial);
            let wire = mail.stuffed();
            let wire = wire.strip_suffix(b".\r\n").expect("the final dot");
            assert_eq!(unstuffed(wire), mail.content);
        }
    }

    #[test]
    fn one_octet_changes_the_essence() {
        for serial in 0..20 {
            let mail = mail(serial);
            let received =
                [b"Received: from a\r\nDKIM-Signature: v=1\r\n".as_slice(), &mail.content].concat();
            let essence_of = |content: &[u8]| essence(content, mail.tracked);
            assert_eq!(essence_of(&received), essence_of(&mail.content));
            let mut altered = received.clone();
            let at = altered.len() - 20;
            altered[at] ^= 1;
            assert_ne!(essence_of(&altered), essence_of(&mail.content));
            assert_ne!(
                essence_of(&received[..received.len() - 2000.min(received.len() / 2)]),
                essence_of(&mail.content)
            );
        }
    }

    #[test]
    fn tracking_leaves_the_essence() {
        let plain = b"X-Serial: 1\r\n\r\n<a href=\"https://a.test/x\">go</a></body>\r\n";
        let tracked = b"Received: x\r\nX-Serial: 1\r\n\r\n<a href=\"https://t.test/c/abc\">go</a><img src=\"https://t.test/o/x\" alt=\"\"></body>\r\n";
        assert_eq!(essence(plain, true), essence(tracked, true));
        assert_ne!(essence(plain, true), essence(&tracked.map(|b| if b == b'g' { b'G' } else { b }), true));
    }
}
