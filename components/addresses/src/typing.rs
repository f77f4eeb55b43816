//! Mistakes of typing in domains: the nearest of the domains that most people have.
//!
//! A domain that takes mail is only doubted for one slip next to a long name: many companies have
//! a name near to a short one. A domain that does not exist is certainly wrong, so more is tried.

/// Domains of most people's mailboxes, those with more of them first.
const PROVIDERS: &[&str] = &[
    "gmail.com",
    "yahoo.com",
    "hotmail.com",
    "outlook.com",
    "icloud.com",
    "aol.com",
    "live.com",
    "msn.com",
    "mail.ru",
    "yandex.ru",
    "qq.com",
    "163.com",
    "126.com",
    "naver.com",
    "gmx.de",
    "web.de",
    "gmx.net",
    "gmx.com",
    "t-online.de",
    "protonmail.com",
    "proton.me",
    "googlemail.com",
    "ymail.com",
    "rocketmail.com",
    "mail.com",
    "email.com",
    "me.com",
    "mac.com",
    "pm.me",
    "zoho.com",
    "fastmail.com",
    "hey.com",
    "comcast.net",
    "verizon.net",
    "att.net",
    "sbcglobal.net",
    "bellsouth.net",
    "cox.net",
    "charter.net",
    "earthlink.net",
    "optonline.net",
    "yahoo.co.uk",
    "hotmail.co.uk",
    "live.co.uk",
    "outlook.co.uk",
    "btinternet.com",
    "sky.com",
    "talktalk.net",
    "virginmedia.com",
    "orange.fr",
    "wanadoo.fr",
    "free.fr",
    "sfr.fr",
    "laposte.net",
    "hotmail.fr",
    "yahoo.fr",
    "live.fr",
    "outlook.fr",
    "hotmail.es",
    "yahoo.es",
    "outlook.es",
    "telefonica.net",
    "terra.es",
    "libero.it",
    "hotmail.it",
    "yahoo.it",
    "virgilio.it",
    "alice.it",
    "tiscali.it",
    "freenet.de",
    "yahoo.de",
    "hotmail.de",
    "outlook.de",
    "bluewin.ch",
    "gmx.at",
    "gmx.ch",
    "telenet.be",
    "skynet.be",
    "ziggo.nl",
    "kpnmail.nl",
    "planet.nl",
    "hotmail.nl",
    "live.nl",
    "uol.com.br",
    "bol.com.br",
    "terra.com.br",
    "yahoo.com.br",
    "yahoo.com.mx",
    "hotmail.com.mx",
    "yahoo.com.ar",
    "hotmail.com.ar",
    "yahoo.co.jp",
    "docomo.ne.jp",
    "yahoo.co.in",
    "rediffmail.com",
    "bigpond.com",
    "bigpond.net.au",
    "optusnet.com.au",
    "yahoo.com.au",
    "xtra.co.nz",
    "shaw.ca",
    "rogers.com",
    "sympatico.ca",
    "telus.net",
    "yahoo.ca",
    "hotmail.ca",
    "seznam.cz",
    "centrum.cz",
    "wp.pl",
    "o2.pl",
    "onet.pl",
    "interia.pl",
    "ukr.net",
    "abv.bg",
    "list.ru",
    "bk.ru",
    "inbox.ru",
    "rambler.ru",
    "hanmail.net",
    "daum.net",
    "sina.com",
    "foxmail.com",
];

/// Domains near to one of the providers that are what they say.
const NOT_MISTAKEN: &[&str] = &[
    "cloud.com",
    "qmail.com",
    "tmail.com",
    "dmail.com",
    "gmail.ru",
    "fastmail.fm",
    "hushmail.com",
    "inbox.com",
];

