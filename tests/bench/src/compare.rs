//! Relevo beside peers: the same load on one and on the other in turn, so that what the machine
//! does meanwhile hits both.

use anyhow::Result;
use serde::Serialize;

use crate::bench::{Bench, compile, note};
use crate::peers::{self, Ground, Kind, Peer};
use crate::relay::{NextHop, PLAIN, Relay, Setup};
use crate::report::{LARGE, MANY, MEASURE, REFERENCE};
use crate::scene::Scene;
use crate::server::Server as _;
use crate::smtp_source::{self, LOADS, SmtpSink, SourceFigures, SourceLoad};
use crate::throughput::{Figures, Plan, measure};

/// Connections that a peer must take at once: of the largest load.
const SESSIONS: usize = 100;

/// One load on Relevo and on a peer.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Comparison {
    pub(crate) peer: &'static str,
    pub(crate) durable: bool,
    pub(crate) load: String,
    /// Medians over the pairs: accepted and delivered per second, microseconds of processor for
    /// each message.
    pub(crate) relevo: Medians,
    pub(crate) other: Medians,
    /// Medians of the ratios of each pair, Relevo over the peer.
    pub(crate) rate_ratio: f64,
    pub(crate) cpu_ratio: f64,
    /// Relevo, then the peer.
    pub(crate) pairs: Vec<[Figures; 2]>,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Medians {
    pub(crate) rate: f64,
    pub(crate) cpu_us: f64,
    pub(crate) answer_p99_ms: f64,
    pub(crate) to_next_hop_p99_ms: f64,
}

impl Comparison {
    fn new(kind: &Kind, plan: &Plan, pairs: Vec<[Figures; 2]>) -> Self {
        let over = |f: fn(&Figures) -> f64| median(pairs.iter().map(|[ours, theirs]| f(ours) / f(theirs)));
        Self {
            peer: kind.name,
            durable: kind.durable,
            load: plan.name.clone(),
            relevo: Medians::of(pairs.iter().map(|p| &p[0])),
            other: Medians::of(pairs.iter().map(|p| &p[1])),
            rate_ratio: over(Figures::rate),
            cpu_ratio: over(Figures::cpu_us),
            pairs,
        }
    }
}

impl Medians {
    fn of<'a>(figures: impl Iterator<Item = &'a Figures> + Clone) -> Self {
        let each = |f: fn(&Figures) -> f64| median(figures.clone().map(f));
        Self {
            rate: each(Figures::rate),
            cpu_us: each(Figures::cpu_us),
            answer_p99_ms: each(|f| f.answer_ms.p99),
            to_next_hop_p99_ms: each(|f| f.to_next_hop_ms.p99),
        }
    }
}

/// One load of `smtp-source` on Relevo and on a peer.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SourceComparison {
    pub(crate) peer: &'static str,
    pub(crate) load: &'static str,
    pub(crate) rate_target: f64,
    pub(crate) cpu_target: f64,
    /// Medians over the pairs, Relevo, then the peer: messages per second, microseconds of
    /// processor for each message.
    pub(crate) rate: [f64; 2],
    pub(crate) cpu_us: [f64; 2],
    /// Medians of the ratios of each pair, Relevo over the peer.
    pub(crate) rate_ratio: f64,
    pub(crate) cpu_ratio: f64,
    /// Relevo, then the peer.
    pub(crate) pairs: Vec<[SourceFigures; 2]>,
}

impl SourceComparison {
    fn new(kind: &Kind, load: &SourceLoad, pairs: Vec<[SourceFigures; 2]>) -> Self {
        let of = |f: fn(&SourceFigures) -> f64| [0, 1].map(|i| median(pairs.iter().map(|pair| f(&pair[i]))));
        let over =
            |f: fn(&SourceFigures) -> f64| median(pairs.iter().map(|[ours, theirs]| f(ours) / f(theirs)));
        Self {
            peer: kind.name,
            load: load.name,
            rate_target: load.rate_target,
            cpu_target: load.cpu_target,
            rate: of(SourceFigures::rate),
            cpu_us: of(|f| f.cpu_us),
            rate_ratio: over(SourceFigures::rate),
            cpu_ratio: over(|f| f.cpu_us),
            pairs,
        }
    }
}

