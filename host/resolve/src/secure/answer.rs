//! From what hickory validated to a [`SecureAnswer`]. Nothing is asked here.

use std::time::{Duration, Instant};

use hickory_proto::dnssec::Proof;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError, NetError};

use super::{Alias, Denial, SecureAnswer, SecureFailure, SecureRecord, Tlsa};

/// Aliases that are followed.
pub(super) const MAX_ALIASES: usize = 16;
/// Records of one answer that are kept: nobody publishes more, and each costs a comparison.
pub(super) const MAX_RECORDS: usize = 64;

/// Sorts the result of a lookup of `name`.
pub(super) fn sorted(name: &Name, kind: RecordType, result: Result<Lookup, NetError>) -> SecureAnswer {
    match result {
        Ok(lookup) => {
            let ttl = lookup.valid_until().saturating_duration_since(Instant::now());
            found(name, kind, lookup.answers(), ttl)
        }
        Err(error) => failed(name, kind, &error),
    }
}

/// Walks the chain of aliases from `name`. Records of other names say nothing about it.
fn found(name: &Name, kind: RecordType, answers: &[Record], ttl: Duration) -> SecureAnswer {
    let asked = format!("{kind} {}", plain(name));
    let mut aliases = Vec::new();
    let mut owner = name.clone();
    loop {
        let of_type = |kind| answers.iter().filter(move |r| r.record_type() == kind);
        let records: Vec<&Record> = of_type(kind).filter(|record| record.name == owner).collect();
        if !records.is_empty() {
            let is_secure = match proof(records.iter().copied(), &asked) {
                Ok(is_secure) => is_secure,
                Err(failure) => return SecureAnswer::Failed(failure),
            };
            let records: Vec<_> =
                records.into_iter().filter_map(|record| read(&record.data)).take(MAX_RECORDS).collect();
            return SecureAnswer::Found { records, aliases, is_secure, ttl };
        }
        let Some(alias) = of_type(RecordType::CNAME).find(|record| record.name == owner) else { break };
        let RData::CNAME(target) = &alias.data else { break };
        match proof(std::iter::once(alias), &asked) {
            Ok(is_secure) => aliases.push(Alias { target: plain(&target.0), is_secure }),
            Err(failure) => return SecureAnswer::Failed(failure),
        }
        owner = target.0.clone();
        if aliases.len() > MAX_ALIASES {
            break;
        }
    }
    SecureAnswer::Failed(SecureFailure::NoAnswer(asked))
}

/// Whether a record set is secure; an error if it is neither that nor proved to be insecure.
fn proof<'a>(records: impl Iterator<Item = &'a Record>, asked: &str) -> Result<bool, SecureFailure> {
    let mut is_secure = true;
    for record in records {
        match record.proof {
            Proof::Secure => {}
            Proof::Insecure => is_secure = false,
            Proof::Bogus => return Err(SecureFailure::Bogus(asked.to_owned())),
            Proof::Indeterminate => return Err(SecureFailure::NoAnswer(asked.to_owned())),
        }
    }
    Ok(is_secure)
}

/// An answer without records is proved by the authorities that came with it. Without these nothing
/// is proved: whoever forges an answer adds what he likes.
fn failed(name: &Name, kind: RecordType, error: &NetError) -> SecureAnswer {
    let asked = format!("{kind} {}", plain(name));
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            let authorities = none.authorities.as_deref().unwrap_or_default();
            let is_secure = authorities.iter().any(|record| {
                record.proof == Proof::Secure
                    && matches!(record.record_type(), RecordType::NSEC | RecordType::NSEC3)
            });
            SecureAnswer::Absent(match is_secure {
                true => Denial::Secure,
                false if is_in_unsigned_zone(name, authorities) => Denial::Insecure,
                false => Denial::Unproved,
            })
        }
        NetError::Dns(DnsError::Nsec { proof: Proof::Insecure, .. }) => {
            SecureAnswer::Absent(Denial::Insecure)
        }
        NetError::Dns(DnsError::Nsec { .. } | DnsError::DnssecBogus) => {
            SecureAnswer::Failed(SecureFailure::Bogus(asked))
        }
        error => SecureAnswer::Failed(SecureFailure::NoAnswer(format!("{asked}: {error}"))),
    }
}

/// It is proved that the name, or one above it, is the top of a zone that is not signed: the proof of
/// the SOA record is that its parent delegates without DS (RFC 6840 section 4.4). There is no signed
/// zone below. SOA records of other zones say nothing.
fn is_in_unsigned_zone(name: &Name, authorities: &[Record]) -> bool {
    authorities.iter().any(|record| {
        record.proof == Proof::Insecure
            && record.record_type() == RecordType::SOA
            && record.name.zone_of(name)
    })
}

pub(super) fn read(data: &RData) -> Option<SecureRecord> {
    match data {
        RData::MX(mx) => Some(SecureRecord::Mx(plain(&mx.exchange))),
        RData::A(_) | RData::AAAA(_) => data.ip_addr().map(SecureRecord::Address),
        RData::TLSA(tlsa) => Some(SecureRecord::Tlsa(Tlsa {
            usage: tlsa.cert_usage.into(),
            selector: tlsa.selector.into(),
            matching_type: tlsa.matching.into(),
            data: tlsa.cert_data.clone(),
        })),
        _ => None,
    }
}

pub(super) fn plain(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}
