//! What is examined of a domain, as it is configured.

use std::net::IpAddr;

use relevo_doctor::{DkimKey, ReturnDomain, Source, Subject, TrackingHost, TrackingReply};

use crate::records::spf_terms;
use crate::settings::{Domain, Settings, Tracking};

/// A domain without certificates, rates and time.
pub(super) fn of(domain: &Domain, settings: &Settings) -> Subject {
    let delivery = &settings.delivery;
    let key = |key: &crate::settings::DkimKey| DkimKey {
        selector: key.selector.clone(),
        record: key.key.public_record(),
    };
    let return_domain = settings.returns.domain_for(&settings.directory, &domain.name);
    Subject {
        domain: domain.name.clone(),
        hostname: settings.hostname.clone(),
        sources: sources(domain, settings),
        ehlo: delivery.ehlo.clone(),
        has_smarthost: delivery.smarthost.is_some(),
        spf_terms: spf_terms(domain, settings),
        dkim: domain.dkim.iter().map(key).collect(),
        return_domain: return_domain.map(|name| ReturnDomain { name: name.to_owned() }),
        certificates: Vec::new(),
        tracking: domain.tracking.as_ref().map(tracking),
        rates: Vec::new(),
        listings: Vec::new(),
        snds: Vec::new(),
        now: 0,
    }
}

/// The configured addresses: those of the domain's pools, and without pools those of `[delivery]`.
fn sources(domain: &Domain, settings: &Settings) -> Vec<Source> {
    let delivery = &settings.delivery;
    let mut sources: Vec<Source> = Vec::new();
    if delivery.smarthost.is_some() {
        // Receivers see its address.
        return sources;
    }
    let mut add = |address: IpAddr, ehlo: &str| {
        if !sources.iter().any(|source| source.address == address) {
            sources.push(Source { address, ehlo: ehlo.to_owned() });
        }
    };
    let pools = domain.grants.pools.iter().filter_map(|name| delivery.pools.get(name));
    for pool in pools {
        let ehlo = pool.ehlo.as_deref().unwrap_or(&delivery.ehlo);
        pool.source_ipv4.iter().chain(&pool.source_ipv6).for_each(|address| add(*address, ehlo));
    }
    for address in delivery.source_ipv4.iter().chain(&delivery.source_ipv6) {
        add(*address, &delivery.ehlo);
    }
    sources
}

fn tracking(tracking: &Tracking) -> TrackingHost {
    let host = tracking.host();
    let name = match host.rsplit_once(':') {
        // A port, not the end of an IPv6 address.
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty() => name,
        _ => host,
    };
    let is_https = tracking.url.starts_with("https://");
    TrackingHost { host: name.to_owned(), is_https, reply: TrackingReply::NotAsked }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    #[test]
    fn the_subject_is_what_is_configured() {
        let world = World::with(|settings| {
            settings.hostname = "mta1.example".to_owned();
            settings.delivery.ehlo = "out.example".to_owned();
            settings.delivery.source_ipv4 = Some("192.0.2.1".parse().expect("an address"));
        });
        let settings = world.settings.get();
        let subject =
            of(settings.directory.configured_domain("tracked.example").expect("configured"), &settings);
        let source = Source { address: [192, 0, 2, 1].into(), ehlo: "out.example".to_owned() };
        assert_eq!((subject.sources, subject.has_smarthost), (vec![source], false));
        assert_eq!(subject.spf_terms, ["a:mta1.example", "ip4:192.0.2.1"]);
        let tracking = subject.tracking.expect("configured");
        assert_eq!((tracking.host.as_str(), tracking.is_https), ("t.example.com", true));
        assert!(subject.dkim.iter().all(|key| key.record.starts_with("v=DKIM1; ")));
    }
}
