//! Store and forward in Spin's key-value store.

use spin_sdk::http::{IncomingRequest, Method};

use super::core::{self, CoreAnswer, CoreError};
use super::imports::Host;
use super::key_value::KeyValue;
use super::{Reply, config};
use crate::answer::Answer;
use crate::config::Relay;
use crate::emails::{HandOff, Surroundings};
use crate::outbox::{Core, CoreReply, Identity, Outbox, OutboxSettings, Sent, StoreError};

/// Entries that are forwarded after a request has its answer.
const AFTERWARDS: usize = 3;
/// Entries that one `POST /outbox/flush` forwards.
const FLUSH: usize = 100;

impl From<StoreError> for Answer {
    fn from(error: StoreError) -> Self {
        eprintln!("{error}");
        Self::unavailable("the store of the gateway does not answer, try again")
    }
}

impl Core for Relay {
    async fn relay(&self, key: &str, digest: &str, body: Vec<u8>) -> CoreReply {
        let fields = [("idempotency-key", key), ("x-relevo-digest", digest)];
        match core::ask(self, (Method::Post, "/relay"), &fields, body).await {
            Ok(CoreAnswer { status, retry_after, body, .. }) => {
                CoreReply::Answered { status, retry_after, body }
            }
            Err(CoreError::NotReached) => CoreReply::NotReached,
            Err(CoreError::Silent | CoreError::BrokenOff) => CoreReply::Unknown,
        }
    }
}

/// The outbox; none unless the settings name a store.
pub(super) fn open() -> Result<Option<Outbox<KeyValue>>, Answer> {
    let Some(settings) = config(OutboxSettings::read)? else { return Ok(None) };
    let store = KeyValue::open(&settings.store)?;
    Ok(Some(Outbox::new(store, settings)))
}

/// Hands finished messages to the core, or stores them. After the core has answered, a few of those that
/// wait are forwarded.
pub(super) async fn send(
    outbox: Outbox<KeyValue>,
    relay: Relay,
    mut hand_off: HandOff,
    key: Option<String>,
    digest: String,
) -> Result<Reply, Answer> {
    let identity = Identity::new(key, digest, Host.random());
    let (request, is_single) = (std::mem::take(&mut hand_off.request), hand_off.is_single());
    let reply = match outbox.send(&relay, &Host, &identity, request, is_single).await? {
        Sent::Stored(promise) => return Ok(Answer::stored(promise, hand_off).into()),
        Sent::KeyOfAnother => return Err(Answer::key_of_another()),
        Sent::Core(reply) => reply,
    };
    let is_away = reply.is_away();
    let answer = match reply {
        CoreReply::Answered { status, retry_after, body } => {
            Answer::of_core(status, &body, retry_after, hand_off)
        }
        CoreReply::NotReached => CoreError::NotReached.into(),
        CoreReply::Unknown => CoreError::Silent.into(),
    };
    if is_away {
        return Ok(answer.into());
    }
    let forward = async move {
        let start = usize::from(u16::from_le_bytes([Host.random()[0], Host.random()[1]]));
        if let Err(error) = outbox.flush(&relay, &Host, start, AFTERWARDS).await {
            eprintln!("{error}");
        }
    };
    Ok(Reply { answer, afterwards: Some(Box::pin(forward)) })
}

/// `GET /outbox`, `GET /outbox/{id}` and `POST /outbox/flush`.
pub(super) async fn answer(request: &IncomingRequest, method: &Method, path: &str) -> Result<Answer, Answer> {
    super::authorize(request)?;
    let Some(outbox) = open()? else {
        return Err(Answer::error(404, "not_found", "nothing is stored here: RELEVO_OUTBOX is not set"));
    };
    match (method, path.strip_prefix("/outbox").unwrap_or_default()) {
        (Method::Get, "") => Ok(Answer::json(200, &outbox.status().await?)),
        (Method::Post, "/flush") => {
            let relay = config(Relay::read)?;
            Ok(Answer::json(200, &outbox.flush(&relay, &Host, 0, FLUSH).await?))
        }
        (_, "") => Err(Answer::error(405, "method_not_allowed", "only GET here")),
        (_, "/flush") => Err(Answer::error(405, "method_not_allowed", "only POST here")),
        (Method::Get, id) => match outbox.find(id.trim_start_matches('/')).await? {
            Some(stored) => Ok(Answer::json(200, &stored)),
            None => Err(Answer::error(404, "not_found", "there is no such request, or no longer")),
        },
        _ => Err(Answer::error(405, "method_not_allowed", "only GET here")),
    }
}
