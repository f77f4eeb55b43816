//! What secure answers say of DANE for SMTP (RFC 7672). Nothing is asked here.

use super::{Denial, SecureAnswer, SecureFailure, SecureRecord, Tlsa};

/// What DANE says of one MX host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaneState {
    /// DANE does not apply: other policies decide.
    NotApplicable(NotApplicable),
    /// A certificate must match one of the records.
    Records(Vec<Tlsa>),
    /// There are TLSA records and none is usable: TLS without authentication (RFC 7672 section 2.2).
    Unusable,
    /// Nobody knows: the host is put off.
    Defer(DeferReason),
}

/// Why DANE does not apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotApplicable {
    /// The name server gives no signatures.
    NoDnssec,
    /// The MX records are in a zone that is not signed.
    InsecureMx,
    /// The addresses are in a zone that is not signed.
    InsecureAddresses,
    /// It is proved that there is no TLSA record.
    NoTlsa,
    /// The TLSA records, or what denies them, are not signed.
    InsecureTlsa,
}

/// Why a host is put off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeferReason {
    /// A lookup failed.
    #[error(transparent)]
    Failed(#[from] SecureFailure),
    /// The host is not one that the validated answers name.
    #[error("validated DNS answers do not name {0}")]
    Contradiction(String),
    /// Whether the name server supports DNSSEC is not known.
    #[error("the name server did not say whether it supports DNSSEC: {0}")]
    Support(String),
}

/// What the addresses of a host say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaneAddresses {
    /// TLSA records are not asked for.
    Decided(DaneState),
    /// TLSA records are asked for at these names in turn, until one has some.
    Ask(Vec<String>),
}

/// Judges the addresses of `host`. One family that is known is enough: both are in the same zone.
///
/// TLSA records of a host whose zone is not signed are never asked for (section 2.2.2). A chain of
/// aliases that is secure as a whole leads to the name at its end, then to the host. One that
/// begins in a signed zone and leads out of it leaves the host.
#[must_use]
pub fn judge_addresses(host: &str, a: &SecureAnswer, aaaa: &SecureAnswer) -> DaneAddresses {
    let decided = DaneAddresses::Decided;
    let known = [a, aaaa].into_iter().find(|answer| matches!(answer, SecureAnswer::Found { .. }));
    let Some(SecureAnswer::Found { aliases, is_secure, .. }) = known else {
        let failure = [a, aaaa].into_iter().find_map(|answer| match answer {
            SecureAnswer::Failed(failure) => Some(DeferReason::Failed(failure.clone())),
            _ => None,
        });
        let put = failure.unwrap_or_else(|| DeferReason::Contradiction(format!("an address of {host}")));
        return decided(DaneState::Defer(put));
    };
    let host = host.to_owned();
    match aliases.as_slice() {
        [] if *is_secure => DaneAddresses::Ask(vec![host]),
        [.., last] if *is_secure && aliases.iter().all(|alias| alias.is_secure) => {
            DaneAddresses::Ask(vec![last.target.clone(), host])
        }
        [first, ..] if first.is_secure => DaneAddresses::Ask(vec![host]),
        _ => decided(DaneState::NotApplicable(NotApplicable::InsecureAddresses)),
    }
}

/// Judges TLSA records.
///
/// # Errors
/// There are none here, and why: the next name is asked, and behind the last one this is why DANE
/// does not apply.
pub fn judge_tlsa(answer: &SecureAnswer) -> Result<DaneState, NotApplicable> {
    match answer {
        SecureAnswer::Found { records, aliases, is_secure, .. } => {
            if !is_secure || !aliases.iter().all(|alias| alias.is_secure) {
                return Err(NotApplicable::InsecureTlsa);
            }
            let usable: Vec<Tlsa> = records
                .iter()
                .filter_map(|record| match record {
                    SecureRecord::Tlsa(tlsa) if tlsa.is_usable() => Some(tlsa.clone()),
                    _ => None,
                })
                .collect();
            Ok(if usable.is_empty() { DaneState::Unusable } else { DaneState::Records(usable) })
        }
        SecureAnswer::Absent(Denial::Secure) => Err(NotApplicable::NoTlsa),
        SecureAnswer::Absent(Denial::Insecure) => Err(NotApplicable::InsecureTlsa),
        SecureAnswer::Absent(Denial::Unproved) => {
            let failure = SecureFailure::NoAnswer("the absence of TLSA records".to_owned());
            Ok(DaneState::Defer(failure.into()))
        }
        SecureAnswer::Failed(failure) => Ok(DaneState::Defer(failure.clone().into())),
    }
}
