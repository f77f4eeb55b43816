//! From answers to a route: order, our own place in it, limits. No DNS here.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::api::{IpFamily, MailHost, MailRoute, ResolveError};

/// Addresses of a route (one attempt tries them all).
const MAX_ADDRESSES: usize = 10;

/// MX hosts that are looked up. Beyond that nobody's mail gets better.
const MAX_HOSTS: usize = 20;

const MIN_TTL: Duration = Duration::from_secs(30);
const MAX_TTL: Duration = Duration::from_secs(3600);

/// Who we are: mail for these goes round in a circle.
#[derive(Debug, Default)]
pub(crate) struct Ourselves {
    /// Lower case, without a final dot.
    pub(crate) names: HashSet<String>,
    pub(crate) addresses: HashSet<IpAddr>,
}

impl Ourselves {
    fn is(&self, host: &MailHost) -> bool {
        let ours = |ip: &IpAddr| self.addresses.contains(&ip.to_canonical());
        self.names.contains(&host.name) || host.addresses.iter().any(ours)
    }
}

/// The exchangers of MX records: preference and name (lower case, no final dot, empty for the
/// root). Sorted, without repeats and without what cannot be a host; none left is `NullMx` when the
/// root was among them (RFC 7505).
pub(crate) fn exchangers(
    domain: &str,
    mut mx: Vec<(u16, String)>,
) -> Result<Vec<(u16, String)>, ResolveError> {
    let null = mx.iter().any(|(_, name)| name.is_empty());
    // Names end up in logs and keys: what is not a host name cannot be reached either.
    let host = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    mx.retain(|(_, name)| !name.is_empty() && name.bytes().all(host));
    mx.sort();
    let mut seen = HashSet::new();
    mx.retain(|(_, name)| seen.insert(name.clone()));
    mx.truncate(MAX_HOSTS);
    match (mx.is_empty(), null) {
        (true, true) => Err(ResolveError::NullMx(domain.to_owned())),
        (true, false) => Err(ResolveError::NoMailHost(domain.to_owned())),
        (false, _) => Ok(mx),
    }
}

/// The name of a set of MX hosts. `mx` is sorted.
pub(crate) fn site(mx: &[(u16, String)]) -> String {
    let names: Vec<String> = mx.iter().map(|(preference, name)| format!("{preference} {name}")).collect();
    names.join(",")
}

/// The hosts in the order to be tried: by preference, at random among equals; from our own
/// preference on cut off (RFC 5321 section 5.1); at most 10 addresses in all.
pub(crate) fn order(
    domain: &str,
    mut hosts: Vec<MailHost>,
    ourselves: &Ourselves,
    random: &dyn Fn() -> u64,
) -> Result<Vec<MailHost>, ResolveError> {
    if let Some(own) = hosts.iter().filter(|h| ourselves.is(h)).map(|h| h.preference).min() {
        hosts.retain(|h| h.preference < own);
        if hosts.is_empty() {
            return Err(ResolveError::LoopsBack(domain.to_owned()));
        }
    }
    hosts.sort_by_cached_key(|h| (h.preference, random()));
    let mut left = MAX_ADDRESSES;
    for host in &mut hosts {
        host.addresses.truncate(left);
        left -= host.addresses.len();
    }
    // Behind the last address there is nothing to be tried.
    if left == 0 {
        let last = hosts.iter().rposition(|h| !h.addresses.is_empty()).unwrap_or_default();
        hosts.truncate(last + 1);
    }
    if hosts.iter().all(|h| h.addresses.is_empty()) {
        return Err(match hosts.iter().find(|h| h.temporary) {
            Some(host) => ResolveError::Temporary {
                name: host.name.clone(),
                detail: "no mail exchanger has an address, and not all could be looked up".to_owned(),
            },
            None => ResolveError::NoMailHost(domain.to_owned()),
        });
    }
    Ok(hosts)
}

/// Addresses of one host: each family at random, the two in turn with IPv6 first, so that a family
/// that does not work costs one attempt and not all.
pub(crate) fn interleave(
    family: IpFamily,
    mut v4: Vec<IpAddr>,
    mut v6: Vec<IpAddr>,
    random: &dyn Fn() -> u64,
) -> Vec<IpAddr> {
    v4.sort_by_cached_key(|_| random());
    v6.sort_by_cached_key(|_| random());
    match family {
        IpFamily::Ipv4 => v4,
        IpFamily::Ipv6 => v6,
        IpFamily::Any => {
            let mut both = Vec::with_capacity(v4.len() + v6.len());
            let (mut v4, mut v6) = (v4.into_iter(), v6.into_iter());
            loop {
                let pair = (v6.next(), v4.next());
                both.extend(pair.0);
                both.extend(pair.1);
                if pair == (None, None) {
                    return both;
                }
            }
        }
    }
}

/// How long a route may be kept.
pub(crate) fn bounded(ttl: Duration) -> Duration {
    ttl.clamp(MIN_TTL, MAX_TTL)
}

