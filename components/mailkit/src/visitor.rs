//! Opens and clicks told apart: people, proxies that fetch ahead, and scanners.
//!
//! A guess with its reason: nothing is dropped because of it. The rules are data, each with its source.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The kind of client behind an open or a click.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visitor {
    /// A person, as far as can be told.
    Human,
    /// A mail service that fetches pictures whether or not anybody reads.
    PrefetchProxy,
    /// A program that follows links to judge them.
    Scanner,
    /// Too little is known.
    Unknown,
}

/// A guess and the rule behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guess {
    /// The kind.
    pub visitor: Visitor,
    /// The rule that decided, lower case with hyphens.
    pub reason: &'static str,
}

/// What is known of one request.
#[derive(Debug, Clone, Copy)]
pub struct Visit<'a> {
    /// The `User-Agent` field.
    pub user_agent: Option<&'a str>,
    /// The client's address.
    pub client: IpAddr,
    /// The message was not delivered yet.
    pub before_delivery: bool,
    /// Distinct links of this message that the same client followed within the last two seconds,
    /// this one included.
    pub links_at_once: u32,
}

/// Links that nobody follows within two seconds by hand.
const BURST: u32 = 3;

/// Parts of user agents in lower case.
const AGENTS: [(&str, Visitor, &str); 30] = [
    // The proxies of Gmail and Yahoo fetch when a person opens, and hide who it is (their help pages say so).
    ("googleimageproxy", Visitor::Human, "google-image-proxy"),
    ("yahoomailproxy", Visitor::Human, "yahoo-mail-proxy"),
    // Link previews of messengers: a person pasted the link, but nobody has followed it.
    ("slackbot", Visitor::Scanner, "link-preview"),
    ("facebookexternalhit", Visitor::Scanner, "link-preview"),
    ("twitterbot", Visitor::Scanner, "link-preview"),
    ("whatsapp/", Visitor::Scanner, "link-preview"),
    ("telegrambot", Visitor::Scanner, "link-preview"),
    ("discordbot", Visitor::Scanner, "link-preview"),
    ("skypeuripreview", Visitor::Scanner, "link-preview"),
    ("bingpreview", Visitor::Scanner, "link-preview"),
    // Gateways that name themselves.
    ("barracuda", Visitor::Scanner, "mail-gateway"),
    ("proofpoint", Visitor::Scanner, "mail-gateway"),
    ("mimecast", Visitor::Scanner, "mail-gateway"),
    ("fireeye", Visitor::Scanner, "mail-gateway"),
    ("symantec", Visitor::Scanner, "mail-gateway"),
    ("trendmicro", Visitor::Scanner, "mail-gateway"),
    ("sophos", Visitor::Scanner, "mail-gateway"),
    ("safelinks", Visitor::Scanner, "mail-gateway"),
    // Programs.
    ("headlesschrome", Visitor::Scanner, "program"),
    ("phantomjs", Visitor::Scanner, "program"),
    ("python-requests", Visitor::Scanner, "program"),
    ("python-urllib", Visitor::Scanner, "program"),
    ("go-http-client", Visitor::Scanner, "program"),
    ("java/", Visitor::Scanner, "program"),
    ("okhttp", Visitor::Scanner, "program"),
    ("curl/", Visitor::Scanner, "program"),
    ("wget/", Visitor::Scanner, "program"),
    ("crawler", Visitor::Scanner, "program"),
    ("spider", Visitor::Scanner, "program"),
    ("bot/", Visitor::Scanner, "program"),
];

/// Networks of filters that open links: first address, length of the prefix, name.
const NETWORKS: [(&str, u32, &str); 9] = [
    // Exchange Online Protection (Microsoft 365 URLs and IP address ranges, Exchange Online).
    ("40.92.0.0", 15, "microsoft-365"),
    ("40.107.0.0", 16, "microsoft-365"),
    ("52.100.0.0", 14, "microsoft-365"),
    ("104.47.0.0", 17, "microsoft-365"),
    // Barracuda Email Gateway Defense (campus.barracuda.com, IP ranges).
    ("209.222.80.0", 21, "barracuda"),
    ("64.235.144.0", 20, "barracuda"),
    // Proofpoint (registry of ARIN: PROOFPOINT-NET).
    ("67.231.144.0", 20, "proofpoint"),
    ("148.163.128.0", 19, "proofpoint"),
    // Mimecast (registry of ARIN: MIMECAST).
    ("207.211.30.0", 24, "mimecast"),
];

