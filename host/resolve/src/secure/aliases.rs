//! Follows aliases one by one, for answers that hickory's validator cannot take as a whole.
//!
//! It refuses a right answer in two cases. An authority section that has more than the answer needs
//! (resolvers that minimise names leave NSEC records there) is taken for a denial. And the CNAME
//! that is made from a DNAME has no signature of its own (RFC 6672 section 5.3.1). Nothing is
//! believed here that was not validated: each alias is a question of its own.

use std::time::Duration;

use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::BinDecodable as _;

use super::answer::{MAX_ALIASES, RecordSet, plain};
use super::{Alias, SecureAnswer, SecureFailure};

/// Questions for one name, over all its aliases.
const MAX_QUESTIONS: usize = 40;

/// One question, validated.
pub(super) trait AskOne {
    /// The answer to a question for records that are addresses, hosts or TLSA records.
    async fn answer(&self, name: &Name, kind: RecordType) -> SecureAnswer;

    /// The records of this type at this very name; none if there are none, or if they are bogus.
    async fn set(&self, name: &Name, kind: RecordType) -> Option<RecordSet>;
}

/// Follows the aliases of a name whose answer as a whole is `bogus`. If it has none, that stands.
pub(super) async fn follow(
    ask: &impl AskOne,
    name: &Name,
    kind: RecordType,
    bogus: SecureFailure,
) -> SecureAnswer {
    let (mut owner, mut followed, mut shortest) = (name.clone(), Vec::new(), Duration::MAX);
    let mut questions = 0;
    while followed.len() < MAX_ALIASES {
        let Some((target, is_secure, ttl)) = alias(ask, &owner, &mut questions).await else {
            return SecureAnswer::Failed(bogus);
        };
        followed.push(Alias { target: plain(&target), is_secure });
        shortest = shortest.min(ttl);
        owner = target;
        questions += 1;
        match ask.answer(&owner, kind).await {
            SecureAnswer::Failed(SecureFailure::Bogus(_)) => {}
            SecureAnswer::Found { records, aliases, is_secure, ttl } => {
                followed.extend(aliases);
                return SecureAnswer::Found { records, aliases: followed, is_secure, ttl: ttl.min(shortest) };
            }
            other => return other,
        }
    }
    SecureAnswer::Failed(bogus)
}

/// What `owner` is an alias of: by its CNAME, or by a DNAME above it. With it, whether that is
/// signed, and its TTL.
async fn alias(ask: &impl AskOne, owner: &Name, questions: &mut usize) -> Option<(Name, bool, Duration)> {
    *questions += 1;
    if let Some(set) = ask.set(owner, RecordType::CNAME).await
        && let Some(RData::CNAME(target)) = set.data.first()
    {
        return Some((target.0.clone(), set.is_secure, set.ttl));
    }
    let mut above = owner.base_name();
    while above.num_labels() > 0 && *questions < MAX_QUESTIONS {
        *questions += 1;
        if let Some(set) = ask.set(&above, RecordType::DNAME).await
            && let [RData::Unknown { rdata, .. }] = set.data.as_slice()
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
    let labels = owner.iter().take(own).chain(target.iter());
    let mut name = Name::from_labels(labels).ok()?;
    name.set_fqdn(true);
    Some(name)
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
}
