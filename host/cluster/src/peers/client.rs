//! Asks the node that has a shard.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use relevo_queue::StoreError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::calls::{self, StoreAnswer, StoreCall, StoreFailure, StoreQuestion};
use super::metrics::{CallOutcome, PeerMetrics};
use crate::engine::ShardId;
use crate::lease::RENEWED;
use crate::member::{Member, ShardHolder};
use crate::tcp::{AskError, ask};
use crate::wire::{ClusterSecret, QuestionKind, WireError};

/// A call about one message may take this long.
pub const CALL: Duration = Duration::from_secs(5);
/// A call for a list, or before mail is accepted.
pub const LIST: Duration = Duration::from_secs(2);
/// A node that could not be reached is not asked for lists for this long.
const SILENT: Duration = Duration::from_secs(3);
/// The engine is asked who has a shard no more often than this.
const LOOKS: Duration = Duration::from_millis(500);
/// What the engine said goes before what this node saw at its last look for this long: it looks as often.
const FOUND: Duration = RENEWED;
/// Questions to one node at once. It answers some 64 of all nodes.
const QUESTIONS: usize = 8;

/// How much a call is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It is about one message: it waits for [`CALL`].
    OfMessage,
    /// It is one of many: it waits for [`LIST`], and not for a node that was silent lately.
    OfList,
}

/// Why a shard was not asked, or did not answer.
#[derive(Debug)]
pub enum PeerError {
    /// It was not asked: nobody has it, or whoever has it cannot be reached.
    NotAsked(String),
    /// It may have done what was asked.
    NotAnswered(String),
    /// It answered that it cannot.
    Failed(StoreFailure),
}

impl From<PeerError> for StoreError {
    fn from(error: PeerError) -> Self {
        match error {
            PeerError::NotAsked(why) | PeerError::NotAnswered(why) => Self::Unavailable(why),
            PeerError::Failed(failure) => failure.into(),
        }
    }
}

/// What the engine said of a shard.
#[derive(Debug)]
struct LookedFor {
    at: Instant,
    holder: Option<ShardHolder>,
}

