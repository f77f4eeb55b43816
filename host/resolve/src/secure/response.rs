//! Judges responses that hickory's validator refuses as a whole, by the records in it, each of which
//! it has validated.
//!
//! It refuses right answers in three cases. An authority section that has more than the answer needs
//! (resolvers that minimise names leave NSEC records there) is taken for a denial. Of an answer that
//! a wildcard made it wants a denial of the wildcard, too, where the zone has NSEC. And the CNAME that
//! is made from a DNAME has no signature of its own (RFC 6672 section 5.3.1).

use std::time::Duration;

use hickory_proto::dnssec::rdata::{DNSSECRData, RRSIG};
use hickory_proto::dnssec::{Nsec3HashAlgorithm, Proof};
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinDecodable as _;

use super::answer::{MAX_ALIASES, MAX_RECORDS, plain, read};
use super::{Alias, SecureAnswer, SecureRecord};

/// What a response proves of a name.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// Aliases from the name on, in order.
    pub(super) aliases: Vec<Alias>,
    /// The records at the end of them; none: nothing is proved of that name.
    pub(super) records: Option<Vec<SecureRecord>>,
    /// All of it is signed; if not, it was proved that a zone is not.
    pub(super) is_secure: bool,
    /// How long all of it may be believed.
    pub(super) ttl: Duration,
    /// The name at the end of the aliases.
    pub(super) owner: Name,
}

/// Walks the aliases of `name` as far as each step is proved.
pub(super) fn judged(name: &Name, kind: RecordType, message: &Message) -> Judged {
    let mut found = Judged { is_secure: true, ttl: Duration::MAX, owner: name.clone(), ..Judged::default() };
    while found.aliases.len() <= MAX_ALIASES {
        if let Some(set) = proved(message, &found.owner, kind) {
            (found.is_secure, found.ttl) = (set.is_secure, found.ttl.min(set.ttl));
            found.records = Some(set.records.iter().filter_map(|record| read(&record.data)).collect());
            break;
        }
        let Some((target, is_secure, ttl)) = alias(message, &found.owner) else { break };
        found.ttl = found.ttl.min(ttl);
        found.aliases.push(Alias { target: plain(&target), is_secure });
        found.owner = target;
    }
    found
}

/// Records of one type at one name, of which each is proved.
struct ProvedSet<'a> {
    records: Vec<&'a Record>,
    is_secure: bool,
    ttl: Duration,
}

fn proved<'a>(message: &'a Message, owner: &Name, kind: RecordType) -> Option<ProvedSet<'a>> {
    let is_its = |record: &&Record| record.record_type() == kind && record.name == *owner;
    let records: Vec<_> = message.answers.iter().filter(is_its).take(MAX_RECORDS).collect();
    let is_proved = |record: &&Record| matches!(record.proof, Proof::Secure | Proof::Insecure);
    if records.is_empty() || !records.iter().all(is_proved) {
        return None;
    }
    let is_secure = records.iter().all(|record| record.proof == Proof::Secure);
    if is_secure {
        let signature = signature(&message.answers, owner, kind)?;
        if signature.input().num_labels < owner.num_labels() && !is_denied(message, owner, signature) {
            return None;
        }
    }
    let ttl = records.iter().map(|record| record.ttl).min().unwrap_or_default();
    Some(ProvedSet { records, is_secure, ttl: Duration::from_secs(ttl.into()) })
}

/// What `owner` is an alias of: by its CNAME, or by a DNAME above it.
fn alias(message: &Message, owner: &Name) -> Option<(Name, bool, Duration)> {
    if let Some(set) = proved(message, owner, RecordType::CNAME)
        && let Some(RData::CNAME(target)) = set.records.first().map(|record| &record.data)
    {
        return Some((target.0.clone(), set.is_secure, set.ttl));
    }
    let mut above = owner.base_name();
    while above.num_labels() > 0 {
        if let Some(set) = proved(message, &above, RecordType::DNAME)
            && let [Record { data: RData::Unknown { rdata, .. }, .. }] = set.records.as_slice()
        {
            // It is never compressed (RFC 6672 section 2.5).
            let target = Name::from_bytes(&rdata.anything).ok()?;
            return Some((replaced(owner, &above, &target)?, set.is_secure, set.ttl));
        }
        above = above.base_name();
    }
    None
}