impl MailRoute {
    /// Puts it together.
    pub(crate) fn of(hosts: Vec<MailHost>, site: String, ttl: Duration, implicit: bool) -> Self {
        Self { hosts, site, ttl: bounded(ttl), implicit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn mx(list: &[(u16, &str)]) -> Vec<(u16, String)> {
        list.iter().map(|(p, n)| (*p, (*n).to_owned())).collect()
    }

    fn host(preference: u16, name: &str, addresses: &[&str]) -> MailHost {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        MailHost { name: name.to_owned(), preference, addresses, temporary: false }
    }

    fn names(hosts: &[MailHost]) -> Vec<&str> {
        hosts.iter().map(|h| h.name.as_str()).collect()
    }

    #[test]
    fn exchangers_are_sorted_without_repeats_and_without_what_is_no_host() {
        let list = [(20, "b.example"), (10, "a.example"), (30, "a.example"), (5, ""), (5, "x\\000.example")];
        assert_eq!(exchangers("d", mx(&list)).unwrap(), mx(&[(10, "a.example"), (20, "b.example")]));
        assert_eq!(exchangers("d", mx(&[(0, "")])), Err(ResolveError::NullMx("d".to_owned())));
        assert_eq!(exchangers("d", mx(&[(0, "a b")])), Err(ResolveError::NoMailHost("d".to_owned())));
        let many: Vec<_> = (0..100).map(|i| (1, format!("h{i}.example"))).collect();
        assert_eq!(exchangers("d", many).unwrap().len(), MAX_HOSTS);
    }

    #[test]
    fn equals_are_in_random_order_and_preference_wins() {
        let next = Cell::new(100_u64);
        let falling = || {
            next.set(next.get() - 1);
            next.get()
        };
        let hosts =
            vec![host(10, "a", &["192.0.2.1"]), host(10, "b", &["192.0.2.2"]), host(5, "c", &["192.0.2.3"])];
        let ordered = order("d", hosts, &Ourselves::default(), &falling).unwrap();
        assert_eq!(names(&ordered), ["c", "b", "a"]);
    }

    #[test]
    fn our_own_preference_cuts_the_list() {
        let us = Ourselves {
            names: HashSet::from(["me".to_owned()]),
            addresses: HashSet::from(["192.0.2.9".parse().unwrap()]),
        };
        let by_name = vec![
            host(5, "a", &["192.0.2.1"]),
            host(10, "b", &["192.0.2.2"]),
            host(10, "me", &["192.0.2.3"]),
            host(20, "c", &["192.0.2.4"]),
        ];
        assert_eq!(names(&order("d", by_name, &us, &|| 0).unwrap()), ["a"]);
        let by_address = vec![host(5, "a", &["192.0.2.1"]), host(10, "b", &["::ffff:192.0.2.9"])];
        assert_eq!(names(&order("d", by_address, &us, &|| 0).unwrap()), ["a"]);
        let only = vec![host(5, "a", &["192.0.2.9"]), host(5, "b", &["192.0.2.1"])];
        assert_eq!(order("d", only, &us, &|| 0), Err(ResolveError::LoopsBack("d".to_owned())));
    }

    #[test]
    fn ten_addresses_are_enough() {
        let addresses: Vec<String> = (1..=7).map(|i| format!("192.0.2.{i}")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let hosts = vec![host(1, "a", &addresses), host(2, "b", &addresses), host(3, "c", &addresses)];
        let ordered = order("d", hosts, &Ourselves::default(), &|| 0).unwrap();
        assert_eq!(ordered.iter().map(|h| h.addresses.len()).collect::<Vec<_>>(), [7, 3]);
    }

    #[test]
    fn without_addresses_it_depends_on_why() {
        let gone = |temporary| vec![host(1, "a", &[]), MailHost { temporary, ..host(2, "b", &[]) }];
        let order = |hosts| order("d", hosts, &Ourselves::default(), &|| 0);
        assert_eq!(order(gone(false)), Err(ResolveError::NoMailHost("d".to_owned())));
        assert!(matches!(order(gone(true)), Err(ResolveError::Temporary { name, .. }) if name == "b"));
    }

    #[test]
    fn families_take_turns_with_ipv6_first() {
        let v4: Vec<IpAddr> = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|a| a.parse().unwrap()).to_vec();
        let v6: Vec<IpAddr> = vec!["2001:db8::1".parse().unwrap()];
        let all = interleave(IpFamily::Any, v4.clone(), v6.clone(), &|| 0);
        assert_eq!(all, [v6[0], v4[0], v4[1], v4[2]]);
        assert_eq!(interleave(IpFamily::Ipv4, v4.clone(), v6.clone(), &|| 0), v4);
        assert_eq!(interleave(IpFamily::Ipv6, v4, v6.clone(), &|| 0), v6);
    }

    #[test]
    fn a_site_names_hosts_with_preference() {
        assert_eq!(site(&mx(&[(10, "a.example"), (20, "b.example")])), "10 a.example,20 b.example");
    }

    #[test]
    fn ttl_is_bounded() {
        assert_eq!(bounded(Duration::ZERO), MIN_TTL);
        assert_eq!(bounded(Duration::from_secs(600)), Duration::from_secs(600));
        assert_eq!(bounded(Duration::from_secs(90_000)), MAX_TTL);
    }
}
