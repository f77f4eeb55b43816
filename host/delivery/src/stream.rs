//! What the queue schedules by. Deliveries of one stream go the same way: to one domain, from one pool, over one route.
//!
//! Mail that names no pool and no route is in the stream of its domain, whosever it is. Other mail is in streams of its
//! tenant and sending domain, because what becomes of a pool or route that is gone by the time of delivery is their configuration.

/// Between the parts of a name. Neither identifiers of the configuration nor domain names have one; an address literal
/// (RFC 5321 section 4.1.3), which a recipient's domain may be, can.
const SEPARATOR: char = '/';

/// What the name of a stream says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream<'a> {
    /// The recipients'.
    pub domain: &'a str,
    /// From which pool; empty: from none.
    pub pool: &'a str,
    /// Over which route; empty: over none.
    pub route: &'a str,
    /// Whose it is; empty: of all.
    pub tenant: &'a str,
    /// The configured domain that it is sent from; empty: any.
    pub sending: &'a str,
}

impl<'a> Stream<'a> {
    /// Of this name.
    #[must_use]
    pub fn parse(name: &'a str) -> Self {
        let plain = Self { domain: name, pool: "", route: "", tenant: "", sending: "" };
        // Neither pools nor routes begin so: it is an address literal as it stands, whatever it holds.
        if name.starts_with('[') {
            return plain;
        }
        let mut parts = name.splitn(5, SEPARATOR);
        let mut next = || parts.next();
        match (next(), next(), next(), next(), next()) {
            (Some(pool), Some(route), Some(tenant), Some(sending), Some(domain)) => {
                Self { domain, pool, route, tenant, sending }
            }
            _ => plain,
        }
    }
}