/// Ends that are mistakes of typing, and the ends that were meant. None of the first is a top-level
/// domain, but for those of a country that stand below.
const ENDS: &[(&str, &str)] = &[
    ("con", "com"),
    ("cmo", "com"),
    ("ocm", "com"),
    ("comm", "com"),
    ("coom", "com"),
    ("ccom", "com"),
    ("cim", "com"),
    ("vom", "com"),
    ("xom", "com"),
    ("ckm", "com"),
    ("cpm", "com"),
    ("clm", "com"),
    ("comn", "com"),
    ("cop", "com"),
    ("c0m", "com"),
    ("nte", "net"),
    ("ney", "net"),
    ("nett", "net"),
    ("ne", "net"),
    ("ogr", "org"),
    ("orf", "org"),
    ("orgg", "org"),
    ("rog", "org"),
    ("ofg", "org"),
    ("eud", "edu"),
];

/// Top-level domains of countries that are one slip away from `com`.
const COUNTRIES: &[&str] = &["co", "cm", "om"];

/// The domain that was probably meant. `exists` is false if DNS says that the domain takes no mail.
/// `domain` is in lower case A-labels. The answer is never `domain` itself.
#[must_use]
pub fn suggested_domain(domain: &str, exists: bool) -> Option<String> {
    if PROVIDERS.contains(&domain) || NOT_MISTAKEN.contains(&domain) {
        return None;
    }
    let Some((name, end)) = domain.split_once('.') else { return without_end(domain) };
    let near = PROVIDERS.iter().enumerate().filter_map(|(rank, known)| {
        let (known_name, _) = known.split_once('.')?;
        // `yahoo.com.tw` is no `yahoo.com.mx`.
        if exists && name == known_name && !is_mistaken(end) {
            return None;
        }
        let most = slips(known_name, exists);
        let distance = distance(domain, known, most)?;
        Some((distance, rank, *known))
    });
    let nearest = near.min().map(|(_, _, known)| known.to_owned());
    nearest.or_else(|| {
        let ended = with_right_end(domain, exists)?;
        // `hotmial.con` has two mistakes.
        Some(suggested_domain(&ended, true).unwrap_or(ended))
    })
}

fn is_mistaken(end: &str) -> bool {
    COUNTRIES.contains(&end) || ENDS.iter().any(|(wrong, _)| *wrong == end)
}

/// The mistakes that a name may have: short names have many neighbours.
fn slips(name: &str, exists: bool) -> usize {
    match (name.len(), exists) {
        (..=4, true) => 0,
        (..=4, false) | (5.., true) => 1,
        (5.., false) => 2,
    }
}

/// `gmail` and `gmailcom`.
fn without_end(domain: &str) -> Option<String> {
    let known = PROVIDERS.iter().find(|known| {
        known.replace('.', "") == domain || known.split_once('.').is_some_and(|(name, _)| name == domain)
    });
    known.map(|known| (*known).to_owned())
}

/// `example.con`. A country's domain that exists is right.
fn with_right_end(domain: &str, exists: bool) -> Option<String> {
    let (rest, end) = domain.rsplit_once('.')?;
    let known = ENDS.iter().find(|(wrong, _)| *wrong == end).map(|(_, right)| *right);
    let right = known.or_else(|| (!exists && COUNTRIES.contains(&end)).then_some("com"))?;
    (!exists || known.is_some_and(|_| end != "ne")).then(|| format!("{rest}.{right}"))
}

