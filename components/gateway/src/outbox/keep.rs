//! A hand-off is stored.

use super::entry::{Entry, EntryHead, EntryName, EntryRef, Kind, MAX_ENTRY, RESERVED};
use super::{Identity, Outbox, Store, StoreError};

/// What became of a hand-off that shall wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It waits now.
    Stored,
    /// It waited already.
    Same,
    /// Another request with the same idempotency key waits.
    Another,
    /// There is no room.
    Full,
    /// It is larger than the store takes.
    TooLarge,
}

impl<S: Store> Outbox<S> {
    /// Finds a request with the same idempotency key that waits: [`Kept::Same`] or [`Kept::Another`].
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn waiting(&self, identity: &Identity) -> Result<Option<Kept>, StoreError> {
        Ok(met(&self.list().await?, identity))
    }

    /// Stores the body of a hand-off. `unknown_since` is the time of the attempt before, unless it is
    /// certain that the core did not take it.
    ///
    /// Instances that store at the same time may together pass the bounds by what they store.
    ///
    /// # Errors
    /// The store does not answer: nothing is promised.
    pub async fn keep(
        &self,
        identity: &Identity,
        body: Vec<u8>,
        unknown_since: Option<u64>,
        now: u64,
    ) -> Result<Kept, StoreError> {
        let names = self.list().await?;
        if let Some(met) = met(&names, identity) {
            return Ok(met);
        }
        let (key, digest) = (identity.key.clone(), identity.digest.clone());
        let entry = Entry { head: EntryHead { key, digest, unknown_since, dead: None }, body }.encode();
        if entry.len() > MAX_ENTRY - RESERVED {
            return Ok(Kept::TooLarge);
        }
        let kept = names.iter().filter(|name| matches!(name.kind, Kind::Waiting | Kind::Dead));
        let octets: usize = kept.clone().map(EntryName::octets).sum();
        if kept.count() >= self.settings.entries || octets + entry.len() > self.settings.octets {
            return Ok(Kept::Full);
        }
        let name = EntryName {
            entry: EntryRef { stored_at: now, id: identity.id.clone(), digest: half(identity) },
            kind: Kind::Waiting,
            at: now,
            tail: entry.len().to_string(),
        };
        self.store.set(&name.key(), &entry).await?;
        Ok(Kept::Stored)
    }
}

fn met(names: &[EntryName], identity: &Identity) -> Option<Kept> {
    let waits = |name: &&EntryName| name.kind == Kind::Waiting && name.entry.id == identity.id;
    let digest = half(identity);
    let is_same = |name: &EntryName| name.entry.digest == digest;
    let found: Vec<bool> = names.iter().filter(waits).map(is_same).collect();
    match (found.is_empty(), found.contains(&true)) {
        (true, _) => None,
        (false, true) => Some(Kept::Same),
        (false, false) => Some(Kept::Another),
    }
}

/// The part of the digest that stands in keys.
fn half(identity: &Identity) -> String {
    identity.digest.chars().take(32).collect()
}
