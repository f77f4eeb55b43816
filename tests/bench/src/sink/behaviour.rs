//! How receivers behave, from a file: weighted domains, latency, refusals, limits. See
//! `tests/bench/sinks`.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::Rng;
use serde::Deserialize;

use super::latency::Latency;
use super::replies::{Provider, Reply, Stage, providers};

/// Every domain that the sink answers for.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// Of all chance in the sink.
    pub seed: u64,
    domains: Vec<Domain>,
    by_name: HashMap<String, usize>,
    /// Sum of the weights up to and with each domain.
    cumulated: Vec<f64>,
}

/// One recipient domain.
#[derive(Debug, Clone)]
pub struct Domain {
    /// In lower case.
    pub name: String,
    /// Whether anybody answers at its site.
    pub state: State,
    /// Of answers to RCPT and to the final dot.
    pub latency: Latency,
    /// Connections that its site holds at once; the next one is greeted with 421.
    pub connections: Option<usize>,
    /// Octets of content per second that it reads.
    pub read_rate: Option<u32>,
    temporary: f64,
    permanent: f64,
    provider: Provider,
}

/// What happens to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is taken.
    #[default]
    Up,
    /// It is refused: nobody listens.
    Refuses,
    /// Nothing ever answers, not even to the SYN.
    Blackhole,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    seed: u64,
    domain: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default = "one")]
    count: u32,
    #[serde(default = "unit")]
    weight: f64,
    #[serde(default)]
    state: State,
    provider: Option<String>,
    #[serde(default)]
    latency: Latency,
    #[serde(default)]
    temporary: f64,
    #[serde(default)]
    permanent: f64,
    connections: Option<usize>,
    read_rate: Option<u32>,
}

fn one() -> u32 {
    1
}

fn unit() -> f64 {
    1.0
}

impl Behaviour {
    /// Reads a file of `tests/bench/sinks`.
    ///
    /// # Errors
    /// It is not there, or has a mistake.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{}", path.display()))
    }

    /// From the text of such a file.
    ///
    /// # Errors
    /// Unknown keys, unknown providers, shares beyond 100 percent, names twice.
    pub fn parse(text: &str) -> Result<Self> {
        let file: File = toml::from_str(text)?;
        let providers = providers()?;
        let mut behaviour =
            Self { seed: file.seed, domains: Vec::new(), by_name: HashMap::new(), cumulated: Vec::new() };
        for entry in file.domain {
            behaviour.add(entry, &providers)?;
        }
        ensure!(behaviour.cumulated.last().is_some_and(|sum| *sum > 0.0), "no domain has a weight");
        Ok(behaviour)
    }

    fn add(&mut self, entry: Entry, providers: &HashMap<String, Provider>) -> Result<()> {
        let name = &entry.name;
        ensure!(
            entry.count == 1 || name.contains("{n}"),
            "{name}: several domains need an {{n}} in their name"
        );
        ensure!(entry.weight >= 0.0 && entry.weight.is_finite(), "{name}: weight");
        let shares = [entry.temporary, entry.permanent];
        ensure!(
            shares.iter().all(|s| (0.0..=100.0).contains(s)) && shares.iter().sum::<f64>() <= 100.0,
            "{name}: refusals beyond 100 percent"
        );
        let provider = match &entry.provider {
            Some(known) => {
                providers.get(known).with_context(|| format!("{name}: no provider {known}"))?.clone()
            }
            None => Provider::default(),
        };
        ensure!(entry.temporary == 0.0 || !provider.temporary.is_empty(), "{name}: no provider, no 4xx");
        ensure!(entry.permanent == 0.0 || !provider.permanent.is_empty(), "{name}: no provider, no 5xx");
        for n in 0..entry.count {
            let name = entry.name.replace("{n}", &n.to_string()).to_ascii_lowercase();
            let before = self.by_name.insert(name.clone(), self.domains.len());
            ensure!(before.is_none(), "{name} twice");
            let sum = self.cumulated.last().copied().unwrap_or_default();
            self.cumulated.push(sum + entry.weight / f64::from(entry.count));
            self.domains.push(Domain {
                name,
                state: entry.state,
                latency: entry.latency,
                connections: entry.connections,
                read_rate: entry.read_rate,
                temporary: entry.temporary,
                permanent: entry.permanent,
                provider: provider.clone(),
            });
        }
        Ok(())
    }

    /// All of them.
    pub fn domains(&self) -> &[Domain] {
        &self.domains
    }

    /// The one with this name.
    pub fn named(&self, name: &str) -> Option<&Domain> {
        self.index(name).map(|at| &self.domains[at])
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.by_name.get(&name.to_ascii_lowercase()).copied()
    }

    /// The domain of the recipient with this number: by weight, spread evenly, the same every time.
    pub fn domain_of(&self, serial: u64) -> &str {
        /// Multiples of it, without their whole part, fall between each other evenly (Weyl's
        /// sequence).
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = serial.wrapping_mul(STEP) as f64 / 2f64.powi(64);
        let sum = self.cumulated.last().copied().unwrap_or_default();
        let at = self.cumulated.partition_point(|until| *until <= share * sum);
        self.domains.get(at.min(self.domains.len() - 1)).map_or("", |d| &d.name)
    }

    /// The address of a domain's only MX host: each site has one of its own on loopback.
    pub fn site(&self, name: &str) -> Option<Ipv4Addr> {
        self.index(name).and_then(site)
    }
}

