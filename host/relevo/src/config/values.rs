//! What single values look like, and how keys and sections hold them.

use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::time::Duration;

use relevo_mailkit::model::Algorithm;
use relevo_mailkit::recheck::policy::HeaderNames;
use relevo_queue::{MAX_PRIORITY, Priority};
use relevo_relay::settings::{FailurePolicy, Network};
use relevo_resolve::IpFamily;
use relevo_runtime::policy::{Capability, Class};
use relevo_smtp::client::TlsPolicy;
use relevo_smtp::server::BareNewlines;
use relevo_store::StoreUrl;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny};
use toml::Spanned;

use super::document::FileSpan;

/// A value of any type.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Raw {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Raw>),
    Other(IgnoredAny),
}

/// What a key may hold: the format of its text or number.
pub(crate) trait Format {
    type Value: Clone;

    /// Reads a value, or says what it must be.
    fn read(raw: Raw) -> Result<Self::Value, String>;
}

/// A value with its place in the file.
pub(crate) struct Located<F: Format> {
    pub(crate) value: F::Value,
    pub(crate) span: FileSpan,
}

/// The values of a list.
pub(crate) type List<F> = Vec<Located<F>>;

/// A list without the places.
pub(crate) fn plain<F: Format>(list: &List<F>) -> Vec<F::Value> {
    list.iter().map(|at| at.value.clone()).collect()
}

struct Read<F: Format>(F::Value);

impl<'de, F: Format> Deserialize<'de> for Read<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        F::read(Raw::deserialize(deserializer)?).map(Self).map_err(D::Error::custom)
    }
}

/// As a struct around the value, so that the deserializer adds the span of the value to an error.
#[derive(Deserialize)]
#[serde(bound(deserialize = "F: Format"))]
struct Placed<F: Format>(Read<F>);

impl<'de, F: Format> Deserialize<'de> for Located<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let placed = Spanned::<Placed<F>>::deserialize(deserializer)?;
        let span = placed.span().into();
        Ok(Self { value: placed.into_inner().0.0, span })
    }
}

/// A key that may be absent.
pub(crate) struct Key<F: Format>(Option<Located<F>>);

impl<F: Format> Default for Key<F> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, F: Format> Deserialize<'de> for Key<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Located::deserialize(deserializer).map(|at| Self(Some(at)))
    }
}

impl<F: Format> Key<F> {
    /// The value with its place.
    pub(crate) fn at(&self) -> Option<&Located<F>> {
        self.0.as_ref()
    }

    /// The value.
    pub(crate) fn value(&self) -> Option<F::Value> {
        self.0.as_ref().map(|at| at.value.clone())
    }

    /// The value, or `default` when the key is absent.
    pub(crate) fn or(&self, default: F::Value) -> F::Value {
        self.value().unwrap_or(default)
    }
}

/// A table with its place in the file. An absent one has defaults and an empty span.
#[derive(Default)]
pub(crate) struct Section<T> {
    table: T,
    pub(crate) span: FileSpan,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Section<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = Spanned::<T>::deserialize(deserializer)?;
        let span = table.span().into();
        Ok(Self { table: table.into_inner(), span })
    }
}

impl<T> Deref for Section<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.table
    }
}

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

impl Format for String {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        text(raw)
    }
}

impl Format for bool {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        match raw {
            Raw::Boolean(b) => Ok(b),
            _ => Err("must be true or false".to_owned()),
        }
    }
}

/// A number above 0.
impl Format for u64 {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        positive(&raw)
    }
}

/// A number above 0.
impl Format for u32 {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        Self::try_from(positive(&raw)?).map_err(|_| "is too large".to_owned())
    }
}

/// A number above 0.
impl Format for usize {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        Self::try_from(positive(&raw)?).map_err(|_| "is too large".to_owned())
    }
}

/// A number, 0 or above: 0 switches something off.
pub(crate) enum CountOrNone {}

impl Format for CountOrNone {
    type Value = usize;
    fn read(raw: Raw) -> Result<usize, String> {
        let Raw::Integer(n) = raw else { return Err("must be a whole number, 0 or above".to_owned()) };
        usize::try_from(n).map_err(|_| "must be a whole number, 0 or above".to_owned())
    }
}

pub(crate) enum Port {}

impl Format for Port {
    type Value = u16;
    fn read(raw: Raw) -> Result<u16, String> {
        let port = positive(&raw).ok().and_then(|n| u16::try_from(n).ok());
        port.ok_or_else(|| "must be a port, 1 to 65535".to_owned())
    }
}

pub(crate) enum MaxPriority {}

impl Format for MaxPriority {
    type Value = Priority;
    fn read(raw: Raw) -> Result<Priority, String> {
        let n = match raw {
            Raw::Integer(n) => Priority::try_from(n).ok(),
            _ => None,
        };
        n.filter(|p| (0..=MAX_PRIORITY).contains(p)).ok_or_else(|| format!("must be 0 to {MAX_PRIORITY}"))
    }
}

/// Octets: a number, or a string such as `50MB` or `1GiB`.
pub(crate) enum Size {}

