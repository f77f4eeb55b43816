//! What the queue schedules by. Deliveries of one stream go the same way: to one domain, from one pool, over one route.
//!
//! Mail that names no pool and no route is in the stream of its domain, whosever it is. Other mail is in streams of its
//! tenant, because what becomes of a pool or route that is gone by the time of delivery is the tenant's configuration.

use relevo_queue::Priority;
use serde_json::{Value, json};

use crate::settings::Grants;
use crate::settings::ways::{POOL, PRIORITY, ROUTE, priority};

/// Between the parts of a name. Neither identifiers of the configuration nor domains have one.
const SEPARATOR: char = '/';

/// How a message is to go, fixed when it is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Way {
    tenant: String,
    pool: String,
    route: String,
    /// Among its tenant's mail.
    pub(crate) priority: Priority,
}

impl Way {
    /// By the attributes of a message (of each name the last counts), as far as they are granted.
    pub(crate) fn of(tenant: &str, grants: &Grants, attributes: &[(String, String)]) -> Self {
        let last = |wanted: &str| {
            let mut found =
                attributes.iter().rev().filter(|(name, value)| name == wanted && grants.allow(name, value));
            found.next().map(|(_, value)| value.as_str())
        };
        Self {
            tenant: tenant.to_owned(),
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
        [&self.pool, &self.route, &self.tenant, domain].join("/")
    }

    /// Puts what is not usual into the data of an event: `pool`, `route`, `priority`.
    pub(crate) fn tell(&self, data: &mut Value) {
        for (name, value) in [(POOL, &self.pool), (ROUTE, &self.route)] {
            if !value.is_empty() {
                data[name] = json!(value);
            }
        }
        if self.priority != 0 {
            data[PRIORITY] = json!(self.priority);
        }
    }
}

/// What the name of a stream says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stream<'a> {
    /// The recipients'.
    pub(crate) domain: &'a str,
    /// From which pool; empty: from none.
    pub(crate) pool: &'a str,
    /// Over which route; empty: over none.
    pub(crate) route: &'a str,
    /// Whose it is; empty: of all.
    pub(crate) tenant: &'a str,
}

impl<'a> Stream<'a> {
    pub(crate) fn parse(name: &'a str) -> Self {
        let mut parts = name.splitn(4, SEPARATOR);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(pool), Some(route), Some(tenant), Some(domain)) => Self { domain, pool, route, tenant },
            _ => Self { domain: name, pool: "", route: "", tenant: "" },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_name_says_what_it_was_made_of() {
        let grants =
            Grants { pools: vec!["own".into(), "bulk".into()], routes: vec!["eu".into()], max_priority: 2 };
        let way = |all: &[(&str, &str)]| Way::of("acme", &grants, &attributes(all));
        let stream = way(&[]).stream("[IPv6:2001:db8::1]");
        let want = Stream { domain: "[IPv6:2001:db8::1]", pool: "own", route: "", tenant: "acme" };
        assert_eq!(Stream::parse(&stream), want);
        let chosen = way(&[("pool", "own"), ("pool", "bulk"), ("route", "eu"), ("priority", "-2")]);
        assert_eq!(chosen.priority, -2);
        let stream = chosen.stream("x.test");
        let want = Stream { domain: "x.test", pool: "bulk", route: "eu", tenant: "acme" };
        assert_eq!(Stream::parse(&stream), want);
        let plain = Stream { domain: "x.test", pool: "", route: "", tenant: "" };
        assert_eq!(Stream::parse("x.test"), plain);
    }

    #[test]
    fn without_grants_it_is_the_stream_of_the_domain() {
        let all = attributes(&[("pool", "own"), ("route", "eu"), ("priority", "1"), ("campaign", "x")]);
        let way = Way::of("acme", &Grants::default(), &all);
        assert_eq!((way.stream("x.test"), way.priority), (String::new(), 0));
        let mut data = json!({});
        way.tell(&mut data);
        assert_eq!(data, json!({}));
    }
}
