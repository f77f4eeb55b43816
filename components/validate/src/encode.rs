//! Raw UTF-8 in the header of a part, encoded where neither SMTPUTF8 nor an encoding declares it
//! (RFC 2047, RFC 2231).

use std::fmt::Write as _;

use relevo_mailkit::model::Span;
use relevo_mailkit::transfer::encode_base64;

use crate::header::{Block, Field, Name};
use crate::lexer::is_token;

/// Octets of UTF-8 in an encoded word: 75 characters at most, in base64 (RFC 2047 section 2).
const WORD: usize = 42;
/// Characters of a piece of a parameter: a line has 78 (RFC 2231 section 3).
const PIECE: usize = 60;

/// The octets to replace and what stands there instead, for each place in `field` that is not
/// ASCII. None: it is a field in which there is no room for encoded text.
pub(crate) fn field(block: &Block<'_>, field: &Field) -> Option<Vec<(Span, Vec<u8>)>> {
    let (value, offset) = (block.value(field), block.value_offset(field));
    match field.name {
        Name::ContentType | Name::ContentDisposition => parameters(value, offset),
        Name::ContentDescription | Name::Other => Some(vec![unstructured(value, offset)?]),
        _ => None,
    }
}

/// Whole text as encoded words, split between characters.
fn unstructured(value: &[u8], offset: u64) -> Option<(Span, Vec<u8>)> {
    let start = value.iter().position(|b| !b.is_ascii_whitespace())?;
    let text = unfolded(value[start..].trim_ascii_end())?;
    let words: Vec<String> = pieces(&text, WORD)
        .map(|piece| {
            let base64 = encode_base64(piece.as_bytes());
            format!("=?utf-8?B?{}?=", String::from_utf8_lossy(base64.trim_ascii_end()))
        })
        .collect();
    let length = value[start..].trim_ascii_end().len();
    Some((at(offset, start, length), words.join("\r\n ").into_bytes()))
}

/// Every parameter whose value is not ASCII (RFC 2231 section 4). One that also stands there in its
/// encoded form keeps only what is ASCII of it, for readers that know no other.
fn parameters(value: &[u8], offset: u64) -> Option<Vec<(Span, Vec<u8>)>> {
    let segments = segments(value);
    let encoded: Vec<Vec<u8>> =
        segments.iter().filter_map(|s| Some(name(&value[s.0..s.1])?.to_vec())).collect();
    let mut replaced = Vec::new();
    for (index, &(start, end)) in segments.iter().enumerate() {
        let segment = &value[start..end];
        if segment.is_ascii() {
            continue;
        }
        if index == 0 {
            return None;
        }
        let name = name(segment)?;
        let text = parameter_value(&segment[segment.iter().position(|b| *b == b'=')? + 1..])?;
        let plain = name.iter().all(|b| is_token(*b) && *b != b'*');
        let twin = encoded.iter().any(|other| {
            other.len() > name.len()
                && other[..name.len()].eq_ignore_ascii_case(name)
                && other[name.len()] == b'*'
        });
        let written = match (plain, twin) {
            (false, _) => return None,
            (true, true) => fallback(name, &text),
            (true, false) => extended(name, &text),
        };
        let blank = segment.len() - segment.trim_ascii_start().len();
        replaced.push((at(offset, start + blank, segment.trim_ascii().len()), written));
    }
    Some(replaced)
}

/// Start and end of what stands between semicolons outside of quotes.
fn segments(value: &[u8]) -> Vec<(usize, usize)> {
    let (mut found, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (i, &byte) in value.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b';' if !quoted => {
                found.push((start, i));
                start = i + 1;
            }
            _ => {}
        }
    }
    found.push((start, value.len()));
    found
}

fn name(segment: &[u8]) -> Option<&[u8]> {
    let equals = segment.iter().position(|b| *b == b'=')?;
    Some(segment[..equals].trim_ascii()).filter(|name| !name.is_empty())
}

fn parameter_value(raw: &[u8]) -> Option<String> {
    let raw = raw.trim_ascii();
    if raw.first() == Some(&b'"') {
        let text = crate::lexer::unquote(raw);
        return String::from_utf8(text).ok().filter(|_| raw.len() > 1 && raw.last() == Some(&b'"'));
    }
    unfolded(raw)
}

fn unfolded(raw: &[u8]) -> Option<String> {
    String::from_utf8(crate::header::unfold(raw)).ok()
}

