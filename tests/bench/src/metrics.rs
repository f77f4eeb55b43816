//! `/metrics` of the relay: fetched, read, subtracted.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Values by name with labels, as they are written.
#[derive(Debug, Clone, Default)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Asks the HTTP port.
    ///
    /// # Errors
    /// Nobody listens, or the answer is not 200.
    pub fn fetch(from: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(from).context("the relay's HTTP port")?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {from}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        ensure!(head.starts_with("HTTP/1.1 200"), "/metrics: {}", head.lines().next().unwrap_or_default());
        Ok(Self::parse(body))
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|l| !l.starts_with('#'));
        let values = lines.filter_map(|l| {
            let (name, value) = l.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(values.collect())
    }

    /// The value, 0 when it is not there (a counter that was never touched is not shown).
    pub fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// Label values of a family with one label.
    pub fn labelled(&self, family: &str) -> BTreeMap<String, f64> {
        let named = self.0.iter().filter(|(name, _)| name.starts_with(&format!("{family}{{")));
        named.filter_map(|(name, v)| Some((name.split('"').nth(1)?.to_owned(), *v))).collect()
    }

    /// Sums of a family by the value of one of its labels.
    pub fn by_label(&self, family: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for (name, value) in self.0.iter().filter(|(name, _)| name.starts_with(&format!("{family}{{"))) {
            let mut parts = name.split(&['{', ','][..]).filter_map(|part| part.strip_prefix(label));
            if let Some(found) = parts.find_map(|part| part.strip_prefix("=\"")?.split('"').next()) {
                *sums.entry(found.to_owned()).or_default() += value;
            }
        }
        sums
    }

    /// Those of several relays together.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        for (name, value) in &other.0 {
            *self.0.entry(name.clone()).or_default() += value;
        }
        self
    }

    /// What was counted since `before`. Gauges are subtracted too and mean nothing here.
    pub fn since(&self, before: &Self) -> Self {
        Self(self.0.iter().map(|(name, v)| (name.clone(), v - before.get(name))).collect())
    }

    /// The upper bound of the bucket that holds this share of a histogram's observations.
    pub fn quantile(&self, family: &str, share: f64) -> Option<f64> {
        let mut buckets: Vec<(f64, f64)> = self
            .labelled(&format!("{family}_bucket"))
            .into_iter()
            .filter_map(|(le, n)| Some((if le == "+Inf" { f64::INFINITY } else { le.parse().ok()? }, n)))
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all = buckets.last()?.1;
        (all > 0.0).then(|| buckets.iter().find(|b| b.1 >= all * share).map(|b| b.0))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP x y\nrelevo_a_total{stage=\"dkim\"} 3\nrelevo_a_total{stage=\"track\"} 1\nrelevo_b 2.5\n\
        h_bucket{le=\"0.01\"} 90\nh_bucket{le=\"0.05\"} 99\nh_bucket{le=\"+Inf\"} 100\nh_count 100\n# EOF\n";

    #[test]
    fn reads_what_prometheus_reads() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!((metrics.get("relevo_b"), metrics.get("relevo_c")), (2.5, 0.0));
        assert_eq!(metrics.labelled("relevo_a_total")["track"], 1.0);
        let twice = Metrics::parse(
            "f{tenant=\"a\",kind=\"x\"} 2\nf{tenant=\"a\",kind=\"y\"} 3\nf{kind=\"x\",tenant=\"b\"} 4\n",
        );
        assert_eq!(twice.by_label("f", "tenant"), BTreeMap::from([("a".into(), 5.0), ("b".into(), 4.0)]));
        assert_eq!(metrics.quantile("h", 0.99), Some(0.05));
        assert_eq!(metrics.quantile("h", 0.5), Some(0.01));
        assert_eq!(metrics.quantile("h", 0.999), Some(f64::INFINITY));
        assert_eq!(metrics.since(&metrics).quantile("h", 0.5), None);
    }
}
