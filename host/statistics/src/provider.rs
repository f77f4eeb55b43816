//! Providers of mailboxes: by the recipient's domain, else by the MX host that was spoken to.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use relevo_providers::{MAX_DOMAIN, of_domain, of_mx};
use relevo_store::StatisticsSite;

use crate::OTHER;

/// Recipient domains whose provider is remembered: about 5 MB. The provider of further domains is
/// known for attempts, and not for opens and clicks.
pub(crate) const MAX_SITES: usize = 50_000;
/// Days after which a domain that is still sent to is written again.
const REFRESH_DAYS: i64 = 7;

/// The provider of a recipient's mailbox, by its domain, else by the MX host that was spoken to;
/// [`OTHER`] where neither tells.
#[must_use]
pub fn provider_name(recipient: &str, mx: Option<&str>) -> String {
    let domain = recipient.rsplit_once('@').map_or("", |(_, domain)| domain).to_ascii_lowercase();
    match of_domain(&domain) {
        Some(name) => name.to_owned(),
        None => mx.and_then(of_mx).map_or_else(|| OTHER.to_owned(), Cow::into_owned),
    }
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
        if let Some(name) = of_domain(&domain) {
            return name.to_owned();
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
