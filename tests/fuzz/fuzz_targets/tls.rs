//! What strangers publish about TLS: MTA-STS policies and records, TLSRPT records, TLSA records.
//! The files are read by themselves: the crates around them need a network.
#![no_main]
#![allow(dead_code, unreachable_pub, reason = "parts of other crates")]

#[path = "../../../host/tls/src/mta_sts/policy.rs"]
mod policy;
#[path = "../../../host/tls/src/mta_sts/record.rs"]
mod record;
#[path = "../../../host/tls/src/report/record.rs"]
mod targets;
#[path = "../../../host/resolve/src/secure/tlsa.rs"]
mod tlsa;

use libfuzzer_sys::fuzz_target;
use policy::{MAX_POLICY, StsMode, StsPolicy};
use record::StsRecord;
use relevo_fuzz::{octet, seeded_bug};
use targets::{ReportTargets, ReportUri};
use tlsa::Tlsa;

fn policies(octets: &[u8]) {
    let Ok(policy) = StsPolicy::parse(octets) else { return };
    assert!(octets.len() <= MAX_POLICY && (!policy.mx.is_empty() || policy.mode == StsMode::None));
    let mut text = format!("version: STSv1\r\nmode: none\r\nmax_age: {}\r\n", policy.max_age.as_secs());
    for pattern in &policy.mx {
        text += &format!("mx: {pattern}\r\n");
    }
    let again = StsPolicy::parse(text.as_bytes()).expect("a policy that was read");
    assert_eq!((&again.mx, again.max_age), (&policy.mx, policy.max_age));
    // The other patterns may name a host that one of them does not.
    for pattern in &policy.mx {
        let alone = StsPolicy { mx: vec![pattern.clone()], ..policy.clone() };
        let Some(parent) = pattern.strip_prefix("*.") else {
            assert!(alone.names_host(pattern));
            continue;
        };
        assert!(alone.names_host(&format!("a.{parent}")) && !alone.names_host(parent));
        let deeper = if seeded_bug() { format!("a.{parent}") } else { format!("a.b.{parent}") };
        assert!(!alone.names_host(&deeper), "a wildcard stands for more than a label");
    }
}

fn records(text: &str) {
    if let Some(record) = StsRecord::parse(text) {
        assert!((1..=32).contains(&record.id.len()));
        assert_eq!(StsRecord::parse(&format!("v=STSv1; id={};", record.id)), Some(record));
    }
    let Some(ReportTargets(places)) = ReportTargets::parse(text) else { return };
    assert!(!places.is_empty());
    for place in places {
        let (ReportUri::Mail(place) | ReportUri::Https(place)) = place;
        assert!(place.bytes().all(|octet| octet.is_ascii_graphic()));
    }
}

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    match octet(&mut rest) % 3 {
        0 => policies(rest),
        1 => records(&String::from_utf8_lossy(rest)),
        _ => {
            if let Some(tlsa) = Tlsa::parse(rest) {
                assert!(!tlsa.is_usable() || (matches!(tlsa.usage, 2 | 3) && !tlsa.data.is_empty()));
                assert_eq!(tlsa.data.len() + 3, rest.len());
            }
        }
    }
});
