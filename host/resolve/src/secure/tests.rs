//! DANE over zones that are signed, badly signed and not signed.

use std::time::Duration;

use super::*;
use crate::testing::TestDns;
use crate::testing::signed::{DenialBy, Flaw, SignedDns};

const DIGEST: [u8; 32] = [7; 32];

struct Scene {
    dns: SignedDns,
    _anchor: tempfile::TempDir,
    dane: DaneLookUp<SecureResolver>,
}

/// A world with `test` below the root, and no domain yet.
async fn scene() -> Scene {
    let dns = SignedDns::start().await.unwrap();
    dns.zone("test", Some(13), DenialBy::Nsec).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("root.key");
    std::fs::write(&path, dns.trust_anchor()).unwrap();
    let config = SecureConfig {
        nameservers: vec![dns.addr()],
        trust_anchor: Some(path),
        timeout: Some(Duration::from_millis(300)),
    };
    let dane = DaneLookUp::new(SecureResolver::new(&config).unwrap(), 25);
    Scene { dns, _anchor: folder, dane }
}

/// `example.test` with the host `mx.example.test` at `192.0.2.1`.
fn publish(dns: &SignedDns, algorithm: Option<u8>, denial: DenialBy) {
    dns.zone("example.test", algorithm, denial).unwrap();
    dns.mx("example.test", &["mx.example.test"]);
    dns.address("mx.example.test", &["192.0.2.1".parse().unwrap()]);
}

const TLSA: &str = "_25._tcp.mx.example.test";

impl Scene {
    async fn state(&self) -> DaneState {
        self.dane.hosts("example.test", &["mx.example.test"]).await.remove(0).state
    }

    fn asked(&self, question: &str) -> bool {
        self.dns.queries().iter().any(|query| query == question)
    }
}

fn is_deferred(state: &DaneState) -> bool {
    matches!(state, DaneState::Defer(_))
}

#[tokio::test]
async fn records_are_found_whatever_the_zone_is_signed_with() {
    for (algorithm, denial) in
        [(13, DenialBy::Nsec), (8, DenialBy::Nsec3), (7, DenialBy::Nsec3), (13, DenialBy::OptOut)]
    {
        let scene = scene().await;
        publish(&scene.dns, Some(algorithm), denial);
        scene.dns.tlsa(TLSA, 3, 1, 1, &DIGEST);
        let found = Tlsa { usage: 3, selector: 1, matching_type: 1, data: DIGEST.to_vec() };
        assert_eq!(scene.state().await, DaneState::Records(vec![found]), "{algorithm} {denial:?}");
    }
}

#[tokio::test]
async fn absence_is_proved_by_nsec_and_nsec3() {
    for denial in [DenialBy::Nsec, DenialBy::Nsec3] {
        let scene = scene().await;
        publish(&scene.dns, Some(13), denial);
        let none = DaneState::NotApplicable(NotApplicable::NoTlsa);
        assert_eq!(scene.state().await, none, "{denial:?}");
        assert!(scene.asked(&format!("TLSA {TLSA}")));
    }
}

#[tokio::test]
async fn an_unsigned_domain_needs_no_tlsa_question() {
    for parent in [DenialBy::Nsec, DenialBy::Nsec3, DenialBy::OptOut] {
        let scene = scene().await;
        scene.dns.zone("test", Some(13), parent).unwrap();
        publish(&scene.dns, None, DenialBy::Nsec);
        scene.dns.tlsa(TLSA, 3, 1, 1, &DIGEST);
        let insecure = DaneState::NotApplicable(NotApplicable::InsecureMx);
        assert_eq!(scene.state().await, insecure, "{parent:?}");
        assert!(!scene.asked(&format!("TLSA {TLSA}")));
    }
}

#[tokio::test]
async fn a_host_in_an_unsigned_zone_is_never_asked_for_tlsa_records() {
    let scene = scene().await;
    publish(&scene.dns, Some(13), DenialBy::Nsec);
    scene.dns.zone("big.test", None, DenialBy::Nsec).unwrap();
    scene.dns.mx("example.test", &["mx.big.test"]);
    scene.dns.address("mx.big.test", &["192.0.2.9".parse().unwrap()]);
    scene.dns.flaw("_25._tcp.mx.big.test", "TLSA", Flaw::ServFail);
    let hosts = scene.dane.hosts("example.test", &["mx.big.test", "mx.example.test"]).await;
    let insecure = DaneState::NotApplicable(NotApplicable::InsecureAddresses);
    assert_eq!(hosts[0].state, insecure);
    assert_eq!(hosts[1].state, DaneState::NotApplicable(NotApplicable::NoTlsa));
    assert!(!scene.asked("TLSA _25._tcp.mx.big.test"));
}

