//! Signatures made at the edge, with `RELEVO_SIGNING=edge`: `dkim` prepares, a signer that has the
//! keys signs, and the fields go on top of the message.

use relevo_mailkit::address::Address;
use relevo_mailkit::model::{Algorithm, Canonicalization, SignatureRequest, SigningInput};
use relevo_mailkit::{recheck, signing};

use crate::config::{ConfigError, Variables, needed};

/// Who signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signing {
    /// The core, with its keys. The gateway does not touch a message.
    Core,
    /// The edge with these keys, and the core on top of that.
    Edge(Vec<KeyName>),
}

/// The name of a key that the signer has. The key itself is unknown here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName {
    /// d=, lower-case A-labels.
    pub domain: String,
    /// s=
    pub selector: String,
    /// a=
    pub algorithm: Algorithm,
}

/// The components `dkim` and `signer`, as the gateway calls them.
pub trait Dkim {
    /// `dkim.signer`: what is to be signed for each request, in order.
    ///
    /// # Errors
    /// Text for the log.
    fn signing_input(
        &self,
        requests: Vec<SignatureRequest>,
        message: &[u8],
    ) -> Result<Vec<SigningInput>, String>;

    /// `signer.sign`: the raw signature.
    ///
    /// # Errors
    /// Text for the log.
    fn sign(&self, key: &KeyName, to_sign: &[u8]) -> Result<Vec<u8>, String>;
}

impl Signing {
    /// Reads `RELEVO_SIGNING`, which is `core` or `edge`, and for `edge` the names of the keys from
    /// `RELEVO_DKIM_SELECTORS`: `DOMAIN:SELECTOR:ALGORITHM`, by commas.
    ///
    /// # Errors
    /// The variable that is missing or wrong.
    pub fn read(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        let choice = variables("RELEVO_SIGNING").unwrap_or_default();
        match choice.trim() {
            "" | "core" => Ok(Self::Core),
            "edge" => names(variables).map(Self::Edge),
            _ => {
                let reason = "is neither `core` nor `edge`".to_owned();
                Err(ConfigError { variable: "RELEVO_SIGNING", reason })
            }
        }
    }
}

const SELECTORS: &str = "RELEVO_DKIM_SELECTORS";

fn names(variables: &Variables<'_>) -> Result<Vec<KeyName>, ConfigError> {
    let what = "`DOMAIN:SELECTOR:ALGORITHM` of each key that the signer has, by commas";
    let listed = needed(variables, SELECTORS, what)?;
    let entries = listed.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|e| !e.is_empty());
    let wrong = |entry: &str| ConfigError {
        variable: SELECTORS,
        reason: format!("has an entry that is not `DOMAIN:SELECTOR:ALGORITHM`: {entry:?}"),
    };
    entries.map(|entry| name(entry).ok_or_else(|| wrong(entry))).collect()
}

fn name(entry: &str) -> Option<KeyName> {
    let [domain, selector, algorithm] = entry.split(':').collect::<Vec<_>>().try_into().ok()?;
    let algorithm = Algorithm::parse(algorithm)?;
    let is_whole = !domain.is_empty() && !selector.is_empty();
    let (domain, selector) = (domain.to_ascii_lowercase(), selector.to_owned());
    is_whole.then_some(KeyName { domain, selector, algorithm })
}

/// The keys of the most specific domain that covers `domain`, as the core chooses its own.
fn covering<'a>(keys: &'a [KeyName], domain: &str) -> Vec<&'a KeyName> {
    let mut name = domain;
    loop {
        let found: Vec<&KeyName> = keys.iter().filter(|key| key.domain == name).collect();
        match name.split_once('.') {
            Some((_, parent)) if found.is_empty() => name = parent,
            _ => return found,
        }
    }
}

/// The DKIM-Signature fields of a message, one for each key of the author's domain; empty if there is
/// none. `now` is in seconds since 1970.
///
/// # Errors
/// Text for the log: it cannot be signed, or a component returned something that was not asked for.
pub fn fields(
    keys: &[KeyName],
    author: &str,
    message: &[u8],
    dkim: &dyn Dkim,
    now: i64,
) -> Result<Vec<u8>, String> {
    let author = Address::parse(author).map_err(|error| error.to_string())?;
    let keys = covering(keys, &author.domain);
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let requests = keys.iter().map(|key| request(key, now)).collect();
    let inputs = dkim.signing_input(requests, message)?;
    if inputs.len() != keys.len() {
        return Err("`dkim` returned not one answer for each key".to_owned());
    }
    let mut fields = Vec::new();
    for (key, input) in keys.iter().zip(inputs) {
        let KeyName { domain, selector, algorithm } = key;
        recheck::signing_input(&input, domain, selector, *algorithm, from_field(message))
            .map_err(|rule| format!("`dkim` returned something that was not asked for: {rule}"))?;
        let signature = dkim.sign(key, &input.to_sign)?;
        let field = signing::signature_field(&input.field, &signature);
        recheck::header_fields(&field)?;
        fields.extend_from_slice(&field);
    }
    Ok(fields)
}

fn request(key: &KeyName, now: i64) -> SignatureRequest {
    SignatureRequest {
        domain: key.domain.clone(),
        selector: key.selector.clone(),
        algorithm: key.algorithm,
        header_canonicalization: Canonicalization::Relaxed,
        body_canonicalization: Canonicalization::Relaxed,
        timestamp: now,
        // When the core gives a message up is not known here.
        expiration: None,
    }
}

/// The first From field of a message, folded as it is, without its last CRLF; empty if there is none.
fn from_field(message: &[u8]) -> &[u8] {
    let (mut at, mut start) = (0, None);
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        match start {
            Some(_) if matches!(line.first(), Some(b' ' | b'\t')) => {}
            Some(_) => break,
            None if line == b"\r\n" => break,
            None if line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"from:")) => start = Some(at),
            None => {}
        }
        at += line.len();
    }
    start.map_or(&[], |start| message[start..at].trim_ascii_end())
}

#[cfg(test)]
mod tests;
