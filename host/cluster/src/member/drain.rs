//! A node that gives its shards to the others and goes on without: before its machine is worked on, or
//! for good.

use std::time::Duration;

use tokio::time::Instant;

use super::Member;
use crate::engine::ShardId;
use crate::lease::RENEWED;

/// Attempts under way may take so long before the shards go. What is not over by then is attempted
/// again by others.
const ATTEMPTS: Duration = Duration::from_secs(30);

/// Between two looks whether attempts are over.
const LOOK: Duration = Duration::from_secs(1);

/// How far a drain is.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Drained {
    /// Shards that are still here.
    pub held: Vec<ShardId>,
    /// Shards that another node serves, with its name, as the last look found them.
    pub served: Vec<(ShardId, String)>,
    /// Shards that nobody serves yet.
    pub free: Vec<ShardId>,
}

impl Drained {
    /// Whether others serve everything.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.held.is_empty() && self.free.is_empty()
    }
}

impl Member {
    /// Begins to drain: nothing is accepted and no attempt begins any more. When the attempts under way
    /// are over, the shards are closed and given up, and others take them, also the home of this node.
    /// It stays so until [`Self::undrain`].
    ///
    /// # Errors
    /// No other node could take them.
    pub fn drain(&self) -> Result<(), String> {
        let mut state = self.state.lock();
        let is_other = |name: &str| name != self.node.name;
        if !state.view.nodes.iter().any(|node| node.is_alive && !node.is_draining && is_other(&node.name)) {
            return Err("no other node is alive that could take the shards of this one".into());
        }
        state.draining.get_or_insert_with(Instant::now);
        // Under the lock: whoever ends it meanwhile must not be overtaken.
        self.host.set_draining(true);
        drop(state);
        tracing::info!(target: "relevo::cluster", "draining: the shards of this node go to the others");
        self.hurry.notify_one();
        Ok(())
    }

    /// Takes its home again, and what else nobody has.
    pub fn undrain(&self) {
        let mut state = self.state.lock();
        state.draining = None;
        self.host.set_draining(false);
        drop(state);
        tracing::info!(target: "relevo::cluster", "draining no more");
        self.hurry.notify_one();
    }

    /// Whether it drains, or has.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.state.lock().draining.is_some()
    }

    /// How far it is, as of the last round.
    #[must_use]
    pub fn drained(&self) -> Drained {
        let state = self.state.lock();
        let mut drained = Drained { held: state.held.keys().copied().collect(), ..Drained::default() };
        for shard in &state.view.shards {
            if state.held.contains_key(&shard.shard) {
                continue;
            }
            if shard.is_free || shard.holder == self.node.name {
                drained.free.push(shard.shard);
            } else {
                drained.served.push((shard.shard, shard.holder.clone()));
            }
        }
        drained
    }

    /// Until the next round: the end of attempts is looked for sooner.
    pub(super) fn pause(&self) -> Duration {
        let state = self.state.lock();
        if state.draining.is_some() && !state.held.is_empty() { LOOK } else { RENEWED }
    }

    /// Gives up what is held, once nothing is under way.
    pub(super) async fn drain_step(&self) {
        let Some(since) = self.state.lock().draining else { return };
        if !self.host.is_idle() && since.elapsed() < ATTEMPTS {
            return;
        }
        let held: Vec<_> = self.state.lock().held.keys().copied().collect();
        for shard in held {
            self.give_back(shard).await;
        }
    }
}
