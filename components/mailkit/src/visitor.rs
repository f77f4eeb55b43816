//! Opens and clicks told apart: people, proxies that fetch ahead, and scanners.
//!
//! A guess with its reason: nothing is dropped because of it. Known clients are data with their
//! sources (`visitor/known.tsv`).

use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The kind of client behind an open or a click.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Visitor {
    /// A person, as far as can be told.
    Human,
    /// A mail service that fetches pictures whether or not anybody reads.
    PrefetchProxy,
    /// A program that follows links to judge them.
    Scanner,
    /// Too little is known.
    #[default]
    Unknown,
}

/// A guess and the rule behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Guess {
    /// The kind.
    pub visitor: Visitor,
    /// The rule that decided, lower case with hyphens.
    pub reason: &'static str,
}

/// What a request itself tells.
#[derive(Debug, Clone, Copy)]
pub struct Visit<'a> {
    /// The `User-Agent` field.
    pub user_agent: Option<&'a str>,
    /// The client's address.
    pub client: IpAddr,
    /// Distinct links of the recipient's copy that were followed within the last two seconds, this
    /// one included; 0 for an open.
    pub links_at_once: u32,
}

/// When a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// The copy is not delivered yet.
    BeforeDelivery,
    /// This long after it was delivered.
    After(Duration),
    /// Nothing is known about the delivery.
    Unknown,
}

/// Links that nobody follows within two seconds by hand.
const BURST: u32 = 3;
/// The time within which nobody sees that mail has come.
const AT_ONCE: Duration = Duration::from_secs(2);
/// Characters of a user agent that are looked at.
const MAX_AGENT: usize = 512;

const KNOWN: &str = include_str!("visitor/known.tsv");

