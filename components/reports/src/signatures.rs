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
pub(crate) fn from_domain(message: &Message<'_>, fields: &Fields) -> String {
    let mut addresses = message.from().into_iter().flat_map(Address::iter);
    let (only, further) = (addresses.next().and_then(|author| author.address.as_deref()), addresses.next());
    let domain = only.and_then(|address| address.rsplit_once('@')).map_or("", |(_, domain)| domain);
    let is_only = further.is_none() && fields.all("from").count() == 1;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match is_only && domain.len() <= MAX_NAME && domain.chars().all(is_name) {
        true => domain.to_ascii_lowercase(),
        false => String::new(),
    }
}

fn tag(value: &str, name: &str) -> Option<String> {
    let found =
        value.split(';').filter_map(|tag| tag.split_once('=')).find(|(known, _)| known.trim() == name)?;
    // White space may stand within a folded value.
    Some(found.1.chars().filter(|c| !c.is_ascii_whitespace()).collect())
        .filter(|text: &String| !text.is_empty())
}
