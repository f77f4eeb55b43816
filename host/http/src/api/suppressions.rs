//! `/suppressions`: addresses that get no mail.

mod csv_lines;
pub(super) mod undo;

use std::fmt::Write as _;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use relevo_relay::suppressions::{
    ALL_STREAMS, NewSuppression, SuppressionCause, SuppressionError, SuppressionFilter, SuppressionRecord,
    canonical,
};
use serde::{Deserialize, Serialize};

use self::csv_lines::{lines, no_formula, quoted};
use super::ApiServices;
use super::admission::Subject;
use super::auth::Caller;
use super::body;
use super::list::{ListQuery, Page};
use crate::bearer::Proven;
use crate::error::{self, RequestError};

/// Addresses of one batch.
const MAX_BATCH: usize = 1_000;
/// Entries that are read, written or removed at once.
const PAGE: u32 = 1_000;
/// Lines of an import.
const MAX_LINES: usize = 100_000;
/// Octets of a topic.
const MAX_TOPIC: usize = 128;
/// Lines that are added at once.
const PAGE_LINES: usize = 1_000;
/// Octets of a note.
const MAX_NOTE: usize = 500;
/// Reasons that an entry may be given.
const REASONS: [&str; 4] = ["manual", "bounce", "complaint", "unsubscribe"];

/// The body of `POST /suppressions`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SuppressionFields {
    email: String,
    /// Absent: all streams.
    #[serde(default)]
    stream: Option<String>,
    /// Absent: `manual`.
    #[serde(default)]
    reason: Option<String>,
    /// For people.
    #[serde(default)]
    note: Option<String>,
}

/// The body of `POST /suppressions/batch/add` and `/remove`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchFields {
    emails: Vec<String>,
}

/// The body of `POST /suppressions/remove`, and the conditions of a list. All of them must be true.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Conditions {
    domain: Option<String>,
    reason: Option<String>,
    stream: Option<String>,
    /// Not before: RFC 3339.
    since: Option<String>,
    /// Before.
    until: Option<String>,
}

/// Parameters of the list: those of every list, and the conditions.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SuppressionsQuery {
    limit: Option<String>,
    after: Option<String>,
    /// Entries of this address alone.
    email: Option<String>,
    domain: Option<String>,
    reason: Option<String>,
    stream: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

/// An entry in an answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct SuppressionView {
    object: &'static str,
    id: String,
    email: String,
    stream: String,
    /// Why: `bounce`, `complaint`, `unsubscribe` or `manual`.
    origin: String,
    detail: String,
    /// The message that led to it.
    source_id: Option<String>,
    created_at: String,
    /// The rule that told what the receiver said; absent when no rule added the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// The provider of the mailbox; absent as `rule`.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    /// The MX host that answered; absent as `rule`, and when none answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    mx: Option<String>,
}

/// How many entries were added or removed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Counted {
    object: &'static str,
    count: usize,
}

impl Conditions {
    /// What the audit log says was removed, such as `domain example.net, reason manual`.
    fn subject(&self) -> String {
        let Self { domain, reason, stream, since, until } = self;
        let named =
            [("domain", domain), ("reason", reason), ("stream", stream), ("since", since), ("until", until)];
        let given = named.iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)));
        given.collect::<Vec<_>>().join(", ")
    }
}

impl From<SuppressionError> for RequestError {
    fn from(error: SuppressionError) -> Self {
        match error {
            SuppressionError::Address(message) => Self::invalid("email", message),
            SuppressionError::Unavailable => Self::unavailable(),
        }
    }
}

