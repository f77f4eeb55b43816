//! DKIM keys in DNS (RFC 6376 section 3.6.1, RFC 8301, RFC 8463).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::check::{Check, DnsRecord, Status, shown};
use crate::facts::{Lookups, RecordKind};
use crate::subject::{DkimKey, Subject};
use crate::tags;

const RECORD: &str = "RFC 6376 section 3.6.1";
const LENGTH: &str = "RFC 8301 section 3.2";
/// Verifiers take no shorter RSA key, and should be given this.
const MIN_BITS: usize = 1024;
const GOOD_BITS: usize = 2048;

pub(crate) fn checks(subject: &Subject, lookups: &Lookups<'_>) -> Vec<Check> {
    if subject.dkim.is_empty() {
        let message = "no key is configured: the domain's mail goes out unsigned";
        return vec![Check::new("dkim.record", RECORD, Status::Fail, message).about(&subject.domain)];
    }
    subject.dkim.iter().flat_map(|key| of_key(subject, key, lookups)).collect()
}

fn of_key(subject: &Subject, key: &DkimKey, lookups: &Lookups<'_>) -> Vec<Check> {
    let name = format!("{}._domainkey.{}", key.selector, subject.domain);
    let check =
        |status, message: String| Check::new("dkim.record", RECORD, status, message).about(&key.selector);
    let found = match lookups.records(RecordKind::Txt, &name) {
        Ok(found) => found,
        Err(gap) => return vec![Check::unknown("dkim.record", RECORD, &gap).about(&key.selector)],
    };
    let paste = DnsRecord::new("TXT", name.clone(), key.record.clone()).replacing(found);
    let fail = |message: String| vec![check(Status::Fail, message).paste(paste.clone())];
    let text = match found {
        [] => {
            return fail(format!(
                "there is no TXT record at {name}: signatures of this key cannot be verified"
            ));
        }
        [text] => text,
        several => {
            return fail(format!(
                "there are {} records at {name}: receivers take any of them",
                several.len()
            ));
        }
    };
    match mistake(text, &key.record) {
        Some(mistake) => return fail(mistake),
        None if is_testing(text) => {
            let message = "t=y: receivers may treat signed mail as if it were unsigned".to_owned();
            return vec![check(Status::Warn, message).paste(paste)];
        }
        None => {}
    }
    let mut checks = vec![check(Status::Pass, "is the key that signs".to_owned())];
    checks.extend(length(&key.record).map(|check| check.about(&key.selector)));
    checks
}

/// Why a published key does not verify what ours signs.
fn mistake(text: &str, ours: &str) -> Option<String> {
    let published = match tags::parse(text) {
        Ok(published) => published,
        Err(mistake) => return Some(format!("the record is no list of tags: {mistake}")),
    };
    let ours = tags::parse(ours).unwrap_or_default();
    let tag = |name| tags::value(&published, name);
    match tag("v") {
        Some("DKIM1") if published.first().is_some_and(|(name, _)| name == "v") => {}
        None => {}
        Some(other) => return Some(format!("v= must come first and be DKIM1, not {}", shown(other))),
    }
    let Some(key) = tag("p") else { return Some("p=, the key, is missing".to_owned()) };
    if key.is_empty() {
        return Some("p= is empty: the key is revoked".to_owned());
    }
    let wanted = tags::value(&ours, "k").unwrap_or("rsa");
    if !tag("k").unwrap_or("rsa").eq_ignore_ascii_case(wanted) {
        return Some(format!("k= must be {wanted}"));
    }
    if tag("h").is_some_and(|hashes| !list(hashes).any(|hash| hash.eq_ignore_ascii_case("sha256"))) {
        return Some("h= does not allow sha256".to_owned());
    }
    if tag("s").is_some_and(|services| !list(services).any(|s| s == "*" || s.eq_ignore_ascii_case("email"))) {
        return Some("s= does not allow email".to_owned());
    }
    let plain = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    let own = plain(tags::value(&ours, "p").unwrap_or_default());
    let found = plain(key);
    if found == own {
        return None;
    }
    Some(match own.starts_with(&found) || STANDARD.decode(&found).is_err() {
        true => format!("the key is cut or damaged: {} of {} characters", found.len(), own.len()),
        false => "is another key than the one that signs".to_owned(),
    })
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(':').map(str::trim)
}

fn is_testing(text: &str) -> bool {
    let published = tags::parse(text).unwrap_or_default();
    tags::value(&published, "t").is_some_and(|flags| list(flags).any(|flag| flag.eq_ignore_ascii_case("y")))
}

/// The length of an RSA key.
fn length(record: &str) -> Option<Check> {
    let parsed = tags::parse(record).ok()?;
    if !tags::value(&parsed, "k").unwrap_or("rsa").eq_ignore_ascii_case("rsa") {
        return None;
    }
    let bits = rsa_bits(&STANDARD.decode(tags::value(&parsed, "p")?).ok()?)?;
    let (status, message) = match bits {
        ..MIN_BITS => (Status::Fail, format!("{bits} bits: verifiers refuse less than {MIN_BITS}")),
        MIN_BITS..GOOD_BITS => (Status::Warn, format!("{bits} bits: signers should use {GOOD_BITS}")),
        _ => (Status::Pass, format!("{bits} bits")),
    };
    Some(Check::new("dkim.length", LENGTH, status, message))
}

/// Bits of the modulus of a `SubjectPublicKeyInfo` (RFC 5280 section 4.1), or of an `RSAPublicKey`
/// alone (RFC 8017 section A.1.1).
fn rsa_bits(der: &[u8]) -> Option<usize> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    const BIT_STRING: u8 = 0x03;
    let (body, _) = element(der, SEQUENCE)?;
    let key = match element(body, SEQUENCE) {
        Some((_, rest)) => {
            let (bits, _) = element(rest, BIT_STRING)?;
            element(bits.strip_prefix(&[0])?, SEQUENCE)?.0
        }
        None => body,
    };
    let (modulus, _) = element(key, INTEGER)?;
    let first = modulus.iter().position(|octet| *octet != 0)?;
    let unused = usize::try_from(modulus[first].leading_zeros()).ok()?;
    Some((modulus.len() - first) * 8 - unused)
}

/// The content of a DER element of this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=127 => (usize::from(*first), rest),
        0x81..=0x84 => {
            let octets = rest.get(..usize::from(first & 0x7f))?;
            let length = octets.iter().fold(0_usize, |sum, octet| sum << 8 | usize::from(*octet));
            (length, &rest[octets.len()..])
        }
        _ => return None,
    };
    let content = rest.get(..length)?;
    (*found == tag).then_some((content, &rest[length..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// From RFC 6376 appendix C.
    const RSA_1024: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt\
        IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi\
        tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB";

    #[test]
    fn the_bits_of_a_key_are_counted() {
        let der = STANDARD.decode(RSA_1024).expect("base64");
        assert_eq!(rsa_bits(&der), Some(1024));
        let check = length(&format!("v=DKIM1; p={RSA_1024}")).expect("an RSA key");
        assert_eq!(check.status, Status::Warn, "{}", check.message);
        assert_eq!(length("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="), None);
    }

    proptest! {
        #[test]
        fn any_octets_have_bits_or_none(der: Vec<u8>) {
            let _ = rsa_bits(&der);
        }
    }
}
