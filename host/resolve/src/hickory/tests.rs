use super::*;
use crate::testing::{TestDns, Trouble};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn config(dns: &TestDns) -> ResolverConfig {
    ResolverConfig { nameservers: vec![dns.addr()], ..ResolverConfig::default() }
}

fn resolver(dns: &TestDns) -> HickoryResolver {
    HickoryResolver::new(config(dns)).unwrap()
}

fn names(route: &MailRoute) -> Vec<&str> {
    route.hosts.iter().map(|h| h.name.as_str()).collect()
}

#[tokio::test]
async fn mx_hosts_come_by_preference_with_both_families() {
    let dns = TestDns::start().await.unwrap();
    dns.mx("Example.com", &[(20, "b.example.net"), (10, "A.example.net")])
        .address("a.example.net", &[ip("192.0.2.1"), ip("2001:db8::1")])
        .address("b.example.net", &[ip("192.0.2.2")]);
    let route = resolver(&dns).route("EXAMPLE.com").await.unwrap();
    assert_eq!(names(&route), ["a.example.net", "b.example.net"]);
    assert_eq!(route.hosts[0].addresses, [ip("2001:db8::1"), ip("192.0.2.1")]);
    assert_eq!(route.site, "10 a.example.net,20 b.example.net");
    assert!(!route.implicit);
    assert!(route.ttl <= Duration::from_secs(60) && route.ttl > Duration::from_secs(50), "{:?}", route.ttl);
}

#[tokio::test]
async fn a_family_that_is_off_is_not_asked_for() {
    let dns = TestDns::start().await.unwrap();
    dns.mx("d.test", &[(1, "h.test")]).address("h.test", &[ip("192.0.2.1"), ip("2001:db8::1")]);
    let config = ResolverConfig { ip: IpFamily::Ipv4, ..config(&dns) };
    let route = HickoryResolver::new(config).unwrap().route("d.test").await.unwrap();
    assert_eq!(route.hosts[0].addresses, [ip("192.0.2.1")]);
    assert!(!dns.queries().iter().any(|q| q.starts_with("AAAA")));
}

#[tokio::test]
async fn the_domain_itself_only_without_mx() {
    let dns = TestDns::start().await.unwrap();
    dns.address("plain.test", &[ip("192.0.2.1")]);
    dns.mx("gone.test", &[(1, "nowhere.test")]).address("gone.test", &[ip("192.0.2.2")]);
    dns.txt("text.test", &["only"]);
    let resolver = resolver(&dns);
    let route = resolver.route("plain.test").await.unwrap();
    assert_eq!((names(&route), route.implicit, route.hosts[0].preference), (vec!["plain.test"], true, 0));
    assert_eq!(route.site, "0 plain.test");
    assert_eq!(resolver.route("gone.test").await, Err(ResolveError::NoMailHost("gone.test".to_owned())));
    assert_eq!(resolver.route("text.test").await, Err(ResolveError::NoMailHost("text.test".to_owned())));
}