/// Adds an entry. One that is there stays as it is.
#[utoipa::path(
    post,
    path = "/suppressions",
    tag = "suppressions",
    request_body = SuppressionFields,
    responses((status = 201, description = "The entry.", body = SuppressionView), (status = 200, description = "It was there, and stays as it is.", body = SuppressionView)),
)]
pub(super) async fn add(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    body: Bytes,
) -> Result<(StatusCode, Json<SuppressionView>), RequestError> {
    let fields: SuppressionFields = body::read(&body)?;
    let address = canonical(&fields.email)?;
    let reason = fields.reason.unwrap_or_else(|| "manual".to_owned());
    check_reason(&reason)?;
    let stream = fields.stream.unwrap_or_else(|| ALL_STREAMS.to_owned());
    check_stream(&stream)?;
    let detail = fields.note.unwrap_or_default();
    if detail.len() > MAX_NOTE {
        return Err(RequestError::invalid("note", format!("must have at most {MAX_NOTE} octets")));
    }
    let new =
        NewSuppression { address: address.clone(), stream: stream.clone(), reason, detail, message_id: None };
    let added = services.suppressions.add(&caller.tenant, vec![new]).await?;
    if let Some(record) = added.into_iter().next() {
        return Ok((StatusCode::CREATED, Json(view(record))));
    }
    let known = services.suppressions.of(&caller.tenant, &address).await?;
    let known = known.into_iter().find(|entry| entry.stream == stream);
    known.map(|record| (StatusCode::OK, Json(view(record)))).ok_or_else(RequestError::unavailable)
}

/// Adds addresses for all streams.
#[utoipa::path(
    post,
    path = "/suppressions/batch/add",
    tag = "suppressions",
    request_body = BatchFields,
    responses((status = 200, description = "The entries that are new.", body = Page<SuppressionView>)),
)]
pub(super) async fn add_batch(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    body: Bytes,
) -> Result<Json<Page<SuppressionView>>, RequestError> {
    let addresses = batch(&body)?;
    let entry = |address: String| NewSuppression {
        address,
        stream: ALL_STREAMS.to_owned(),
        reason: "manual".to_owned(),
        detail: String::new(),
        message_id: None,
    };
    let added = services.suppressions.add(&caller.tenant, addresses.into_iter().map(entry).collect()).await?;
    Ok(Json(Page::whole(added.into_iter().map(view).collect())))
}

/// Removes every entry of the addresses.
#[utoipa::path(
    post,
    path = "/suppressions/batch/remove",
    tag = "suppressions",
    request_body = BatchFields,
    responses((status = 200, description = "The entries that were removed.", body = Page<SuppressionView>)),
)]
pub(super) async fn remove_batch(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    body: Bytes,
) -> Result<Json<Page<SuppressionView>>, RequestError> {
    let mut removed = Vec::new();
    for address in batch(&body)? {
        let filter = SuppressionFilter { address: Some(address), ..SuppressionFilter::default() };
        remove_all(&services, &caller, &filter, |page| removed.extend(page)).await?;
    }
    Ok(Json(Page::whole(removed.into_iter().map(view).collect())))
}

/// Removes the entries that conditions are true for.
#[utoipa::path(
    post,
    path = "/suppressions/remove",
    tag = "suppressions",
    request_body = Conditions,
    responses((status = 200, description = "How many were removed.", body = Counted)),
)]
pub(super) async fn remove(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    body: Bytes,
) -> Result<(Extension<Subject>, Json<Counted>), RequestError> {
    let conditions: Conditions = body::read(&body)?;
    let subject = conditions.subject();
    let filter = filter(conditions)?;
    if filter.is_empty() {
        let message = "name at least one condition: domain, reason, stream, since or until";
        return Err(RequestError::Invalid { param: None, message: message.to_owned() });
    }
    let mut count = 0;
    remove_all(&services, &caller, &filter, |page| count += page.len()).await?;
    Ok((Extension(Subject(subject)), Json(Counted { object: "suppressions_removed", count })))
}

/// Lists entries by address.
#[utoipa::path(
    get,
    path = "/suppressions",
    tag = "suppressions",
    params(SuppressionsQuery),
    responses((status = 200, description = "A page.", body = Page<SuppressionView>)),
)]
pub(super) async fn list(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    query: Result<Query<SuppressionsQuery>, QueryRejection>,
) -> Result<Json<Page<SuppressionView>>, RequestError> {
    let query = error::query(query)?;
    let SuppressionsQuery { limit, after, email, domain, reason, stream, since, until } = query;
    let address = email.as_deref().map(canonical).transpose()?;
    let conditions = filter(Conditions { domain, reason, stream, since, until })?;
    let filter = SuppressionFilter { address, ..conditions };
    let bounds = ListQuery { limit, after }.bounds()?;
    // The cursor is the id of an entry.
    let gone = || RequestError::invalid("after", "must be the id of an entry that is still there");
    let last = match bounds.after.as_str() {
        "" => None,
        id => Some(find(&services, &caller, id).await.map_err(|error| match error {
            RequestError::NotFound(_) | RequestError::Invalid { .. } => gone(),
            error => error,
        })?),
    };
    let after = last.as_ref().map_or(("", ""), |entry| (&entry.address, &entry.stream));
    let found = services.suppressions.list(&caller.tenant, &filter, after, bounds.with_one_more()).await?;
    Ok(Json(bounds.page(found, view)))
}