#[tokio::test]
async fn what_is_forged_stale_or_missing_puts_the_host_off() {
    let trouble = [
        (TLSA, "TLSA", Flaw::ServFail),
        (TLSA, "TLSA", Flaw::Silence),
        (TLSA, "TLSA", Flaw::Expired),
        (TLSA, "TLSA", Flaw::Forged),
        (TLSA, "TLSA", Flaw::Unsigned),
        (TLSA, "TLSA", Flaw::ForeignDenial),
        ("example.test", "MX", Flaw::ServFail),
        ("example.test", "MX", Flaw::Forged),
        ("example.test", "MX", Flaw::Unsigned),
        ("example.test", "MX", Flaw::ForeignDenial),
        ("mx.example.test", "A", Flaw::Forged),
        ("mx.example.test", "A", Flaw::Expired),
        ("mx.example.test", "A", Flaw::Unsigned),
        ("mx.example.test", "A", Flaw::ForeignDenial),
    ];
    for (name, kind, flaw) in trouble {
        let scene = scene().await;
        scene.dns.zone("unsigned.test", None, DenialBy::Nsec).unwrap();
        publish(&scene.dns, Some(13), DenialBy::Nsec);
        scene.dns.tlsa(TLSA, 3, 1, 1, &DIGEST);
        scene.dns.flaw(name, kind, flaw);
        let state = scene.state().await;
        assert!(is_deferred(&state), "{kind} {name} {flaw:?}: {state:?}");
        let is_bogus = matches!(&state, DaneState::Defer(DeferReason::Failed(SecureFailure::Bogus(_))));
        let must_be = matches!(flaw, Flaw::Expired | Flaw::Forged | Flaw::Unsigned);
        assert!(is_bogus || !must_be, "{kind} {name} {flaw:?}: {state:?}");
    }
}

/// RFC 7672 section 2.1.3: TLSA records that are not signed are none.
#[tokio::test]
async fn a_zone_without_signatures_below_a_signed_host_has_no_tlsa_records() {
    for denial in [DenialBy::Nsec, DenialBy::Nsec3] {
        for (apex, name) in
            [("_tcp.mx.example.test", TLSA), ("_tcp.mx.example.test", "x._tcp.mx.example.test"), (TLSA, TLSA)]
        {
            let scene = scene().await;
            publish(&scene.dns, Some(13), denial);
            scene.dns.zone(apex, None, denial).unwrap();
            let insecure = DaneState::NotApplicable(NotApplicable::InsecureTlsa);
            assert_eq!(scene.state().await, insecure, "{apex} is empty");
            let scene = scene_with(apex, name, denial).await;
            assert_eq!(scene.state().await, insecure, "{apex} has {name}");
        }
    }
}

async fn scene_with(apex: &str, name: &str, denial: DenialBy) -> Scene {
    let scene = scene().await;
    publish(&scene.dns, Some(13), denial);
    scene.dns.zone(apex, None, denial).unwrap();
    scene.dns.tlsa(name, 3, 1, 1, &DIGEST);
    scene
}

#[tokio::test]
async fn one_family_that_fails_does_not_hide_the_other() {
    let scene = scene().await;
    publish(&scene.dns, Some(13), DenialBy::Nsec);
    scene.dns.tlsa(TLSA, 2, 0, 2, &[1; 64]).flaw("mx.example.test", "AAAA", Flaw::ServFail);
    assert!(matches!(scene.state().await, DaneState::Records(_)));
}

#[tokio::test]
async fn a_host_that_the_signed_answer_does_not_name_is_put_off() {
    let scene = scene().await;
    publish(&scene.dns, Some(13), DenialBy::Nsec);
    let hosts = scene.dane.hosts("example.test", &["mx.evil.test"]).await;
    let contradiction = DeferReason::Contradiction("mx.evil.test".to_owned());
    assert_eq!(hosts[0].state, DaneState::Defer(contradiction));
}

#[tokio::test]
async fn records_that_nothing_can_match_are_unusable() {
    let scene = scene().await;
    publish(&scene.dns, Some(13), DenialBy::Nsec);
    scene.dns.tlsa(TLSA, 0, 0, 1, &DIGEST).tlsa(TLSA, 1, 1, 1, &DIGEST);
    scene.dns.tlsa(TLSA, 3, 1, 1, &[7; 20]).tlsa(TLSA, 3, 1, 9, &DIGEST).tlsa(TLSA, 3, 7, 1, &DIGEST);
    assert_eq!(scene.state().await, DaneState::Unusable);
}

