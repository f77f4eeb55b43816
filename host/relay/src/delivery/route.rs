//! From a domain to its site.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use relevo_resolve::{IpFamily, Resolve, ResolveError};
use relevo_smtp::client::Failure;
use tokio::time::timeout;

use super::failure;
use super::hosts::NextHop;
use super::table::Found;
use crate::settings::{Settings, Smarthost};

/// The longest that a lookup may take before the domain waits for its next attempt.
const LOOKUP: Duration = Duration::from_secs(60);
/// How long the addresses of a smarthost are believed: the system's resolver does not tell.
const SMARTHOST_TTL: Duration = Duration::from_secs(60);

/// Where the mail of `domain` goes.
pub(crate) async fn find(resolve: &dyn Resolve, settings: &Settings, domain: &str) -> Result<Found, Failure> {
    let lookup = async {
        match &settings.delivery.smarthost {
            Some(smarthost) => smart(smarthost, settings.delivery.ip).await,
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

/// One site for everything. Its name is the operator's, and so resolved as this machine resolves names (a hosts file
/// counts).
async fn smart(smarthost: &Smarthost, family: IpFamily) -> Result<Found, Failure> {
    let host = smarthost.host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<IpAddr> = match host.parse() {
        Ok(ip) => vec![ip],
        Err(_) => tokio::net::lookup_host((host, smarthost.port))
            .await
            .map_err(|e| {
                failure::ours(
                    failure::DIRECTORY,
                    format!("the address of {host} could not be looked up: {e}"),
                )
            })?
            .map(|addr| addr.ip())
            .filter(|ip| match family {
                IpFamily::Any => true,
                IpFamily::Ipv4 => ip.is_ipv4(),
                IpFamily::Ipv6 => ip.is_ipv6(),
            })
            .collect(),
    };
    Ok(Found {
        site: Arc::from("smarthost"),
        next_hop: NextHop::Smarthost(Arc::new(smarthost.clone()), Arc::from(addresses)),
        ttl: SMARTHOST_TTL,
    })
}