#[tokio::test]
async fn null_mx_nxdomain_servfail_and_silence_are_told_apart() {
    let dns = TestDns::start().await.unwrap();
    dns.mx("null.test", &[(0, ".")]).address("null.test", &[ip("192.0.2.1")]);
    dns.trouble("broken.test", None, Trouble::ServFail).trouble("mute.test", None, Trouble::Silence);
    let resolver = resolver(&dns);
    assert_eq!(resolver.route("null.test").await, Err(ResolveError::NullMx("null.test".to_owned())));
    assert_eq!(resolver.route("none.test").await, Err(ResolveError::NoSuchDomain("none.test".to_owned())));
    let hasty = Tuning { timeout: Duration::from_millis(100), retries: 0, ..Tuning::default() };
    let hasty = HickoryResolver::tuned(config(&dns), hasty).unwrap();
    for (resolver, name) in [(resolver, "broken.test"), (hasty, "mute.test")] {
        match resolver.route(name).await {
            Err(ResolveError::Temporary { name: asked, .. }) => assert_eq!(asked, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn servfail_for_mx_does_not_fall_back_to_the_address() {
    let dns = TestDns::start().await.unwrap();
    dns.address("d.test", &[ip("192.0.2.1")]).trouble("d.test", Some("MX"), Trouble::ServFail);
    assert!(matches!(resolver(&dns).route("d.test").await, Err(ResolveError::Temporary { .. })));
}

#[tokio::test]
async fn aliases_are_followed() {
    let dns = TestDns::start().await.unwrap();
    dns.cname("alias.test", "real.test").mx("real.test", &[(1, "mx-alias.test")]);
    dns.cname("mx-alias.test", "mx.test").address("mx.test", &[ip("192.0.2.1")]);
    let route = resolver(&dns).route("alias.test").await.unwrap();
    assert_eq!(route.hosts[0].addresses, [ip("192.0.2.1")]);
    assert!(!route.implicit);
}

#[tokio::test]
async fn a_host_that_cannot_be_looked_up_is_kept_as_temporary() {
    let dns = TestDns::start().await.unwrap();
    dns.mx("d.test", &[(1, "bad.test"), (2, "good.test")]).address("good.test", &[ip("192.0.2.1")]);
    dns.trouble("bad.test", None, Trouble::ServFail);
    let route = resolver(&dns).route("d.test").await.unwrap();
    assert_eq!(names(&route), ["bad.test", "good.test"]);
    assert!(route.hosts[0].temporary && route.hosts[0].addresses.is_empty() && !route.hosts[1].temporary);
    dns.mx("e.test", &[(1, "bad.test")]);
    assert!(matches!(resolver(&dns).route("e.test").await, Err(ResolveError::Temporary { .. })));
}

#[tokio::test]
async fn a_truncated_answer_comes_over_tcp() {
    let dns = TestDns::start().await.unwrap();
    let hosts: Vec<String> = (0..120).map(|i| format!("host-number-{i:03}.example.net")).collect();
    let list: Vec<(u16, &str)> = hosts.iter().map(|h| (7, h.as_str())).collect();
    dns.mx("big.test", &list).trouble("big.test", Some("MX"), Trouble::Truncated);
    dns.address("host-number-000.example.net", &[ip("192.0.2.1")]);
    let route = resolver(&dns).route("big.test").await.unwrap();
    assert_eq!(route.hosts.iter().flat_map(|h| &h.addresses).collect::<Vec<_>>(), [&ip("192.0.2.1")]);
    assert_eq!(dns.queries().iter().filter(|q| *q == "MX big.test").count(), 2);
}

#[tokio::test]
async fn our_own_name_cuts_the_list_and_alone_it_is_a_loop() {
    let dns = TestDns::start().await.unwrap();
    dns.mx("d.test", &[(1, "first.test"), (2, "me.test"), (3, "last.test")])
        .mx("mine.test", &[(1, "me.test")]);
    for (host, address) in [("first.test", "192.0.2.1"), ("me.test", "192.0.2.2"), ("last.test", "192.0.2.3")]
    {
        dns.address(host, &[ip(address)]);
    }
    let mut by_name = config(&dns);
    by_name.own_names = vec!["ME.test.".to_owned()];
    let mut by_address = config(&dns);
    by_address.own_addresses = vec![ip("192.0.2.2")];
    for config in [by_name, by_address] {
        let resolver = HickoryResolver::new(config).unwrap();
        assert_eq!(names(&resolver.route("d.test").await.unwrap()), ["first.test"]);
        assert_eq!(resolver.route("mine.test").await, Err(ResolveError::LoopsBack("mine.test".to_owned())));
    }
}

#[tokio::test]
async fn refused_addresses_are_left_out() {
    let dns = TestDns::start().await.unwrap();
    dns.mx("d.test", &[(1, "h.test")]).address("h.test", &[ip("127.0.0.1"), ip("8.8.8.8"), ip("::1")]);
    let tuning = Tuning { refuse: Some(Arc::new(crate::reach::is_inner)), ..Tuning::default() };
    let route = HickoryResolver::tuned(config(&dns), tuning).unwrap().route("d.test").await.unwrap();
    assert_eq!(route.hosts[0].addresses, [ip("8.8.8.8")]);
}

#[tokio::test]
async fn answers_are_cached_for_their_ttl() {
    let dns = TestDns::start().await.unwrap();
    dns.ttl(90_000).mx("d.test", &[(1, "h.test")]).address("h.test", &[ip("192.0.2.1"), ip("2001:db8::1")]);
    let resolver = resolver(&dns);
    let first = resolver.route("d.test").await.unwrap();
    let asked = dns.queries().len();
    assert_eq!(first.ttl.as_secs().div_ceil(60), 60);
    assert_eq!(resolver.route("d.test").await.unwrap().hosts, first.hosts);
    assert_eq!(dns.queries().len(), asked);
}

#[tokio::test]
async fn txt_strings_are_joined_and_none_is_no_error() {
    let dns = TestDns::start().await.unwrap();
    dns.txt("s1._domainkey.d.test", &["v=DKIM1; ", "p=abc"]).trouble("bad.test", None, Trouble::ServFail);
    let resolver = resolver(&dns);
    assert_eq!(resolver.txt("s1._domainkey.d.test").await.unwrap(), ["v=DKIM1; p=abc"]);
    assert!(resolver.txt("none.test").await.unwrap().is_empty());
    assert!(resolver.txt("d.test").await.unwrap().is_empty());
    assert!(resolver.txt("bad.test").await.is_err());
}

#[tokio::test]
async fn names_that_cannot_exist_are_not_asked_for() {
    let dns = TestDns::start().await.unwrap();
    let long = format!("{}.test", "a".repeat(64));
    assert_eq!(resolver(&dns).route(&long).await, Err(ResolveError::NoSuchDomain(long.clone())));
    assert!(dns.queries().is_empty());
}

#[tokio::test]
async fn the_addresses_of_a_configured_host_are_found_and_cached() {
    let dns = TestDns::start().await.unwrap();
    dns.ttl(120).cname("smart.test", "real.test");
    dns.address("real.test", &[ip("192.0.2.1"), ip("10.0.0.1"), ip("2001:db8::1")]);
    // What is refused of strangers is not refused of the operator.
    let tuning = Tuning { refuse: Some(Arc::new(crate::reach::is_inner)), ..Tuning::default() };
    let resolver = HickoryResolver::tuned(config(&dns), tuning).unwrap();
    let mut found = resolver.addresses("Smart.test.").await.unwrap();
    found.addresses.sort();
    assert_eq!(found.addresses, [ip("10.0.0.1"), ip("192.0.2.1"), ip("2001:db8::1")]);
    assert!(found.ttl <= Duration::from_secs(120) && found.ttl > Duration::from_secs(100), "{:?}", found.ttl);
    let asked = dns.queries().len();
    assert_eq!(resolver.addresses("smart.test").await.unwrap().addresses.len(), 3);
    assert_eq!(dns.queries().len(), asked);
    assert!(!dns.queries().iter().any(|q| q.starts_with("MX")));
    let v6 = ResolverConfig { ip: IpFamily::Ipv6, ..config(&dns) };
    let found = HickoryResolver::new(v6).unwrap().addresses("smart.test").await.unwrap();
    assert_eq!(found.addresses, [ip("2001:db8::1")]);
}

#[tokio::test]
async fn a_configured_host_without_an_address_is_told_apart_from_one_that_cannot_be_looked_up() {
    let dns = TestDns::start().await.unwrap();
    dns.txt("text.test", &["only"]).trouble("broken.test", None, Trouble::ServFail);
    dns.address("half.test", &[ip("192.0.2.1")]).trouble("half.test", Some("AAAA"), Trouble::ServFail);
    let resolver = resolver(&dns);
    let failed = async |name| resolver.addresses(name).await.unwrap_err();
    assert_eq!(failed("none.test").await, ResolveError::NoSuchDomain("none.test".to_owned()));
    assert_eq!(failed("text.test").await, ResolveError::NoMailHost("text.test".to_owned()));
    assert!(
        matches!(failed("broken.test").await, ResolveError::Temporary { name, .. } if name == "broken.test")
    );
    assert_eq!(resolver.addresses("half.test").await.unwrap().addresses, [ip("192.0.2.1")]);
}

#[tokio::test]
async fn records_are_looked_up_as_they_are() {
    let dns = TestDns::start().await.unwrap();
    dns.txt("a.test", &["v=spf1 ", "-all"]).mx("a.test", &[(10, "MX.a.test"), (0, ".")]);
    dns.ptr("1.2.0.192.in-addr.arpa", "Mta.a.test").caa("a.test", true, "issue", "ca.test; x=y");
    dns.cname("alias.test", "a.test").address("a.test", &[ip("192.0.2.1"), ip("2001:db8::1")]);
    dns.trouble("broken.test", None, Trouble::ServFail);
    let resolver = resolver(&dns);
    for (kind, name, want) in [
        (RecordKind::Txt, "a.test", &["v=spf1 -all"][..]),
        (RecordKind::Txt, "alias.test", &["v=spf1 -all"]),
        (RecordKind::Mx, "a.test", &["10 mx.a.test", "0 "]),
        (RecordKind::Ptr, "1.2.0.192.in-addr.arpa", &["mta.a.test"]),
        (RecordKind::Caa, "a.test", &["128 issue ca.test; x=y"]),
        (RecordKind::A, "alias.test", &["192.0.2.1"]),
        (RecordKind::Aaaa, "a.test", &["2001:db8::1"]),
    ] {
        let want = want.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(resolver.look_up(kind, name).await, Found::Records(want), "{kind:?} {name}");
    }
    assert_eq!(resolver.look_up(RecordKind::Caa, "alias-not-there.test").await, Found::Nothing);
    assert_eq!(resolver.look_up(RecordKind::Ptr, "a.test").await, Found::Nothing);
    assert!(matches!(resolver.look_up(RecordKind::Txt, "broken.test").await, Found::Failed(_)));
}