/// Shows the entry of an id, or the first entry of an address.
#[utoipa::path(
    get,
    path = "/suppressions/{name}",
    tag = "suppressions",
    params(("name" = String, Path, description = "The id of the entry, or the address.")),
    responses((status = 200, description = "The entry.", body = SuppressionView)),
)]
pub(super) async fn show(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
) -> Result<Json<SuppressionView>, RequestError> {
    Ok(Json(view(find(&services, &caller, &name).await?)))
}

/// Removes the entry of an id, or every entry of an address.
#[utoipa::path(
    delete,
    path = "/suppressions/{name}",
    tag = "suppressions",
    params(("name" = String, Path, description = "The id of the entry, or the address.")),
    responses((status = 200, description = "It is gone.", body = body::Deleted)),
)]
pub(super) async fn delete(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
) -> Result<Json<body::Deleted>, RequestError> {
    let entry = find(&services, &caller, &name).await?;
    let filter = match name.contains('@') {
        true => SuppressionFilter { address: Some(entry.address), ..SuppressionFilter::default() },
        false => SuppressionFilter { id: Some(entry.id.clone()), ..SuppressionFilter::default() },
    };
    remove_all(&services, &caller, &filter, drop).await?;
    Ok(Json(body::Deleted::new("suppression", entry.id)))
}

/// Every entry as CSV: `email,stream,reason,detail,created_at`.
#[utoipa::path(
    get,
    path = "/suppressions/export",
    tag = "suppressions",
    responses((status = 200, description = "Every entry.", body = String, content_type = "text/csv")),
)]
pub(super) async fn export(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
) -> Result<Response, RequestError> {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(2);
    let _ = sender.try_send(Ok(Bytes::from_static(b"email,stream,reason,detail,created_at\r\n")));
    tokio::spawn(async move {
        let mut after = (String::new(), String::new());
        loop {
            let all = SuppressionFilter::default();
            let page = services.suppressions.list(&caller.tenant, &all, (&after.0, &after.1), PAGE).await;
            let page = match page {
                Ok(page) if page.is_empty() => return,
                Ok(page) => page,
                Err(error) => {
                    // The body ends early, and the client sees that it is not whole.
                    let _ = sender.send(Err(std::io::Error::other(error.to_string()))).await;
                    return;
                }
            };
            let mut text = String::new();
            for entry in page {
                let at = relevo_relay::clock::timestamp(entry.created_at);
                let detail = no_formula(&entry.detail);
                let fields: [&str; 5] = [&entry.address, &entry.stream, &entry.reason, &detail, &at];
                let _ = writeln!(text, "{}\r", fields.map(quoted).join(","));
                after = (entry.address, entry.stream);
            }
            if sender.send(Ok(Bytes::from(text))).await.is_err() {
                return;
            }
        }
    });
    let fields = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"suppressions.csv\""),
    ];
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    Ok((fields, Body::from_stream(stream)).into_response())
}

/// Adds the entries of a CSV: the column `email`, and `stream`, `reason` and `detail` if there are any.
///
/// A wrong line refuses the whole file. So the file is read twice: no entry is added before every
/// line is right, and no more than a page of them is in memory.
#[utoipa::path(
    post,
    path = "/suppressions/import",
    tag = "suppressions",
    request_body(content = String, content_type = "text/csv"),
    responses((status = 200, description = "How many were added.", body = Counted)),
)]
pub(super) async fn import(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    body: Bytes,
) -> Result<Json<Counted>, RequestError> {
    for (index, entry) in lines(&body)?.enumerate() {
        entry?;
        if index >= MAX_LINES {
            let message = format!("more than {MAX_LINES} lines: send them in several requests");
            return Err(RequestError::TooLarge(message));
        }
    }
    let mut entries = lines(&body)?;
    let mut count = 0;
    loop {
        let page: Vec<_> = entries.by_ref().take(PAGE_LINES).collect::<Result<_, _>>()?;
        if page.is_empty() {
            return Ok(Json(Counted { object: "suppressions_added", count }));
        }
        count += services.suppressions.add(&caller.tenant, page).await?.len();
    }
}

