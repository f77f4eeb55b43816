//! Providers of mailboxes: who receives the mail of a domain, or at an MX host.
//!
//! Statistics, shaping and suppression all name a provider as this crate does. Pure: a table that is
//! built in, and no lookups.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use relevo_mailkit::domain::registrable;

/// Octets of the longest name of a domain (RFC 1035 section 2.3.4).
pub const MAX_DOMAIN: usize = 253;

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

    /// The provider whose suffix an MX host has; the longest one counts.
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

/// Returns true if the table has a provider with this name.
#[must_use]
pub fn is_known(name: &str) -> bool {
    PROVIDERS.by_mx.values().chain(PROVIDERS.by_domain.values()).any(|known| *known == name)
}

/// The provider of a recipient domain, if the table has the domain itself. Letters may have any
/// case.
#[must_use]
pub fn of_domain(domain: &str) -> Option<&'static str> {
    PROVIDERS.by_domain.get(domain.to_ascii_lowercase().as_str()).copied()
}

/// The provider that an MX host belongs to: one of the table, else the host's registrable domain.
/// None for an address, for a name with one label, and for a name that is too long.
#[must_use]
pub fn of_mx(host: &str) -> Option<Cow<'static, str>> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if host.len() > MAX_DOMAIN || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return None;
    }
    match PROVIDERS.of_mx(&host) {
        Some(name) => Some(name.into()),
        None => registrable(&host).map(|domain| domain.to_owned().into()),
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
            ("example-com.mail.protection.outlook.com", Some("microsoft365")),
            ("example-com.x-v1.mx.microsoft", Some("microsoft365")),
            ("hotmail-com.olc.protection.outlook.com", Some("outlook")),
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
    fn recipient_domains_belong_to_providers() {
        for (domain, wanted) in [
            ("Gmail.com", Some("google")),
            ("hotmail.co.uk", Some("outlook")),
            ("notgmail.com", None),
            ("mail.gmail.com", None),
            ("", None),
        ] {
            assert_eq!(of_domain(domain), wanted, "{domain}");
        }
        assert!(is_known("google") && is_known("proofpoint") && !is_known("example.com"));
    }
}
