//! Stored hand-offs are handed to the core.

use std::collections::HashSet;
use std::future::Future;

use relevo_api::answer::BatchAnswer;
use relevo_api::relay::RelayRequest;
use serde::Serialize;
use serde_json::Value;

use super::entry::{DeadReason, Entry, EntryHead, EntryName, EntryRef, Kind};
use super::request::remove_expired;
use super::{Outbox, Store, StoreError};
use crate::emails::Surroundings;

/// The core knows an idempotency key for 24 hours. An attempt that had no clear end is not followed by
/// another after this time: the difference is more than an attempt can last.
const MEMORY: u64 = 23 * 3_600_000;
/// Time for which a dead entry can be looked at.
const DEAD_TIME: u64 = 7 * 24 * 3_600_000;
/// Octets of the core's answer in an entry.
const MAX_ANSWER: usize = 16 << 10;
/// Time after which no further attempt begins: a platform ends a request after 30 seconds.
const MAX_TIME: u64 = 15_000;

/// The core, as the outbox asks it.
pub trait Core {
    /// `POST /relay` with an idempotency key and its digest.
    fn relay(&self, key: &str, digest: &str, body: Vec<u8>) -> impl Future<Output = CoreReply>;
}

/// What is known after the core was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoreReply {
    /// It answered.
    Answered {
        /// The HTTP status.
        status: u16,
        /// Seconds of `Retry-After`.
        retry_after: Option<u32>,
        /// The body.
        body: Vec<u8>,
    },
    /// No connection to it was made.
    NotReached,
    /// It may have taken what it was sent.
    Unknown,
}

/// What an attempt found.
enum Found {
    /// The core has it.
    Accepted,
    /// It will never take it.
    Refused,
    /// It did not take it, and is not worth asking again now.
    NotNow,
    /// Another attempt is under way.
    Busy,
    /// It may have it. `is_away`: it is not worth asking again now.
    Unknown { is_away: bool },
}

impl CoreReply {
    fn found(&self) -> Found {
        let Self::Answered { status, body, .. } = self else {
            return match self {
                Self::NotReached => Found::NotNow,
                _ => Found::Unknown { is_away: true },
            };
        };
        match status {
            200 | 202 if serde_json::from_slice::<BatchAnswer>(body).is_ok() => Found::Accepted,
            // The token is wrong, or the core asks to wait: not about this request.
            401 | 403 | 404 | 425 | 429 | 503 => Found::NotNow,
            408 => Found::Unknown { is_away: true },
            409 if is_busy(body) => Found::Busy,
            400..=499 => Found::Refused,
            500 => Found::Unknown { is_away: false },
            _ => Found::Unknown { is_away: true },
        }
    }

    /// Returns true if the core is away, so that a hand-off may wait for it.
    #[must_use]
    pub fn is_away(&self) -> bool {
        match self {
            Self::Answered { status, .. } => matches!(status, 502..=504),
            Self::NotReached | Self::Unknown => true,
        }
    }

    /// Returns true if it is certain that the core did not take what it was sent.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        matches!(self.found(), Found::NotNow)
    }
}

fn is_busy(body: &[u8]) -> bool {
    let error = serde_json::from_slice::<Value>(body).unwrap_or_default();
    error["name"] == "concurrent_idempotent_requests"
}

/// What a flush did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Flushed {
    /// Requests that the core has now.
    pub forwarded: usize,
    /// Requests that will not be forwarded.
    pub dead: usize,
    /// Requests that wait still.
    pub waiting: usize,
    /// True if the core is away, or does not take anything now.
    pub away: bool,
}

/// How an entry left, or why it stays.
enum Step {
    Forwarded,
    Dead,
    /// Nothing is left to do: another instance was faster.
    Gone,
    Stays,
    /// It stays, and no other is tried now.
    Away,
}

/// A flush under way.
struct Flush<'f, S, C> {
    outbox: &'f Outbox<S>,
    core: &'f C,
    surroundings: &'f dyn Surroundings,
    names: &'f [EntryName],
}