/// Removes every entry that a filter means, a page at a time.
async fn remove_all(
    services: &ApiServices,
    caller: &Caller,
    filter: &SuppressionFilter,
    mut each: impl FnMut(Vec<SuppressionRecord>),
) -> Result<(), RequestError> {
    loop {
        let removed = services.suppressions.remove(&caller.tenant, filter, PAGE).await?;
        if removed.is_empty() {
            return Ok(());
        }
        each(removed);
    }
}

async fn find(
    services: &ApiServices,
    caller: &Caller,
    name: &str,
) -> Result<SuppressionRecord, RequestError> {
    let filter = match name.contains('@') {
        true => SuppressionFilter { address: Some(canonical(name)?), ..SuppressionFilter::default() },
        false => SuppressionFilter { id: Some(name.to_owned()), ..SuppressionFilter::default() },
    };
    let found = services.suppressions.list(&caller.tenant, &filter, ("", ""), 1).await?;
    found.into_iter().next().ok_or_else(|| RequestError::NotFound("there is no such entry".to_owned()))
}

fn batch(body: &Bytes) -> Result<Vec<String>, RequestError> {
    let BatchFields { emails } = body::read(body)?;
    if emails.len() > MAX_BATCH {
        return Err(RequestError::invalid("emails", format!("at most {MAX_BATCH} are allowed")));
    }
    let each = emails.iter().enumerate().map(|(index, email)| {
        canonical(email).map_err(|error| RequestError::invalid(format!("emails[{index}]"), error.to_string()))
    });
    each.collect()
}

fn check_stream(stream: &str) -> Result<(), RequestError> {
    let known = matches!(stream, ALL_STREAMS | "transactional" | "marketing");
    let is_topic = |topic: &str| (1..=MAX_TOPIC).contains(&topic.len()) && !topic.contains(char::is_control);
    if known || stream.strip_prefix("topic:").is_some_and(is_topic) {
        return Ok(());
    }
    let message = "must be all, transactional, marketing, or topic: and a topic";
    Err(RequestError::invalid("stream", message))
}

fn check_reason(reason: &str) -> Result<(), RequestError> {
    if REASONS.contains(&reason) {
        return Ok(());
    }
    Err(RequestError::invalid("reason", format!("must be one of {}", REASONS.join(", "))))
}

fn filter(conditions: Conditions) -> Result<SuppressionFilter, RequestError> {
    let Conditions { domain, reason, stream, since, until } = conditions;
    let domain = domain.map(|domain| {
        relevo_mailkit::address::to_ascii(&domain)
            .map_err(|error| RequestError::invalid("domain", error.to_string()))
    });
    stream.as_deref().map(check_stream).transpose()?;
    reason.as_deref().map(check_reason).transpose()?;
    Ok(SuppressionFilter {
        id: None,
        address: None,
        domain: domain.transpose()?,
        stream,
        reason,
        since: since.map(|text| instant("since", &text)).transpose()?,
        until: until.map(|text| instant("until", &text)).transpose()?,
        ..SuppressionFilter::default()
    })
}

/// RFC 3339 alone: a span such as `in 1 hour` would be one from now, and means nothing here.
pub(super) fn instant(param: &'static str, text: &str) -> Result<i64, RequestError> {
    let wrong = || {
        let message = "must be a time of RFC 3339 with an offset, such as 2026-12-24T18:00:00+01:00";
        RequestError::invalid(param, message)
    };
    let time = relevo_api::schedule::parse_instant(text).map_err(|_| wrong())?;
    i64::try_from(time).map_err(|_| wrong())
}

fn view(record: SuppressionRecord) -> SuppressionView {
    let cause = record.cause;
    let of_cause = |value: fn(SuppressionCause) -> String| cause.clone().map(value);
    SuppressionView {
        object: "suppression",
        id: record.id,
        email: record.address,
        stream: record.stream,
        origin: record.reason,
        detail: record.detail,
        source_id: record.message_id,
        created_at: relevo_relay::clock::timestamp(record.created_at),
        rule: of_cause(|cause| cause.rule),
        provider: of_cause(|cause| cause.provider),
        mx: of_cause(|cause| cause.mx).filter(|mx| !mx.is_empty()),
    }
}