/// The number of letters left out, put in, changed, or swapped with their neighbour (Damerau and
/// Levenshtein, no letter touched twice). None: more than `most`.
fn distance(a: &str, b: &str, most: usize) -> Option<usize> {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, other) in b.iter().enumerate() {
            let changed = last[j] + usize::from(letter != other);
            row[j + 1] = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *letter == b[j - 1] && a[i - 1] == *other {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        if row.iter().all(|cell| *cell > most) {
            return None;
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|distance| *distance <= most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn usual_slips_are_found() {
        for (typed, meant) in [
            ("gmial.com", "gmail.com"),
            ("gamil.com", "gmail.com"),
            ("gnail.com", "gmail.com"),
            ("gmail.co", "gmail.com"),
            ("gmail.con", "gmail.com"),
            ("gmaill.com", "gmail.com"),
            ("hotmial.com", "hotmail.com"),
            ("hotnail.com", "hotmail.com"),
            ("hotmial.con", "hotmail.com"),
            ("yaho.com", "yahoo.com"),
            ("yahooo.com", "yahoo.com"),
            ("yahoo.cm", "yahoo.com"),
            ("outlok.com", "outlook.com"),
            ("iclould.com", "icloud.com"),
            ("gmailcom", "gmail.com"),
            ("hotmail", "hotmail.com"),
            ("example.con", "example.com"),
        ] {
            assert_eq!(suggested_domain(typed, true).as_deref(), Some(meant), "{typed}");
            assert_eq!(suggested_domain(typed, false).as_deref(), Some(meant), "{typed} that does not exist");
        }
    }

    #[test]
    fn more_is_tried_for_a_domain_that_does_not_exist() {
        for (typed, meant) in [
            ("gmial.con", "gmail.com"),
            ("homtial.com", "hotmail.com"),
            ("aol.cmo", "aol.com"),
            ("lve.com", "live.com"),
            ("example.cm", "example.com"),
            ("example.ne", "example.net"),
        ] {
            assert_eq!(suggested_domain(typed, false).as_deref(), Some(meant), "{typed}");
        }
        for typed in ["lve.com", "example.cm", "example.ne"] {
            assert_eq!(suggested_domain(typed, true), None, "{typed} takes mail");
        }
    }

    #[test]
    fn domains_that_are_right_are_left_alone() {
        for domain in [
            "gmail.com",
            "mail.com",
            "email.com",
            "ymail.com",
            "yahoo.com.tw",
            "hotmail.gr",
            "gmx.es",
            "example.com",
            "line.com",
            "orange.es",
            "cloud.com",
            "company.co",
            "outlook.pt",
            "me.com",
            "wp.com",
            "sky.de",
        ] {
            assert_eq!(suggested_domain(domain, true), None, "{domain}");
        }
    }

    #[test]
    fn distances_are_those_of_the_textbook() {
        assert_eq!(distance("ca", "abc", 3), Some(3));
        assert_eq!(distance("abcd", "acbd", 3), Some(1));
        assert_eq!(distance("kitten", "sitting", 3), Some(3));
        assert_eq!(distance("kitten", "sitting", 2), None);
        assert_eq!(distance("", "", 0), Some(0));
    }

    proptest! {
        #[test]
        fn a_suggestion_is_another_domain(domain in "[a-z0-9.-]{0,30}", exists: bool) {
            if let Some(suggested) = suggested_domain(&domain, exists) {
                prop_assert_ne!(&suggested, &domain);
                // Who follows a suggestion does not get another one.
                prop_assert_eq!(suggested_domain(&suggested, true), None);
            }
        }

        #[test]
        fn one_slip_in_a_long_name_is_found(rank in 0..PROVIDERS.len(), at in 0_usize..20, letter in "[a-z]") {
            let known = PROVIDERS[rank];
            let name = known.split_once('.').map_or("", |(name, _)| name);
            if name.len() < 5 {
                return Ok(());
            }
            let at = at % name.len();
            let typed = format!("{}{letter}{}", &known[..at], &known[at + 1..]);
            prop_assume!(!PROVIDERS.contains(&typed.as_str()) && !NOT_MISTAKEN.contains(&typed.as_str()));
            prop_assert!(suggested_domain(&typed, true).is_some(), "{}", typed);
        }

        #[test]
        fn distance_is_symmetric(a in "[a-c]{0,8}", b in "[a-c]{0,8}") {
            prop_assert_eq!(distance(&a, &b, 8), distance(&b, &a, 8));
        }
    }
}