/// 127.1.0.1 and up.
fn site(index: usize) -> Option<Ipv4Addr> {
    const FIRST: u32 = u32::from_be_bytes([127, 1, 0, 1]);
    u32::try_from(index).ok().filter(|i| *i < 1 << 16).map(|i| Ipv4Addr::from(FIRST + i))
}

impl Domain {
    /// What becomes of a recipient; decided once, also when the answer comes only after the final
    /// dot.
    pub(super) fn decide(&self, rng: &mut impl Rng) -> Option<&Reply> {
        let share = rng.random::<f64>() * 100.0;
        let replies = if share < self.permanent {
            &self.provider.permanent
        } else if share < self.permanent + self.temporary {
            &self.provider.temporary
        } else {
            return None;
        };
        replies.get(rng.random_range(0..replies.len()))
    }

    /// The greeting of a connection too many.
    pub(super) fn too_many(&self) -> Reply {
        let text = self.provider.connections.clone();
        Reply {
            stage: Stage::Rcpt,
            text: text.unwrap_or_else(|| "421 4.7.0 too many connections".to_owned()),
        }
    }

    /// How long an answer takes.
    pub(super) fn pause(&self, rng: &mut impl Rng) -> Duration {
        self.latency.sample(rng)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn the_files_of_the_repository_are_good() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sinks");
        for name in ["plain", "internet", "slow", "backlog"] {
            let behaviour = Behaviour::read(&folder.join(format!("{name}.toml"))).expect(name);
            assert!(!behaviour.domains().is_empty());
        }
    }

    #[test]
    fn recipients_are_spread_by_weight() {
        let text = "seed = 1\n[[domain]]\nname = \"a.test\"\nweight = 3\n[[domain]]\nname = \"b{n}.test\"\ncount = 2\nweight = 1\n\
                    [[domain]]\nname = \"dead.test\"\nweight = 0\nstate = \"refuses\"\n";
        let behaviour = Behaviour::parse(text).expect("good");
        let count = |name| (0..8000).filter(|n| behaviour.domain_of(*n) == name).count();
        assert!(count("a.test").abs_diff(6000) < 40, "{}", count("a.test"));
        assert!(count("b0.test").abs_diff(1000) < 40 && count("b1.test").abs_diff(1000) < 40);
        assert_eq!(count("dead.test"), 0);
        assert_eq!(behaviour.named("DEAD.test").map(|d| d.state), Some(State::Refuses));
        assert_eq!(behaviour.site("b0.test"), Some(Ipv4Addr::new(127, 1, 0, 2)));
    }

    #[test]
    fn refusals_have_their_share() {
        let text =
            "seed = 1\n[[domain]]\nname = \"a.test\"\nprovider = \"gmail\"\ntemporary = 10\npermanent = 5\n";
        let behaviour = Behaviour::parse(text).expect("good");
        let (mut rng, mut counts) = (StdRng::seed_from_u64(3), [0; 2]);
        for _ in 0..10_000 {
            if let Some(reply) = behaviour.domains()[0].decide(&mut rng) {
                counts[usize::from(reply.permanent())] += 1;
            }
        }
        assert!(counts[0] > 850 && counts[0] < 1150 && counts[1] > 400 && counts[1] < 600, "{counts:?}");
    }

    #[test]
    fn mistakes_are_named() {
        let domain =
            |more: &str| Behaviour::parse(&format!("seed = 1\n[[domain]]\nname = \"a.test\"\n{more}\n"));
        assert!(domain("").is_ok());
        for bad in [
            "wieght = 1",
            "count = 2",
            "provider = \"nobody\"",
            "temporary = 1",
            "provider = \"gmail\"\ntemporary = 60\npermanent = 50",
            "weight = 0",
            "latency = \"soon\"",
            "latency = { from = \"2s\", to = \"1s\" }",
            "[[domain]]\nname = \"A.test\"",
        ] {
            assert!(domain(bad).is_err(), "{bad}");
        }
    }
}