/// `name*=utf-8''text`, in pieces where it is long.
fn extended(name: &[u8], text: &str) -> Vec<u8> {
    let name = String::from_utf8_lossy(name);
    let mut units: Vec<String> = Vec::new();
    for c in text.chars() {
        let mut unit = String::new();
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            match byte {
                b'.' | b'-' | b'_' => unit.push(char::from(byte)),
                _ if byte.is_ascii_alphanumeric() => unit.push(char::from(byte)),
                _ => {
                    let _ = write!(unit, "%{byte:02X}");
                }
            }
        }
        match units.last_mut() {
            Some(last) if last.len() + unit.len() <= PIECE => last.push_str(&unit),
            _ => units.push(unit),
        }
    }
    if let [only] = &units[..] {
        return format!("{name}*=utf-8''{only}").into_bytes();
    }
    let pieces = units.iter().enumerate().map(|(i, unit)| {
        let charset = if i == 0 { "utf-8''" } else { "" };
        format!("{name}*{i}*={charset}{unit}")
    });
    pieces.collect::<Vec<_>>().join(";\r\n ").into_bytes()
}

fn fallback(name: &[u8], text: &str) -> Vec<u8> {
    let text: String =
        text.chars().map(|c| if matches!(c, ' '..='~') && c != '"' && c != '\\' { c } else { '_' }).collect();
    format!("{}=\"{text}\"", String::from_utf8_lossy(name)).into_bytes()
}

/// Pieces of at most `most` octets, cut between characters.
fn pieces(mut text: &str, most: usize) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (piece, rest) = text.split_at(text.floor_char_boundary(most));
        text = rest;
        Some(piece).filter(|piece| !piece.is_empty())
    })
}

fn at(offset: u64, start: usize, length: usize) -> Span {
    Span { offset: offset + start as u64, length: length as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(line: &str) -> Option<String> {
        let bytes = format!("{line}\r\n");
        let block = Block::read(bytes.as_bytes(), 0, false).expect("a field");
        let mut out = bytes.clone().into_bytes();
        for (span, text) in field(&block, &block.fields[0])?.into_iter().rev() {
            let start = usize::try_from(span.offset).expect("small");
            out.splice(start..start + usize::try_from(span.length).expect("small"), text);
        }
        Some(String::from_utf8(out).expect("ASCII").trim_end().to_owned())
    }

    #[test]
    fn file_names_become_extended_parameters() {
        for (line, expected) in [
            (
                "Content-Disposition: attachment; filename=\"büro.bin\"; size=3",
                "Content-Disposition: attachment; filename*=utf-8''b%C3%BCro.bin; size=3",
            ),
            (
                "Content-Disposition: attachment; filename=büro",
                "Content-Disposition: attachment; filename*=utf-8''b%C3%BCro",
            ),
            (
                "Content-Type: text/plain; name=\"a \\\"ü\\\";b\"",
                "Content-Type: text/plain; name*=utf-8''a%20%22%C3%BC%22%3Bb",
            ),
            (
                "Content-Disposition: form-data; name=\"ü\"; filename=\"ü.txt\"; filename*=UTF-8''%C3%BC.txt",
                "Content-Disposition: form-data; name*=utf-8''%C3%BC; filename=\"_.txt\"; filename*=UTF-8''%C3%BC.txt",
            ),
            ("Content-Description: Größe", "Content-Description: =?utf-8?B?R3LDtsOfZQ==?="),
        ] {
            assert_eq!(encoded(line).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn what_has_no_room_for_it_is_left() {
        for line in [
            "Content-ID: <ü@x>",
            "Content-Transfer-Encoding: ü",
            "Content-Type: täxt/plain",
            "Content-Type: a/b; ü",
        ] {
            assert_eq!(encoded(line), None, "{line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_above_127_and_no_long_line_is_left(text in "[a-zä-ü漢😀 ;'\"\\\\.]{1,200}") {
            let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
            for line in [
                format!("Content-Disposition: attachment; filename=\"{quoted}\""),
                format!("Content-Description: {text}"),
            ] {
                if line.is_ascii() || line.trim_end().len() < line.len() {
                    continue;
                }
                let written = encoded(&line).expect("there is room");
                proptest::prop_assert!(written.is_ascii(), "{}", written);
                proptest::prop_assert!(written.split("\r\n").all(|l| l.len() <= 120), "{}", written);
            }
        }
    }
}