#[tokio::test]
async fn aliases_lead_to_the_name_whose_chain_is_signed() {
    let scene = scene().await;
    publish(&scene.dns, Some(13), DenialBy::Nsec);
    scene.dns.zone("unsigned.test", None, DenialBy::Nsec).unwrap();
    scene.dns.zone("signed.test", Some(8), DenialBy::Nsec3).unwrap();
    let address = ["192.0.2.3".parse().unwrap()];
    scene.dns.address("a.signed.test", &address).address("b.signed.test", &address);
    scene.dns.address("a.unsigned.test", &address);
    scene.dns.mx("example.test", &["one.example.test", "two.example.test", "out.example.test"]);
    scene.dns.cname("one.example.test", "a.signed.test").tlsa("_25._tcp.a.signed.test", 3, 1, 1, &DIGEST);
    scene.dns.cname("two.example.test", "b.signed.test");
    scene.dns.tlsa("_25._tcp.two.example.test", 3, 1, 1, &DIGEST);
    scene.dns.cname("out.example.test", "a.unsigned.test");
    scene.dns.tlsa("_25._tcp.out.example.test", 3, 1, 1, &DIGEST);
    scene.dns.flaw("_25._tcp.a.unsigned.test", "TLSA", Flaw::ServFail);
    let names = ["one.example.test", "two.example.test", "out.example.test"];
    let hosts = scene.dane.hosts("example.test", &names).await;
    let bases: Vec<_> = hosts.iter().map(|host| host.base.as_str()).collect();
    assert_eq!(bases, ["a.signed.test", "two.example.test", "out.example.test"]);
    assert!(hosts.iter().all(|host| matches!(host.state, DaneState::Records(_))), "{hosts:?}");
    assert_eq!(hosts[0].names, ["a.signed.test", "example.test"]);
}

#[tokio::test]
async fn records_are_found_beside_what_a_resolver_left_over() {
    let scene = scene().await;
    publish(&scene.dns, Some(13), DenialBy::Nsec);
    scene.dns.cname(TLSA, "record.example.test").tlsa("record.example.test", 3, 1, 1, &DIGEST);
    scene.dns.flaw(TLSA, "TLSA", Flaw::LeftOver);
    assert!(matches!(scene.state().await, DaneState::Records(_)), "{:?}", scene.state().await);
}

#[tokio::test]
async fn records_of_a_wildcard_are_those_of_the_names_that_it_stands_for() {
    for denial in [DenialBy::Nsec, DenialBy::Nsec3] {
        let scene = scene().await;
        publish(&scene.dns, Some(13), denial);
        scene.dns.tlsa("*._tcp.mx.example.test", 3, 1, 1, &DIGEST);
        let state = scene.state().await;
        assert!(matches!(state, DaneState::Records(_)), "{denial:?}: {state:?}");
        let scene = self::scene().await;
        publish(&scene.dns, Some(13), denial);
        scene.dns.tlsa("*._tcp.mx.example.test", 3, 1, 1, &DIGEST).flaw(TLSA, "TLSA", Flaw::Undenied);
        assert!(is_deferred(&scene.state().await), "{denial:?}: the name may be there");
    }
}

#[tokio::test]
async fn a_name_in_an_unsigned_zone_behind_a_dname_has_no_dane() {
    let scene = scene().await;
    publish(&scene.dns, Some(13), DenialBy::Nsec);
    scene.dns.zone("unsigned.test", None, DenialBy::Nsec).unwrap();
    scene.dns.dname("old.example.test", "unsigned.test").mx("example.test", &["way.old.example.test"]);
    scene.dns.address("way.unsigned.test", &["192.0.2.7".parse().unwrap()]);
    let hosts = scene.dane.hosts("example.test", &["way.old.example.test"]).await;
    assert!(matches!(hosts[0].state, DaneState::NotApplicable(_)), "{hosts:?}");
}

#[tokio::test]
async fn names_below_a_dname_are_aliases() {
    let scene = scene().await;
    publish(&scene.dns, Some(13), DenialBy::Nsec);
    scene.dns.zone("new.test", Some(8), DenialBy::Nsec3).unwrap();
    let address = ["192.0.2.6".parse().unwrap()];
    scene.dns.dname("old.example.test", "hosts.new.test");
    scene.dns.mx("shop.hosts.new.test", &["mx.old.example.test", "mx.example.test"]);
    scene.dns.address("mx.hosts.new.test", &address).tlsa("_25._tcp.mx.hosts.new.test", 3, 1, 1, &DIGEST);
    scene.dns.dname("_tcp.mx.example.test", "records.new.test").tlsa(
        "_25.records.new.test",
        3,
        1,
        1,
        &DIGEST,
    );
    let names = ["mx.old.example.test", "mx.example.test"];
    let hosts = scene.dane.hosts("shop.old.example.test", &names).await;
    assert!(hosts.iter().all(|host| matches!(host.state, DaneState::Records(_))), "{hosts:?}");
    assert_eq!(hosts[0].base, "mx.hosts.new.test");
    assert!(hosts[0].names.contains(&"shop.hosts.new.test".to_owned()), "{hosts:?}");
}

