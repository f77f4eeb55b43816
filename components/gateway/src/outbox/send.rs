//! A request is handed to the core; if that is away, it is stored.

use relevo_api::answer::BatchAnswer;
use relevo_api::relay::RelayRequest;

use super::request::prepare;
use super::{Core, CoreReply, Identity, Kept, Outbox, Store, StoreError};
use crate::emails::Surroundings;

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Sent {
    /// The core said so, or it is away and the request cannot wait.
    Core(CoreReply),
    /// It waits.
    Stored(BatchAnswer),
    /// Another request with the same idempotency key waits.
    KeyOfAnother,
}

impl<S: Store> Outbox<S> {
    /// Hands a request to the core. The request waits in the store if the core is away, or if it waits
    /// there already: the same request has the same answer then.
    ///
    /// # Errors
    /// The store does not answer. Nothing is promised, and the same request may be sent again.
    pub async fn send(
        &self,
        core: &impl Core,
        surroundings: &dyn Surroundings,
        identity: &Identity,
        mut request: RelayRequest,
        is_single: bool,
    ) -> Result<Sent, StoreError> {
        let begun = surroundings.now();
        // What waits comes first: the core may be back and not know of it.
        if identity.is_callers
            && let Some(kept) = self.waiting(identity).await?
        {
            let answer = prepare(&mut request, &identity.id, is_single, begun);
            return Ok(if kept == Kept::Same { Sent::Stored(answer) } else { Sent::KeyOfAnother });
        }
        let is_trial = request.emails.iter().any(|email| email.dry_run);
        // Before the first attempt already: the core may take what it says nothing about.
        let promise = prepare(&mut request, &identity.id, is_single, begun);
        let encoded = serde_json::to_vec(&request);
        drop(request);
        let body = encoded.map_err(|_| StoreError("the messages cannot be encoded".to_owned()))?;
        let reply = core.relay(&identity.key, &identity.digest, body.clone()).await;
        if !reply.is_away() || is_trial {
            return Ok(Sent::Core(reply));
        }
        // A caller's key may have been at the core before, by way of an instance that died.
        let is_certain = reply.is_certain() && !identity.is_callers;
        let unknown_since = (!is_certain).then_some(begun);
        Ok(match self.keep(identity, body, unknown_since, surroundings.now()).await? {
            Kept::Stored | Kept::Same => Sent::Stored(promise),
            Kept::Another => Sent::KeyOfAnother,
            Kept::Full | Kept::TooLarge => Sent::Core(reply),
        })
    }
}
