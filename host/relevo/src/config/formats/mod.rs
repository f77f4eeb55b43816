//! What single values look like: each type reads one format, or says what it must be.

mod names;
mod numbers;
mod words;

pub(crate) use names::{
    ApiKeyHash, CertificateDigest, DomainName, HeaderPattern, Identifier, MailAddress, Nameserver,
    PasswordHash, Selector, TrackingUrl,
};
pub(crate) use numbers::{CountOrNone, KeepTime, MaxPriority, Port, ShortTime, Size, Time};
pub(crate) use words::Texts;

use super::values::Raw;

fn text(raw: Raw) -> Result<String, String> {
    match raw {
        Raw::Text(text) => Ok(text),
        _ => Err("must be a string in quotes".to_owned()),
    }
}

fn positive(raw: &Raw) -> Result<u64, String> {
    match raw {
        Raw::Integer(n) if *n > 0 => Ok(n.unsigned_abs()),
        _ => Err("must be a whole number above 0".to_owned()),
    }
}

pub(super) fn one_of<T: Copy>(raw: Raw, words: &[(&str, T)]) -> Result<T, String> {
    let found = text(raw).ok().and_then(|text| words.iter().find(|(word, _)| *word == text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let all: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        format!("must be one of {}", all.join(", "))
    })
}
