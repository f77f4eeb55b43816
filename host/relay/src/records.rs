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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    fn of(name: &str, hostname: &str) -> Vec<(&'static str, String, String, &'static str)> {
        let settings = World::new().settings.get();
        let records = records(&settings.tenants.by_domain[name], hostname);
        records.into_iter().map(|r| (r.kind, r.name, r.value, r.purpose)).collect()
    }

    #[test]
    fn one_record_for_each_key_and_the_rest() {
        let all = of("example.com", "mta1.example");
        let shape: Vec<_> = all.iter().map(|(k, n, _, p)| (*k, n.as_str(), *p)).collect();
        assert_eq!(
            shape,
            [
                ("TXT", "s1._domainkey.example.com", "DKIM"),
                ("TXT", "s2._domainkey.example.com", "DKIM"),
                ("TXT", "example.com", "SPF"),
                ("TXT", "_dmarc.example.com", "DMARC"),
            ]
        );
        assert!(all[0].2.starts_with("v=DKIM1; k=ed25519; p="), "{}", all[0].2);
        assert_ne!(all[0].2, all[1].2);
        assert_eq!(all[2].2, "v=spf1 a:mta1.example ~all");
        assert_eq!(all[3].2, "v=DMARC1; p=none");
    }

    #[test]
    fn a_tracking_host_points_here() {
        let all = of("tracked.example", "mta1.example");
        let want = ("CNAME", "t.example.com".to_owned(), "mta1.example".to_owned(), "tracking");
        assert_eq!(all.last(), Some(&want));
        let all = of("tracked.example", "T.example.com");
        assert!(all.iter().all(|r| r.0 != "CNAME"), "a name cannot point to itself");
    }

    #[test]
    fn an_address_needs_no_record() {
        assert_eq!(tracking_name("http://127.0.0.1:8025"), None);
        assert_eq!(tracking_name("http://[::1]:8025"), None);
        assert_eq!(tracking_name("http://T.example:8025"), Some("t.example".into()));
    }

    #[test]
    fn the_json_has_the_names_of_the_contract() {
        let record = DnsRecord { kind: "TXT", name: "n".into(), value: "v".into(), purpose: "SPF" };
        let json = serde_json::to_string(&record).expect("serialises");
        assert_eq!(json, r#"{"type":"TXT","name":"n","value":"v","purpose":"SPF"}"#);
    }
}
