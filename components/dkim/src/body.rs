//! Hashes of the canonicalised body, made while it streams past.

use mail_auth::common::crypto::{HashContext, HashImpl, Sha256};
use mail_auth::dkim::canonicalize::BodyHasher;
use relevo_mailkit::model::Canonicalization;

type Hasher = BodyHasher<<Sha256 as HashImpl>::Context>;

/// The SHA-256 hashes of one body under each canonicalisation that was asked for: one pass,
/// whatever the number of signatures.
#[derive(Default)]
pub(crate) struct BodyHashes {
    relaxed: Option<Relaxed>,
    simple: Option<Hasher>,
}

impl BodyHashes {
    /// Asks for a hash; before the first octet is pushed.
    pub(crate) fn want(&mut self, canonicalization: Canonicalization) {
        match canonicalization {
            Canonicalization::Relaxed if self.relaxed.is_none() => self.relaxed = Some(Relaxed::new()),
            Canonicalization::Simple if self.simple.is_none() => {
                self.simple = Some(hasher(mail_auth::dkim::Canonicalization::Simple));
            }
            _ => {}
        }
    }

    /// The next octets of the body.
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        if chunk.is_empty() {
            return;
        }
        if let Some(relaxed) = &mut self.relaxed {
            relaxed.push(chunk);
        }
        if let Some(simple) = &mut self.simple {
            simple.write(chunk);
        }
    }

    /// The hashes.
    pub(crate) fn finish(self) -> Digests {
        Digests {
            relaxed: self.relaxed.map(|r| digest(r.hasher)).unwrap_or_default(),
            simple: self.simple.map(digest).unwrap_or_default(),
        }
    }
}

/// The finished hashes; one that was not asked for is empty.
pub(crate) struct Digests {
    relaxed: Vec<u8>,
    simple: Vec<u8>,
}

impl Digests {
    pub(crate) fn get(&self, canonicalization: Canonicalization) -> &[u8] {
        match canonicalization {
            Canonicalization::Relaxed => &self.relaxed,
            Canonicalization::Simple => &self.simple,
        }
    }
}

fn hasher(canonicalization: mail_auth::dkim::Canonicalization) -> Hasher {
    // 0 is "no limit": there is never an l= (RFC 6376 section 8.2).
    BodyHasher::new(Sha256::hasher(), canonicalization, 0)
}

fn digest(hasher: Hasher) -> Vec<u8> {
    hasher.finish().0.complete().as_ref().to_vec()
}

/// The relaxed hasher of mail-auth 0.13 keeps the line breaks before whitespace that ends up at the
/// end of the body, so `a CRLF SP CRLF` would hash as `a CRLF CRLF` (RFC 6376 section 3.4.4 wants
/// `a CRLF`). It never sees such a line from here: the whitespace that begins a line is held back
/// until an octet shows that the line is not empty. Under this canonicalisation any run of
/// whitespace is one space, so one flag holds any number of octets.
struct Relaxed {
    hasher: Hasher,
    /// The next octet begins a line, or continues the whitespace that begins one.
    line_start: bool,
    /// Whitespace was held back.
    held: bool,
}

impl Relaxed {
    fn new() -> Self {
        Self { hasher: hasher(mail_auth::dkim::Canonicalization::Relaxed), line_start: true, held: false }
    }

    fn push(&mut self, mut chunk: &[u8]) {
        while !chunk.is_empty() {
            if self.line_start {
                let blank = chunk.iter().take_while(|b| is_wsp(**b)).count();
                self.held |= blank > 0;
                chunk = &chunk[blank..];
                let Some(&first) = chunk.first() else { return };
                if self.held && first != b'\r' && first != b'\n' {
                    self.hasher.write(b" ");
                }
                self.held = false;
                self.line_start = false;
            }
            let line = next_blank_start(chunk);
            self.hasher.write(&chunk[..line]);
            self.line_start = chunk[..line].ends_with(b"\n");
            chunk = &chunk[line..];
        }
    }
}

/// The offset after the first LF that is followed by whitespace or by the end of the chunk; the end
/// when there is none.
fn next_blank_start(chunk: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', chunk)
        .map(|lf| lf + 1)
        .find(|next| chunk.get(*next).is_none_or(|b| is_wsp(*b)))
        .unwrap_or(chunk.len())
}

fn is_wsp(octet: u8) -> bool {
    octet == b' ' || octet == b'\t'
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    /// RFC 6376 section 3.4.4, written as slowly as it reads.
    fn relaxed(body: &str) -> String {
        let mut lines: Vec<String> = body
            .split("\r\n")
            .map(|line| {
                let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
                let indent = if line.starts_with([' ', '\t']) && !words.is_empty() { " " } else { "" };
                format!("{indent}{}", words.join(" "))
            })
            .collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines.iter().map(|line| format!("{line}\r\n")).collect()
    }

    /// RFC 6376 section 3.4.3.
    fn simple(body: &str) -> String {
        let mut body = body;
        while let Some(shorter) = body.strip_suffix("\r\n") {
            body = shorter;
        }
        format!("{body}\r\n")
    }

    fn sha256(text: &str) -> Vec<u8> {
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref().to_vec()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn hashes_what_the_rfc_says(
            pieces in prop::collection::vec(prop::sample::select(vec!["\r\n", " ", "\t", "a", "bcd", "\u{1}", "0123456789abcdefghi"]), 0..40),
            sizes in prop::collection::vec(1usize..20, 1..5),
        ) {
            let body = pieces.concat();
            let mut hashes = BodyHashes::default();
            hashes.want(Canonicalization::Relaxed);
            hashes.want(Canonicalization::Simple);
            let (mut rest, mut sizes) = (body.as_bytes(), sizes.iter().cycle());
            while !rest.is_empty() {
                let (chunk, tail) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                hashes.push(chunk);
                rest = tail;
            }
            let digests = hashes.finish();
            prop_assert_eq!(digests.get(Canonicalization::Relaxed), sha256(&relaxed(&body)));
            prop_assert_eq!(digests.get(Canonicalization::Simple), sha256(&simple(&body)));
        }
    }
}
