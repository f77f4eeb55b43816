//! Providers of mailboxes: by the recipient's domain, else by the MX host that was spoken to.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::LazyLock;

use relevo_store::StatisticsSite;

use crate::OTHER;

/// Recipient domains whose provider is remembered: about 5 MB. The provider of further domains is
/// known for attempts, and not for opens and clicks.
pub(crate) const MAX_SITES: usize = 50_000;
/// Days after which a domain that is still sent to is written again.
const REFRESH_DAYS: i64 = 7;
/// Octets of the longest name of a domain (RFC 1035 section 2.3.4).
const MAX_DOMAIN: usize = 253;

static PROVIDERS: LazyLock<Providers> =
    LazyLock::new(|| Providers::read(include_str!("../data/providers.txt")));

/// The data file.
#[derive(Debug, Default)]
struct Providers {
    by_mx: HashMap<&'static str, &'static str>,
    by_domain: HashMap<&'static str, &'static str>,
}

impl Providers {
    fn read(text: &'static str) -> Self {
        let mut providers = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split_ascii_whitespace();
            let (Some(name), Some(kind)) = (words.next(), words.next()) else { continue };
            let names = if kind == "mx" { &mut providers.by_mx } else { &mut providers.by_domain };
            names.extend(words.map(|word| (word, name)));
        }
        providers
    }

    /// The provider whose suffix an MX host has.
    fn of_mx(&self, host: &str) -> Option<&'static str> {
        let mut rest = host;
        loop {
            if let Some(name) = self.by_mx.get(rest) {
                return Some(name);
            }
            rest = rest.split_once('.')?.1;
        }
    }
}

/// The provider that an MX host belongs to: one of the data file, else the host's registrable
/// domain; none for an address.
fn of_mx(host: &str) -> Option<Cow<'static, str>> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if host.len() > MAX_DOMAIN || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return None;
    }
    match PROVIDERS.of_mx(&host) {
        Some(name) => Some(name.into()),
        None => registrable(&host).map(|domain| domain.to_owned().into()),
    }
}

/// The provider of a recipient's mailbox, by its domain, else by the MX host that was spoken to;
/// [`OTHER`] where neither tells.
#[must_use]
pub fn provider_name(recipient: &str, mx: Option<&str>) -> String {
    let domain = recipient.rsplit_once('@').map_or("", |(_, domain)| domain).to_ascii_lowercase();
    match PROVIDERS.by_domain.get(domain.as_str()) {
        Some(name) => (*name).to_owned(),
        None => mx.and_then(of_mx).map_or_else(|| OTHER.to_owned(), Cow::into_owned),
    }
}

/// Second labels that stand for a category of a country's domain, such as `co.uk`.
const CATEGORIES: [&str; 10] = ["ac", "co", "com", "edu", "gob", "gov", "ne", "net", "or", "org"];

/// The last two labels of a name, or three where the second last is a category: a rule of thumb
/// instead of the list of public suffixes.
fn registrable(host: &str) -> Option<&str> {
    let labels: Vec<&str> = host.rsplitn(4, '.').collect();
    let count = match labels.as_slice() {
        [country, category, _, ..] if country.len() == 2 && CATEGORIES.contains(category) => 3,
        [_, _, ..] => 2,
        _ => return None,
    };
    let octets: usize = labels.iter().take(count).map(|label| label.len() + 1).sum();
    host.get(host.len() - (octets - 1)..)
}

/// Recipient domains whose provider was learnt from attempts.
#[derive(Debug, Default)]
pub(crate) struct Sites {
    known: HashMap<String, (String, i64)>,
    changed: BTreeMap<String, StatisticsSite>,
}

impl Sites {
    pub(crate) fn new(sites: Vec<StatisticsSite>) -> Self {
        let known = sites.into_iter().map(|site| (site.domain, (site.provider, site.seen_on))).collect();
        Self { known, changed: BTreeMap::new() }
    }

    /// The provider of a recipient, after an attempt with this MX host if there was one.
    pub(crate) fn provider(&mut self, recipient: &str, mx: Option<&str>, day: i64) -> String {
        let domain = recipient.rsplit_once('@').map_or("", |(_, domain)| domain).to_ascii_lowercase();
        if let Some(name) = PROVIDERS.by_domain.get(domain.as_str()) {
            return (*name).to_owned();
        }
        match mx.and_then(of_mx) {
            Some(provider) => {
                self.learn(domain, &provider, day);
                provider.into_owned()
            }
            None => self.known.get(&domain).map_or_else(|| OTHER.to_owned(), |(name, _)| name.clone()),
        }
    }

