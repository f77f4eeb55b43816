//! Which site a queue key belongs to. Keys with equal ids share connections and health.

use std::fmt;
use std::sync::Arc;

/// Names a site: where mail goes, and the pool that it leaves from. Pools share no connections and
/// no health.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SiteId(Arc<Parts>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Parts {
    destination: Destination,
    pool: Option<String>,
}

/// Where the mail of a site goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Destination {
    /// A set of MX hosts, with their preferences.
    Mx(String),
    /// The smarthost of `[delivery]`.
    Smarthost,
    /// The smarthost of a route.
    SmarthostOfRoute(String),
}

impl SiteId {
    /// Of this destination, from this pool or from none.
    pub(crate) fn new(destination: Destination, pool: Option<&str>) -> Self {
        Self(Arc::new(Parts { destination, pool: pool.map(str::to_owned) }))
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.destination {
            Destination::Mx(hosts) => f.write_str(hosts)?,
            Destination::Smarthost => f.write_str("smarthost")?,
            Destination::SmarthostOfRoute(route) => write!(f, "smarthost of route {route}")?,
        }
        match &self.0.pool {
            Some(pool) => write!(f, " from pool {pool}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
impl From<&str> for SiteId {
    fn from(hosts: &str) -> Self {
        Self::new(Destination::Mx(hosts.to_owned()), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_alike_is_not_the_same_site() {
        let named = SiteId::from("smarthost");
        let configured = SiteId::new(Destination::Smarthost, None);
        assert_eq!(named.to_string(), configured.to_string());
        assert_ne!(named, configured);
        assert_eq!(SiteId::new(Destination::Smarthost, None), configured);
        let route = Destination::SmarthostOfRoute("eu".to_owned());
        assert_eq!(SiteId::new(route, Some("bulk")).to_string(), "smarthost of route eu from pool bulk");
    }
}
