//! The durable commit of judged messages, and what follows it.

use std::panic::resume_unwind;
use std::time::Duration;

use relevo_queue::{IdempotentRequest, NewEvent, NewItem, StoreError};
use tracing::{Instrument as _, info};

use super::submission::{Accepted, PreparedMessage, Rejection};
use super::{Pipeline, not_stored, quota, store_failed};
use crate::quota::QuotaReservation;

/// The request that was accepted under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KnownKey {
    /// It is the same one. This is its answer.
    Same(Vec<u8>),
    /// It is another one.
    Another,
}

/// Runs work to its end, also when the caller is gone. A caller that goes away during a commit does
/// not undo it, so what is counted for it must stay counted.
pub(crate) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Rejection>> + Send + 'static,
) -> Result<T, Rejection> {
    match tokio::spawn(work.in_current_span()).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(stopped) => Err(store_failed(&stopped.to_string())),
        },
    }
}

impl Pipeline {
    /// Makes one message durable. The same message again under its idempotency key gets the same
    /// answer, and another one is refused.
    pub(super) async fn accept(&self, mut prepared: PreparedMessage) -> Result<Accepted, Rejection> {
        let (id, tenant, facts) = (prepared.id, prepared.tenant.clone(), prepared.facts.clone());
        let known = match prepared.request.take() {
            None => self.commit(vec![prepared], Vec::new(), None).await,
            Some(request) => match self.known(&request.tenant, &request.key, &request.digest).await {
                Ok(None) => self.commit(vec![prepared], Vec::new(), Some(request)).await,
                Ok(known) => Ok(known),
                Err(error) => Err(store_failed(&error.to_string())),
            },
        };
        let answer = known.and_then(|known| match known {
            None => Ok(Accepted { id, tenant }),
            Some(known) => accepted_before(&known, tenant),
        });
        if let Err(rejection) = &answer {
            self.refused(id, self.clock.now(), &facts, rejection).await;
        }
        answer
    }

    /// What was accepted under a tenant's idempotency key; none if the key is free.
    pub(crate) async fn known(
        &self,
        tenant: &str,
        key: &str,
        digest: &[u8; 32],
    ) -> Result<Option<KnownKey>, StoreError> {
        let found = self.queue.accepted_request(tenant, key, self.clock.now()).await?;
        Ok(found.map(|found| match found.digest == *digest {
            true => KnownKey::Same(found.answer),
            false => KnownKey::Another,
        }))
    }

    /// Makes messages durable, all of them or none, with `more` events and the idempotency key of
    /// their request. When the key turns out to be known, nothing is kept of them.
    ///
    /// # Errors
    /// The reply for the sender. Nothing is kept.
    pub(crate) async fn commit(
        &self,
        prepared: Vec<PreparedMessage>,
        more: Vec<NewEvent>,
        request: Option<IdempotentRequest>,
    ) -> Result<Option<KnownKey>, Rejection> {
        let Some(request) = request else { return self.store(prepared, more, None).await.map(|()| None) };
        let (tenant, key, digest) = (request.tenant.clone(), request.key.clone(), request.digest);
        let Err(rejection) = self.store(prepared, more, Some(request)).await else { return Ok(None) };
        // Another one with the same key may have come in between.
        match self.known(&tenant, &key, &digest).await {
            Ok(Some(known)) => Ok(Some(known)),
            _ => Err(rejection),
        }
    }

    async fn store(
        &self,
        mut prepared: Vec<PreparedMessage>,
        more: Vec<NewEvent>,
        request: Option<IdempotentRequest>,
    ) -> Result<(), Rejection> {
        let began = self.clock.monotonic();
        let counted = quota::reserve(self.quotas.as_deref(), &prepared).await?;
        let mut events: Vec<NewEvent> =
            prepared.iter_mut().flat_map(|message| std::mem::take(&mut message.events)).collect();
        events.extend(more);
        let items: Vec<NewItem> = prepared.iter_mut().filter_map(|message| message.item.take()).collect();
        let deliveries: Vec<usize> = items.iter().map(|item| item.deliveries.len()).collect();
        let stored = match request {
            Some(request) => self.queue.accept_request(request, items, events).await,
            // Nothing is kept of the messages but this, which is on disk before the answer.
            None if items.is_empty() => self.events.append(events).await,
            None => self.queue.accept(items, events).await,
        };
        stored.map_err(|error| not_stored(&error))?;
        counted.into_iter().for_each(QuotaReservation::keep);
        if prepared.iter().any(|message| message.has_refused) {
            (self.recipient_refused)();
        }
        self.committed(&prepared, began, deliveries.iter().sum());
        Ok(())
    }

    fn committed(&self, prepared: &[PreparedMessage], began: Duration, deliveries: usize) {
        for PreparedMessage { id, tenant, facts, .. } in prepared {
            self.metrics.accepted(facts.source);
            info!(id = %id, tenant = tenant.as_deref().unwrap_or("-"), from = facts.sender,
                recipients = facts.recipients, size = facts.size, "queued");
            let change = match deliveries {
                0 => "discarded".to_owned(),
                deliveries => format!("{deliveries} deliveries"),
            };
            self.step(*id, "commit", began, vec![change]);
        }
    }
}

/// The answer to a message whose idempotency key is known. The answers of the API are no ids.
fn accepted_before(known: &KnownKey, tenant: Option<String>) -> Result<Accepted, Rejection> {
    let id = match known {
        KnownKey::Same(answer) => std::str::from_utf8(answer).ok().and_then(|id| id.parse().ok()),
        KnownKey::Another => None,
    };
    match id {
        Some(id) => Ok(Accepted { id, tenant }),
        None => Err(Rejection::new(
            550,
            (5, 7, 1),
            "idempotency-key",
            "X-Relevo-Idempotency-Key: another message was accepted under this key less than a day ago",
        )),
    }
}
