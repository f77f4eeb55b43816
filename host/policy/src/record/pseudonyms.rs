//! What stands for a name: keyed, so that the same name has the same pseudonym in all recordings of a place, and nobody without the key
//! can tell whose it is, or try.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hmac::{Hmac, Mac as _};
use relevo_mailkit::address::to_ascii;
use sha2::Sha256;

/// Octets of the key.
pub(crate) const KEY: usize = 32;
/// Labels of a domain name that have a pseudonym of their own; those further left share one.
pub(super) const LABELS: usize = 10;

/// The key of a place.
pub(crate) struct Pseudonyms([u8; KEY]);

impl Pseudonyms {
    pub(crate) fn new(key: [u8; KEY]) -> Self {
        Self(key)
    }

    fn mac(&self, kind: &str, text: &str) -> [u8; 32] {
        // Any length of key will do.
        let Ok(mut mac) = <Hmac<Sha256> as hmac::Mac>::new_from_slice(&self.0) else { return [0; 32] };
        mac.update(kind.as_bytes());
        mac.update(&[0]);
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }

    pub(super) fn hex(&self, kind: &str, text: &str, octets: usize) -> String {
        self.mac(kind, text).iter().take(octets).map(|octet| format!("{octet:02x}")).collect()
    }

    /// Of a text that is not looked into.
    pub(super) fn word(&self, text: &str) -> String {
        format!("x{}", self.hex("text", text, 8))
    }

    pub(super) fn local(&self, local: &str, domain: &str) -> String {
        format!("u{}", self.hex("local", &format!("{local}@{domain}"), 8))
    }

    /// Of an address in any shape. Neither the case of its local part nor the form of its domain matters.
    pub(super) fn address(&self, address: &str) -> String {
        let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
        let domain = normal(domain);
        let local = match local {
            "" => String::new(),
            local => self.local(&local.to_lowercase(), &domain),
        };
        format!("{local}@{}", self.domain(&domain))
    }

    /// Label by label, so that a subdomain stays one. Of an address literal, another one.
    pub(super) fn domain(&self, domain: &str) -> String {
        if let Some(literal) = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']')) {
            let bare = literal.strip_prefix("ipv6:").unwrap_or(literal);
            return match bare.parse::<IpAddr>() {
                Ok(ip @ IpAddr::V4(_)) => format!("[{}]", self.ip(ip)),
                Ok(ip) => format!("[ipv6:{}]", self.ip(ip)),
                Err(_) => format!("d{}", self.hex("domain", domain, 6)),
            };
        }
        let mut suffixes: Vec<&str> = suffixes(domain).collect();
        let deep = suffixes.len().saturating_sub(LABELS);
        suffixes.drain(1.min(deep)..deep);
        let labels = suffixes.iter().map(|suffix| format!("d{}", self.hex("domain", suffix, 6)));
        labels.collect::<Vec<_>>().join(".")
    }

    /// From ranges that nobody uses: 240.0.0.0/4 (RFC 1112 section 4) and 2001:db8::/32 (RFC 3849).
    pub(super) fn ip(&self, ip: IpAddr) -> IpAddr {
        let mac = self.mac("ip", &ip.to_string());
        match ip {
            IpAddr::V4(_) => Ipv4Addr::new(240 | mac[0] & 15, mac[1], mac[2], mac[3]).into(),
            IpAddr::V6(_) => {
                let mut octets = [0; 16];
                octets.copy_from_slice(&mac[..16]);
                octets[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
                Ipv6Addr::from(octets).into()
            }
        }
    }
}

/// Lower case A-labels, where it has any.
pub(super) fn normal(domain: &str) -> String {
    let lower = domain.trim_end_matches('.').to_lowercase();
    if lower.len() > 4 * 253 { lower } else { to_ascii(&lower).unwrap_or(lower) }
}

/// The name and everything above it.
pub(super) fn suffixes(domain: &str) -> impl Iterator<Item = &str> {
    let starts = std::iter::once(0).chain(domain.match_indices('.').map(|(at, _)| at + 1));
    starts.map(|at| &domain[at..])
}
