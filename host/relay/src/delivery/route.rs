//! From a domain to its site.

use std::sync::Arc;
use std::time::Duration;

use relevo_resolve::{Addresses, Resolve, ResolveError};
use relevo_smtp::client::Failure;
use tokio::time::timeout;

use super::failure;
use super::hosts::NextHop;
use super::table::Found;
use crate::settings::{Settings, Smarthost};

/// The longest that a lookup may take before the domain waits for its next attempt.
const LOOKUP: Duration = Duration::from_secs(60);
/// How long a smarthost that is an address is believed to be there.
const LITERAL_TTL: Duration = Duration::from_secs(3600);

/// Where the mail of `domain` goes.
pub(crate) async fn find(resolve: &dyn Resolve, settings: &Settings, domain: &str) -> Result<Found, Failure> {
    let lookup = async {
        match &settings.delivery.smarthost {
            Some(smarthost) => smart(resolve, smarthost).await,
            None => by_mx(resolve, domain).await,
        }
    };
    let late = || ResolveError::Temporary { name: domain.to_owned(), detail: "no answer in time".to_owned() };
    timeout(LOOKUP, lookup).await.unwrap_or_else(|_| Err(failure::unresolved(&late())))
}

async fn by_mx(resolve: &dyn Resolve, domain: &str) -> Result<Found, Failure> {
    let route = resolve.route(domain).await.map_err(|e| failure::unresolved(&e))?;
    Ok(Found { site: Arc::from(route.site.as_str()), ttl: route.ttl, next_hop: NextHop::Mx(Arc::new(route)) })
}

/// One site for everything. A name is asked for as MX hosts are; the system's hosts file counts only without name servers
/// of our own.
async fn smart(resolve: &dyn Resolve, smarthost: &Smarthost) -> Result<Found, Failure> {
    let host = smarthost.host.trim_start_matches('[').trim_end_matches(']');
    let Addresses { addresses, ttl } = match host.parse() {
        Ok(ip) => Addresses { addresses: vec![ip], ttl: LITERAL_TTL },
        Err(_) => resolve.addresses(host).await.map_err(|e| lost(&e))?,
    };
    Ok(Found {
        site: Arc::from("smarthost"),
        next_hop: NextHop::Smarthost(Arc::new(smarthost.clone()), Arc::from(addresses)),
        ttl,
    })
}

/// A smarthost that does not exist is the operator's mistake: it is no reason to return everybody's mail.
fn lost(error: &ResolveError) -> Failure {
    let mut failure = failure::unresolved(error);
    if failure.permanent {
        failure = failure::ours(failure::MISCONFIGURED, format!("the smarthost has no address: {error}"));
    }
    failure
}
