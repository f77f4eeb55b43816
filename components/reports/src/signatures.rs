//! Where the keys of DKIM signatures are published (RFC 6376 section 3.6.2.1), and for whom they
//! count.

use mail_parser::{Address, Message};

use crate::fields::Fields;

/// Keys that are named: more signatures than these are not checked.
const MAX_KEYS: usize = 8;
/// Characters of a domain name.
const MAX_NAME: usize = 253;

/// The names of the key records, each once.
pub(crate) fn key_names(fields: &Fields) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for value in fields.all("dkim-signature") {
        let (Some(domain), Some(selector)) = (tag(value, "d"), tag(value, "s")) else { continue };
        let name = format!("{selector}._domainkey.{domain}").to_ascii_lowercase();
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.len() <= MAX_NAME && name.chars().all(is_name) && !names.contains(&name) {
            names.push(name);
        }
        if names.len() == MAX_KEYS {
            break;
        }
    }
    names
}

/// The domain of the only author; empty when there are several, or none.
pub(crate) fn from_domain(message: &Message<'_>) -> String {
    let mut addresses = message.from().into_iter().flat_map(Address::iter);
    let (only, further) = (addresses.next().and_then(|author| author.address.as_deref()), addresses.next());
    let domain = only.and_then(|address| address.rsplit_once('@')).map_or("", |(_, domain)| domain);
    let is_only = further.is_none() && from_lines(&message.raw_message) == 1;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match is_only && domain.len() <= MAX_NAME && domain.chars().all(is_name) {
        true => domain.to_ascii_lowercase(),
        false => String::new(),
    }
}

/// Lines that begin a From field. A parser may end the header at a line that is no field, and whoever
/// signed may not: so lines up to the first empty one count.
fn from_lines(message: &[u8]) -> usize {
    let lines = message.split(|octet| *octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let header = lines.take_while(|line| !line.is_empty());
    let names = header.filter_map(|line| line.iter().position(|octet| *octet == b':').map(|at| &line[..at]));
    names.filter(|name| name.trim_ascii_end().eq_ignore_ascii_case(b"from")).count()
}

fn tag(value: &str, name: &str) -> Option<String> {
    let found =
        value.split(';').filter_map(|tag| tag.split_once('=')).find(|(known, _)| known.trim() == name)?;
    // White space may stand within a folded value.
    Some(found.1.chars().filter(|c| !c.is_ascii_whitespace()).collect())
        .filter(|text: &String| !text.is_empty())
}
