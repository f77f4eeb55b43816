//! The checker of what components return, against definitions that are written differently.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use relevo_fuzz::{find, has_bare, octet, pieces, read_all, seeded_bug};
use relevo_mailkit::model::{Algorithm, Edit, Encoding, Segment, Span, SigningInput};
use relevo_mailkit::recheck::{self, LineEnds};
use relevo_mailkit::splice::{TrackingUrls, Splice};

/// The seeded bug: LF ends a header line too.
fn header_fields(block: &[u8]) -> Result<(), &'static str> {
    if !seeded_bug() {
        return recheck::header_fields(block);
    }
    let mut lenient = Vec::new();
    for (i, octet) in block.iter().enumerate() {
        if *octet == b'\n' && (i == 0 || block[i - 1] != b'\r') {
            lenient.push(b'\r');
        }
        lenient.push(*octet);
    }
    recheck::header_fields(&lenient)
}

/// A block of header fields, read octet by octet.
fn is_header_block(block: &[u8]) -> bool {
    #[derive(PartialEq)]
    enum At {
        Start,
        Name,
        Value,
        /// In a folded line that has had only white space.
        Blank,
        Cr,
    }
    let (mut at, mut length, mut fields) = (At::Start, 0, 0);
    for &octet in block {
        length += 1;
        at = match (at, octet) {
            (At::Start, b' ' | b'\t') if fields > 0 => At::Blank,
            (At::Start, 33..=57 | 59..=126) => At::Name,
            (At::Name, 33..=57 | 59..=126) => At::Name,
            (At::Name, b':') => {
                fields += 1;
                At::Value
            }
            (At::Blank, b' ' | b'\t') => At::Blank,
            (At::Value, b'\r') => At::Cr,
            (At::Value | At::Blank, b'\t' | 32..=126 | 128..) => At::Value,
            (At::Cr, b'\n') => At::Start,
            _ => return false,
        };
        if at == At::Start {
            length = 0;
        }
        if length > 998 && at != At::Cr {
            return false;
        }
    }
    at == At::Start
}

fn block(octets: &[u8]) {
    let verdict = header_fields(octets);
    assert_eq!(verdict.is_ok(), is_header_block(octets), "{verdict:?}");
    if verdict.is_ok() {
        // On top of a message it adds its own lines to the header and nothing else.
        let message = [octets, b"Subject: x\r\n\r\n.\r\nbody\r\n"].concat();
        assert!(!has_bare(&message));
        let end = find(&message, b"\r\n\r\n").expect("the empty line");
        assert_eq!(end, octets.len() + "Subject: x".len(), "the header ends elsewhere");
    }
}

fn lines(seed: u8, octets: &[u8]) {
    let fits = !has_bare(octets) && !octets.contains(&0);
    for chunks in [vec![octets], pieces(octets, 0), pieces(octets, seed)] {
        let mut lines = LineEnds::default();
        let verdict = chunks.iter().try_for_each(|chunk| lines.push(chunk)).and_then(|()| lines.finish());
        assert_eq!(verdict.is_ok(), fits, "{verdict:?}");
        if fits {
            assert_eq!(lines.ends_with_line(), octets.is_empty() || octets.ends_with(b"\r\n"));
        }
    }
}

struct Urls;

impl TrackingUrls for Urls {
    fn click(&self, link: u32) -> String {
        format!("https://t.example/c/{link}")
    }

    fn open(&self) -> String {
        "https://t.example/o/0".to_owned()
    }

    fn unsubscribe(&self) -> String {
        "https://t.example/u/0".to_owned()
    }
}

const LINKS: usize = 3;

fn span(input: &mut &[u8]) -> Span {
    let (offset, length) = (octet(input), octet(input));
    let large = |n: u8| if n > 250 { u64::MAX - u64::from(255 - n) } else { u64::from(n) };
    Span { offset: large(offset), length: large(length) }
}

fn an_edit(input: &mut &[u8]) -> Edit {
    let flags = octet(input);
    let at = span(input);
    let encoding = [Encoding::Identity, Encoding::QuotedPrintable, Encoding::Base64][usize::from(flags) % 3];
    let mut segments = Vec::new();
    for _ in 0..flags >> 6 {
        let kind = octet(input);
        segments.push(match kind % 5 {
            0 => {
                let length = usize::from(kind >> 4).min(input.len());
                let (literal, rest) = input.split_at(length);
                *input = rest;
                Segment::Literal(literal.to_vec())
            }
            1 => Segment::Source(span(input)),
            2 => Segment::Click(u32::from(kind >> 4 & 3)),
            3 => Segment::Open,
            _ => Segment::Unsubscribe,
        });
    }
    Edit { at, encoding, segments, part: None }
}

fn edits_fit(edits: &[Edit], size: u64) -> bool {
    let within = |span: Span| span.offset.checked_add(span.length).is_some_and(|end| end <= size);
    let segment_fits = |edit: &Edit, segment: &Segment| match segment {
        Segment::Literal(l) => edit.encoding != Encoding::Identity || !(has_bare(l) || l.contains(&0)),
        Segment::Source(span) => within(*span),
        Segment::Click(link) => (*link as usize) < LINKS,
        Segment::Open | Segment::Unsubscribe => true,
    };
    edits.iter().all(|e| within(e.at) && e.segments.iter().all(|p| segment_fits(e, p)))
        && edits.windows(2).all(|w| w[0].at.offset < w[1].at.offset && w[0].at.end() <= w[1].at.offset)
}

