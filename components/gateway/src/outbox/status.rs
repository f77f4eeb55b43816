//! What the outbox holds, and what became of a request.

use relevo_api::schedule;
use serde::Serialize;
use serde_json::Value;

use super::entry::{DeadReason, Entry, EntryName, Kind};
use super::{Outbox, Store, StoreError};

/// The answer to `GET /outbox`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutboxStatus {
    /// `outbox`.
    pub object: &'static str,
    /// Requests that wait.
    pub waiting: usize,
    /// Requests that will not be forwarded. They can be looked at for seven days.
    pub dead: usize,
    /// Octets of both.
    pub octets: usize,
    /// When the oldest that waits was stored, RFC 3339.
    pub oldest: Option<String>,
    /// The ids of the dead ones, the newest 100.
    pub dead_ids: Vec<String>,
}

/// The answer to `GET /outbox/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoredRequest {
    /// `outbox_request`.
    pub object: &'static str,
    /// The provisional id.
    pub id: String,
    /// `waiting`, `forwarded` or `dead`.
    pub status: &'static str,
    /// When it was stored, RFC 3339.
    pub stored_at: Option<String>,
    /// When it was forwarded or given up, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Why it is dead.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub dead: Option<DeadReason>,
    /// The core's answer, with the ids that the core knows. A long one is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Value>,
}

/// Ids of dead requests in an answer.
const MAX_IDS: usize = 100;

impl<S: Store> Outbox<S> {
    /// Counts what is there.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn status(&self) -> Result<OutboxStatus, StoreError> {
        let names = self.list().await?;
        let of = |kind: Kind| names.iter().filter(move |name| name.kind == kind);
        Ok(OutboxStatus {
            object: "outbox",
            waiting: of(Kind::Waiting).count(),
            dead: of(Kind::Dead).count(),
            octets: names.iter().map(EntryName::octets).sum(),
            oldest: of(Kind::Waiting).next().and_then(|name| schedule::format(name.at)),
            dead_ids: of(Kind::Dead).rev().take(MAX_IDS).map(|name| name.entry.id.clone()).collect(),
        })
    }

    /// Finds a request by its provisional id, or by that of one of its emails. Of several with the same
    /// idempotency key it is the newest.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn find(&self, id: &str) -> Result<Option<StoredRequest>, StoreError> {
        let names = self.list().await?;
        let is_it = |known: &str| {
            let rest = id.strip_prefix(known);
            let number = rest.and_then(|rest| rest.strip_prefix('-'));
            rest == Some("")
                || number.is_some_and(|number| number.bytes().all(|octet| octet.is_ascii_digit()))
        };
        // A request that was forwarded may still be among those that wait, or be taken for dead.
        let rank = |name: &&EntryName| match name.kind {
            Kind::Forwarded => Some(2),
            Kind::Dead => Some(1),
            Kind::Waiting => Some(0),
            Kind::Attempt | Kind::Unknown => None,
        };
        let found = names.iter().filter(|name| is_it(&name.entry.id) && rank(name).is_some());
        let Some(name) = found.max_by_key(|name| (name.entry.stored_at, rank(name))) else { return Ok(None) };
        let mut stored = StoredRequest {
            object: "outbox_request",
            id: name.entry.id.clone(),
            status: "waiting",
            stored_at: schedule::format(name.entry.stored_at),
            ended_at: schedule::format(name.at).filter(|_| name.kind != Kind::Waiting),
            dead: None,
            accepted: None,
        };
        if name.kind == Kind::Waiting {
            return Ok(Some(stored));
        }
        let value = self.store.get(&name.key()).await?.unwrap_or_default();
        if name.kind == Kind::Dead {
            stored.status = "dead";
            stored.dead = Entry::decode(&value).and_then(|entry| entry.head.dead);
        } else {
            stored.status = "forwarded";
            stored.accepted = serde_json::from_slice(&value).ok();
        }
        Ok(Some(stored))
    }
}
