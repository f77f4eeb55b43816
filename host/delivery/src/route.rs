//! From a queue key to its site.

use std::sync::Arc;
use std::time::Duration;

use relevo_queue::QueueKey;
use relevo_resolve::{Addresses, Resolve, ResolveError};
use relevo_smtp::client::Failure;
use tokio::time::timeout;

use super::egress_policy::{EgressPolicy, beyond_warmup, resolve_egress};
use super::failure;
use super::hosts::{NextHop, NextHopPath};
use super::site_id::{Destination, SiteId};
use super::table::FoundSite;
use crate::settings::{DeliveryConfig, SmarthostSettings};

/// The longest that a lookup may take before the domain waits for its next attempt.
const LOOKUP: Duration = Duration::from_secs(60);
/// How long a smarthost that is an address is believed to be there.
const LITERAL_TTL: Duration = Duration::from_secs(3600);

/// Where the mail of `key` goes.
pub(crate) async fn find(
    resolve: &dyn Resolve,
    settings: &dyn DeliveryConfig,
    key: &QueueKey,
) -> Result<FoundSite, Failure> {
    let egress = resolve_egress(settings, key);
    let mut found = find_over(resolve, settings, key, &egress).await?;
    if let Some(beyond) = beyond_warmup(settings, &egress) {
        match find_over(resolve, settings, key, &beyond).await {
            Ok(spill) => {
                found.ttl = found.ttl.min(spill.ttl);
                found.spill = Some(Box::new(spill));
            }
            Err(failure) => {
                tracing::warn!(
                    target: "relevo::delivery", domain = %key.domain, detail = failure.detail,
                    "mail beyond the caps of warm-up waits: there is no other way for it"
                );
            }
        }
    }
    Ok(found)
}

async fn find_over(
    resolve: &dyn Resolve,
    settings: &dyn DeliveryConfig,
    key: &QueueKey,
    egress: &EgressPolicy<'_>,
) -> Result<FoundSite, Failure> {
    let lookup = async {
        match egress.smarthost {
            Some(smarthost) => smart(resolve, smarthost).await,
            None => by_mx(resolve, &key.domain).await,
        }
    };
    let late =
        || ResolveError::Temporary { name: key.domain.clone(), detail: "no answer in time".to_owned() };
    let found = timeout(LOOKUP, lookup).await.unwrap_or_else(|_| Err(failure::unresolved(&late())));
    found.map(|(next_hop, ttl)| {
        let site = site(&next_hop, egress);
        let rules = &settings.delivery().shaping;
        let path = NextHopPath::new(next_hop, egress.pool.cloned(), &site, rules);
        FoundSite { site, path, ttl, spill: None }
    })
}

fn site(next_hop: &NextHop, egress: &EgressPolicy<'_>) -> SiteId {
    let destination = match (next_hop, egress.route) {
        (NextHop::Mx(route), _) => Destination::Mx(route.site.clone()),
        (NextHop::Smarthost(..), None) => Destination::Smarthost,
        (NextHop::Smarthost(..), Some(route)) => Destination::SmarthostOfRoute(route.to_owned()),
    };
    SiteId::new(destination, egress.pool.map(|pool| pool.name.as_str()))
}

async fn by_mx(resolve: &dyn Resolve, domain: &str) -> Result<(NextHop, Duration), Failure> {
    let route = resolve.route(domain).await.map_err(|e| failure::unresolved(&e))?;
    let ttl = route.ttl;
    Ok((NextHop::Mx(Arc::new(route)), ttl))
}

/// One site for everything that goes there. A name is asked for as MX hosts are; the system's hosts
/// file counts only without name servers of our own.
async fn smart(resolve: &dyn Resolve, smarthost: &SmarthostSettings) -> Result<(NextHop, Duration), Failure> {
    let host = smarthost.host.trim_start_matches('[').trim_end_matches(']');
    let Addresses { addresses, ttl } = match host.parse() {
        Ok(ip) => Addresses { addresses: vec![ip], ttl: LITERAL_TTL },
        Err(_) => resolve.addresses(host).await.map_err(|e| lost(&e))?,
    };
    Ok((NextHop::Smarthost(Arc::new(smarthost.clone()), Arc::from(addresses)), ttl))
}

/// A smarthost that does not exist is the operator's mistake: it is no reason to return everybody's
/// mail.
fn lost(error: &ResolveError) -> Failure {
    let mut failure = failure::unresolved(error);
    if failure.permanent {
        failure = failure::ours(failure::MISCONFIGURED, format!("the smarthost has no address: {error}"));
    }
    failure
}
