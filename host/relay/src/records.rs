//! The DNS records that a sending domain needs.

use serde::Serialize;

use crate::settings::Domain;

/// A record to be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DnsRecord {
    /// `TXT` or `CNAME`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Fully qualified, without a final dot.
    pub name: String,
    /// Whole: neither quoted nor split into strings.
    pub value: String,
    /// What it is for.
    pub purpose: &'static str,
}

/// What to publish for `domain` when mail leaves from `hostname`: DKIM for each key, SPF and DMARC to begin with, and the
/// tracking host when it is another name than ours.
#[must_use]
pub fn records(domain: &Domain, hostname: &str) -> Vec<DnsRecord> {
    let mut records: Vec<_> = domain
        .dkim
        .iter()
        .map(|key| DnsRecord {
            kind: "TXT",
            name: format!("{}._domainkey.{}", key.selector, domain.name),
            value: key.key.public_record(),
            purpose: "DKIM",
        })
        .collect();
    records.push(DnsRecord {
        kind: "TXT",
        name: domain.name.clone(),
        value: format!("v=spf1 a:{hostname} ~all"),
        purpose: "SPF",
    });
    records.push(DnsRecord {
        kind: "TXT",
        name: format!("_dmarc.{}", domain.name),
        value: "v=DMARC1; p=none".to_owned(),
        purpose: "DMARC",
    });
    let host = domain.tracking.as_ref().and_then(|t| tracking_name(&t.url));
    if let Some(name) = host.filter(|name| !name.eq_ignore_ascii_case(hostname)) {
        records.push(DnsRecord { kind: "CNAME", name, value: hostname.to_owned(), purpose: "tracking" });
    }
    records
}

/// The name of a tracking host; none when it is an address.
fn tracking_name(url: &str) -> Option<String> {
    match url::Url::parse(url).ok()?.host()? {
        url::Host::Domain(name) => Some(name.to_owned()),
        url::Host::Ipv4(_) | url::Host::Ipv6(_) => None,
    }
}
