//! `/emails`: sending, and what became of it.

pub(super) mod check;
pub(super) mod content;
pub(super) mod send;
mod view;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use relevo_api::schedule;
use relevo_mailkit::labels::Tag;
use relevo_queue::{EventPosition, HistoryError, ItemId, Millis, StoreError};
use relevo_relay::emails::EmailFilter;
use relevo_relay::sending::CancelFilter;
use serde::{Deserialize, Serialize};

use super::ApiServices;
use super::admission::Subject;
use super::auth::Caller;
use super::body;
use super::list::{ListQuery, Page};
use crate::bearer::Proven;
use crate::error::{self, RequestError};
pub use check::ContentCheckView;
pub(super) use check::check_content;
pub(super) use send::{send, send_batch};
use view::EmailView;

/// Octets of the body of a request to send: 40 MB of attachments as base64, and the rest.
pub(super) const MAX_BODY: usize = 60 << 20;

/// Octets of words that are looked for.
const MAX_WORDS: usize = 256;

/// Parameters of `GET /emails`.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EmailsQuery {
    /// Entries of a page: 1 to 100; 20 without it.
    limit: Option<String>,
    /// `next` of the page before, or the id of its last message.
    after: Option<String>,
    /// `name` or `name:value`.
    tag: Option<String>,
    stream: Option<String>,
    /// A recipient's address, or `@` and a domain: any address there.
    to: Option<String>,
    from: Option<String>,
    /// A part of the subject, in any case.
    subject: Option<String>,
    /// A part of the subject, the sender, a recipient or a tag, in any case; or the id, or the
    /// Message-ID.
    q: Option<String>,
    /// The last event, such as `delivered` or `scheduled`.
    status: Option<String>,
    /// RFC 3339.
    since: Option<String>,
    /// RFC 3339.
    until: Option<String>,
}

/// The body of `PATCH /emails/{id}`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RescheduleFields {
    /// The new time of sending, in the forms of `POST /emails`.
    #[serde(alias = "scheduledAt")]
    scheduled_at: String,
    /// Clients may repeat the id of the path here.
    #[serde(default)]
    #[expect(dead_code, reason = "the path has it")]
    id: Option<String>,
}

/// The body of `POST /emails/cancel`. At least one field is given.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CancelFields {
    /// The id that `POST /emails/batch` answered.
    batch_id: Option<String>,
    /// A tag; without value it stands for all values.
    tag: Option<Tag>,
}

/// The answer to `POST /emails/cancel`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct CanceledView {
    object: &'static str,
    /// Messages that are not sent.
    canceled: u64,
    /// Messages in the queue that matched, and of which an attempt was made or is under way.
    too_late: u64,
}

/// The answer to `POST /emails/{id}/cancel`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct CanceledEmailView {
    /// `email`.
    object: &'static str,
    /// That of the path.
    id: String,
    /// Messages of the request that are not sent: each of `recipients` has its own.
    canceled: u64,
    /// Messages of the request that were sent, or are being sent.
    too_late: u64,
}

/// The answer to `PATCH /emails/{id}`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RescheduledEmailView {
    /// `email`.
    object: &'static str,
    /// That of the path.
    id: String,
    /// Messages of the request that have the new time: each of `recipients` has its own.
    rescheduled: u64,
    /// Messages of the request that were sent, or are being sent.
    too_late: u64,
}

/// Lists messages, the newest first.
#[utoipa::path(
    get,
    path = "/emails",
    tag = "emails",
    params(EmailsQuery),
    responses((status = 200, description = "A page.", body = Page<EmailView>)),
)]
pub(super) async fn list(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    query: Result<Query<EmailsQuery>, QueryRejection>,
) -> Result<Json<Page<EmailView>>, RequestError> {
    let query = error::query(query)?;
    let filter = filter(&query, services.sending.now())?;
    let bounds = ListQuery { limit: query.limit, after: query.after }.bounds()?;
    let before = match bounds.after.as_str() {
        "" => EventPosition::newest(),
        after => position(&services, &caller.tenant, after).await?,
    };
    let found = services.emails.list(&caller.tenant, &filter, before, bounds.limit()).await;
    let page = found.map_err(|error| match error {
        HistoryError::Store(error) => unreadable(&error),
        HistoryError::Foreign | HistoryError::Pruned { .. } => unknown_position(),
    })?;
    let data = page.emails.into_iter().map(EmailView::brief).collect();
    let next = page.next.map(|next| next.to_string());
    Ok(Json(Page::with_cursor(data, next).without(page.unavailable_shards)))
}

