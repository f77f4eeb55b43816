//! DNS block lists (RFC 5782) about our own addresses.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::check::{Check, Status, shown};
use crate::facts::Answer;
use crate::subject::Subject;

const SOURCE: &str = "RFC 5782 section 2";

/// Last octets of listings, by list: other answers are no listings. Answers of further lists must be
/// 127.0.0.2 or above.
const CODES: &[(&str, u8, u8)] = &[
    ("spamhaus.org", 2, 11),
    ("spamhaus.net", 2, 11),
    ("spamcop.net", 2, 2),
    ("barracudacentral.org", 2, 2),
    ("uceprotect.net", 2, 2),
];

/// What a list says of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// It is listed, with these answers.
    Listed(Vec<String>),
    /// It is not.
    NotListed,
    /// The list did not say, or said something that is no listing.
    Unknown(String),
}

/// The test entries of a list (RFC 5782 section 5): the first is listed, the second never is.
#[must_use]
pub fn test_entries(is_ipv6: bool) -> [IpAddr; 2] {
    let v6 = |last| IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x7f00, last));
    let v4 = |last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    if is_ipv6 { [v6(2), v6(1)] } else { [v4(2), v4(1)] }
}

/// The name to ask for. IPv6 addresses stay what they are, also those that stand for IPv4.
#[must_use]
pub fn query_name(address: IpAddr, list: &str) -> String {
    let mut name = String::new();
    match address {
        IpAddr::V4(v4) => {
            for octet in v4.octets().iter().rev() {
                let _ = write!(name, "{octet}.");
            }
        }
        IpAddr::V6(v6) => {
            for octet in v6.octets().iter().rev() {
                let _ = write!(name, "{:x}.{:x}.", octet & 15, octet >> 4);
            }
        }
    }
    name + list
}

/// Reads the answer of a list to a question for type A.
#[must_use]
pub fn listing(list: &str, answer: &Answer) -> Listing {
    let records = match answer {
        Answer::Found(records) => records,
        Answer::Nothing => return Listing::NotListed,
        Answer::Failed(detail) => return Listing::Unknown(format!("DNS did not answer: {}", shown(detail))),
    };
    let known = CODES.iter().find(|(zone, ..)| list == *zone || list.ends_with(&format!(".{zone}")));
    let (first, last) = known.map_or((2, u8::MAX), |(_, first, last)| (*first, *last));
    let mut codes = Vec::new();
    for record in records {
        match record.parse::<Ipv4Addr>().map(|address| address.octets()) {
            // Spamhaus: a typing mistake in the name, an open resolver, too many questions.
            Ok([127, 255, 255, _]) => {
                let message =
                    format!("{record} is an error of the list: it refuses this resolver, or its questions");
                return Listing::Unknown(message);
            }
            Ok([127, 0, 0, code]) if (first..=last).contains(&code) => codes.push(record.clone()),
            _ => {
                return Listing::Unknown(format!(
                    "{} is no answer that the list is known for",
                    shown(record)
                ));
            }
        }
    }
    Listing::Listed(codes)
}

/// Judges the answers about the test entries.
///
/// # Errors
/// Why the list is not believed.
pub fn believed(listed: &Listing, unlisted: &Listing) -> Result<(), String> {
    match (listed, unlisted) {
        (Listing::Listed(_), Listing::NotListed) => Ok(()),
        (Listing::Unknown(why), _) | (_, Listing::Unknown(why)) => Err(format!("its test entries: {why}")),
        (Listing::NotListed, _) => {
            Err("its test entry 127.0.0.2 is not listed: the list is empty or gone".to_owned())
        }
        (_, Listing::Listed(_)) => {
            Err("its test entry 127.0.0.1 is listed: the list lists everything".to_owned())
        }
    }
}

pub(crate) fn checks(subject: &Subject) -> Vec<Check> {
    let of = |(list, address, listing): &(String, IpAddr, Listing)| {
        let (status, message) = match listing {
            Listing::Listed(codes) => {
                (Status::Fail, format!("{address} is listed by {list}: {}", shown(&codes.join(" "))))
            }
            Listing::NotListed => (Status::Pass, format!("{address} is not listed by {list}")),
            Listing::Unknown(why) => (Status::Skip, format!("unknown: {list}: {}", shown(why))),
        };
        Check::new("reputation.blocklist", SOURCE, status, message).about(format!("{address} {list}"))
    };
    subject.listings.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(list: &str, answers: &[&str]) -> Listing {
        listing(list, &Answer::Found(answers.iter().map(|text| (*text).to_owned()).collect()))
    }

    #[test]
    fn errors_of_a_list_are_no_listings() {
        assert!(
            matches!(of("zen.spamhaus.org", &["127.0.0.4", "127.0.0.10"]), Listing::Listed(codes) if codes.len() == 2)
        );
        for wrong in [
            "127.255.255.252",
            "127.255.255.254",
            "127.255.255.255",
            "127.0.0.1",
            "127.0.1.2",
            "198.51.100.7",
            "x",
        ] {
            assert!(matches!(of("zen.spamhaus.org", &[wrong]), Listing::Unknown(_)), "{wrong}");
            assert!(matches!(of("zen.spamhaus.org", &["127.0.0.2", wrong]), Listing::Unknown(_)), "{wrong}");
        }
        assert!(matches!(of("bl.spamcop.net", &["127.0.0.3"]), Listing::Unknown(_)));
        assert!(matches!(of("list.test", &["127.0.0.99"]), Listing::Listed(_)));
        assert!(matches!(listing("list.test", &Answer::Failed("SERVFAIL".into())), Listing::Unknown(_)));
        assert_eq!(listing("list.test", &Answer::Nothing), Listing::NotListed);
    }

    #[test]
    fn a_list_is_tried_before_it_is_believed() {
        let listed = Listing::Listed(vec!["127.0.0.2".into()]);
        assert!(believed(&listed, &Listing::NotListed).is_ok());
        assert!(
            believed(&listed, &listed).is_err()
                && believed(&Listing::NotListed, &Listing::NotListed).is_err()
        );
        assert!(believed(&Listing::Unknown("x".into()), &Listing::NotListed).is_err());
    }

    #[test]
    fn names_of_test_entries() {
        let [listed, unlisted] = test_entries(false).map(|address| query_name(address, "list.test"));
        assert_eq!((listed.as_str(), unlisted.as_str()), ("2.0.0.127.list.test", "1.0.0.127.list.test"));
        let [listed, _] = test_entries(true).map(|address| query_name(address, "list.test"));
        assert_eq!(listed, "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.list.test");
    }
}