impl Format for Size {
    type Value = u64;
    fn read(raw: Raw) -> Result<u64, String> {
        let octets = match &raw {
            Raw::Text(text) => split_unit(text).and_then(|(n, unit)| {
                let factor = match unit {
                    "" | "B" => 1,
                    "kB" | "KB" => 1_000,
                    "MB" => 1_000_000,
                    "GB" => 1_000_000_000,
                    "KiB" => 1 << 10,
                    "MiB" => 1 << 20,
                    "GiB" => 1 << 30,
                    _ => return None,
                };
                n.checked_mul(factor)
            }),
            _ => positive(&raw).ok(),
        };
        octets
            .ok_or_else(|| "must be a number of octets or a string such as \"512MiB\" or \"1GiB\"".to_owned())
    }
}

/// `90s`, `5m`, `1h`, `5d`.
pub(crate) enum Time {}

impl Format for Time {
    type Value = Duration;
    fn read(raw: Raw) -> Result<Duration, String> {
        let time = text(raw).ok().and_then(|text| seconds(&text));
        time.ok_or_else(|| "must be a string such as \"30s\", \"5m\", \"4h\" or \"5d\"".to_owned())
    }
}

/// `50ms`, or as [`Time`].
pub(crate) enum ShortTime {}

impl Format for ShortTime {
    type Value = Duration;
    fn read(raw: Raw) -> Result<Duration, String> {
        let time = text(raw).ok().and_then(|text| match split_unit(&text)? {
            (n, "ms") => (1..=3_600_000).contains(&n).then(|| Duration::from_millis(n)),
            _ => seconds(&text),
        });
        time.ok_or_else(|| "must be a string such as \"50ms\" or \"1s\"".to_owned())
    }
}

/// At most ten years.
fn seconds(text: &str) -> Option<Duration> {
    let (n, unit) = split_unit(text)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let seconds = n.checked_mul(factor).filter(|n| (1..=10 * 365 * 86_400).contains(n))?;
    Some(Duration::from_secs(seconds))
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..at].parse().ok()?, text[at..].trim()))
}

impl Format for SocketAddr {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        let wrong = "must be an address with a port, such as \"127.0.0.1:587\" or \"[::1]:587\"";
        text(raw)?.parse().map_err(|_| wrong.to_owned())
    }
}

/// As a socket address; the port may be left out.
pub(crate) enum Nameserver {}

impl Format for Nameserver {
    type Value = SocketAddr;
    fn read(raw: Raw) -> Result<SocketAddr, String> {
        let text = text(raw)?;
        let without_port = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
        let wrong = "must be an IP address, with a port when it is not 53";
        without_port.or_else(|_| text.parse()).map_err(|_| wrong.to_owned())
    }
}

impl Format for IpAddr {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        text(raw)?.parse().map_err(|_| "must be an IP address".to_owned())
    }
}

/// CIDR; an address alone is a network of one.
impl Format for Network {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        let text = text(raw)?;
        let network = match text.split_once('/') {
            Some((addr, prefix)) => addr.parse().ok().zip(prefix.parse().ok()),
            None => text.parse().ok().map(|addr: IpAddr| (addr, if addr.is_ipv4() { 32 } else { 128 })),
        };
        let fits = |(addr, prefix): &(IpAddr, u8)| *prefix <= if addr.is_ipv4() { 32 } else { 128 };
        let (addr, prefix) = network
            .filter(fits)
            .ok_or_else(|| "must be a network such as \"10.1.0.0/16\" or \"2001:db8::/32\"".to_owned())?;
        Ok(Self { addr, prefix })
    }
}

/// A host name or domain, fully qualified; in lower case A-labels.
pub(crate) enum DomainName {}

impl Format for DomainName {
    type Value = String;
    fn read(raw: Raw) -> Result<String, String> {
        let text = text(raw)?;
        let name = relevo_mailkit::address::to_ascii(&text).ok();
        let name = name.ok_or_else(|| format!("`{text}` is not a domain name"))?;
        match name.contains('.') {
            true => Ok(name),
            false => Err(format!("`{text}` is not fully qualified, such as `mail.example.com`")),
        }
    }
}

pub(crate) enum MailAddress {}

impl Format for MailAddress {
    type Value = String;
    fn read(raw: Raw) -> Result<String, String> {
        let text = text(raw)?;
        match relevo_mailkit::address::Address::parse(&text) {
            Ok(_) => Ok(text),
            Err(_) => Err(format!("`{text}` is not a mail address")),
        }
    }
}

/// A name of a tenant, pool, route, plugin or key.
pub(crate) enum Identifier {}

impl Format for Identifier {
    type Value = String;
    fn read(raw: Raw) -> Result<String, String> {
        let text = text(raw)?;
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        match (1..=63).contains(&text.len()) && text.bytes().all(fits) {
            true => Ok(text),
            false => Err("must be 1 to 63 lower case letters, digits, hyphens and underscores".to_owned()),
        }
    }
}

/// A DKIM selector: labels joined by dots (RFC 6376 section 3.1).
pub(crate) enum Selector {}

