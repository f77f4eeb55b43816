//! How long a receiver thinks.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rand::Rng;
use serde::Deserialize;

/// A distribution of times.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(try_from = "Text")]
pub enum Latency {
    /// At once.
    #[default]
    None,
    /// Always the same.
    Fixed(Duration),
    /// Anything between the two.
    Uniform(Duration, Duration),
    /// Log-normal, as times of servers are: the median, and the standard deviation of the
    /// logarithm.
    LogNormal(Duration, f64),
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Text {
    Fixed(String),
    Uniform { from: String, to: String },
    LogNormal { median: String, p99: String },
}

/// Standard deviations between the median and the 99th percentile of a normal distribution.
const P99: f64 = 2.326_347_874;

impl TryFrom<Text> for Latency {
    type Error = anyhow::Error;

    fn try_from(text: Text) -> Result<Self> {
        match text {
            Text::Fixed(time) => Ok(Self::Fixed(duration(&time)?)),
            Text::Uniform { from, to } => {
                let (from, to) = (duration(&from)?, duration(&to)?);
                ensure!(from <= to, "latency from {from:?} to {to:?}");
                Ok(Self::Uniform(from, to))
            }
            Text::LogNormal { median, p99 } => {
                let (median, p99) = (duration(&median)?, duration(&p99)?);
                ensure!(!median.is_zero() && median <= p99, "latency median {median:?}, p99 {p99:?}");
                Ok(Self::LogNormal(median, (p99.as_secs_f64() / median.as_secs_f64()).ln() / P99))
            }
        }
    }
}

impl Latency {
    /// One of its times; a minute at most.
    pub fn sample(self, rng: &mut impl Rng) -> Duration {
        const LONGEST: Duration = Duration::from_secs(60);
        match self {
            Self::None => Duration::ZERO,
            Self::Fixed(time) => time,
            Self::Uniform(from, to) => from + (to - from).mul_f64(rng.random()),
            Self::LogNormal(median, deviation) => {
                // Box and Muller; 1 - u is never 0.
                let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
                let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
                median.mul_f64((normal * deviation).exp())
            }
        }
        .min(LONGEST)
    }
}

/// `40ms`, `2s`.
fn duration(text: &str) -> Result<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().with_context(|| format!("{text} is no time"))?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        unit => bail!("{text}: {unit} is no unit of time, ms and s are"),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn a_log_normal_has_its_median_and_its_99th_percentile() {
        let text = Text::LogNormal { median: "40ms".to_owned(), p99: "400ms".to_owned() };
        let (latency, mut rng) = (Latency::try_from(text).expect("good"), StdRng::seed_from_u64(1));
        let mut times: Vec<Duration> = (0..20_000).map(|_| latency.sample(&mut rng)).collect();
        times.sort();
        let at = |share: usize| times[times.len() * share / 100].as_secs_f64();
        assert!((at(50) - 0.040).abs() < 0.003 && (at(99) - 0.4).abs() < 0.05, "{} {}", at(50), at(99));
    }

    #[test]
    fn a_uniform_one_stays_between() {
        let latency = Latency::Uniform(Duration::from_millis(5), Duration::from_millis(9));
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..1000 {
            let time = latency.sample(&mut rng);
            assert!(time >= Duration::from_millis(5) && time <= Duration::from_millis(9));
        }
    }
}