#[derive(Default)]
struct Known {
    whole_agents: Vec<(&'static str, Guess)>,
    agents: Vec<(&'static str, Guess)>,
    networks: Vec<(IpAddr, u32, Guess)>,
}

static RULES: LazyLock<Known> = LazyLock::new(|| {
    let mut known = Known::default();
    KNOWN.lines().for_each(|line| {
        let _ = known.add(line);
    });
    known
});

impl Known {
    /// None: the line is a comment, or none that can be read.
    fn add(&mut self, line: &'static str) -> Option<()> {
        let mut columns = line.split('\t');
        let (kind, pattern, visitor, reason) =
            (columns.next()?, columns.next()?, columns.next()?, columns.next()?);
        let visitor = match visitor {
            "human" => Visitor::Human,
            "prefetch_proxy" => Visitor::PrefetchProxy,
            "scanner" => Visitor::Scanner,
            _ => return None,
        };
        let guess = Guess { visitor, reason };
        match kind {
            "agent-is" => self.whole_agents.push((pattern, guess)),
            "agent" => self.agents.push((pattern, guess)),
            "network" => {
                let (first, length) = pattern.split_once('/')?;
                self.networks.push((first.parse().ok()?, length.parse().ok()?, guess));
            }
            _ => return None,
        }
        Some(())
    }
}

/// Guesses from one request.
#[must_use]
pub fn guess(visit: &Visit<'_>) -> Guess {
    let by_agent = by_agent(visit.user_agent);
    // A client that names itself is believed where it does not claim to be a person.
    if matches!(by_agent.visitor, Visitor::Scanner | Visitor::PrefetchProxy) {
        return by_agent;
    }
    if visit.links_at_once >= BURST {
        return Guess { visitor: Visitor::Scanner, reason: "many-links-at-once" };
    }
    by_network(visit.client).unwrap_or(by_agent)
}

/// The guess when it is known, too, when the request came. Programs are quicker than mail programs
/// show mail.
#[must_use]
pub fn timed(guess: Guess, timing: Timing) -> Guess {
    let scanner = |reason| Guess { visitor: Visitor::Scanner, reason };
    match (guess.visitor, timing) {
        (Visitor::Scanner | Visitor::PrefetchProxy, _) => guess,
        (_, Timing::BeforeDelivery) => scanner("before-delivery"),
        (_, Timing::After(time)) if time < AT_ONCE => scanner("right-after-delivery"),
        _ => guess,
    }
}

fn by_agent(user_agent: Option<&str>) -> Guess {
    let Some(agent) = user_agent.map(str::trim).filter(|agent| !agent.is_empty()) else {
        return Guess { visitor: Visitor::Unknown, reason: "no-user-agent" };
    };
    if let Some((_, guess)) = RULES.whole_agents.iter().find(|(whole, _)| *whole == agent) {
        return *guess;
    }
    let lower: String = agent.chars().take(MAX_AGENT).collect::<String>().to_ascii_lowercase();
    if let Some((_, guess)) = RULES.agents.iter().find(|(part, _)| lower.contains(part)) {
        return *guess;
    }
    let has_browser = ["mozilla/", "opera/", "outlook", "thunderbird", "applemail"];
    match has_browser.iter().any(|part| lower.contains(part)) {
        true => Guess { visitor: Visitor::Human, reason: "browser" },
        false => Guess { visitor: Visitor::Unknown, reason: "unknown-user-agent" },
    }
}

fn by_network(client: IpAddr) -> Option<Guess> {
    let client = client.to_canonical();
    let contains = |first: IpAddr, length: u32| match (client, first) {
        (IpAddr::V4(client), IpAddr::V4(first)) => {
            (client.to_bits() ^ first.to_bits()).leading_zeros() >= length
        }
        (IpAddr::V6(client), IpAddr::V6(first)) => {
            (client.to_bits() ^ first.to_bits()).leading_zeros() >= length
        }
        _ => false,
    };
    RULES.networks.iter().find(|(first, length, _)| contains(*first, *length)).map(|(_, _, guess)| *guess)
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
            (Some(iphone), home, 1, Visitor::Human, "browser"),
            (Some(gmail), home, 1, Visitor::Human, "google-image-proxy"),
            (Some("Mozilla/5.0"), home, 0, Visitor::PrefetchProxy, "apple-mail-privacy"),
            (Some(iphone), microsoft, 1, Visitor::Scanner, "microsoft-365"),
            (Some(iphone), "::ffff:40.107.1.2", 1, Visitor::Scanner, "microsoft-365"),
            (Some(iphone), "2001:db8::1", 1, Visitor::Human, "browser"),
            (Some(iphone), home, 2, Visitor::Human, "browser"),
            (Some(iphone), home, 3, Visitor::Scanner, "many-links-at-once"),
            (None, home, 3, Visitor::Scanner, "many-links-at-once"),
            (Some("curl/8.5.0"), home, 1, Visitor::Scanner, "program"),
            (Some("Slackbot-LinkExpanding 1.0"), home, 1, Visitor::Scanner, "link-preview"),
            (Some("Foo"), home, 1, Visitor::Unknown, "unknown-user-agent"),
            (None, home, 1, Visitor::Unknown, "no-user-agent"),
        ];
        for (user_agent, client, links_at_once, visitor, reason) in cases {
            let visit = Visit { user_agent, client: client.parse().unwrap(), links_at_once };
            assert_eq!(guess(&visit), Guess { visitor, reason }, "{visit:?}");
        }
    }

    #[test]
    fn what_comes_before_anybody_sees_the_mail_is_a_program() {
        let human = Guess { visitor: Visitor::Human, reason: "browser" };
        let proxy = Guess { visitor: Visitor::PrefetchProxy, reason: "apple-mail-privacy" };
        for (guess, timing, reason) in [
            (human, Timing::BeforeDelivery, "before-delivery"),
            (human, Timing::After(Duration::from_millis(1_999)), "right-after-delivery"),
            (human, Timing::After(AT_ONCE), "browser"),
            (human, Timing::Unknown, "browser"),
            (proxy, Timing::BeforeDelivery, "apple-mail-privacy"),
        ] {
            assert_eq!(timed(guess, timing).reason, reason, "{timing:?}");
        }
    }

    #[test]
    fn every_known_client_is_read_and_has_a_source() {
        let rows = KNOWN.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut count = 0;
        for row in rows {
            let mut known = Known::default();
            assert_eq!(known.add(row), Some(()), "{row}");
            let columns: Vec<_> = row.split('\t').collect();
            assert!(columns.len() == 5 && !columns[4].is_empty(), "{row}");
            let is_reason = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(columns[3].chars().all(is_reason), "{row}");
            assert!(columns[0] != "agent" || columns[1] == columns[1].to_lowercase(), "{row}");
            count += 1;
        }
        assert!(count > 30);
        for (first, length, guess) in &RULES.networks {
            assert_eq!(by_network(*first), Some(*guess), "{first}/{length}");
        }
    }
}