fn replacement(edit: &Edit, message: &[u8]) -> Vec<u8> {
    let segment = |segment: &Segment| match segment {
        Segment::Literal(literal) => literal.clone(),
        Segment::Source(span) => {
            let offset = usize::try_from(span.offset).expect("in range");
            message[offset..][..usize::try_from(span.length).expect("in range")].to_vec()
        }
        Segment::Click(link) => Urls.click(*link).into_bytes(),
        Segment::Open => Urls.open().into_bytes(),
        Segment::Unsubscribe => Urls.unsubscribe().into_bytes(),
    };
    edit.segments.iter().flat_map(segment).collect()
}

fn edits(input: &[u8]) {
    let mut rest = input;
    let count = octet(&mut rest) % 5;
    let edits: Vec<Edit> = (0..count).map(|_| an_edit(&mut rest)).collect();
    let message = rest;
    let verdict = recheck::edits(&edits, message.len() as u64, LINKS);
    assert_eq!(verdict.is_ok(), edits_fit(&edits, message.len() as u64), "{verdict:?}: {edits:?}");
    if verdict.is_err() {
        return;
    }
    let splice = Splice::new(Vec::new(), Arc::new(message.to_vec()), edits.clone(), &Urls)
        .expect("edits that pass can be applied");
    let out = read_all(&splice, 4096).expect("reading from memory");
    assert_eq!(read_all(&splice, 1).expect("reading from memory"), out, "read octet by octet");
    if edits.iter().all(|e| e.encoding == Encoding::Identity) {
        let (mut expected, mut at) = (Vec::new(), 0);
        for edit in &edits {
            let offset = usize::try_from(edit.at.offset).expect("in range");
            expected.extend_from_slice(&message[at..offset]);
            expected.extend(replacement(edit, message));
            at = usize::try_from(edit.at.end()).expect("in range");
        }
        expected.extend_from_slice(&message[at..]);
        assert_eq!(out, expected);
    } else if !has_bare(message)
        && !message.contains(&0)
        && edits.iter().all(|e| e.encoding == Encoding::Base64)
    {
        // What is encoded brings no line ends of its own but CRLF.
        let stray = |e: &Edit| {
            let at = usize::try_from(e.at.offset).expect("in range");
            let end = usize::try_from(e.at.end()).expect("in range");
            let within = |n: usize| n > 0 && message[..n].ends_with(b"\r") && message[n..].starts_with(b"\n");
            within(at) || within(end)
        };
        if !edits.iter().any(stray) {
            assert!(!has_bare(&out) && !out.contains(&0));
        }
    }
}

const DOMAIN: &str = "example.com";
const SELECTOR: &str = "s";
const FROM: &[u8] = b"From: a@example.com";

/// What may be signed is what was granted, whatever else it is. `input` is the field, a NUL, and
/// what is to be signed.
fn signing(input: &[u8]) {
    let at = input.iter().position(|b| *b == 0).unwrap_or(input.len());
    let (field, to_sign) = (input[..at].to_vec(), input.get(at + 1..).unwrap_or_default().to_vec());
    let unsigned = SigningInput { to_sign, field };
    let alone = recheck::to_sign(&unsigned.to_sign, DOMAIN, SELECTOR, Algorithm::Ed25519Sha256);
    let whole = recheck::signing_input(&unsigned, DOMAIN, SELECTOR, Algorithm::Ed25519Sha256, FROM);
    assert!(alone.is_ok() || whole.is_err(), "a signer without the message is not stricter: {alone:?}");
    if alone.is_err() {
        return;
    }
    let is_from = whole.is_ok();
    let text = String::from_utf8_lossy(&unsigned.to_sign).into_owned();
    assert!(!has_bare(&unsigned.to_sign) && !unsigned.to_sign.contains(&0));
    assert!(!is_from || header_fields(&[&unsigned.field[..], b"\r\n"].concat()).is_ok());
    let unfolded = text.replace("\r\n ", " ").replace("\r\n\t", " ");
    let fields: Vec<(String, &str)> = unfolded
        .split("\r\n")
        .map(|f| f.split_once(':').expect("a field has a colon"))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value))
        .collect();
    let named = |wanted: &str| fields.iter().filter(|(name, _)| name == wanted).collect::<Vec<_>>();
    assert_eq!(named("from").len(), 1, "not one From");
    assert!(!is_from || named("from")[0].1.trim() == "a@example.com");
    assert_eq!(named("dkim-signature").len(), 1, "not one DKIM-Signature");
    let (last, signature) = fields.last().expect("there is a field");
    assert_eq!(last, "dkim-signature");
    let tags: Vec<(&str, &str)> = signature
        .split(';')
        .map(|t| t.split_once('=').expect("a tag"))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let only = |wanted: &str, value: &str| {
        let found: Vec<_> = tags.iter().filter(|(name, _)| *name == wanted).map(|(_, v)| *v).collect();
        assert_eq!(found, [value], "{wanted}=");
    };
    only("d", DOMAIN);
    only("s", SELECTOR);
    only("a", "ed25519-sha256");
    only("b", "");
    assert!(!tags.iter().any(|(name, _)| *name == "l"), "l= would leave the end of the body unsigned");
    assert!(tags.iter().filter(|(name, _)| *name == "i").all(|(_, v)| *v == "@example.com"));
}

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let mode = octet(&mut rest);
    match mode % 4 {
        0 => block(rest),
        1 => lines(mode / 4, rest),
        2 => edits(rest),
        _ => signing(rest),
    }
});
