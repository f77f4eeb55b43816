//! The syntax of a line of strace.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::Arg;

/// What a line is about.
pub(super) enum Line<'a> {
    /// A call and its return; `rest` begins after the opening parenthesis.
    Whole { name: &'a str, rest: &'a str },
    /// A call during which another thread was seen.
    Begins { thread: u32, name: &'a str, rest: &'a str },
    /// The end of such a call.
    Ends { thread: u32, rest: &'a str },
    /// A signal, the end of a thread.
    Other,
}

pub(super) fn parse_line(text: &str) -> Result<Line<'_>> {
    let (thread, text) = text.split_once(' ').context("no thread")?;
    let (thread, text) = (thread.parse().context("no thread")?, text.trim_start());
    if text.starts_with("+++") || text.starts_with("---") {
        return Ok(Line::Other);
    }
    if let Some(resumed) = text.strip_prefix("<... ") {
        let (_, rest) = resumed.split_once(" resumed>").context("not a resumed call")?;
        return Ok(Line::Ends { thread, rest });
    }
    let (name, rest) = text.split_once('(').context("not a call")?;
    Ok(match rest.strip_suffix(" <unfinished ...>") {
        Some(rest) => Line::Begins { thread, name, rest },
        None => Line::Whole { name, rest },
    })
}

/// The arguments up to the closing parenthesis, and what is behind it.
pub(super) fn arguments(text: &str) -> Result<(Vec<Arg>, &str)> {
    let bytes = text.as_bytes();
    let (mut args, mut begin, mut depth, mut at) = (Vec::new(), 0, 0_u32, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = skip_to(bytes, at + 1, b'"')?,
            // `=>` is no bracket, and with -xx there is no `>` within a name.
            b'<' if depth == 0 => at = skip_to(bytes, at + 1, b'>')?,
            b'{' | b'[' | b'(' => depth += 1,
            b')' if depth == 0 => {
                push(&mut args, text.get(begin..at).context("cut within a character")?)?;
                return Ok((args, text.get(at + 1..).unwrap_or_default()));
            }
            b'}' | b']' | b')' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                push(&mut args, text.get(begin..at).context("cut within a character")?)?;
                begin = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    // A call that did not return: there is no closing parenthesis.
    if depth > 0 {
        bail!("brackets are not closed");
    }
    push(&mut args, text.get(begin..).unwrap_or_default())?;
    Ok((args, ""))
}

fn skip_to(bytes: &[u8], from: usize, end: u8) -> Result<usize> {
    let mut at = from;
    loop {
        match bytes.get(at) {
            None => bail!("a string or name is not closed"),
            Some(b'\\') => at += 2,
            Some(byte) if *byte == end => return Ok(at),
            Some(_) => at += 1,
        }
    }
}

fn push(args: &mut Vec<Arg>, text: &str) -> Result<()> {
    let text = text.trim();
    if text.is_empty() && args.is_empty() {
        return Ok(());
    }
    if let Some(string) = text.strip_prefix('"') {
        let (string, _) = string.rsplit_once('"').context("a string is not closed")?;
        args.push(Arg::Octets(unescape(string)?));
        return Ok(());
    }
    let number_or_cwd = |head: &str| head == "AT_FDCWD" || head.bytes().all(|b| b.is_ascii_digit());
    if let Some((head, name)) = text.split_once('<')
        && number_or_cwd(head)
    {
        let name = name.rsplit_once('>').context("a name is not closed")?.0;
        args.push(Arg::File(PathBuf::from(OsString::from_vec(unescape(name)?))));
        return Ok(());
    }
    args.push(Arg::Other(text.to_owned()));
    Ok(())
}

/// `\x41` is an octet; anything else stands for itself.
fn unescape(text: &str) -> Result<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len() / 4);
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [] => return Ok(octets),
            [b'\\', b'x', high, low, tail @ ..] => {
                octets.push(hex(*high)? << 4 | hex(*low)?);
                rest = tail;
            }
            [b'\\', ..] => bail!("an escape that -xx does not write"),
            [octet, tail @ ..] => {
                octets.push(*octet);
                rest = tail;
            }
        }
    }
}

fn hex(digit: u8) -> Result<u8> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => bail!("not a hexadecimal digit"),
    }
}
