//! The holder's side: which node may use how much of a cap. Pure: no clock, no IO.
//!
//! A node tells with every question what it `has`: the most that it uses, or may use by an earlier
//! answer, until the next answer. That much is counted until [`COUNTED`] has passed, whatever
//! becomes of the node. An answer adds to it only what no other node has. So the sum over all nodes
//! never exceeds the cap, also when answers are lost, nodes vanish or a clock stands still.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::{Ask, COUNTED, LimitId, LimitKind, SLICE, pool};

/// A node that did not ask again for this long wants nothing: it asks every second.
const WANTS: Duration = Duration::from_secs(4);
/// Limits that are kept. Each has some 100 octets for each node.
const MAX_LIMITS: usize = 100_000;
/// Nodes that share one limit.
const MAX_NODES: usize = 256;

/// What one node has of one limit.
#[derive(Debug, Clone, Copy)]
struct NodeShare {
    /// It may use this much, on top of its base share, until `counted`.
    amount: u32,
    counted: Duration,
    wanted: u32,
    /// As its settings say.
    cap: u32,
    asked: Duration,
    /// Of its last question.
    number: u64,
}

/// See the module. Times are of a clock of the holder that never goes back.
#[derive(Debug)]
pub struct Allotter {
    opens: Duration,
    limits: HashMap<LimitId, BTreeMap<Arc<str>, NodeShare>>,
    forgot: Duration,
}

impl Allotter {
    /// One that grants nothing before `opens`: slices of the holder before may be in use until then.
    #[must_use]
    pub fn new(opens: Duration) -> Self {
        Self { opens, limits: HashMap::new(), forgot: Duration::ZERO }
    }

    /// Answers a node: how much it may use from now on, on top of its base share, until [`SLICE`]
    /// after it asked. `number` rises with each question of a node; none: it is older than one that was
    /// answered. `nodes` is the least number of nodes of late.
    pub fn ask(&mut self, node: &Arc<str>, number: u64, ask: &Ask, nodes: u32, now: Duration) -> Option<u32> {
        self.forget(now);
        let is_new = !self.limits.contains_key(&ask.limit);
        if is_new && self.limits.len() >= MAX_LIMITS {
            return Some(0);
        }
        let shares = self.limits.entry(ask.limit).or_default();
        match shares.get(node) {
            Some(share) if share.number >= number => return None,
            None if shares.len() >= MAX_NODES => return Some(0),
            _ => {}
        }
        let asked = NodeShare {
            amount: ask.has,
            counted: now + COUNTED,
            wanted: ask.wanted,
            cap: ask.cap,
            asked: now,
            number,
        };
        shares.insert(Arc::clone(node), asked);
        if now < self.opens {
            return Some(0);
        }
        let alive = |share: &&NodeShare| now.saturating_sub(share.asked) < WANTS;
        // While settings change, the least of them holds.
        let cap = shares.values().filter(alive).map(|share| share.cap).min().unwrap_or(0);
        let rest = cap.saturating_sub(pool(cap, nodes));
        let others = shares.iter().filter(|(other, share)| *other != node && share.counted > now);
        let taken = others.fold(0_u32, |sum, (_, share)| sum.saturating_add(share.amount));
        let wants: Vec<(bool, u32)> = shares
            .iter()
            .filter(|(_, share)| alive(share))
            .map(|(n, share)| (n == node, share.wanted))
            .collect();
        let granted = fair(&wants, rest, turn(ask.kind, now)).min(rest.saturating_sub(taken));
        if let Some(share) = shares.get_mut(node) {
            share.amount = share.amount.max(granted);
        }
        Some(granted)
    }

    /// What all nodes may use now, on top of their base shares.
    #[must_use]
    pub fn counted(&self, limit: &LimitId, now: Duration) -> u32 {
        let shares = self.limits.get(limit).into_iter().flat_map(BTreeMap::values);
        shares.filter(|share| share.counted > now).fold(0, |sum, share| sum.saturating_add(share.amount))
    }

    /// Limits that are known.
    #[must_use]
    pub fn limits(&self) -> usize {
        self.limits.len()
    }

    fn forget(&mut self, now: Duration) {
        if now.saturating_sub(self.forgot) < SLICE {
            return;
        }
        self.forgot = now;
        self.limits.retain(|_, shares| {
            shares.retain(|_, share| share.counted > now);
            !shares.is_empty()
        });
    }
}

/// Which node is the first to get what cannot be divided. A rate stays longer where it is: a node
/// that gets one message a minute has to wait a minute for it.
fn turn(kind: LimitKind, now: Duration) -> usize {
    let length = match kind {
        LimitKind::Connections => 20,
        LimitKind::Rate => 180,
    };
    usize::try_from(now.as_secs() / length).unwrap_or(0)
}

/// The share of the node that is marked, if all are served alike: nobody gets more than it wants, and
/// nobody gets less than another one, but for what cannot be divided.
fn fair(wants: &[(bool, u32)], amount: u32, turn: usize) -> u32 {
    let Some((_, wanted)) = wants.iter().find(|(is_asking, _)| *is_asking) else { return 0 };
    let mut sorted: Vec<u32> = wants.iter().map(|(_, wanted)| *wanted).collect();
    sorted.sort_unstable();
    let mut left = amount;
    for (place, least) in sorted.iter().enumerate() {
        let nodes = u32::try_from(sorted.len() - place).unwrap_or(u32::MAX);
        let level = left / nodes;
        if *least > level {
            let is_short = |(_, wanted): &&(bool, u32)| *wanted > level;
            let at = wants.iter().filter(is_short).position(|(is_asking, _)| *is_asking);
            let rank = at.map(|at| (at + turn) % (sorted.len() - place));
            let gets_more = rank.is_some_and(|rank| rank < usize::try_from(left % nodes).unwrap_or(0));
            return (*wanted).min(level) + u32::from(gets_more);
        }
        left -= least;
    }
    *wanted
}

#[cfg(test)]
mod tests;
