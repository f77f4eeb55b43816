//! How a message is to go, by its attributes and the grants of its sending domain.

use relevo_delivery::settings::{POOL, PRIORITY, ROUTE, priority};
use relevo_queue::Priority;

use crate::settings::Domain;

/// How a message is to go, fixed when it is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Way {
    tenant: String,
    sending: String,
    pub(crate) pool: String,
    pub(crate) route: String,
    /// Among its tenant's mail.
    pub(crate) priority: Priority,
}

impl Way {
    /// Of mail from a domain, by its attributes (of each name the last counts), as far as they are granted.
    pub(crate) fn of(domain: &Domain, attributes: &[(String, String)]) -> Self {
        let grants = &domain.grants;
        let last = |wanted: &str| {
            let mut found =
                attributes.iter().rev().filter(|(name, value)| name == wanted && grants.allow(name, value));
            found.next().map(|(_, value)| value.as_str())
        };
        Self {
            tenant: domain.tenant.clone(),
            sending: domain.name.clone(),
            pool: last(POOL).or(grants.pools.first().map(String::as_str)).unwrap_or_default().to_owned(),
            route: last(ROUTE).unwrap_or_default().to_owned(),
            priority: last(PRIORITY).and_then(priority).unwrap_or(0),
        }
    }

    /// The stream of its deliveries to `domain`; empty for that of the domain.
    pub(crate) fn stream(&self, domain: &str) -> String {
        if self.pool.is_empty() && self.route.is_empty() {
            return String::new();
        }
        [&self.pool, &self.route, &self.tenant, &self.sending, domain].join("/")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use relevo_delivery::Stream;

    use super::*;
    use crate::settings::Grants;

    fn domain(grants: Grants) -> Domain {
        let (name, tenant) = ("shop.test".to_owned(), "acme".to_owned());
        Domain { name, tenant, dkim: vec![], tracking: None, grants: Arc::new(grants) }
    }

    fn attributes(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_name_says_what_it_was_made_of() {
        let grants =
            Grants { pools: vec!["own".into(), "bulk".into()], routes: vec!["eu".into()], max_priority: 2 };
        let shop = domain(grants);
        let way = |all: &[(&str, &str)]| Way::of(&shop, &attributes(all));
        let stream = way(&[]).stream("[IPv6:2001:db8::1]");
        let (tenant, sending) = ("acme", "shop.test");
        let want = Stream { domain: "[IPv6:2001:db8::1]", pool: "own", route: "", tenant, sending };
        assert_eq!(Stream::parse(&stream), want);
        let chosen = way(&[("pool", "own"), ("pool", "bulk"), ("route", "eu"), ("priority", "-2")]);
        assert_eq!(chosen.priority, -2);
        let stream = chosen.stream("x.test");
        let want = Stream { domain: "x.test", pool: "bulk", route: "eu", tenant, sending };
        assert_eq!(Stream::parse(&stream), want);
        // A literal of a form that nobody has registered yet.
        let odd = "[tag:a/b/c/d/e]";
        assert_eq!(Stream::parse(&chosen.stream(odd)), Stream { domain: odd, ..want });
        for domain in ["x.test", odd] {
            let plain = Stream { domain, pool: "", route: "", tenant: "", sending: "" };
            assert_eq!(Stream::parse(domain), plain);
        }
    }

    #[test]
    fn without_grants_it_is_the_stream_of_the_domain() {
        let all = attributes(&[("pool", "own"), ("route", "eu"), ("priority", "1"), ("campaign", "x")]);
        let way = Way::of(&domain(Grants::default()), &all);
        assert_eq!((way.stream("x.test"), way.priority), (String::new(), 0));
        assert_eq!((way.pool.as_str(), way.route.as_str()), ("", ""));
    }
}