/// `owner` with `above` replaced by `target`; none if that is too long for a name (RFC 6672 section
/// 2.3).
fn replaced(owner: &Name, above: &Name, target: &Name) -> Option<Name> {
    let own = usize::from(owner.num_labels().checked_sub(above.num_labels())?);
    let mut name = Name::from_labels(owner.iter().take(own).chain(target.iter())).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// The signature that proved a set: only that one is marked.
fn signature<'a>(records: &'a [Record], owner: &Name, kind: RecordType) -> Option<&'a RRSIG> {
    records.iter().find_map(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature))
            if record.proof == Proof::Secure
                && record.name == *owner
                && signature.input().type_covered == kind =>
        {
            Some(signature)
        }
        _ => None,
    })
}

/// Whether it is proved that a name which a wildcard stands for is not there itself (RFC 4035 section
/// 5.3.4, RFC 5155 section 8.8). Only records of the wildcard's own zone count: one of a zone above
/// covers every name below a delegation.
fn is_denied(message: &Message, owner: &Name, wildcard: &RRSIG) -> bool {
    let zone = &wildcard.input().signer_name;
    message.authorities.iter().filter(|record| record.proof == Proof::Secure).any(|record| {
        let is_of_zone = |kind| {
            signature(&message.authorities, &record.name, kind)
                .is_some_and(|signature| signature.input().signer_name == *zone)
        };
        match &record.data {
            RData::DNSSEC(DNSSECRData::NSEC(nsec)) => {
                let is_last = nsec.next_domain_name() == zone;
                is_of_zone(RecordType::NSEC)
                    && record.name < *owner
                    && (is_last || *owner < *nsec.next_domain_name())
            }
            RData::DNSSEC(DNSSECRData::NSEC3(nsec3)) => {
                let closer = next_closer(owner, wildcard.input().num_labels);
                let hash = closer.and_then(|name| {
                    Nsec3HashAlgorithm::SHA1.hash(nsec3.salt(), &name, nsec3.iterations()).ok()
                });
                let begin =
                    record.name.iter().next().and_then(|label| {
                        data_encoding::BASE32_DNSSEC.decode(&label.to_ascii_lowercase()).ok()
                    });
                let (Some(hash), Some(begin)) = (hash, begin) else { return false };
                let (begin, hash, end) = (begin.as_slice(), hash.as_ref(), nsec3.next_hashed_owner_name());
                let is_covered =
                    if begin < end { begin < hash && hash < end } else { begin < hash || hash < end };
                is_of_zone(RecordType::NSEC3) && nsec3.iterations() <= MAX_ITERATIONS && is_covered
            }
            _ => false,
        }
    })
}

/// As many as a zone may ask for (RFC 9276 section 3.2).
const MAX_ITERATIONS: u16 = 100;

/// The name one label longer than the encloser of the wildcard, which has `labels` labels.
fn next_closer(owner: &Name, labels: u8) -> Option<Name> {
    let more = usize::from(owner.num_labels().checked_sub(labels)?);
    let mut name = Name::from_labels(owner.iter().skip(more.checked_sub(1)?)).ok()?;
    name.set_fqdn(true);
    Some(name)
}

impl Judged {
    /// The answer, if the records are there.
    pub(super) fn into_answer(self) -> Option<SecureAnswer> {
        let Self { aliases, records, is_secure, ttl, .. } = self;
        Some(SecureAnswer::Found { records: records?, aliases, is_secure, ttl })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    #[test]
    fn a_dname_replaces_what_is_below_it() {
        let made = replaced(&name("a.b.old.test."), &name("old.test."), &name("new.example."));
        assert_eq!(made, Some(name("a.b.new.example.")));
        let long = "x".repeat(60);
        let target = name(&format!("{long}.{long}.{long}.test."));
        let owner = name(&format!("{long}.{long}.old.test."));
        assert_eq!(replaced(&owner, &name("old.test."), &target), None);
    }

    #[test]
    fn the_next_closer_name_has_one_label_more_than_the_encloser() {
        let owner = name("_25._tcp.mx.example.test.");
        assert_eq!(next_closer(&owner, 3), Some(name("_tcp.mx.example.test.")));
        assert_eq!(next_closer(&owner, 4), Some(owner.clone()));
        assert_eq!(next_closer(&owner, 5), None);
    }
}
