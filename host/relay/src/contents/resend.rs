//! A message once more: the same content, through the intake of any submission.

use std::sync::Arc;

use relevo_mailkit::address::Address;
use relevo_mailkit::model::{Edit, Segment};
use relevo_mailkit::source::Source;
use relevo_mailkit::splice::{NoLinks, Splice};
use relevo_queue::{ItemId, Millis};

use super::{ContentError, Contents, StoredMessage};
use crate::clock::timestamp;
use crate::copies::Recipe;
use crate::emails::Email;
use crate::pipeline::TrackingOverride;
use crate::sending::{ResentMessage, SendRefusal};

/// The states of recipients that got nothing and that nobody tries any more.
const FAILED: [&str; 5] = ["bounced", "expired", "failed", "suppressed", "canceled"];

impl Contents {
    /// A message to be sent again: to the recipients that did not get it, or to those of `to`, which
    /// must be recipients of it.
    ///
    /// # Errors
    /// It is not there, is not sent yet, or nobody is to get it.
    pub async fn resent(
        &self,
        tenant: &str,
        id: ItemId,
        to: Option<&[String]>,
        now: Millis,
    ) -> Result<ResentMessage, ResendRefusal> {
        let message = self.find(tenant, id).await?;
        if let Some(at) = message.waits_until(now) {
            return Err(conflict(format!("this email is not sent before {}", timestamp(at))));
        }
        if message.is_held {
            return Err(conflict("this email is held: release or drop it first"));
        }
        let Ok(sender) = Address::parse(&message.meta.sender) else {
            return Err(conflict("this email has no sender that it could be sent from again"));
        };
        let email = self.email(tenant, id).await?;
        let to = match to {
            Some(to) => named(&message, email.as_ref(), to)?,
            None => failed(&message, email.as_ref())?,
        };
        let recipe = Recipe::decode(&message.meta.recipe).map_err(|error| {
            tracing::error!(%error, %id, "the recipe of a message cannot be read");
            ContentError::Unavailable
        })?;
        Ok(ResentMessage {
            from: id,
            sender,
            to,
            labels: message.meta.labels.clone(),
            tracking: tracking(&recipe),
            enforce_tls: message.meta.enforce_tls,
            utf8_header: recipe.utf8_header,
            body: without_removed_fields(&message.body, recipe.edits)?,
        })
    }
}

/// Why a message is not sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResendRefusal {
    /// Its content is not there.
    Content(ContentError),
    /// As for any request to send.
    Send(SendRefusal),
}

impl From<ContentError> for ResendRefusal {
    fn from(error: ContentError) -> Self {
        Self::Content(error)
    }
}

fn conflict(message: impl Into<String>) -> ResendRefusal {
    ResendRefusal::Send(SendRefusal::Conflict(message.into()))
}

/// Everybody that the message was meant for: recipients of deliveries, and those that were suppressed
/// before.
fn all_recipients<'m>(message: &'m StoredMessage, email: Option<&'m Email>) -> Vec<&'m str> {
    let delivered = message.recipients().map(|(_, recipient)| recipient.address.as_str());
    let known = email.into_iter().flat_map(|email| &email.recipients);
    let mut all: Vec<&str> = delivered.collect();
    for recipient in known {
        if !all.iter().any(|address| address.eq_ignore_ascii_case(&recipient.address)) {
            all.push(&recipient.address);
        }
    }
    all
}

fn named(
    message: &StoredMessage,
    email: Option<&Email>,
    to: &[String],
) -> Result<Vec<(Address, String)>, ResendRefusal> {
    let all = all_recipients(message, email);
    let mut named: Vec<(Address, String)> = Vec::new();
    for (index, wanted) in to.iter().enumerate() {
        let param = format!("to[{index}]");
        let found = all.iter().find(|address| address.eq_ignore_ascii_case(wanted.trim()));
        let Some(address) = found.and_then(|address| Address::parse(address).ok()) else {
            let problem = "not a recipient of this email: it is sent again to its own recipients only";
            return Err(ResendRefusal::Send(SendRefusal::invalid(param, problem)));
        };
        if message.is_pending(&address.to_string()) {
            return Err(conflict(format!("{address} is still being tried: wait, or cancel the email")));
        }
        if !named.iter().any(|(known, _)| *known == address) {
            named.push((address, param));
        }
    }
    match named.is_empty() {
        true => {
            let problem = "give at least one recipient, or leave `to` out";
            Err(ResendRefusal::Send(SendRefusal::invalid("to", problem)))
        }
        false => Ok(named),
    }
}

fn failed(message: &StoredMessage, email: Option<&Email>) -> Result<Vec<(Address, String)>, ResendRefusal> {
    let is_failed = |address: &str| {
        let known = email.into_iter().flat_map(|email| &email.recipients);
        let mut known = known.filter(|recipient| recipient.address.eq_ignore_ascii_case(address));
        known.any(|recipient| FAILED.contains(&recipient.last_event.as_str()))
    };
    let to = all_recipients(message, email).into_iter();
    let to: Vec<(Address, String)> = to
        .filter(|address| is_failed(address) && !message.is_pending(address))
        .filter_map(|address| Some((Address::parse(address).ok()?, "to".to_owned())))
        .collect();
    match to.is_empty() {
        true => Err(conflict("every recipient got this email or is still being tried: name some in `to`")),
        false => Ok(to),
    }
}

/// Tracking as the message had it: what it had not is off.
fn tracking(recipe: &Recipe) -> TrackingOverride {
    let has = |is: fn(&Segment) -> bool| {
        let has = recipe.edits.iter().flat_map(|edit| &edit.segments).any(is);
        (!has).then_some(false)
    };
    TrackingOverride {
        opens: has(|segment| *segment == Segment::Open),
        clicks: has(|segment| matches!(segment, Segment::Click(_))),
        ..TrackingOverride::default()
    }
}

/// The octets without what intake removed of the header: options of the first submission, such as its
/// time and its idempotency key, must not count again.
fn without_removed_fields(body: &Arc<dyn Source>, edits: Vec<Edit>) -> Result<Arc<dyn Source>, ContentError> {
    let removals: Vec<Edit> =
        edits.into_iter().filter(|edit| edit.segments.is_empty() && edit.part.is_none()).collect();
    if removals.is_empty() {
        return Ok(Arc::clone(body));
    }
    match Splice::new(Vec::new(), Arc::clone(body), removals, &NoLinks) {
        Ok(splice) => Ok(Arc::new(splice)),
        Err(error) => {
            tracing::error!(%error, "fields of a message cannot be removed");
            Err(ContentError::Unavailable)
        }
    }
}
