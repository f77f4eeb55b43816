//! Addresses, names, hashes and URLs.

use std::net::{IpAddr, SocketAddr};

use relevo_mailkit::hex;
use relevo_mailkit::recheck::policy::HeaderNames;
use relevo_relay::settings::Network;
use relevo_smtp::server::ScramVerifier;

use super::super::values::{Format, Raw};
use super::text;

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

impl Format for Network {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        let wrong = "must be a network such as \"10.1.0.0/16\" or \"2001:db8::/32\"";
        text(raw)?.parse().map_err(|_| wrong.to_owned())
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
        let text = text(raw)?;
        text.strip_prefix("sha256:").and_then(hex::decode_array).ok_or_else(|| wrong.to_owned())
    }
}

/// SHA-256 of a certificate (DER).
pub(crate) enum CertificateDigest {}

impl Format for CertificateDigest {
    type Value = [u8; 32];
    fn read(raw: Raw) -> Result<[u8; 32], String> {
        let wrong = "must be `sha256:` and 64 hex digits, the fingerprint of the certificate without colons";
        let text = text(raw)?;
        let digits = text.strip_prefix("sha256:").map(str::to_ascii_lowercase);
        digits.and_then(|digits| hex::decode_array(&digits)).ok_or_else(|| wrong.to_owned())
    }
}

impl Format for ScramVerifier {
    type Value = Self;
    fn read(raw: Raw) -> Result<Self, String> {
        let verifier = text(raw)?.parse::<Self>();
        verifier.map_err(|error| format!("{error}: make one with `relevo credential new`"))
    }
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
