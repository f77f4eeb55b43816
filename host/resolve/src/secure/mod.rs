//! Lookups whose answers are proved by DNSSEC, and what they say of DANE (RFC 7672).
//!
//! [`SecureResolver`] asks and validates. [`judge_addresses`] and [`judge_tlsa`] judge
//! answers and ask nothing. [`DaneLookUp`] puts the two together and remembers what was found.

mod answer;
mod dane;
mod flight;
mod look_up;
mod probe;
mod resolver;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;

pub use dane::{DaneAddresses, DaneState, DeferReason, NotApplicable, judge_addresses, judge_tlsa};
pub use flight::SingleFlight;
pub use look_up::{DaneHost, DaneLookUp};
pub use resolver::{SecureConfig, SecureResolver, check_trust_anchor};

/// Types of records that are looked up under DNSSEC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecureKind {
    /// MX.
    Mx,
    /// A.
    A,
    /// AAAA.
    Aaaa,
    /// TLSA.
    Tlsa,
}

/// A record of a [`SecureAnswer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecureRecord {
    /// An MX host, in lower case without a final dot.
    Mx(String),
    /// An address.
    Address(IpAddr),
    /// A TLSA record.
    Tlsa(Tlsa),
}

/// A TLSA record (RFC 6698 section 2.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tlsa {
    /// Certificate usage: 2 (DANE-TA) and 3 (DANE-EE) are used with SMTP.
    pub usage: u8,
    /// Selector: 0 for the whole certificate, 1 for its public key.
    pub selector: u8,
    /// Matching type: 0 for the octets themselves, 1 for SHA-256, 2 for SHA-512.
    pub matching_type: u8,
    /// The octets to compare with.
    pub data: Vec<u8>,
}

impl Tlsa {
    /// Reads the data of a record (RFC 6698 section 2.1). None: too short.
    #[must_use]
    pub fn parse(octets: &[u8]) -> Option<Self> {
        let [usage, selector, matching_type, data @ ..] = octets else { return None };
        Some(Self { usage: *usage, selector: *selector, matching_type: *matching_type, data: data.to_vec() })
    }

    /// Returns true if some certificate can match the record. PKIX-TA and PKIX-EE are not used with
    /// SMTP (RFC 7672 section 3.1.3), and a digest has the length of its kind.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let has_data = match self.matching_type {
            0 => !self.data.is_empty(),
            1 => self.data.len() == 32,
            2 => self.data.len() == 64,
            _ => false,
        };
        has_data && self.selector <= 1 && matches!(self.usage, 2 | 3)
    }
}

/// One step of a chain of aliases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// Where it leads, in lower case without a final dot.
    pub target: String,
    /// The CNAME record is proved.
    pub is_secure: bool,
}

/// How the absence of records is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// By signed NSEC or NSEC3 records.
    Secure,
    /// Signed NSEC3 records prove that nothing can be proved here: opt-out, or too many iterations.
    Insecure,
    /// By nothing. The name may lie in a zone that is not signed.
    Unproved,
}

/// What a lookup under DNSSEC found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecureAnswer {
    /// Records, behind any number of aliases.
    Found {
        /// Of the type that was asked for; at least one.
        records: Vec<SecureRecord>,
        /// The chain that leads to them, in order.
        aliases: Vec<Alias>,
        /// The records are proved. False: it is proved that their zone is not signed.
        is_secure: bool,
        /// The smallest TTL.
        ttl: Duration,
    },
    /// The name or the type does not exist.
    Absent(Denial),
    /// Nobody knows. The mail waits.
    Failed(SecureFailure),
}

/// Why a lookup under DNSSEC has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecureFailure {
    /// The signatures are wrong or missing.
    #[error("DNSSEC validation failed for {0}")]
    Bogus(String),
    /// SERVFAIL, a timeout, or an answer that proves nothing.
    #[error("no answer that DNSSEC proves for {0}")]
    NoAnswer(String),
}

/// Whether the name server hands on what DNSSEC needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnssecSupport {
    /// It gives signatures.
    Available,
    /// It answered without the signatures of the root: nothing can be proved.
    Unavailable(String),
    /// It did not answer: nobody knows.
    Unknown(String),
}

/// Looks up records under DNSSEC.
#[async_trait]
pub trait SecureLookUp: Send + Sync {
    /// Whether the name server hands on signatures. Cheap: the answer is remembered.
    async fn support(&self) -> DnssecSupport;

    /// The records of a name in A-labels, with their proof.
    async fn secure(&self, kind: SecureKind, name: &str) -> SecureAnswer;
}

#[async_trait]
impl<T: SecureLookUp + ?Sized> SecureLookUp for std::sync::Arc<T> {
    async fn support(&self) -> DnssecSupport {
        (**self).support().await
    }

    async fn secure(&self, kind: SecureKind, name: &str) -> SecureAnswer {
        (**self).secure(kind, name).await
    }
}