impl<S: Store> Outbox<S> {
    /// Forwards at most `limit` entries, and removes what is past its time. It begins with the entry
    /// number `start` of those that wait, the oldest being 0: instances that begin at different ones do
    /// not do the same work.
    ///
    /// It may end at any point, and run in many instances at once: nothing is lost, and what is forwarded
    /// twice has the same idempotency key.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn flush(
        &self,
        core: &impl Core,
        surroundings: &dyn Surroundings,
        start: usize,
        limit: usize,
    ) -> Result<Flushed, StoreError> {
        let begun = surroundings.now();
        let names = self.list().await?;
        self.prune(&names, begun).await?;
        let waiting: Vec<_> = names.iter().filter(|name| name.kind == Kind::Waiting).collect();
        let mut flushed = Flushed { waiting: waiting.len(), ..Flushed::default() };
        let flush = Flush { outbox: self, core, surroundings, names: &names };
        let start = start.checked_rem(waiting.len()).unwrap_or(0);
        for name in waiting[start..].iter().chain(&waiting[..start]).take(limit) {
            if surroundings.now().saturating_sub(begun) > MAX_TIME {
                break;
            }
            match flush.step(name).await? {
                Step::Forwarded => flushed.forwarded += 1,
                Step::Dead => flushed.dead += 1,
                Step::Gone => {}
                Step::Stays => continue,
                Step::Away => {
                    flushed.away = true;
                    break;
                }
            }
            flushed.waiting -= 1;
        }
        Ok(flushed)
    }

    /// Removes what is told about entries that no longer wait, once it has been told for long enough.
    async fn prune(&self, names: &[EntryName], now: u64) -> Result<(), StoreError> {
        let waiting: HashSet<&EntryRef> =
            names.iter().filter(|name| name.kind == Kind::Waiting).map(|name| &name.entry).collect();
        let forwarded = names.iter().filter(|name| name.kind == Kind::Forwarded).count();
        let mut too_many = forwarded.saturating_sub(self.settings.entries);
        for name in names {
            let age = now.saturating_sub(name.at);
            let is_over = match name.kind {
                _ if waiting.contains(&name.entry) => false,
                Kind::Waiting => false,
                Kind::Dead => age > DEAD_TIME,
                Kind::Forwarded if too_many > 0 => {
                    too_many -= 1;
                    true
                }
                Kind::Forwarded => age > self.settings.lifetime,
                Kind::Attempt | Kind::Unknown => true,
            };
            if is_over {
                self.store.delete(&name.key()).await?;
            }
        }
        Ok(())
    }
}

