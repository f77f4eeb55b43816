//! Requests of the API to send mail: from a checked request to messages in the queue and an answer.
//!
//! A request is accepted whole or not at all: every message of it is judged first, and then all of
//! them are stored in one commit, with the request's idempotency key and answer.

mod attachments;
mod content;
mod keys;
mod refusal;
mod relayed;
mod releases;
mod resent;
mod submission;
mod suppressed;

use std::net::IpAddr;
use std::sync::Arc;

use relevo_api::answer::{BatchAnswer, BatchError, EmailAnswer, RecipientAnswer, RecipientStatus};
use relevo_api::message::messages;
use relevo_api::{CheckedRequest, Problem};
use relevo_fetch::Fetcher;
use relevo_mailkit::address::Address;
use relevo_mailkit::labels::Labels;
use relevo_mailkit::policy::Verdict;
use relevo_queue::{EventHistory, ItemId, Millis, NewEvent};

use self::attachments::{Downloads, FetchSlots};
use self::content::Content;
pub use self::keys::{Begun, ClaimedKey, RequestKey};
use self::keys::{KeysInFlight, repeated};
pub use self::refusal::SendRefusal;
pub use self::releases::{CancelFilter, Canceled, Moved};
pub use self::resent::ResentMessage;
use self::submission::{labels, options, scheduled_at, via};
use crate::clock::timestamp;
use crate::pipeline::{
    Origin, Pipeline, PreparedMessage, PreparedRecipient, Submission, is_within, to_its_end,
};
use crate::settings::Settings;
use crate::suppressions::Suppressions;
use crate::templates::Templates;

/// Octets of an address in an event.
const MAX_ADDRESS: usize = 1024;

/// Octets of all messages of a request, as they are built, and of tags and metadata for each of
/// their recipients.
const MAX_OCTETS: u64 = 256 << 20;

/// Recipients of a batch.
const MAX_RECIPIENTS: u64 = releases::MAX_MESSAGES as u64;

/// Who sends a request, and under which settings.
#[derive(Debug, Clone)]
pub struct Sender {
    /// Those in force when the request came.
    pub settings: Arc<Settings>,
    /// The tenant.
    pub tenant: String,
    /// The name of the API key, or the user. Policy plugins see it.
    pub name: String,
    /// The only domain that the API key sends from.
    pub only_domain: Option<String>,
    /// The client.
    pub peer: Option<IpAddr>,
}

impl Sender {
    /// The configured domain of this tenant that covers an author's; empty: none does.
    fn sending_domain(&self, from: &Address) -> String {
        let domain = self.settings.directory.domain(&from.domain);
        domain.filter(|domain| domain.tenant == self.tenant).map_or_else(String::new, |d| d.name.clone())
    }

    fn may_send_from(&self, from: &Address) -> Result<(), SendRefusal> {
        let Some(domain) = &self.only_domain else { return Ok(()) };
        match is_within(&from.domain, domain) {
            true => Ok(()),
            false => {
                let message = format!("the API key `{}` sends from {domain} only", self.name);
                Err(SendRefusal::invalid("from", message))
            }
        }
    }
}

/// An answer as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonAnswer {
    /// The octets.
    pub json: Vec<u8>,
    /// Something is on disk: the request was not only a trial.
    pub kept: bool,
    /// The request was accepted before: this is the answer that it got.
    pub repeated: bool,
}

/// Sends what requests ask for. Cheap to clone.
#[derive(Clone)]
pub struct Sending {
    pipeline: Pipeline,
    events: Arc<dyn EventHistory>,
    templates: Templates,
    suppressions: Arc<Suppressions>,
    fetcher: Fetcher,
    slots: FetchSlots,
    in_flight: KeysInFlight,
    /// Tenants that cancel by tag or batch now. Their key is empty.
    cancellations: KeysInFlight,
}

/// A request whose messages were judged.
struct PreparedRequest {
    answer: EmailAnswer,
    messages: Vec<PreparedMessage>,
    /// About recipients that get nothing.
    events: Vec<NewEvent>,
}

/// Whom a message is from and to: the paths of the values in the request are beside the addresses.
struct Addressed<'a> {
    sender: &'a Address,
    recipients: &'a [(Address, String)],
}

impl Sending {
    /// Messages go through `pipeline`; `fetcher` gets attachments that a request names by URL.
    #[must_use]
    pub fn new(
        pipeline: Pipeline,
        templates: Templates,
        suppressions: Arc<Suppressions>,
        fetcher: Fetcher,
    ) -> Self {
        let events = Arc::clone(&pipeline.events);
        let (in_flight, cancellations) = (KeysInFlight::default(), KeysInFlight::default());
        let slots = FetchSlots::default();
        Self { pipeline, events, templates, suppressions, fetcher, slots, in_flight, cancellations }
    }