    fn learn(&mut self, domain: String, provider: &str, day: i64) {
        if domain.is_empty() || domain.len() > MAX_DOMAIN {
            return;
        }
        let is_new = match self.known.get(&domain) {
            Some((known, seen_on)) => known != provider || day >= seen_on + REFRESH_DAYS,
            None => self.known.len() < MAX_SITES,
        };
        if is_new {
            self.known.insert(domain.clone(), (provider.to_owned(), day));
            let site = StatisticsSite { domain: domain.clone(), provider: provider.to_owned(), seen_on: day };
            self.changed.insert(domain, site);
        }
    }

    /// What was learnt since the last call, to be stored.
    pub(crate) fn take_changed(&mut self) -> Vec<StatisticsSite> {
        std::mem::take(&mut self.changed).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mx_hosts_belong_to_providers() {
        for (host, wanted) in [
            ("gmail-smtp-in.l.google.com", Some("google")),
            ("ASPMX.L.GOOGLE.COM.", Some("google")),
            ("example-com.mail.protection.outlook.com", Some("microsoft")),
            ("example-com.x-v1.mx.microsoft", Some("microsoft")),
            ("mta5.am0.yahoodns.net", Some("yahoo")),
            ("mx01.mail.icloud.com", Some("apple")),
            ("mx-ha02.web.de", Some("gmx")),
            ("mail.protonmail.ch", Some("proton")),
            ("smtp-in.orange.fr", Some("orange")),
            ("mx1.free.fr", Some("free")),
            ("mx.notgoogle.com", Some("notgoogle.com")),
            ("mx.google.com.evil.test", Some("evil.test")),
            ("a.b.mail.example.co.uk", Some("example.co.uk")),
            ("mail.example.com", Some("example.com")),
            ("mx1.abc.de", Some("abc.de")),
            ("mx.eu", Some("mx.eu")),
            ("localhost", None),
            ("127.0.0.1", None),
            ("[2001:db8::1]", None),
            ("", None),
        ] {
            assert_eq!(of_mx(host).as_deref(), wanted, "{host}");
        }
        assert_eq!(of_mx(&"a.".repeat(300)), None);
    }

    #[test]
    fn the_data_file_names_each_suffix_once() {
        let text = include_str!("../data/providers.txt");
        let words = text.lines().filter(|line| !line.starts_with('#')).flat_map(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            assert!(words.len() > 2 && ["mx", "domain"].contains(&words[1]), "{line}");
            words[2..].iter().map(|word| (words[1], *word)).collect::<Vec<_>>()
        });
        let mut seen = std::collections::HashSet::new();
        for word in words {
            assert!(seen.insert(word), "{word:?} is there twice");
        }
    }

    #[test]
    fn a_domain_keeps_the_provider_of_its_last_attempt() {
        let mut sites = Sites::default();
        assert_eq!(sites.provider("a@Gmail.com", None, 1), "google");
        assert_eq!(sites.provider("a@corp.test", None, 1), OTHER);
        assert_eq!(sites.provider("a@corp.test", Some("aspmx.l.google.com"), 1), "google");
        assert_eq!(sites.provider("b@CORP.test", None, 2), "google");
        assert_eq!(sites.take_changed().len(), 1, "the domain of a provider needs no memory");
        sites.provider("a@corp.test", Some("alt1.aspmx.l.google.com"), 3);
        assert_eq!(sites.take_changed(), [], "nothing new");
        sites.provider("a@corp.test", Some("mx.other.example"), 3);
        sites.provider("a@corp.test", Some("mx.other.example"), 10);
        let site =
            StatisticsSite { domain: "corp.test".into(), provider: "other.example".into(), seen_on: 10 };
        assert_eq!(sites.take_changed(), std::slice::from_ref(&site));
        assert_eq!(Sites::new(vec![site]).provider("a@corp.test", None, 11), "other.example");
        assert_eq!(sites.provider("a@new.test", Some("127.0.0.1"), 1), OTHER);
    }

    #[test]
    fn the_provider_of_one_attempt_needs_no_memory() {
        assert_eq!(provider_name("a@Gmail.com", Some("mx.other.example")), "google");
        assert_eq!(provider_name("a@corp.test", Some("aspmx.l.google.com")), "google");
        assert_eq!(provider_name("a@corp.test", None), OTHER);
    }

    #[test]
    fn memory_is_bounded() {
        let full = (0..MAX_SITES).map(|n| StatisticsSite {
            domain: format!("{n}.test"),
            provider: "google".into(),
            seen_on: 1,
        });
        let mut sites = Sites::new(full.collect());
        assert_eq!(sites.provider("a@new.test", Some("mx1.free.fr"), 1), "free");
        assert_eq!(sites.provider("a@new.test", None, 1), OTHER);
        assert_eq!(sites.provider("a@1.test", Some("mx1.free.fr"), 1), "free");
        assert_eq!(sites.take_changed().len(), 1);
    }
}
