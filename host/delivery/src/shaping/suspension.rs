//! Suspensions: nothing of a source address, a pool or a tenant goes to a provider until a time
//! that is told.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use relevo_queue::Millis;
use serde::{Deserialize, Serialize};

/// Whose mail is suspended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Suspended {
    /// Mail from this source address. None: the one that the system chooses.
    Source(Option<IpAddr>),
    /// Mail from this pool.
    Pool(String),
    /// Mail of this tenant.
    Tenant(String),
}

impl fmt::Display for Suspended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(Some(ip)) => write!(f, "source:{ip}"),
            Self::Source(None) => write!(f, "source:system"),
            Self::Pool(pool) => write!(f, "pool:{pool}"),
            Self::Tenant(tenant) => write!(f, "tenant:{tenant}"),
        }
    }
}

impl FromStr for Suspended {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "must be `source:ADDRESS`, `source:system`, `pool:NAME` or `tenant:ID`";
        match text.split_once(':') {
            Some(("source", "system")) => Ok(Self::Source(None)),
            Some(("source", ip)) => ip.parse().map(|ip| Self::Source(Some(ip))).map_err(|_| WRONG),
            Some(("pool", name)) if is_name(name) => Ok(Self::Pool(name.to_owned())),
            Some(("tenant", id)) if is_name(id) => Ok(Self::Tenant(id.to_owned())),
            _ => Err(WRONG),
        }
    }
}

/// Pools and tenants have such names.
fn is_name(text: &str) -> bool {
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
    (1..=128).contains(&text.len()) && text.bytes().all(fits)
}

/// Who made a suspension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuspendedBy {
    /// A reply rule.
    Rule,
    /// A person.
    Operator,
}

/// One suspension. There is at most one of a subject at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// Whose mail.
    pub subject: Suspended,
    /// To which provider.
    pub provider: String,
    /// When it was made, by the time of day.
    pub since: Millis,
    /// When it ends, by the time of day.
    pub until: Millis,
    /// Who made it.
    pub by: SuspendedBy,
    /// The reply rule, or the name of the operator.
    pub author: String,
    /// The words of the receiver, or those of the operator.
    pub reason: String,
}

impl Suspension {
    /// Its name, such as `source:192.0.2.1@gmail`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}@{}", self.subject, self.provider)
    }
}

impl fmt::Display for Suspension {
    /// Who is suspended, and why; not for how long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Suspended::Source(Some(ip)) => write!(f, "mail from {ip}")?,
            Suspended::Source(None) => write!(f, "mail from the address that the system chooses")?,
            Suspended::Pool(pool) => write!(f, "mail from pool {pool}")?,
            Suspended::Tenant(tenant) => write!(f, "mail of tenant {tenant}")?,
        }
        write!(f, " to {} is suspended", self.provider)?;
        match self.by {
            SuspendedBy::Rule => write!(f, " by the rule {}", self.author)?,
            SuspendedBy::Operator => write!(f, " by {}", self.author)?,
        }
        if self.reason.is_empty() { Ok(()) } else { write!(f, " ({})", self.reason) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_reads_as_it_is_written() {
        for text in ["source:192.0.2.1", "source:2001:db8::1", "source:system", "pool:bulk", "tenant:acme"] {
            assert_eq!(text.parse::<Suspended>().map(|s| s.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "acme", "source:", "source:x", "pool:", "tenant:a b", "user:x"] {
            assert!(text.parse::<Suspended>().is_err(), "{text}");
        }
    }
}
