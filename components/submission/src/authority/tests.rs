//! Decision 10 of the design, rule by rule.

use std::net::Ipv4Addr;

use super::*;

/// Domains and their tenants, the more specific ones first.
struct Settings;

const DOMAINS: [(&str, &str); 4] = [
    ("special.example.com", "other"),
    ("example.com", "acme"),
    ("tracked.example", "acme"),
    ("other.example", "other"),
];

impl Ownership for Settings {
    type OwnedDomain = (&'static str, &'static str);

    fn covering(&self, domain: &str) -> Option<&Self::OwnedDomain> {
        DOMAINS.iter().find(|(name, _)| {
            domain.strip_suffix(name).is_some_and(|below| below.is_empty() || below.ends_with('.'))
        })
    }

    fn tenant<'a>(&self, domain: &'a Self::OwnedDomain) -> &'a str {
        domain.1
    }

    /// Those of `other` from 10.1.0.0/16 alone.
    fn may_use_from(&self, tenant: &str, peer: IpAddr) -> bool {
        let IpAddr::V4(peer) = peer.to_canonical() else { return tenant != "other" };
        tenant != "other" || peer.octets().starts_with(&Ipv4Addr::new(10, 1, 0, 0).octets()[..2])
    }
}

fn author(role: AuthorRole, domain: &str) -> Author {
    Author { role, address: format!("x@{domain}"), domain: domain.into() }
}

fn from(domain: &str) -> Author {
    author(AuthorRole::From, domain)
}

fn acme() -> Origin {
    Origin::Tenant("acme".into())
}

fn peer(ip: &str) -> Origin {
    Origin::Relay(ip.parse().expect("address"))
}

/// The domain that signs, `unsigned`, or the reply.
fn judge(origin: &Origin, sender: Option<&str>, claims: &[Author]) -> String {
    match authors(&Settings, origin, sender, claims) {
        Ok(Some((name, _))) => (*name).into(),
        Ok(None) => "unsigned".into(),
        Err(refused) => refused.text,
    }
}

#[test]
fn a_tenant_sends_as_its_domains_and_what_is_below_them() {
    for (from_domain, signs) in [
        ("example.com", "example.com"),
        ("a.b.example.com", "example.com"),
        ("tracked.example", "tracked.example"),
    ] {
        assert_eq!(judge(&acme(), Some("example.com"), &[from(from_domain)]), signs);
        assert_eq!(judge(&acme(), None, &[from(from_domain)]), signs);
    }
}

#[test]
fn every_claim_must_be_the_tenants() {
    let own = from("example.com");
    for (claims, sender, named) in [
        (vec![from("other.example")], None, "From domain other.example"),
        (vec![from("unknown.example")], None, "From domain unknown.example"),
        (vec![from("notexample.com")], None, "From domain notexample.com"),
        (vec![from("com")], None, "From domain com"),
        // A more specific entry of another tenant.
        (vec![from("special.example.com")], None, "From domain special.example.com"),
        (vec![from("x.special.example.com")], None, "From domain x.special.example.com"),
        (vec![own.clone(), from("other.example")], None, "From domain other.example"),
        (vec![own.clone(), author(AuthorRole::Sender, "other.example")], None, "Sender domain other.example"),
        (
            vec![own.clone(), author(AuthorRole::ResentFrom, "o.example")],
            None,
            "Resent-From domain o.example",
        ),
        (
            vec![own.clone(), author(AuthorRole::ResentSender, "o.example")],
            None,
            "Resent-Sender domain o.example",
        ),
        (vec![own], Some("other.example"), "reverse-path domain other.example"),
    ] {
        assert_eq!(judge(&acme(), sender, &claims), format!("{named} is not one you may send from"));
    }
}

#[test]
fn two_from_mailboxes_sign_as_the_first() {
    let claims = [from("tracked.example"), from("example.com")];
    assert_eq!(judge(&acme(), None, &claims), "tracked.example");
}

#[test]
fn without_a_from_mailbox_there_is_nobody_to_authorise() {
    let words = "the From field names no mailbox that could be authorised";
    assert_eq!(judge(&acme(), None, &[]), words);
    assert_eq!(judge(&peer("10.1.0.1"), None, &[author(AuthorRole::Sender, "example.com")]), words);
}

#[test]
fn on_the_relay_port_the_tenant_is_the_owner_of_from() {
    assert_eq!(judge(&peer("10.9.0.1"), Some("example.com"), &[from("example.com")]), "example.com");
    assert_eq!(
        judge(&peer("10.9.0.1"), Some("example.com"), &[from("unknown.example")]),
        "From domain unknown.example is not one you may send from"
    );
    assert_eq!(
        judge(&peer("10.1.0.1"), Some("example.com"), &[from("other.example")]),
        "reverse-path domain example.com is not one you may send from"
    );
    assert_eq!(
        judge(&peer("10.1.0.1"), None, &[from("other.example"), author(AuthorRole::Sender, "example.com")]),
        "Sender domain example.com is not one you may send from"
    );
}

#[test]
fn a_tenants_networks_hold_on_the_relay_port() {
    let claims = [from("other.example")];
    assert_eq!(judge(&peer("10.1.2.3"), Some("other.example"), &claims), "other.example");
    assert_eq!(judge(&peer("::ffff:10.1.2.3"), None, &claims), "other.example");
    for sender in [Some("other.example"), None] {
        assert_eq!(
            judge(&peer("10.2.0.1"), sender, &claims),
            "From domain other.example may not be used from your network"
        );
    }
}

#[test]
fn bounces_of_other_systems_belong_to_nobody() {
    assert_eq!(judge(&peer("10.9.0.1"), None, &[from("unknown.example")]), "unsigned");
    // But nobody may smuggle a tenant's name in.
    assert_eq!(
        judge(&peer("10.9.0.1"), None, &[from("unknown.example"), author(AuthorRole::Sender, "example.com")]),
        "From domain unknown.example is not one you may send from"
    );
    assert_eq!(
        judge(&acme(), None, &[from("unknown.example")]),
        "From domain unknown.example is not one you may send from"
    );
}

#[test]
fn the_reverse_path_is_checked_before_the_message() {
    let check = |origin: &Origin, domain: &str| {
        reverse_path(&Settings, origin, domain).map_err(|refused| refused.text)
    };
    assert_eq!(check(&acme(), "sub.example.com"), Ok(()));
    let refused = |text: &str| Err(text.to_owned());
    let foreign = "reverse-path domain other.example is not one you may send from";
    assert_eq!(check(&acme(), "other.example"), refused(foreign));
    assert_eq!(check(&peer("10.1.0.1"), "other.example"), Ok(()));
    let network = "reverse-path domain other.example may not be used from your network";
    assert_eq!(check(&peer("10.2.0.1"), "other.example"), refused(network));
    let unknown = "reverse-path domain x.example is not one you may send from";
    assert_eq!(check(&peer("10.2.0.1"), "x.example"), refused(unknown));
}
