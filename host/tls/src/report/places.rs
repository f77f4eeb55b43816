//! How many reports one place gets in a day.
//!
//! RFC 8460 lets a domain send its reports anywhere, and knows no way to ask whether they are wanted
//! there, as DMARC does. A report is one for each domain that mail was sent to, and small. So the
//! bound is for whoever points many domains at somebody else.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::record::ReportUri;
use super::tally::day_of;

/// Reports a day to one address or HTTPS host that is not the domain's own. Services that read the
/// reports of others ask for an address for each customer, or live with the bound.
const MOST: u32 = 500;
/// Places that are counted. Beyond them only places of domains themselves get reports.
const MAX_PLACES: usize = 50_000;

/// Counts of the reports that places got on a day.
#[derive(Debug, Default)]
pub(super) struct PlaceCounts(Mutex<(i64, HashMap<String, u32>)>);

impl PlaceCounts {
    /// Counts a report about `domain` to a place. False: the place has had enough today.
    pub(super) fn admit(&self, place: &ReportUri, domain: &str, now: i64) -> bool {
        let (key, host) = key(place);
        if is_own(domain, &host) {
            return true;
        }
        let mut counts = self.0.lock();
        if counts.0 != day_of(now) {
            *counts = (day_of(now), HashMap::new());
        }
        if !counts.1.contains_key(&key) && counts.1.len() >= MAX_PLACES {
            return false;
        }
        let count = counts.1.entry(key).or_default();
        *count = count.saturating_add(1);
        *count <= MOST
    }
}

/// What is counted: an address, or the host of a URL; and the host.
fn key(place: &ReportUri) -> (String, String) {
    match place {
        ReportUri::Mail(address) => {
            let address = address.to_ascii_lowercase();
            let host = address.rsplit_once('@').map(|(_, host)| host.to_owned()).unwrap_or_default();
            (address, host)
        }
        ReportUri::Https(url) => {
            let rest = url.split_once("//").map_or("", |(_, rest)| rest);
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            let host = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
            (host.clone(), host)
        }
    }
}

/// The host is the domain, below it or above it.
fn is_own(domain: &str, host: &str) -> bool {
    let is_below = |name: &str, above: &str| {
        name.strip_suffix(above).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    host.contains('.') && (is_below(host, domain) || is_below(domain, host))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    #[test]
    fn strangers_get_so_many_reports_a_day_and_domains_get_their_own() {
        let counts = PlaceCounts::default();
        let mail = ReportUri::Mail("Victim@other.example".into());
        for number in 0..MOST {
            assert!(counts.admit(&mail, &format!("{number}.example"), DAY));
        }
        let again = ReportUri::Mail("victim@OTHER.example".into());
        assert!(!counts.admit(&again, "a.example", DAY));
        assert!(counts.admit(&again, "other.example", DAY), "its own");
        assert!(counts.admit(&again, "a.other.example", DAY), "its own");
        assert!(counts.admit(&again, "a.example", 2 * DAY), "another day");
    }

    #[test]
    fn hosts_of_urls_are_counted_as_one_place() {
        let counts = PlaceCounts::default();
        for number in 0..MOST {
            let url = ReportUri::Https(format!("https://r.example:{number}/{number}"));
            assert!(counts.admit(&url, "a.example.net", DAY));
        }
        assert!(!counts.admit(&ReportUri::Https("https://x@R.example?y".into()), "a.example.net", DAY));
        assert!(!is_own("notexample.net", "example.net"));
        assert!(!is_own("example.net", "net"), "not the name of a place for mail");
    }
}
