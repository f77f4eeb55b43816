//! The way out for a queue key under the settings in force.

use std::sync::Arc;

use relevo_queue::QueueKey;

use crate::settings::{DeliveryConfig, EgressGrants, EgressPool, SmarthostSettings, WarmupSpill};

/// Where mail of a queue key leaves from, and over what.
#[derive(Debug, Clone)]
pub(crate) struct EgressPolicy<'a> {
    /// None: as `[delivery]` says.
    pub(crate) pool: Option<&'a Arc<EgressPool>>,
    /// None: by MX.
    pub(crate) smarthost: Option<&'a SmarthostSettings>,
    /// The route, where one was named and is there; names its site.
    pub(crate) route: Option<&'a str>,
    /// What it was to be and is no longer, and what happens instead: for `queue why` and the log.
    pub(crate) instead: Option<String>,
}

/// What was granted when the message was accepted may have been taken away since: then mail leaves
/// from the first pool that its sending domain has, and goes as `[delivery]` says. Where that
/// domain is the tenant's no longer, what the tenant has counts.
pub(crate) fn resolve_egress<'a>(settings: &'a dyn DeliveryConfig, key: &QueueKey) -> EgressPolicy<'a> {
    let grants = settings.grants(&key.tenant, &key.sending_domain);
    let grants = grants.as_deref();
    let mut gone = Vec::new();
    let pool = pool(settings, grants, &key.pool, &mut gone);
    let route = grants.filter(|g| g.routes.iter().any(|r| *r == key.route));
    let route = route.and_then(|_| settings.delivery().routes.get(&key.route));
    if !key.route.is_empty() && route.is_none() {
        gone.push(format!("route {} is not there for it any more, it goes the usual way", key.route));
    }
    EgressPolicy {
        pool,
        smarthost: match route {
            Some(route) => route.smarthost.as_ref(),
            None => settings.delivery().smarthost.as_ref(),
        },
        route: route.map(|r| r.name.as_str()),
        instead: (!gone.is_empty()).then(|| gone.join("; ")),
    }
}

/// Where mail goes that is beyond the caps of warm-up of its pool. None: it waits.
pub(crate) fn beyond_warmup<'a>(
    settings: &'a dyn DeliveryConfig,
    egress: &EgressPolicy<'a>,
) -> Option<EgressPolicy<'a>> {
    let pool = egress.pool.filter(|pool| pool.warmup)?;
    match pool.warmup_spill.as_ref()? {
        WarmupSpill::Pool(name) => {
            Some(EgressPolicy { pool: Some(settings.delivery().pools.get(name)?), instead: None, ..*egress })
        }
        WarmupSpill::Route(name) => {
            let route = settings.delivery().routes.get(name)?;
            let (smarthost, route) = (route.smarthost.as_ref(), Some(route.name.as_str()));
            Some(EgressPolicy { pool: None, smarthost, route, instead: None })
        }
    }
}

fn pool<'a>(
    settings: &'a dyn DeliveryConfig,
    grants: Option<&EgressGrants>,
    wanted: &str,
    gone: &mut Vec<String>,
) -> Option<&'a Arc<EgressPool>> {
    if wanted.is_empty() {
        return None;
    }
    let granted = grants.map_or(&[][..], |grants| &grants.pools);
    if granted.iter().any(|name| name == wanted)
        && let Some(pool) = settings.delivery().pools.get(wanted)
    {
        return Some(pool);
    }
    let other = granted.first().and_then(|name| settings.delivery().pools.get(name));
    let from = other.map_or("the usual addresses".to_owned(), |pool| format!("pool {}", pool.name));
    gone.push(format!("pool {wanted} is not there for it any more, it leaves from {from}"));
    other
}

#[cfg(test)]
mod tests {
    use relevo_queue::QueueKeyParts;

    use super::*;
    use crate::settings::EgressRoute;
    use crate::testing::TestConfig;

    fn settings() -> TestConfig {
        let mut settings = TestConfig::new();
        for name in ["own", "bulk"] {
            let pool = EgressPool {
                name: name.into(),
                source_ipv4: vec![],
                source_ipv6: vec![],
                ehlo: None,
                connections_per_site: None,
                warmup: false,
                warmup_spill: None,
            };
            settings.delivery.pools.insert(name.into(), Arc::new(pool));
        }
        let direct = EgressRoute { name: "direct".into(), smarthost: None };
        settings.delivery.routes.insert("direct".into(), Arc::new(direct));
        let smarthost = SmarthostSettings {
            host: "h".into(),
            port: 25,
            tls: relevo_smtp::client::TlsPolicy::None,
            auth: None,
        };
        settings.delivery.smarthost = Some(smarthost);
        settings
    }

    fn grant(settings: &mut TestConfig, pools: &[&str], routes: &[&str]) {
        let names = |all: &[&str]| all.iter().map(|n| (*n).to_owned()).collect();
        let grants = EgressGrants { pools: names(pools), routes: names(routes), max_priority: 0 };
        settings.grants.insert("acme".into(), Arc::new(grants));
    }

    fn key(pool: &str, route: &str) -> QueueKey {
        let (pool, route) = (pool.to_owned(), route.to_owned());
        let (domain, tenant) = ("x.test".to_owned(), "acme".to_owned());
        QueueKeyParts { domain, tenant, sending_domain: "gone.test".to_owned(), pool, route }.into()
    }

    fn of(settings: &TestConfig, pool: &str, route: &str) -> (Option<String>, bool, Option<String>) {
        let egress = resolve_egress(settings, &key(pool, route));
        (egress.pool.map(|p| p.name.clone()), egress.smarthost.is_some(), egress.instead)
    }

    #[test]
    fn what_was_taken_away_falls_back_and_says_so() {
        let mut s = settings();
        grant(&mut s, &["own", "bulk"], &["direct"]);
        assert_eq!(of(&s, "", ""), (None, true, None));
        assert_eq!(of(&s, "bulk", ""), (Some("bulk".into()), true, None));
        assert_eq!(of(&s, "bulk", "direct"), (Some("bulk".into()), false, None));
        let (pool, smarthost, instead) = of(&s, "gone", "eu");
        assert_eq!((pool, smarthost), (Some("own".into()), true));
        let instead = instead.expect("a note");
        assert!(instead.contains("pool gone") && instead.contains("from pool own"), "{instead}");
        assert!(instead.contains("route eu"), "{instead}");
        // It exists, and is granted no longer.
        grant(&mut s, &["own"], &[]);
        assert_eq!(of(&s, "bulk", "").0, Some("own".into()));
        assert!(of(&s, "bulk", "direct").1);
        s.grants.remove("acme");
        let (pool, _, instead) = of(&s, "bulk", "");
        assert_eq!(pool, None);
        assert!(instead.expect("a note").contains("the usual addresses"));
    }
}
