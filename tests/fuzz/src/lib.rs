//! What the fuzz targets share: how an input is cut, how a spliced message is read, and the seeded
//! bugs.

use std::io;
use std::sync::LazyLock;

use relevo_mailkit::source::Source;
use relevo_mailkit::splice::Splice;

/// The environment variable that turns the seeded bug of every target on.
pub const SEEDED_BUG: &str = "RELEVO_FUZZ_SEEDED_BUG";

/// Whether the target is to stand between us and its library with a bug, to show that it can fail.
pub fn seeded_bug() -> bool {
    static SEEDED: LazyLock<bool> = LazyLock::new(|| std::env::var_os(SEEDED_BUG).is_some());
    *SEEDED
}

/// Cuts octets into pieces. Seed 0 gives single octets, others pieces of 1 to 16 octets that depend
/// on the seed alone.
pub fn pieces(octets: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut state = u32::from(seed);
    let mut rest = octets;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(u32::from(seed != 0) * 1_013_904_223);
        let length = 1 + (state >> 28) as usize;
        let (piece, next) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = next;
    }
    pieces
}

/// Takes one octet of the input.
pub fn octet(input: &mut &[u8]) -> u8 {
    let Some((first, rest)) = input.split_first() else { return 0 };
    *input = rest;
    *first
}

/// Every line end a CRLF, no NUL: what may be put into a message.
pub fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 16);
    for (i, octet) in text.iter().enumerate() {
        match octet {
            b'\n' => out.extend_from_slice(b"\r\n"),
            b'\r' if text.get(i + 1) == Some(&b'\n') => {}
            b'\r' => out.extend_from_slice(b"\r\n"),
            0 => {}
            other => out.push(*other),
        }
    }
    out
}

/// A CR without LF or an LF without CR.
pub fn has_bare(octets: &[u8]) -> bool {
    (0..octets.len()).any(|i| match octets[i] {
        b'\r' => octets.get(i + 1) != Some(&b'\n'),
        b'\n' => i == 0 || octets[i - 1] != b'\r',
        _ => false,
    })
}

/// The longest line without its CRLF.
pub fn longest_line(octets: &[u8]) -> usize {
    octets.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l).len()).max().unwrap_or(0)
}

/// Where `needle` is first found.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

/// All of a source, read `step` octets at a time.
pub fn read_all(source: &Splice, step: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut buf = vec![0; step];
    loop {
        let n = source.read_at(out.len() as u64, &mut buf)?;
        if n == 0 {
            assert_eq!(out.len() as u64, source.size(), "the size of a splice");
            return Ok(out);
        }
        out.extend_from_slice(&buf[..n]);
    }
}