/// Shows a message: each recipient with its state, and everything that happened.
#[utoipa::path(
    get,
    path = "/emails/{id}",
    tag = "emails",
    params(("id" = String, Path, description = "The id.")),
    responses((status = 200, description = "The message.", body = EmailView)),
)]
pub(super) async fn show(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
) -> Result<Json<EmailView>, RequestError> {
    let item = email_id(&id)?;
    let found = services.emails.find(&caller.tenant, item).await.map_err(|error| unreadable(&error))?;
    let found = match found {
        None => services.sending.waiting(&caller.tenant, item).await?,
        found => found,
    };
    found.map(|email| Json(EmailView::whole(email))).ok_or_else(|| no_such(&id))
}

/// Gives the messages of a request another time.
#[utoipa::path(
    patch,
    path = "/emails/{id}",
    tag = "emails",
    params(("id" = String, Path, description = "The id.")),
    request_body = RescheduleFields,
    responses((status = 200, description = "How many messages have another time.", body = RescheduledEmailView), (status = 409, description = "All of it was sent, or is being sent.", body = crate::error::ErrorBody)),
)]
pub(super) async fn reschedule(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
    content: Bytes,
) -> Result<Json<RescheduledEmailView>, RequestError> {
    let item = email_id(&id)?;
    let fields: RescheduleFields = body::read(&content)?;
    let now = services.sending.now();
    let at = schedule::parse(&fields.scheduled_at, u64::try_from(now).unwrap_or(0));
    let at = at.map_err(|message| RequestError::invalid("scheduled_at", message))?;
    let horizon = relevo_api::Limits::default().horizon;
    if at > u64::try_from(now).unwrap_or(0).saturating_add(horizon) {
        let days = horizon / 86_400_000;
        return Err(RequestError::invalid("scheduled_at", format!("more than {days} days ahead")));
    }
    let at = Millis::try_from(at).unwrap_or(Millis::MAX);
    let moved = services.sending.reschedule(&caller.tenant, item, at).await?;
    let (rescheduled, too_late) = (moved.rescheduled, moved.too_late);
    Ok(Json(RescheduledEmailView { object: "email", id, rescheduled, too_late }))
}

/// Cancels the messages of a request of which nothing was attempted.
#[utoipa::path(
    post,
    path = "/emails/{id}/cancel",
    tag = "emails",
    params(("id" = String, Path, description = "The id.")),
    responses((status = 200, description = "How many messages are not sent.", body = CanceledEmailView), (status = 409, description = "All of it was sent, or is being sent.", body = crate::error::ErrorBody)),
)]
pub(super) async fn cancel(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
) -> Result<Json<CanceledEmailView>, RequestError> {
    let outcome = services.sending.cancel(&caller.tenant, email_id(&id)?).await?;
    let (canceled, too_late) = (outcome.canceled, outcome.too_late);
    Ok(Json(CanceledEmailView { object: "email", id, canceled, too_late }))
}

