//! Relevo beside peers: the same load on one and on the other in turn, so that what the machine does meanwhile hits both.

use anyhow::Result;
use serde::Serialize;

use crate::bench::{Bench, note};
use crate::peers::{self, Ground, Kind, Peer};
use crate::relay::{PLAIN, Relay};
use crate::report::{LARGE, MANY, REFERENCE};
use crate::scene::Scene;
use crate::server::Server as _;
use crate::throughput::{Figures, Plan, measure};

/// One load on Relevo and on a peer.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Comparison {
    pub(crate) peer: &'static str,
    pub(crate) durable: bool,
    pub(crate) load: String,
    /// Medians over the pairs: accepted and delivered per second, microseconds of processor for each message.
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
            let ground = Ground {
                installed: &installed,
                directory: self.directory.join(kind.name.to_lowercase()),
                next_hop: scene.smarthost(),
                domain: PLAIN,
                key: &self.directory.join(format!("{PLAIN}.pem")),
                sessions: self.comparing().iter().map(|p| p.sessions).max().unwrap_or_default(),
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
        }
        Ok(())
    }

    /// Under every load. A peer that cannot take one is no reason to lose the rest of the run: returns why, and keeps the loads
    /// before it.
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
