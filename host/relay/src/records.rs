//! The DNS records that a sending domain needs.

use std::net::IpAddr;

use serde::Serialize;

use crate::settings::{Domain, Settings};

/// A record to be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DnsRecord {
    /// `TXT`, `CNAME` or `MX`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Fully qualified, without a final dot.
    pub name: String,
    /// Whole: neither quoted nor split into strings; of `MX` the preference and the host.
    pub value: String,
    /// What it is for.
    pub purpose: &'static str,
}

/// What to publish for `domain`: DKIM for each key, SPF with the addresses that its mail leaves
/// from, DMARC to begin with, and the tracking host when it is another name than ours. What a
/// smarthost sends from, it knows.
#[must_use]
pub fn records(domain: &Domain, settings: &Settings) -> Vec<DnsRecord> {
    let hostname = &settings.hostname;
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
        value: spf(domain, settings),
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
    if let Some(name) = settings.returns.domain_for(&settings.directory, &domain.name) {
        let record = |kind, value, purpose| DnsRecord { kind, name: name.to_owned(), value, purpose };
        records.push(record("MX", format!("10 {hostname}"), RETURN_MX));
        records.push(record("TXT", spf(domain, settings), RETURN_SPF));
    }
    records
}

/// The purpose of the record by which mail comes back.
pub(crate) const RETURN_MX: &str = "return path MX";
/// The purpose of the record that lets this host send from return paths.
pub(crate) const RETURN_SPF: &str = "return path SPF";

fn spf(domain: &Domain, settings: &Settings) -> String {
    format!("v=spf1 {} ~all", spf_terms(domain, settings).join(" "))
}

/// RFC 7208: the host, whose address the system may choose, and every address that is configured to
/// send from.
pub(crate) fn spf_terms(domain: &Domain, settings: &Settings) -> Vec<String> {
    let delivery = &settings.delivery;
    let pools = domain.grants.pools.iter().filter_map(|name| delivery.pools.get(name));
    let of_pools = pools.flat_map(|pool| pool.source_ipv4.iter().chain(&pool.source_ipv6));
    let addresses = delivery.source_ipv4.iter().chain(&delivery.source_ipv6).chain(of_pools);
    let mut terms = vec![format!("a:{}", settings.hostname)];
    for address in addresses {
        let term = match address {
            IpAddr::V4(_) => format!("ip4:{address}"),
            IpAddr::V6(_) => format!("ip6:{address}"),
        };
        if !terms.contains(&term) {
            terms.push(term);
        }
    }
    terms
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
    use std::sync::Arc;

    use super::*;
    use crate::settings::{EgressGrants, EgressPool};
    use crate::testing::World;

    fn of(name: &str, hostname: &str) -> Vec<(&'static str, String, String, &'static str)> {
        of_settings(name, |settings| settings.hostname = hostname.to_owned())
    }

    fn of_settings(
        name: &str,
        change: impl FnOnce(&mut Settings),
    ) -> Vec<(&'static str, String, String, &'static str)> {
        let settings = World::with(change).settings.get();
        let records = records(settings.directory.configured_domain(name).expect("configured"), &settings);
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
    fn spf_has_the_addresses_of_the_domains_pools_and_of_delivery_each_once() {
        let pool = |name: &str, v4: &[&str], v6: &[&str]| {
            let of = |addresses: &[&str]| addresses.iter().map(|a| a.parse().unwrap()).collect();
            let (source_ipv4, source_ipv6) = (of(v4), of(v6));
            let name = name.to_owned();
            Arc::new(EgressPool {
                name,
                source_ipv4,
                source_ipv6,
                ehlo: None,
                connections_per_site: None,
                warmup: false,
                warmup_spill: None,
            })
        };
        let all = of_settings("example.com", |settings| {
            settings.hostname = "mta1.example".to_owned();
            settings.delivery.source_ipv4 = Some("192.0.2.1".parse().unwrap());
            for pool in [
                pool("own", &["192.0.2.2", "192.0.2.1"], &["2001:db8::2"]),
                pool("of-others", &["192.0.2.9"], &[]),
            ] {
                settings.delivery.pools.insert(pool.name.clone(), pool);
            }
            let grants = EgressGrants { pools: vec!["own".to_owned()], ..EgressGrants::default() };
            settings.directory.edit(|entries| {
                let domain = entries.by_domain.get_mut("example.com").map(Arc::make_mut).unwrap();
                domain.grants = Arc::new(grants);
            });
        });
        let spf = all.iter().find(|r| r.3 == "SPF").unwrap();
        assert_eq!(spf.2, "v=spf1 a:mta1.example ip4:192.0.2.1 ip4:192.0.2.2 ip6:2001:db8::2 ~all");
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
    fn a_return_domain_has_an_mx_and_spf() {
        let all = of_settings("example.com", |settings| {
            settings.hostname = "mta1.example".to_owned();
            settings.returns.domains = vec!["return.example.com".to_owned()];
        });
        let wanted =
            [("MX", "10 mta1.example", RETURN_MX), ("TXT", "v=spf1 a:mta1.example ~all", RETURN_SPF)];
        for (record, (kind, value, purpose)) in all[all.len() - 2..].iter().zip(wanted) {
            let name = "return.example.com".to_owned();
            assert_eq!(*record, (kind, name, value.to_owned(), purpose));
        }
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