/// Cancels all messages of a batch, or with a tag, of which nothing was attempted.
#[utoipa::path(
    post,
    path = "/emails/cancel",
    tag = "emails",
    request_body = CancelFields,
    responses((status = 200, description = "How many are not sent.", body = CanceledView)),
)]
pub(super) async fn cancel_all(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    content: Bytes,
) -> Result<(Extension<Subject>, Json<CanceledView>), RequestError> {
    let fields: CancelFields = body::read(&content)?;
    if fields.batch_id.is_none() && fields.tag.is_none() {
        return Err(RequestError::invalid("tag", "give `tag`, `batch_id` or both"));
    }
    let batch_id = fields.batch_id.as_deref().map(str::parse).transpose();
    let batch_id = batch_id.map_err(|_| RequestError::invalid("batch_id", "not the id of a batch"))?;
    let subject = fields.subject();
    let filter = CancelFilter { batch_id, tag: fields.tag };
    let outcome = services.sending.cancel_all(&caller.tenant, &filter).await?;
    let (canceled, too_late) = (outcome.canceled, outcome.too_late);
    let view = CanceledView { object: "cancellation", canceled, too_late };
    Ok((Extension(Subject(subject)), Json(view)))
}

impl CancelFields {
    /// What the audit log says was canceled.
    fn subject(&self) -> String {
        let batch = self.batch_id.iter().map(|batch| format!("batch {batch}"));
        let tag = self.tag.iter().map(|tag| match tag.value.as_str() {
            "" => format!("tag {}", tag.name),
            value => format!("tag {}:{value}", tag.name),
        });
        batch.chain(tag).collect::<Vec<_>>().join(", ")
    }
}

fn filter(query: &EmailsQuery, now: Millis) -> Result<EmailFilter, RequestError> {
    let now = u64::try_from(now).unwrap_or(0);
    let time = |param: &'static str, text: &Option<String>| {
        let at = text.as_deref().map(|text| schedule::parse(text, now)).transpose();
        let at = at.map_err(|message| RequestError::invalid(param, message))?;
        Ok::<_, RequestError>(at.map(|at| Millis::try_from(at).unwrap_or(Millis::MAX)))
    };
    let stream = query.stream.as_deref().map(str::parse).transpose();
    Ok(EmailFilter {
        tag: query.tag.as_deref().map(tag),
        stream: stream.map_err(|message: String| RequestError::invalid("stream", message))?,
        to: query.to.as_deref().map(str::to_ascii_lowercase),
        from: query.from.as_deref().map(str::to_ascii_lowercase),
        subject: words("subject", query.subject.as_deref())?,
        search: words("q", query.q.as_deref())?,
        last_event: query.status.clone(),
        since: time("since", &query.since)?,
        until: time("until", &query.until)?,
    })
}

/// Lower case words to look for; none when there is nothing but space.
fn words(param: &'static str, text: Option<&str>) -> Result<Option<String>, RequestError> {
    let text = text.unwrap_or_default().trim();
    match text.len() {
        0 => Ok(None),
        1..=MAX_WORDS => Ok(Some(text.to_lowercase())),
        _ => Err(RequestError::invalid(param, format!("longer than {MAX_WORDS} octets"))),
    }
}

fn tag(text: &str) -> Tag {
    let (name, value) = text.split_once(':').unwrap_or((text, ""));
    Tag { name: name.to_owned(), value: value.to_owned() }
}

/// The position in the log behind which a list goes on: a `next` cursor, or the id of a message.
async fn position(services: &ApiServices, tenant: &str, after: &str) -> Result<EventPosition, RequestError> {
    if let Some(position) = EventPosition::newest().parse(after) {
        return Ok(position);
    }
    let id = after.parse().map_err(|_| unknown_position())?;
    let found = services.emails.position(tenant, id).await.map_err(|error| unreadable(&error))?;
    found.ok_or_else(unknown_position)
}

fn unknown_position() -> RequestError {
    RequestError::invalid("after", "must be `next` of the page before, or the id of an email")
}

fn email_id(id: &str) -> Result<ItemId, RequestError> {
    id.parse().map_err(|_| no_such(id))
}

fn no_such(id: &str) -> RequestError {
    RequestError::NotFound(format!("there is no email {id:?}"))
}

fn unreadable(error: &StoreError) -> RequestError {
    tracing::error!(%error, "the event log cannot be read");
    RequestError::unavailable()
}