#[tokio::test]
async fn an_alias_that_is_forged_leads_nowhere() {
    for (name, kind) in [("record.example.test", "TLSA"), (TLSA, "CNAME")] {
        let scene = scene().await;
        publish(&scene.dns, Some(13), DenialBy::Nsec);
        scene.dns.cname(TLSA, "record.example.test").tlsa("record.example.test", 3, 1, 1, &DIGEST);
        scene.dns.flaw(TLSA, "TLSA", Flaw::LeftOver).flaw(name, kind, Flaw::Forged);
        assert!(is_deferred(&scene.state().await), "{name}");
    }
}

#[tokio::test]
async fn a_domain_without_mx_is_its_own_host() {
    let scene = scene().await;
    scene.dns.zone("bare.test", Some(13), DenialBy::Nsec).unwrap();
    scene.dns.address("bare.test", &["192.0.2.4".parse().unwrap()]);
    scene.dns.tlsa("_25._tcp.bare.test", 3, 0, 1, &DIGEST);
    let hosts = scene.dane.hosts("bare.test", &["bare.test"]).await;
    assert!(matches!(hosts[0].state, DaneState::Records(_)), "{hosts:?}");
    assert_eq!(hosts[0].names, ["bare.test"]);
}

#[tokio::test]
async fn a_server_without_signatures_switches_dane_off_and_one_that_loses_them_does_not() {
    let scene = scene().await;
    publish(&scene.dns, Some(13), DenialBy::Nsec);
    assert_eq!(scene.dane.support().await, DnssecSupport::Available);
    scene.dns.strip();
    assert!(is_deferred(&scene.state().await), "signatures were stripped");

    let plain = TestDns::start().await.unwrap();
    let config = SecureConfig { nameservers: vec![plain.addr()], ..SecureConfig::default() };
    let dane = DaneLookUp::new(SecureResolver::new(&config).unwrap(), 25);
    let hosts = dane.hosts("example.test", &["mx.example.test"]).await;
    assert_eq!(hosts[0].state, DaneState::NotApplicable(NotApplicable::NoDnssec));
}

#[tokio::test]
async fn a_server_that_fails_proves_nothing() {
    for flaw in [Flaw::ServFail, Flaw::Refused, Flaw::Silence] {
        let scene = scene().await;
        scene.dns.flaw("", "SOA", flaw);
        let state = scene.state().await;
        assert!(matches!(state, DaneState::Defer(DeferReason::Support(_))), "{state:?}");
    }
}

#[tokio::test]
async fn answers_are_shared_and_remembered() {
    let scene = scene().await;
    publish(&scene.dns, Some(13), DenialBy::Nsec);
    scene.dns.tlsa(TLSA, 3, 1, 1, &DIGEST);
    let (a, b) = tokio::join!(scene.state(), scene.state());
    assert_eq!(a, b);
    let before = scene.dns.queries().len();
    assert_eq!(scene.state().await, a);
    assert_eq!(scene.dns.queries().len(), before);
    let tlsa = scene.dns.queries().iter().filter(|query| query.starts_with("TLSA")).count();
    assert_eq!(tlsa, 1);
}

#[test]
fn a_file_of_trust_anchors_must_hold_keys() {
    let folder = tempfile::tempdir().unwrap();
    for (text, reason) in [("; nothing\n", "no DNSKEY"), ("example. IN A 192.0.2.1\n", "root.key")] {
        let path = folder.path().join("root.key");
        std::fs::write(&path, text).unwrap();
        let config = SecureConfig { trust_anchor: Some(path), ..SecureConfig::default() };
        let error = SecureResolver::new(&config).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn tlsa_data_are_read_and_judged() {
    assert_eq!(Tlsa::parse(&[3, 1]), None);
    let read = |octets: &[u8]| Tlsa::parse(octets).is_some_and(|tlsa| tlsa.is_usable());
    assert!(read(&[&[3, 1, 1][..], &DIGEST].concat()));
    assert!(read(&[2, 0, 0, 1]));
    assert!(!read(&[3, 1, 0]), "no data");
    assert!(!read(&[&[1, 1, 1][..], &DIGEST].concat()), "PKIX-EE");
}
