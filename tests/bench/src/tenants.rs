//! A quiet tenant beside a noisy one.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::bench::{Bench, note};
use crate::compare::median;
use crate::ledger::{Ledger, Ledgers};
use crate::load::Schedule;
use crate::message::Addresses;
use crate::outside::Computing;
use crate::relay::{Relay, TENANTS};
use crate::scene::{Scene, TAG};
use crate::sink::{Behaviour, Observer};
use crate::throughput::{Percentiles, Plan, delivered};

/// The tag of the noisy tenant's recipients.
const NOISY: char = 'n';
/// Messages per second of the quiet tenant.
const RATE: f64 = 20.0;
/// Pairs of alone and beside: the median of five.
const PAIRS: usize = 5;

/// What a noisy tenant does to a quiet one: each figure without and with it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Fairness {
    /// Of each pair.
    pub(crate) pairs: Vec<[Quiet; 2]>,
    /// Medians over the pairs of the 99th percentile, from when a message was due to its 250.
    pub(crate) response_p99_ms: [f64; 2],
    /// And from there to the first attempt.
    pub(crate) to_next_hop_p99_ms: [f64; 2],
    /// Median of the noisy tenant's messages per second.
    pub(crate) noisy_per_second: f64,
    /// The quiet tenant while a process that is not the relay (the generator's) computes on all
    /// processors.
    pub(crate) outside: Vec<Quiet>,
    /// Medians of them, as above.
    pub(crate) outside_p99_ms: [f64; 2],
}

/// What the quiet tenant saw.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Quiet {
    pub(crate) response_ms: Percentiles,
    pub(crate) to_next_hop_ms: Percentiles,
    pub(crate) noisy_per_second: f64,
}

impl Fairness {
    /// By how much the worse of the two moved beyond what is allowed: 20 percent, or 2 ms where
    /// that is more. At most 0 is within.
    pub(crate) fn excess_ms(&self) -> f64 {
        let beyond = |[alone, beside]: [f64; 2]| (beside - alone) - (alone * 0.2).max(2.0);
        beyond(self.response_p99_ms).max(beyond(self.to_next_hop_p99_ms))
    }
}

impl Bench<'_> {
    pub(crate) fn tenants(&mut self) -> Result<()> {
        let (quiet, noisy) = (Arc::new(Ledger::new(TAG)?), Arc::new(Ledger::new(NOISY)?));
        let both = Ledgers(vec![Arc::clone(&quiet), Arc::clone(&noisy)]);
        let behaviour = Behaviour::read(&self.options.sink)?;
        let scene = Scene::start(behaviour, quiet, Arc::new(both) as Arc<dyn Observer>)?;
        let relay = Relay::start(&self.setup(scene.by_smarthost()))?;
        let [noisy_domain, quiet_domain] = TENANTS;
        let duration = self.options.duration;
        let quiet = Plan {
            senders: vec![quiet_domain],
            schedule: Schedule::Open(RATE),
            ..Plan::new("quiet", 4, 10, duration)
        };
        // The campaign begins before and ends after what is measured.
        let noisy_plan =
            Plan { senders: vec![noisy_domain], ..Plan::new("noisy", 4, 50, duration + LEAD * 2) };
        let (mut pairs, mut outside) = (Vec::new(), Vec::new());
        for n in 1..=if self.options.quick { 1 } else { PAIRS } {
            note(&format!("quiet tenant alone and beside a noisy one, pair {n}"));
            let neighbour = Neighbour { ledger: &noisy, tag: NOISY, plan: &noisy_plan };
            let alone = measure(&relay, &scene, &quiet, None)?;
            let beside = measure(&relay, &scene, &quiet, Some(&neighbour))?;
            pairs.push([alone, beside]);
            outside.push(Computing::everywhere().beside(|| measure(&relay, &scene, &quiet, None))?);
        }
        let over = |f: fn(&Quiet) -> f64| [0, 1].map(|side| median(pairs.iter().map(|p| f(&p[side]))));
        self.report.fairness = Some(Fairness {
            response_p99_ms: over(|q| q.response_ms.p99),
            to_next_hop_p99_ms: over(|q| q.to_next_hop_ms.p99),
            noisy_per_second: over(|q| q.noisy_per_second)[1],
            pairs,
            outside_p99_ms: [|q: &Quiet| q.response_ms.p99, |q: &Quiet| q.to_next_hop_ms.p99]
                .map(|f| median(outside.iter().map(f))),
            outside,
        });
        relay.stop()
    }
}

/// Before and after the quiet tenant.
const LEAD: Duration = Duration::from_secs(1);

/// Another tenant's mail.
pub(crate) struct Neighbour<'a> {
    /// Where it is booked, and the tag of its recipients.
    pub(crate) ledger: &'a Arc<Ledger>,
    pub(crate) tag: char,
    pub(crate) plan: &'a Plan,
}

/// The mail of `plan` alone, or beside a neighbour's.
pub(crate) fn measure(
    relay: &Relay,
    scene: &Scene,
    plan: &Plan,
    neighbour: Option<&Neighbour<'_>>,
) -> Result<Quiet> {
    scene.ledger.clear();
    let campaign = neighbour.map(|n| {
        n.ledger.clear();
        let behaviour = Arc::clone(&scene.behaviour);
        let load = n.plan.load(relay, n.ledger, &Addresses::weighted(n.tag, behaviour));
        thread::spawn(move || load.run())
    });
    thread::sleep(LEAD);
    let sent = plan.load(relay, &scene.ledger, &scene.addresses()).run()?;
    let mut noisy_per_second = 0.0;
    if let (Some(campaign), Some(neighbour)) = (campaign, neighbour) {
        let campaign = campaign.join().ok().context("the noisy tenant panicked")??;
        #[expect(clippy::cast_precision_loss, reason = "messages of minutes")]
        let accepted = campaign.accepted as f64;
        noisy_per_second = accepted / campaign.elapsed.as_secs_f64();
        delivered(relay, neighbour.ledger, campaign.accepted * neighbour.plan.recipients)?;
    }
    delivered(relay, &scene.ledger, sent.accepted)?;
    Ok(Quiet {
        response_ms: Percentiles::of(&sent.response),
        to_next_hop_ms: Percentiles::of(&scene.ledger.waits()),
        noisy_per_second,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_milliseconds_or_a_fifth_are_allowed() {
        let fairness = |alone, beside| Fairness {
            pairs: Vec::new(),
            response_p99_ms: [alone, beside],
            to_next_hop_p99_ms: [1.0, 1.0],
            noisy_per_second: 0.0,
            outside: Vec::new(),
            outside_p99_ms: [0.0, 0.0],
        };
        for (alone, beside, within) in
            [(4.0, 5.9, true), (4.0, 6.1, false), (50.0, 59.0, true), (50.0, 61.0, false)]
        {
            assert_eq!(fairness(alone, beside).excess_ms() <= 0.0, within, "{alone} {beside}");
        }
    }
}
