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
mod response;
#[cfg(test)]
mod tests;
mod tlsa;

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;

pub use dane::{DaneAddresses, DaneState, DeferReason, NotApplicable, judge_addresses, judge_tlsa};
pub use flight::SingleFlight;
pub use look_up::{DaneHost, DaneLookUp};
pub use resolver::{SecureConfig, SecureResolver, check_trust_anchor};
pub use tlsa::Tlsa;

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