impl<S: Store, C: Core> Flush<'_, S, C> {
    async fn step(&self, name: &EntryName) -> Result<Step, StoreError> {
        let ends = |other: &&EntryName| matches!(other.kind, Kind::Forwarded | Kind::Dead);
        if self.about(name).any(|other| ends(&other)) {
            // An instance died before it removed the entry.
            self.remove(name, &[]).await?;
            return Ok(Step::Gone);
        }
        let Some(octets) = self.outbox.store.get(&name.key()).await? else { return Ok(Step::Gone) };
        let now = self.surroundings.now();
        let read = Entry::decode(&octets)
            .and_then(|entry| Some((entry.head, serde_json::from_slice::<RelayRequest>(&entry.body).ok()?)));
        let Some((head, mut request)) = read else {
            let head =
                EntryHead { key: String::new(), digest: String::new(), unknown_since: None, dead: None };
            return self.bury(name, Entry { head, body: octets }, DeadReason::Unreadable).await;
        };
        let attempts = self.about(name).filter(|other| matches!(other.kind, Kind::Attempt | Kind::Unknown));
        let unknown_since = attempts.map(|attempt| attempt.at).chain(head.unknown_since).min();
        let expired = remove_expired(&mut request, now);
        let waited = now.saturating_sub(name.entry.stored_at);
        let reason = if unknown_since.is_some_and(|since| now.saturating_sub(since) > MEMORY) {
            Some(DeadReason::Unknown)
        } else if waited > self.outbox.settings.lifetime {
            Some(DeadReason::TooOld)
        } else if request.emails.is_empty() {
            Some(DeadReason::Expired)
        } else {
            None
        };
        // Whoever reads that it was given up must not take it for not sent.
        let reason = reason.map(|reason| if unknown_since.is_some() { DeadReason::Unknown } else { reason });
        let Some(entry) = Entry::decode(&octets) else { return Ok(Step::Stays) };
        drop(octets);
        if let Some(reason) = reason {
            return self.bury(name, entry, reason).await;
        }
        let body = match expired {
            0 => entry.body.clone(),
            _ => {
                eprintln!("{}: {expired} emails have expired and are left out", name.entry.id);
                serde_json::to_vec(&request).unwrap_or_else(|_| entry.body.clone())
            }
        };
        drop(request);
        self.attempt(name, entry, body, now).await
    }

    /// Asks the core. That it is asked is written before, so that it is known if this instance dies.
    async fn attempt(
        &self,
        name: &EntryName,
        entry: Entry,
        body: Vec<u8>,
        now: u64,
    ) -> Result<Step, StoreError> {
        let random = relevo_mailkit::hex::encode(&self.surroundings.random()[..4]);
        let attempt = self.name(name, Kind::Attempt, now, random);
        let store = &self.outbox.store;
        store.set(&attempt.key(), &[]).await?;
        let reply = self.core.relay(&entry.head.key, &entry.head.digest, body).await;
        match (reply.found(), reply) {
            (Found::Accepted, CoreReply::Answered { body, .. }) => {
                let done = self.name(name, Kind::Forwarded, self.surroundings.now(), String::new());
                store.set(&done.key(), cut(&body)).await?;
                self.remove(name, &[attempt]).await?;
                Ok(Step::Forwarded)
            }
            (Found::Refused, CoreReply::Answered { status, body, .. }) => {
                let core_answer = String::from_utf8_lossy(cut(&body)).into_owned();
                let reason = DeadReason::Refused { core_status: status, core_answer };
                let step = self.bury(name, entry, reason).await;
                store.delete(&attempt.key()).await?;
                step
            }
            (Found::Unknown { is_away }, _) => {
                if !self.about(name).any(|other| other.kind == Kind::Unknown) {
                    store.set(&self.name(name, Kind::Unknown, now, String::new()).key(), &[]).await?;
                }
                store.delete(&attempt.key()).await?;
                Ok(if is_away { Step::Away } else { Step::Stays })
            }
            (found, _) => {
                store.delete(&attempt.key()).await?;
                Ok(if matches!(found, Found::Busy) { Step::Stays } else { Step::Away })
            }
        }
    }

    /// Moves an entry to those that will not be forwarded.
    async fn bury(&self, name: &EntryName, mut entry: Entry, reason: DeadReason) -> Result<Step, StoreError> {
        eprintln!("{} is not forwarded: {reason:?}", name.entry.id);
        entry.head.dead = Some(reason);
        let value = entry.encode();
        let dead = self.name(name, Kind::Dead, self.surroundings.now(), value.len().to_string());
        self.outbox.store.set(&dead.key(), &value).await?;
        self.remove(name, &[]).await?;
        Ok(Step::Dead)
    }

    /// Removes an entry from those that wait, then what is told about its attempts.
    async fn remove(&self, name: &EntryName, more: &[EntryName]) -> Result<(), StoreError> {
        self.outbox.store.delete(&name.key()).await?;
        let attempts = self.about(name).filter(|other| matches!(other.kind, Kind::Attempt | Kind::Unknown));
        for attempt in attempts.chain(more) {
            self.outbox.store.delete(&attempt.key()).await?;
        }
        Ok(())
    }

    /// What else was told about an entry when the flush began.
    fn about<'a>(&'a self, name: &'a EntryName) -> impl Iterator<Item = &'a EntryName> {
        self.names.iter().filter(|other| other.entry == name.entry && other.kind != Kind::Waiting)
    }

    fn name(&self, of: &EntryName, kind: Kind, at: u64, tail: String) -> EntryName {
        EntryName { entry: of.entry.clone(), kind, at, tail }
    }
}

/// The first octets of an answer of the core.
fn cut(answer: &[u8]) -> &[u8] {
    &answer[..answer.len().min(MAX_ANSWER)]
}
