//! `POST /emails` and `POST /emails/batch`.

use sha2::{Digest, Sha256};
use spin_sdk::http::{IncomingRequest, Method};

use super::core::{self, CoreAnswer};
use super::imports::{Host, Import};
use super::{Reply, bounded, config, field, templates};
use crate::answer::Answer;
use crate::config::Relay;
use crate::emails::{CheckedEmails, HandOff, Surroundings as _};
use crate::signing::Signing;

/// Makes the messages of a request and hands them to the core.
pub(super) async fn send(request: IncomingRequest, path: &str) -> Result<Reply, Answer> {
    let relay = config(Relay::read)?;
    let signing = config(Signing::read)?;
    super::authorize(&request)?;
    let key = field(&request, "idempotency-key").map(idempotency_key).transpose()?;
    let permissive = is_permissive(&request)?;
    let body = bounded(request).await?;
    let invalid = |invalid| Answer::invalid(&invalid);
    let checked = match path {
        "/emails" => CheckedEmails::single(&body, Host.now()),
        _ => CheckedEmails::batch(&body, permissive, Host.now()),
    };
    let checked = checked.map_err(invalid)?;
    let digest = Sha256::new().chain_update(path).chain_update([u8::from(permissive)]).chain_update(&body);
    drop(body);
    let digest = relevo_mailkit::hex::encode(&digest.finalize());
    let templates =
        templates::fetch(&relay, checked.templates().into_iter().map(|name| (name, None))).await?;
    let mut hand_off = checked.finish(&templates, &Import, &Host).map_err(invalid)?;
    drop(templates);
    if let Signing::Edge(keys) = &signing {
        hand_off.sign(keys, &Import, Host.now()).map_err(|error| {
            eprintln!("the edge cannot sign: {error}");
            Answer::unavailable("the gateway cannot sign: its log says why")
        })?;
    }
    if let Some(answer) = hand_off.empty_answer() {
        return Ok(Answer::json(200, &answer).into());
    }
    #[cfg(feature = "key-value")]
    if let Some(outbox) = super::outbox::open()? {
        return super::outbox::send(outbox, relay, hand_off, key, digest).await;
    }
    let permissive = permissive && !hand_off.is_single();
    hand_over(&relay, hand_off, key.as_deref().map(|key| (key, &*digest)), permissive).await.map(Reply::from)
}

fn is_permissive(request: &IncomingRequest) -> Result<bool, Answer> {
    match field(request, "x-batch-validation").as_deref() {
        None | Some(b"strict") => Ok(false),
        Some(b"permissive") => Ok(true),
        Some(_) => {
            let message = "must be `strict` or `permissive`";
            Err(Answer::invalid(&relevo_api::InvalidRequest::field("x-batch-validation", message)))
        }
    }
}

fn idempotency_key(value: Vec<u8>) -> Result<String, Answer> {
    let key = String::from_utf8(value).ok().filter(|key| relevo_api::check::idempotency_key(key).is_ok());
    key.ok_or_else(|| {
        let message = "the idempotency key must have 1 to 256 printable ASCII characters";
        Answer::error(400, "invalid_idempotency_key", message)
    })
}

/// Hands finished messages to the core. `key` is the idempotency key, with the digest of what it stands
/// for. The core leaves out what it refuses of a `permissive` batch, and keeps its answer with the key.
async fn hand_over(
    relay: &Relay,
    hand_off: HandOff,
    key: Option<(&str, &str)>,
    permissive: bool,
) -> Result<Answer, Answer> {
    let fields = key.map(|(key, digest)| [("idempotency-key", key), ("x-relevo-digest", digest)]);
    let mut fields = fields.iter().flatten().copied().collect::<Vec<_>>();
    if permissive {
        fields.push(("x-batch-validation", "permissive"));
    }
    let body = serde_json::to_vec(&hand_off.request)
        .map_err(|_| Answer::unavailable("the messages cannot be encoded"))?;
    let CoreAnswer { status, retry_after, body, .. } =
        core::ask(relay, (Method::Post, "/relay"), &fields, body).await?;
    Ok(Answer::of_core(status, &body, retry_after, hand_off))
}