    /// The time by which requests are checked, in milliseconds since 1970.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.pipeline.clock.now()
    }

    /// Sends one request. When it returns, the messages are on disk.
    ///
    /// # Errors
    /// Why nothing of it was accepted.
    pub async fn send(
        &self,
        sender: &Sender,
        request: CheckedRequest,
        key: Option<ClaimedKey>,
    ) -> Result<JsonAnswer, SendRefusal> {
        let first = self.new_id()?;
        let (mut octets, mut downloads) = (MAX_OCTETS, self.downloads(sender));
        let prepared = self.prepare(sender, &request, (first, ""), &mut octets, &mut downloads).await?;
        let json = refusal::to_json(&prepared.answer)?;
        match request.request.dry_run {
            true => Ok(JsonAnswer { json, kept: false, repeated: false }),
            false => self.commit(sender, vec![prepared], key, json).await,
        }
    }

    /// Sends a batch in one commit. The second part of an element is its position in the batch as
    /// it came. Requests that cannot be sent are left out if that is `permissive`; `errors` are
    /// those that were left out before.
    ///
    /// # Errors
    /// Why nothing of it was accepted.
    pub async fn send_batch(
        &self,
        sender: &Sender,
        requests: Vec<(CheckedRequest, usize)>,
        mut errors: Vec<BatchError>,
        permissive: bool,
        key: Option<ClaimedKey>,
    ) -> Result<JsonAnswer, SendRefusal> {
        let batch = self.new_id()?;
        count_recipients(&requests)?;
        attachments::count_urls(&requests)?;
        let (mut next, mut octets, mut downloads) = (0, MAX_OCTETS, self.downloads(sender));
        let (mut all, mut problems) = (Vec::new(), Vec::new());
        for (request, index) in &requests {
            let (first, name) = (batch.nth(next), batch.to_string());
            match self.prepare(sender, request, (first, &name), &mut octets, &mut downloads).await {
                Ok(prepared) => all.push(prepared),
                Err(refusal @ (SendRefusal::Invalid(_) | SendRefusal::Refused { .. })) => {
                    let found = refusal.into_problems();
                    let prefix = format!("[{index}]");
                    let found: Vec<Problem> = found.into_iter().map(|p| p.within(&prefix)).collect();
                    errors.extend(found.iter().map(|problem| BatchError {
                        index: *index,
                        param: problem.param.clone(),
                        message: problem.message.clone(),
                    }));
                    problems.extend(found);
                }
                Err(other) => return Err(other),
            }
            next += messages_of(request);
        }
        if !problems.is_empty() && !permissive {
            return Err(SendRefusal::Invalid(problems));
        }
        errors.sort_by_key(|error| error.index);
        let data = all.iter().map(|prepared| prepared.answer.clone()).collect();
        let answer = BatchAnswer { object: "list".to_owned(), id: batch.to_string(), data, errors };
        let json = refusal::to_json(&answer)?;
        all.retain(|prepared| !prepared.answer.dry_run);
        match all.is_empty() {
            true => Ok(JsonAnswer { json, kept: false, repeated: false }),
            false => self.commit(sender, all, key, json).await,
        }
    }

    /// Makes the first message of a request as it would be sent, and sends nothing.
    ///
    /// # Errors
    /// Why it could not be sent.
    pub async fn first_message(
        &self,
        sender: &Sender,
        request: &CheckedRequest,
    ) -> Result<Vec<u8>, SendRefusal> {
        sender.may_send_from(&request.from)?;
        let (id, mut octets, mut downloads) = (self.new_id()?, MAX_OCTETS, self.downloads(sender));
        let mut content = Content::load(self, sender, request, (&mut downloads, &mut octets)).await?;
        let message = messages(request).next().ok_or(SendRefusal::Unavailable)?;
        let labels = labels(request, &message, (id, id), "", content.template());
        content.make(self, sender, request, &message, (id, &labels)).await
    }

    fn downloads(&self, sender: &Sender) -> Downloads {
        Downloads::new(self.fetcher.clone(), &self.slots, &sender.tenant)
    }

    fn new_id(&self) -> Result<ItemId, SendRefusal> {
        self.pipeline.ids.item_id(self.now()).map_err(|error| {
            tracing::error!(%error, "no id for a message");
            SendRefusal::Unavailable
        })
    }

    async fn prepare(
        &self,
        sender: &Sender,
        request: &CheckedRequest,
        (first, batch): (ItemId, &str),
        octets: &mut u64,
        downloads: &mut Downloads,
    ) -> Result<PreparedRequest, SendRefusal> {
        sender.may_send_from(&request.from)?;
        let mut content = Content::load(self, sender, request, (downloads, octets)).await?;
        let mut prepared = PreparedRequest {
            answer: EmailAnswer {
                object: "email".to_owned(),
                id: first.to_string(),
                recipients: Vec::new(),
                scheduled_at: scheduled_at(request).map(timestamp),
                dry_run: request.request.dry_run,
            },
            messages: Vec::new(),
            events: Vec::new(),
        };
        for (number, message) in (0..).zip(messages(request)) {
            let id = first.nth(number);
            let to = Addressed { sender: &message.sender, recipients: &message.recipients };
            let labels = Labels {
                domain: sender.sending_domain(&request.from),
                ..labels(request, &message, (first, id), batch, content.template())
            };
            take(octets, labels.octets() * message.recipients.len())?;
            let (envelope, suppressed) = self.divide(sender, &to, &labels).await?;
            prepared.events.extend(suppressed.events(&sender.tenant, id, self.now(), &labels));
            let own_id = (!request.request.recipients.is_empty()).then_some(id);
            if envelope.recipients.is_empty() {
                prepared.answer.recipients.extend(suppressed.answers(own_id, Vec::new()));
                continue;
            }
            let body = content.build(self, sender, request, &message, (id, &labels)).await?;
            take(octets, body.source.size())?;
            let submission = Submission {
                settings: Arc::clone(&sender.settings),
                origin: Origin::Tenant(sender.tenant.clone()),
                envelope,
                via: via(sender),
                body,
                options: options(request, labels),
                id: Some(id),
                authors_within: sender.only_domain.clone(),
            };
            let judged = match request.request.dry_run {
                true => self.pipeline.try_out(submission).await,
                false => self.pipeline.prepare(submission).await,
            };
            let judged = judged.map_err(|rejection| SendRefusal::rejected(&rejection, &to, "from"))?;
            let accepted = answers(&judged, own_id, request.scheduled_at.is_some());
            prepared.answer.recipients.extend(suppressed.answers(own_id, accepted));
            prepared.messages.push(judged);
        }
        Ok(prepared)
    }

    /// Stores the messages of requests with their answer. This goes on when the caller is gone, and
    /// the key is in use until it ends.
    async fn commit(
        &self,
        sender: &Sender,
        requests: Vec<PreparedRequest>,
        key: Option<ClaimedKey>,
        json: Vec<u8>,
    ) -> Result<JsonAnswer, SendRefusal> {
        let accepted = key.map(|key| key.accepted(&sender.tenant, self.now(), json.clone()));
        let (request, guard) = accepted.unzip();
        let (mut messages, mut events) = (Vec::new(), Vec::new());
        for request in requests {
            messages.extend(request.messages);
            events.extend(request.events);
        }
        let pipeline = self.pipeline.clone();
        let committed = to_its_end(async move {
            let _in_use = guard;
            pipeline.commit(messages, events, request).await
        });
        match committed.await {
            Ok(None) => Ok(JsonAnswer { json, kept: true, repeated: false }),
            Ok(Some(known)) => repeated(known),
            Err(rejection) => Err(SendRefusal::of_rejection(&rejection, "from")),
        }
    }
}