/// The middle one, or the mean of the two in the middle; 0 of none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match (values.get(values.len() / 2), values.len() % 2) {
        (None, _) => 0.0,
        (Some(middle), 1) => *middle,
        (Some(upper), _) => f64::midpoint(*upper, values[values.len() / 2 - 1]),
    }
}

impl Bench<'_> {
    /// Every peer that is here, under every load.
    pub(crate) fn peers(&mut self) -> Result<()> {
        let scene = self.scene()?;
        // Peers run in directories of their own.
        let installed = std::path::absolute(&self.options.installed)?;
        for kind in peers::ALL.iter().filter(|k| k.name.to_lowercase().contains(&self.options.peer)) {
            // It makes the key that all sign with.
            let relay = Relay::start(&self.setup(scene.by_smarthost()))?;
            let key = self.directory.join(format!("{PLAIN}.pem"));
            let ground = Ground {
                installed: &installed,
                directory: self.directory.join(kind.name.to_lowercase()),
                next_hop: scene.smarthost(),
                domain: PLAIN,
                key: &key,
                sessions: SESSIONS,
            };
            match kind.start(&ground)? {
                Ok(peer) => {
                    let mut description = kind.describe(Ok(&peer));
                    description.failed = self.pairs(kind, &relay, &peer, &scene)?;
                    self.report.peers.push(description);
                    peer.stop()?;
                }
                Err(why) => self.report.peers.push(kind.describe(Err(why))),
            }
            relay.stop()?;
            if kind.name == MEASURE && self.report.peers.last().is_some_and(|p| p.version.is_some()) {
                self.smtp_source(kind, ground)?;
            }
        }
        Ok(())
    }

    /// The same with the generator and the next hop that come with Postfix.
    fn smtp_source(&mut self, kind: &Kind, ground: Ground<'_>) -> Result<()> {
        let sink = SmtpSink::start()?;
        let directory = self.directory.join("smtp-source");
        let setup = Setup { directory: &directory, ..self.setup(NextHop::Smarthost(sink.address())) };
        compile(&setup)?;
        let relay = Relay::start(&setup)?;
        let directory = ground.directory.with_extension("smtp-source");
        let ground = Ground { directory, next_hop: sink.address(), ..ground };
        let peer = kind.start(&ground)??;
        for load in LOADS.iter().filter(|load| load.name.contains(&self.options.load)) {
            let mut pairs = Vec::new();
            for n in 1..=self.options.pairs {
                note(&format!("{} beside Relevo, smtp-source, {}, pair {n}", peer.name(), load.name));
                let one = |server| smtp_source::measure(server, &sink, load, self.options.duration);
                pairs.push([one(&relay)?, one(&peer)?]);
            }
            self.report.source_comparisons.push(SourceComparison::new(kind, load, pairs));
        }
        peer.stop()?;
        relay.stop()
    }

    /// Under every load. A peer that cannot take one is no reason to lose the rest of the run:
    /// returns why, and keeps the loads before it.
    fn pairs(&mut self, kind: &Kind, relay: &Relay, peer: &Peer, scene: &Scene) -> Result<Option<String>> {
        for plan in self.comparing() {
            let mut pairs = Vec::new();
            for n in 1..=self.options.pairs {
                note(&format!("{} beside Relevo, {}, pair {n}", peer.name(), plan.name));
                let ours = measure(relay, &scene.ledger, &scene.addresses(), &plan)?;
                match measure(peer, &scene.ledger, &scene.addresses(), &plan) {
                    Ok(theirs) => pairs.push([ours, theirs]),
                    Err(error) => return Ok(Some(format!("{}: {error:#}", plan.name))),
                }
            }
            self.report.comparisons.push(Comparison::new(kind, &plan, pairs));
        }
        Ok(None)
    }

    fn comparing(&self) -> Vec<Plan> {
        let duration = self.options.duration;
        let plans = [(REFERENCE, 4, 20), (MANY, 4, 100), (LARGE, 100, 20)];
        let plans = plans.into_iter().map(|(name, kib, sessions)| Plan::new(name, kib, sessions, duration));
        plans.filter(|p| p.name.contains(&self.options.load)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert_eq!(median(std::iter::empty()), 0.0);
    }
}