/// See the module.
#[derive(Debug)]
pub struct Peers {
    member: Arc<Member>,
    secret: ClusterSecret,
    metrics: PeerMetrics,
    /// Addresses that could not be reached, and until when they are not asked for lists.
    silent: Mutex<HashMap<String, Instant>>,
    looked: Mutex<BTreeMap<ShardId, LookedFor>>,
    permits: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Peers {
    /// As this member of the cluster.
    #[must_use]
    pub fn new(member: Arc<Member>, secret: ClusterSecret, metrics: PeerMetrics) -> Self {
        let (silent, looked, permits) = Default::default();
        Self { member, secret, metrics, silent, looked, permits }
    }

    /// All shards of the cluster, as far as is known.
    #[must_use]
    pub fn shards(&self) -> Vec<ShardId> {
        self.member.view().shards.iter().map(|found| found.shard).collect()
    }

    /// Counts of the calls.
    #[must_use]
    pub fn metrics(&self) -> &PeerMetrics {
        &self.metrics
    }

    /// Asks whoever has a shard. If that is another node than was known, the engine says which.
    ///
    /// # Errors
    /// The shard did not do it.
    pub async fn call(
        &self,
        shard: ShardId,
        call: StoreCall,
        patience: Patience,
    ) -> Result<StoreAnswer, PeerError> {
        let term = if patience == Patience::OfList { LIST } else { CALL };
        let deadline = Instant::now() + term;
        let question = calls::encode(&StoreQuestion { shard, call });
        let question = question.map_err(|error| PeerError::NotAsked(error.to_string()))?;
        let mut holder = self.holder_of(shard);
        let first = self.ask_holder(shard, holder.as_ref(), &question, (patience, deadline)).await;
        let was_not_asked = matches!(first, Err(PeerError::NotAsked(_)));
        if !was_not_asked || !self.may_look(shard) {
            return first;
        }
        match timeout_at(deadline, self.member.look_for(shard)).await {
            Ok(Ok(found)) if found != holder => holder = self.found(shard, found),
            _ => return first,
        }
        self.ask_holder(shard, holder.as_ref(), &question, (patience, deadline)).await
    }

    async fn ask_holder(
        &self,
        shard: ShardId,
        holder: Option<&ShardHolder>,
        question: &[u8],
        (patience, deadline): (Patience, Instant),
    ) -> Result<StoreAnswer, PeerError> {
        let unreachable = |why: String| {
            self.metrics.asked(CallOutcome::Unreachable);
            Err(PeerError::NotAsked(why))
        };
        let Some(ShardHolder { node, peer_address }) = holder else {
            return unreachable(format!("shard {shard:04x} is served by no node now"));
        };
        if node == self.member.name() {
            return unreachable(format!("shard {shard:04x} is being opened by this node"));
        }
        let Some(address) = peer_address else {
            return unreachable(format!(
                "shard {shard:04x} is served by node `{node}`, whose [cluster] has no `listen`"
            ));
        };
        let is_silent = patience == Patience::OfList && self.is_silent(address);
        let Some(_permit) = self.permit(address, deadline).await else {
            return unreachable(format!("too many questions wait for node `{node}`"));
        };
        let asked = match is_silent {
            true => Err(AskError::NotAsked("it could not be reached a moment ago".into())),
            false => self.ask_at(address, question, deadline).await,
        };
        let words =
            |why: &str| format!("shard {shard:04x} is served by node `{node}`, which says nothing: {why}");
        match asked {
            Ok(StoreAnswer::Failed(StoreFailure::NotServed)) => {
                self.metrics.asked(CallOutcome::NotServed);
                Err(PeerError::NotAsked(format!("node `{node}` does not serve shard {shard:04x} now")))
            }
            Ok(StoreAnswer::Failed(failure)) => {
                self.metrics.asked(CallOutcome::Answered);
                Err(PeerError::Failed(failure))
            }
            Ok(answer) => {
                self.metrics.asked(CallOutcome::Answered);
                self.silent.lock().remove(address);
                Ok(answer)
            }
            Err(AskError::NotAsked(why)) => {
                if !is_silent {
                    self.is_now_silent(address);
                }
                unreachable(words(&why))
            }
            Err(AskError::NotAnswered(why)) => {
                self.is_now_silent(address);
                self.metrics.asked(CallOutcome::Unanswered);
                Err(PeerError::NotAnswered(words(&why)))
            }
        }
    }

    /// One of the questions that a node is asked at once; none in time: that says nothing of the node.
    async fn permit(&self, address: &str, deadline: Instant) -> Option<OwnedSemaphorePermit> {
        let permits = Arc::clone(
            self.permits
                .lock()
                .entry(address.to_owned())
                .or_insert_with(|| Arc::new(Semaphore::new(QUESTIONS))),
        );
        timeout_at(deadline, permits.acquire_owned()).await.ok()?.ok()
    }

    async fn ask_at(
        &self,
        address: &str,
        question: &[u8],
        deadline: Instant,
    ) -> Result<StoreAnswer, AskError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let asked = timeout(left, ask(address, &self.secret, QuestionKind::Store, question)).await;
        let late = |_| AskError::NotAnswered("there is no answer in time".into());
        let answer = asked.unwrap_or_else(|elapsed| Err(late(elapsed)))?;
        calls::decode(&answer).map_err(|error: WireError| AskError::NotAnswered(error.to_string()))
    }

    fn is_silent(&self, address: &str) -> bool {
        self.silent.lock().get(address).is_some_and(|until| *until > Instant::now())
    }

    fn is_now_silent(&self, address: &str) {
        let now = Instant::now();
        let mut silent = self.silent.lock();
        silent.retain(|_, until| *until > now);
        if silent.insert(address.to_owned(), now + SILENT).is_none() {
            tracing::warn!(target: "relevo::cluster", address, "a node does not answer about its shards");
        }
    }

    /// Returns true if the engine was not asked about this shard a moment ago.
    fn may_look(&self, shard: ShardId) -> bool {
        let now = Instant::now();
        let mut looked = self.looked.lock();
        let is_due = looked.get(&shard).is_none_or(|found| now.duration_since(found.at) >= LOOKS);
        if is_due {
            looked.insert(shard, LookedFor { at: now, holder: None });
        }
        is_due
    }

    /// Remembers what the engine said: the next call need not fail first.
    fn found(&self, shard: ShardId, holder: Option<ShardHolder>) -> Option<ShardHolder> {
        self.looked.lock().insert(shard, LookedFor { at: Instant::now(), holder: holder.clone() });
        holder
    }

    fn holder_of(&self, shard: ShardId) -> Option<ShardHolder> {
        let looked = self.looked.lock();
        let found = looked.get(&shard).filter(|found| found.at.elapsed() < FOUND);
        found.and_then(|found| found.holder.clone()).or_else(|| self.member.holder_of(shard))
    }
}

/// The answer was one to another call.
pub(super) fn not_expected() -> PeerError {
    PeerError::NotAnswered(WireError::Unreadable.to_string())
}