/// Takes octets from those that are left for a request.
fn take(left: &mut u64, octets: impl TryInto<u64>) -> Result<(), SendRefusal> {
    *left = octets.try_into().ok().and_then(|octets| left.checked_sub(octets)).ok_or_else(|| {
        let most = format!("{MAX_OCTETS} octets in all, tags and metadata included");
        let message = format!("the messages, and what was fetched for them, have more than {most}");
        SendRefusal::invalid("", message)
    })?;
    Ok(())
}

/// Refuses a batch with too many recipients, and so with too many messages.
fn count_recipients(requests: &[(CheckedRequest, usize)]) -> Result<(), SendRefusal> {
    let (count, most) = (requests.iter().map(|(request, _)| recipients_of(request)).sum(), MAX_RECIPIENTS);
    match count {
        0..=MAX_RECIPIENTS => Ok(()),
        _ => Err(SendRefusal::invalid("", format!("{count} recipients, at most {most} are allowed"))),
    }
}

/// The recipients of all messages of a request, at least as many as its messages.
fn recipients_of(request: &CheckedRequest) -> u64 {
    let recipients = u64::try_from(request.addresses.len()).unwrap_or(u64::MAX);
    recipients.max(u64::from(messages_of(request)))
}

/// How many ids a request takes.
fn messages_of(request: &CheckedRequest) -> u32 {
    u32::try_from(request.request.recipients.len()).unwrap_or(u32::MAX).max(1)
}

/// The answers for the recipients of a judged message. `own_id` is its id, where each recipient of
/// the request has a message of its own.
fn answers(judged: &PreparedMessage, own_id: Option<ItemId>, is_scheduled: bool) -> Vec<RecipientAnswer> {
    let answer = |PreparedRecipient { address, delivery, verdict }: &PreparedRecipient| {
        let (status, reason) = match verdict {
            Verdict::Accept if is_scheduled => (RecipientStatus::Scheduled, None),
            Verdict::Accept => (RecipientStatus::Queued, None),
            Verdict::Hold(reason) => (RecipientStatus::Held, Some(reason.clone())),
            Verdict::Discard(reason) => (RecipientStatus::Discarded, Some(reason.clone())),
            Verdict::Reject(reply) => (RecipientStatus::Invalid, Some(reply.text.clone())),
        };
        RecipientAnswer {
            email: address.clone(),
            message_id: own_id.map(|id| id.to_string()),
            delivery_id: delivery.map(|delivery| delivery.to_string()),
            status,
            reason,
        }
    };
    judged.recipients.iter().map(answer).collect()
}

#[cfg(test)]
mod tests;