/// Guesses from one request.
#[must_use]
pub fn guess(visit: &Visit<'_>) -> Guess {
    let guess = |visitor, reason| Guess { visitor, reason };
    if visit.before_delivery {
        return guess(Visitor::Scanner, "before-delivery");
    }
    if visit.links_at_once >= BURST {
        return guess(Visitor::Scanner, "many-links-at-once");
    }
    if let Some(name) = network(visit.client) {
        return guess(Visitor::Scanner, name);
    }
    let Some(agent) = visit.user_agent.map(str::trim).filter(|agent| !agent.is_empty()) else {
        return guess(Visitor::Unknown, "no-user-agent");
    };
    // Apple's Mail Privacy Protection fetches everything in advance, under no other name than this.
    if agent == "Mozilla/5.0" {
        return guess(Visitor::PrefetchProxy, "apple-mail-privacy");
    }
    let lower: String = agent.chars().take(512).collect::<String>().to_ascii_lowercase();
    if let Some((_, visitor, reason)) = AGENTS.iter().find(|(part, _, _)| lower.contains(part)) {
        return guess(*visitor, reason);
    }
    let has_browser = ["mozilla/", "opera/", "outlook", "thunderbird", "applemail"];
    match has_browser.iter().any(|part| lower.contains(part)) {
        true => guess(Visitor::Human, "browser"),
        false => guess(Visitor::Unknown, "unknown-user-agent"),
    }
}

fn network(client: IpAddr) -> Option<&'static str> {
    let IpAddr::V4(client) = client.to_canonical() else { return None };
    NETWORKS.iter().find_map(|(first, length, name)| {
        let first: std::net::Ipv4Addr = first.parse().ok()?;
        let differing = client.to_bits() ^ first.to_bits();
        (differing.leading_zeros() >= *length).then_some(*name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15";
        let gmail =
            "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)";
        let (home, microsoft) = ("192.0.2.7", "40.107.1.2");
        let cases = [
            (Some(iphone), home, false, 1, Visitor::Human, "browser"),
            (Some(gmail), home, false, 1, Visitor::Human, "google-image-proxy"),
            (Some("Mozilla/5.0"), home, false, 1, Visitor::PrefetchProxy, "apple-mail-privacy"),
            (Some(iphone), microsoft, false, 1, Visitor::Scanner, "microsoft-365"),
            (Some(iphone), "::ffff:40.107.1.2", false, 1, Visitor::Scanner, "microsoft-365"),
            (Some(iphone), home, true, 1, Visitor::Scanner, "before-delivery"),
            (Some(iphone), home, false, 2, Visitor::Human, "browser"),
            (Some(iphone), home, false, 3, Visitor::Scanner, "many-links-at-once"),
            (Some("curl/8.5.0"), home, false, 1, Visitor::Scanner, "program"),
            (Some("Slackbot-LinkExpanding 1.0"), home, false, 1, Visitor::Scanner, "link-preview"),
            (Some("Foo"), home, false, 1, Visitor::Unknown, "unknown-user-agent"),
            (None, home, false, 1, Visitor::Unknown, "no-user-agent"),
        ];
        for (user_agent, client, before_delivery, links_at_once, visitor, reason) in cases {
            let client = client.parse().unwrap();
            let visit = Visit { user_agent, client, before_delivery, links_at_once };
            assert_eq!(guess(&visit), Guess { visitor, reason }, "{visit:?}");
        }
    }

    #[test]
    fn every_network_can_be_read() {
        for (first, length, name) in NETWORKS {
            assert_eq!(network(first.parse().unwrap()), Some(name), "{first}/{length}");
        }
    }
}
