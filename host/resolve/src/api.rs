//! The seam between the product and DNS.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;

/// Which addresses are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IpFamily {
    /// Both, IPv6 first where a host has both.
    #[default]
    Any,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

/// One MX host, or the domain itself when it has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MailHost {
    /// Lower case A-labels without a final dot.
    pub name: String,
    /// Preference; 0 for the implicit MX.
    pub preference: u16,
    /// In the order to be tried. Empty: its lookup failed (see `temporary`).
    pub addresses: Vec<IpAddr>,
    /// Its address lookup failed temporarily.
    pub temporary: bool,
}

/// Where to send, best first. Hosts of equal preference are in random order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailRoute {
    /// Never empty; our own names and what is worse are cut off already.
    pub hosts: Vec<MailHost>,
    /// Names the set of MX hosts: domains with the same site share connections. Lower case names
    /// with preference, sorted.
    pub site: String,
    /// How long it may be kept: the smallest TTL, at least 30 s and at most an hour.
    pub ttl: Duration,
    /// There was no MX record: the domain's own address is used.
    pub implicit: bool,
}

/// Addresses of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// In the order to be tried; never empty.
    pub addresses: Vec<IpAddr>,
    /// How long they may be kept: the smallest TTL, at least 30 s and at most an hour.
    pub ttl: Duration,
}

/// Why there is no route, or no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// NXDOMAIN: permanent, 5.1.2.
    #[error("the domain {0} does not exist")]
    NoSuchDomain(String),
    /// Neither MX nor address: permanent, 5.1.2.
    #[error("the domain {0} has no mail exchanger and no address")]
    NoMailHost(String),
    /// Null MX (RFC 7505): permanent, 556 5.1.10.
    #[error("the domain {0} does not accept mail (null MX)")]
    NullMx(String),
    /// All that is left after cutting at our own preference is nothing: permanent, 5.4.6.
    #[error("mail for {0} loops back to this host")]
    LoopsBack(String),
    /// SERVFAIL, timeout: temporary, 4.4.3.
    #[error("DNS for {name} did not answer: {detail}")]
    Temporary {
        /// What was asked.
        name: String,
        /// For the log.
        detail: String,
    },
}

/// Finds routes. Answers are cached for their TTL.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// The route for a domain in A-labels.
    async fn route(&self, domain: &str) -> Result<MailRoute, ResolveError>;

    /// The addresses of a host that is named in the configuration, of the family that is wanted.
    /// Inner addresses are not left out, and no MX is looked for.
    ///
    /// # Errors
    /// `NoSuchDomain`, `NoMailHost` (the name has no address), `Temporary`.
    async fn addresses(&self, host: &str) -> Result<Addresses, ResolveError>;

    /// TXT records, strings joined; empty when there are none.
    async fn txt(&self, name: &str) -> Result<Vec<String>, ResolveError>;
}

/// Types of records that are looked up as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// Such as `192.0.2.1`.
    A,
    /// Such as `2001:db8::1`.
    Aaaa,
    /// `FLAGS TAG VALUE`, not quoted.
    Caa,
    /// `PREFERENCE HOST`, in lower case without a final dot; the null MX has an empty host.
    Mx,
    /// A name, in lower case without a final dot.
    Ptr,
    /// The strings joined.
    Txt,
}

/// What a lookup found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Records in the form that [`RecordKind`] says, behind aliases.
    Records(Vec<String>),
    /// The name or the type does not exist.
    Nothing,
    /// SERVFAIL, timeout: nobody knows.
    Failed(String),
}

/// Looks up records as they are, for those who judge them.
#[async_trait]
pub trait LookUp: Send + Sync {
    /// The records of a name.
    async fn look_up(&self, kind: RecordKind, name: &str) -> Found;
}
