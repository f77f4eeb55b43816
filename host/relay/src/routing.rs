//! Routing of a message: pool, route and priority, by its attributes and the grants of its sending
//! domain.

use relevo_delivery::settings::{POOL, PRIORITY, ROUTE, priority};
use relevo_queue::{Priority, QueueKey, QueueKeyParts};

use crate::settings::Domain;

/// Pool, route and priority of a message, fixed when it is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RoutingChoice {
    tenant: String,
    sending: String,
    pub(crate) pool: String,
    pub(crate) route: String,
    /// Among its tenant's mail.
    pub(crate) priority: Priority,
}

impl RoutingChoice {
    /// The choice for mail from a domain, by its attributes as far as they are granted. The last
    /// attribute of a name counts.
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

    /// The queue key of its deliveries to `domain`.
    pub(crate) fn key(&self, domain: &str) -> QueueKey {
        if self.pool.is_empty() && self.route.is_empty() {
            return QueueKey::of_domain(domain);
        }
        QueueKeyParts {
            domain: domain.to_owned(),
            tenant: self.tenant.clone(),
            sending_domain: self.sending.clone(),
            pool: self.pool.clone(),
            route: self.route.clone(),
        }
        .into()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::settings::EgressGrants;

    fn domain(grants: EgressGrants) -> Domain {
        let (name, tenant) = ("shop.test".to_owned(), "acme".to_owned());
        Domain { name, tenant, dkim: vec![], tracking: None, grants: Arc::new(grants) }
    }

    fn attributes(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_last_granted_choice_is_in_the_key() {
        let grants = EgressGrants {
            pools: vec!["own".into(), "bulk".into()],
            routes: vec!["eu".into()],
            max_priority: 2,
        };
        let shop = domain(grants);
        let routing = |all: &[(&str, &str)]| RoutingChoice::of(&shop, &attributes(all));
        let want = QueueKeyParts {
            domain: "[IPv6:2001:db8::1]".into(),
            tenant: "acme".into(),
            sending_domain: "shop.test".into(),
            pool: "own".into(),
            route: String::new(),
        };
        assert_eq!(*routing(&[]).key("[IPv6:2001:db8::1]"), want);
        let chosen = routing(&[("pool", "own"), ("pool", "bulk"), ("route", "eu"), ("priority", "-2")]);
        assert_eq!(chosen.priority, -2);
        let want = QueueKeyParts { domain: "x.test".into(), pool: "bulk".into(), route: "eu".into(), ..want };
        assert_eq!(*chosen.key("x.test"), want);
    }

    #[test]
    fn without_grants_it_is_the_key_of_the_domain() {
        let all = attributes(&[("pool", "own"), ("route", "eu"), ("priority", "1"), ("campaign", "x")]);
        let routing = RoutingChoice::of(&domain(EgressGrants::default()), &all);
        assert_eq!((routing.key("x.test"), routing.priority), (QueueKey::of_domain("x.test"), 0));
        assert_eq!((routing.pool.as_str(), routing.route.as_str()), ("", ""));
    }
}