impl Format for Selector {
    type Value = String;
    fn read(raw: Raw) -> Result<String, String> {
        let text = text(raw)?.to_ascii_lowercase();
        let is_label = |l: &str| {
            (1..=63).contains(&l.len())
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !l.starts_with('-')
                && !l.ends_with('-')
        };
        match text.split('.').all(is_label) {
            true => Ok(text),
            false => Err("must be a DKIM selector: letters, digits, hyphens, dots".to_owned()),
        }
    }
}

/// SHA-256 of an API key.
pub(crate) enum ApiKeyHash {}

impl Format for ApiKeyHash {
    type Value = [u8; 32];
    fn read(raw: Raw) -> Result<[u8; 32], String> {
        let wrong = "must be `sha256:` and 64 hex digits: make one with `relevo api-key new`";
        sha256(&text(raw)?).ok_or_else(|| wrong.to_owned())
    }
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.is_ascii())?;
    let mut digest = [0; 32];
    for (i, octet) in digest.iter_mut().enumerate() {
        *octet = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(digest)
}

/// An Argon2id hash in PHC form.
pub(crate) enum PasswordHash {}

impl Format for PasswordHash {
    type Value = String;
    fn read(raw: Raw) -> Result<String, String> {
        let text = text(raw)?;
        let hash = argon2::PasswordHash::new(&text);
        match hash.is_ok_and(|h| h.algorithm == argon2::ARGON2ID_IDENT && h.hash.is_some()) {
            true => Ok(text),
            false => Err("must be an Argon2id hash: make one with `relevo credential new`".to_owned()),
        }
    }
}

/// Scheme and authority in lower case, without a trailing slash or a default port.
pub(crate) enum TrackingUrl {}

impl Format for TrackingUrl {
    type Value = String;
    fn read(raw: Raw) -> Result<String, String> {
        let wrong = "must be http or https, a host and nothing behind it, such as \"https://t.example.com\"";
        origin(&text(raw)?).ok_or_else(|| wrong.to_owned())
    }
}

fn origin(text: &str) -> Option<String> {
    let url = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    let (scheme, authority) = url.split_once("://")?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let is_host =
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    let is_port = port.is_none_or(|p| p.parse::<u16>().is_ok());
    if !matches!(scheme, "http" | "https") || !is_host || !is_port {
        return None;
    }
    let is_default = matches!((scheme, port), ("https", Some("443")) | ("http", Some("80")));
    Some(if is_default { format!("{scheme}://{host}") } else { url })
}

/// A pattern for names of header fields that a plugin may add.
pub(crate) enum HeaderPattern {}

impl Format for HeaderPattern {
    type Value = String;
    fn read(raw: Raw) -> Result<String, String> {
        let pattern = text(raw)?;
        HeaderNames::new(vec![pattern.clone()]).map(|_| pattern)
    }
}

/// Settings of a plugin as texts, one for each element of a list.
pub(crate) enum Texts {}

impl Format for Texts {
    type Value = Vec<String>;
    fn read(raw: Raw) -> Result<Vec<String>, String> {
        let elements = match raw {
            Raw::List(elements) => elements,
            single => vec![single],
        };
        let text = |raw| match raw {
            Raw::Text(text) => Some(text),
            Raw::Boolean(b) => Some(b.to_string()),
            Raw::Integer(i) => Some(i.to_string()),
            Raw::Float(f) => Some(f.to_string()),
            Raw::List(_) | Raw::Other(_) => None,
        };
        let texts: Option<Vec<String>> = elements.into_iter().map(text).collect();
        texts.ok_or_else(|| "must be a string, a number, true or false, or a list of these".to_owned())
    }
}

fn one_of<T: Copy>(raw: Raw, words: &[(&str, T)]) -> Result<T, String> {
    let found = text(raw).ok().and_then(|text| words.iter().find(|(word, _)| *word == text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let all: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        format!("must be one of {}", all.join(", "))
    })
}

impl Format for IpFamily {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        one_of(raw, &[("any", Self::Any), ("ipv4", Self::Ipv4), ("ipv6", Self::Ipv6)])
    }
}

impl Format for StoreUrl {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        text(raw)?.parse()
    }
}

impl Format for BareNewlines {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        one_of(raw, &[("refuse", Self::Refuse), ("normalize", Self::Normalize)])
    }
}

impl Format for TlsPolicy {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        let words = [
            ("none", Self::None),
            ("opportunistic", Self::Opportunistic),
            ("required", Self::Required),
            ("verified", Self::Verified),
            ("implicit", Self::Implicit),
        ];
        one_of(raw, &words)
    }
}

impl Format for Algorithm {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        one_of(raw, &[Self::RsaSha256, Self::Ed25519Sha256].map(|a| (a.as_str(), a)))
    }
}

impl Format for Class {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        one_of(raw, &[("small", Self::Small), ("large", Self::Large)])
    }
}

impl Format for FailurePolicy {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        let words = [("tempfail", Self::Tempfail), ("accept", Self::Accept), ("reject", Self::Reject)];
        one_of(raw, &words)
    }
}

impl Format for Capability {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        one_of(raw, &Self::ALL.map(|c| (c.name(), c)))
    }
}
