//! Hosts of links, and which of them belong together.

use relevo_mailkit::address::to_ascii;
use relevo_mailkit::domain::registrable;

/// Services that make long URLs short. Receivers distrust them: the destination is hidden.
const SHORTENERS: [&str; 44] = [
    "adf.ly",
    "amzn.to",
    "bit.do",
    "bit.ly",
    "bl.ink",
    "buff.ly",
    "clck.ru",
    "cutt.ly",
    "dlvr.it",
    "dub.sh",
    "fb.me",
    "git.io",
    "goo.gl",
    "hubs.ly",
    "is.gd",
    "kutt.it",
    "lnkd.in",
    "mcaf.ee",
    "ouo.io",
    "ow.ly",
    "qr.ae",
    "rb.gy",
    "rebrand.ly",
    "s.id",
    "short.io",
    "shorte.st",
    "shorturl.at",
    "smarturl.it",
    "snip.ly",
    "soo.gd",
    "t.co",
    "t.ly",
    "tiny.cc",
    "tiny.one",
    "tinyurl.com",
    "tny.im",
    "tr.im",
    "trib.al",
    "u.to",
    "urlz.fr",
    "v.gd",
    "x.co",
    "yourls.org",
    "zpr.io",
];
/// Text without `www.` is taken for a host name only under these domains: `Node.js` is none.
const TOP_LEVEL_DOMAINS: [&str; 40] = [
    "com", "net", "org", "info", "biz", "edu", "gov", "io", "dev", "app", "shop", "store", "online", "eu",
    "de", "fr", "es", "it", "nl", "be", "ch", "at", "uk", "ie", "pt", "pl", "se", "no", "dk", "fi", "cz",
    "gr", "ru", "us", "ca", "mx", "br", "ar", "au", "jp",
];

/// What stands round a host in text.
const PUNCTUATION: [char; 10] = ['<', '>', '(', ')', '"', '\'', '.', ',', ';', '!'];

/// The scheme and the rest of an absolute URL, such as `https` and `example.com/x`.
pub(crate) fn parts(url: &str) -> Option<(String, &str)> {
    let (scheme, rest) = url.trim().split_once(':')?;
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let well_formed = scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(is_scheme);
    well_formed.then(|| (scheme.to_ascii_lowercase(), rest.trim_start_matches(['/', '\\'])))
}

/// The authority of what follows `scheme://`: user and host.
fn authority(rest: &str) -> (Option<&str>, &str) {
    let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    }
}

/// The host of an http or https URL in lower case A-labels, or a number with its brackets.
pub(crate) fn host(url: &str) -> Option<String> {
    let (scheme, rest) = parts(url)?;
    if scheme != "http" && scheme != "https" {
        return None;
    }
    let (_, host) = authority(rest);
    canonical(host)
}

/// Returns true if a URL has a user before its host, which misleads readers.
pub(crate) fn has_user(url: &str) -> bool {
    parts(url).is_some_and(|(_, rest)| authority(rest).0.is_some())
}

fn canonical(host: &str) -> Option<String> {
    if host.starts_with('[') {
        return Some(host.split_inclusive(']').next()?.to_ascii_lowercase());
    }
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|o| o.is_ascii_digit()));
    let host = name.map_or(host, |(name, _)| name).trim_end_matches('.');
    if host.parse::<std::net::Ipv4Addr>().is_ok() {
        return Some(host.to_owned());
    }
    to_ascii(host).ok()
}

/// Returns true for an IP address in place of a name.
pub(crate) fn is_ip_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok()
}

pub(crate) fn is_shortener(host: &str) -> bool {
    let host = host.strip_prefix("www.").unwrap_or(host);
    SHORTENERS.contains(&host)
}

/// The host that the text of a link names, if it names one: all of the text is a URL or a host, or a
/// word of it is a URL or begins with `www.`.
pub(crate) fn host_in_text(text: &str) -> Option<String> {
    let text = text.trim();
    if !text.contains(char::is_whitespace) {
        return host_in_word(text);
    }
    let is_plain = |word: &&str| {
        let word = word.trim_start_matches(PUNCTUATION).to_ascii_lowercase();
        ["http://", "https://", "www."].iter().any(|start| word.starts_with(start))
    };
    text.split_whitespace().find(is_plain).and_then(host_in_word)
}

fn host_in_word(text: &str) -> Option<String> {
    let text = text.trim_matches(PUNCTUATION);
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("http://") || lower.starts_with("https://") {
        return host(text);
    }
    if text.contains('@') {
        return None;
    }
    let name = text.split(['/', '?', '#']).next()?;
    let (_, end) = name.rsplit_once('.')?;
    let is_host = lower.starts_with("www.") || TOP_LEVEL_DOMAINS.contains(&end.to_ascii_lowercase().as_str());
    is_host.then(|| canonical(name)).flatten()
}

/// Returns true if both hosts are of one registered domain.
pub(crate) fn share_domain(a: &str, b: &str) -> bool {
    registered_domain(a) == registered_domain(b)
}

/// The registered domain of a host name, or the whole of what has none.
fn registered_domain(host: &str) -> &str {
    match is_ip_address(host) {
        true => host,
        false => registrable(host).unwrap_or(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_browsers_do() {
        for (url, expected) in [
            ("https://Example.COM/a?b#c", Some("example.com")),
            ("HTTP:\\\\example.com\\x", Some("example.com")),
            ("https://paypal.com@evil.test/", Some("evil.test")),
            ("http://192.0.2.1:8080/", Some("192.0.2.1")),
            ("http://[2001:db8::1]:8080/", Some("[2001:db8::1]")),
            ("https://m\u{fc}ller.example/", Some("xn--mller-kva.example")),
            ("mailto:ana@example.com", None),
            ("javascript:alert(1)", None),
            ("/relative", None),
            ("", None),
        ] {
            assert_eq!(host(url).as_deref(), expected, "{url}");
        }
        assert!(has_user("https://paypal.com@evil.test/") && !has_user("https://evil.test/@paypal.com"));
    }

    #[test]
    fn text_names_a_host_or_none() {
        for (text, expected) in [
            ("https://example.com/login", Some("example.com")),
            ("www.example.test", Some("www.example.test")),
            (" example.com. ", Some("example.com")),
            ("example.co.uk/x", Some("example.co.uk")),
            ("Node.js", None),
            ("Read more at example.com today", None),
            ("Log in at https://example.com/login now", Some("example.com")),
            ("Log in (www.example.com)", Some("www.example.com")),
            ("ana@example.com", None),
            ("Click here", None),
            ("", None),
        ] {
            assert_eq!(host_in_text(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn subdomains_share_domain() {
        assert!(share_domain("www.example.com", "click.mail.example.com"));
        assert!(share_domain("a.example.co.uk", "example.co.uk"));
        assert!(!share_domain("a.co.uk", "b.co.uk") && !share_domain("example.com", "example.org"));
        assert!(!share_domain("192.0.2.1", "192.0.3.1") && !share_domain("com", "example.com"));
    }
}
