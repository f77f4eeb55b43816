//! `/suppressions`: addresses that get no mail.

use std::fmt::Write as _;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use relevo_relay::suppressions::{
    ALL_STREAMS, NewSuppression, SuppressionError, SuppressionFilter, SuppressionRecord, canonical,
};
use serde::{Deserialize, Serialize};

use super::ApiServices;
use super::auth::Caller;
use super::body;
use super::list::{ListQuery, Page};
use crate::bearer::Proven;
use crate::error::{self, RequestError};

/// Addresses of one batch.
const MAX_BATCH: usize = 1_000;
/// Entries that are read, written or removed at once.
const PAGE: u32 = 1_000;
/// Octets of a note.
const MAX_NOTE: usize = 500;
/// Reasons that an entry may be given.
const REASONS: [&str; 4] = ["manual", "bounce", "complaint", "unsubscribe"];

/// The body of `POST /suppressions`.
#[derive(Debug, Deserialize)]
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
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchFields {
    emails: Vec<String>,
}

/// The body of `POST /suppressions/remove`, and the conditions of a list. All of them must be true.
#[derive(Debug, Default, Deserialize)]
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

/// Parameters of the list.
#[derive(Debug, Deserialize)]
pub(super) struct SuppressionsQuery {
    limit: Option<String>,
    after: Option<String>,
    #[serde(flatten)]
    conditions: ConditionsQuery,
}

#[derive(Debug, Default, Deserialize)]
struct ConditionsQuery {
    domain: Option<String>,
    reason: Option<String>,
    stream: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

/// An entry in an answer.
#[derive(Debug, Serialize)]
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
}

/// How many entries were added or removed.
#[derive(Debug, Serialize)]
pub(super) struct Counted {
    object: &'static str,
    count: usize,
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
pub(super) async fn add(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    body: Bytes,
) -> Result<(StatusCode, Json<SuppressionView>), RequestError> {
    let fields: SuppressionFields = body::read(&body)?;
    let address = canonical(&fields.email)?;
    let reason = fields.reason.unwrap_or_else(|| "manual".to_owned());
    if !REASONS.contains(&reason.as_str()) {
        return Err(RequestError::invalid("reason", format!("must be one of {}", REASONS.join(", "))));
    }
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
pub(super) async fn remove_batch(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    body: Bytes,
) -> Result<Json<Page<SuppressionView>>, RequestError> {
    let mut removed = Vec::new();
    for address in batch(&body)? {
        let filter = SuppressionFilter { address: Some(address), ..SuppressionFilter::default() };
        removed.extend(services.suppressions.remove(&caller.tenant, &filter, PAGE).await?);
    }
    Ok(Json(Page::whole(removed.into_iter().map(view).collect())))
}

/// Removes the entries that conditions are true for.
pub(super) async fn remove(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    body: Bytes,
) -> Result<Json<Counted>, RequestError> {
    let conditions: Conditions = body::read(&body)?;
    let filter = filter(conditions)?;
    if filter.is_empty() {
        let message = "name at least one condition: domain, reason, stream, since or until";
        return Err(RequestError::Invalid { param: None, message: message.to_owned() });
    }
    let mut count = 0;
    loop {
        let removed = services.suppressions.remove(&caller.tenant, &filter, PAGE).await?.len();
        count += removed;
        if removed == 0 {
            return Ok(Json(Counted { object: "suppressions_removed", count }));
        }
    }
}

/// Lists entries by address.
pub(super) async fn list(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    query: Result<Query<SuppressionsQuery>, QueryRejection>,
) -> Result<Json<Page<SuppressionView>>, RequestError> {
    let SuppressionsQuery { limit, after, conditions } = error::query(query)?;
    let ConditionsQuery { domain, reason, stream, since, until } = conditions;
    let filter = filter(Conditions { domain, reason, stream, since, until })?;
    let bounds = ListQuery { limit, after }.bounds()?;
    // The cursor is the id of an entry.
    let last =
        match bounds.after.as_str() {
            "" => None,
            id => Some(find(&services, &caller, id).await.map_err(|_| {
                RequestError::invalid("after", "must be the id of an entry that is still there")
            })?),
        };
    let after = last.as_ref().map_or(("", ""), |entry| (&entry.address, &entry.stream));
    let found = services.suppressions.list(&caller.tenant, &filter, after, bounds.with_one_more()).await?;
    Ok(Json(bounds.page(found, view)))
}

/// Shows the entry of an id, or the first entry of an address.
pub(super) async fn show(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(name): Path<String>,
) -> Result<Json<SuppressionView>, RequestError> {
    Ok(Json(view(find(&services, &caller, &name).await?)))
}

/// Removes the entry of an id, or every entry of an address.
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
    services.suppressions.remove(&caller.tenant, &filter, PAGE).await?;
    Ok(Json(body::Deleted::new("suppression", entry.id)))
}

/// Every entry as CSV: `email,stream,reason,detail,created_at`.
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
                let fields = [&entry.address, &entry.stream, &entry.reason, &entry.detail, &at];
                let _ = writeln!(text, "{}\r", fields.map(|field| quoted(field)).join(","));
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

/// Adds the entries of a CSV: the column `email`, and `stream`, `reason` and `detail` if there are any. A wrong line
/// refuses the whole file.
pub(super) async fn import(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    body: Bytes,
) -> Result<Json<Counted>, RequestError> {
    let entries = read_csv(&body)?;
    let mut count = 0;
    for part in entries.chunks(usize::try_from(PAGE).unwrap_or(1)) {
        count += services.suppressions.add(&caller.tenant, part.to_vec()).await?.len();
    }
    Ok(Json(Counted { object: "suppressions_added", count }))
}

fn read_csv(body: &[u8]) -> Result<Vec<NewSuppression>, RequestError> {
    let wrong = |line: u64, message: String| RequestError::invalid(format!("line {line}"), message);
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(body);
    let headers = reader.headers().map_err(|error| wrong(1, error.to_string()))?.clone();
    let column = |name: &str| headers.iter().position(|header| header.eq_ignore_ascii_case(name));
    let email =
        column("email").ok_or_else(|| wrong(1, "the first line must name a column `email`".to_owned()))?;
    let (stream, reason, detail) = (column("stream"), column("reason"), column("detail"));
    let mut entries = Vec::new();
    for record in reader.records() {
        let record = record
            .map_err(|error| wrong(error.position().map_or(0, csv::Position::line), error.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let field =
            |column: Option<usize>| column.and_then(|c| record.get(c)).filter(|text| !text.is_empty());
        let address = canonical(field(Some(email)).unwrap_or_default())
            .map_err(|error| wrong(line, error.to_string()))?;
        let stream = field(stream).unwrap_or(ALL_STREAMS).to_owned();
        check_stream(&stream).map_err(|error| wrong(line, error.to_string()))?;
        let reason = field(reason).unwrap_or("manual");
        if !REASONS.contains(&reason) {
            return Err(wrong(line, format!("the reason must be one of {}", REASONS.join(", "))));
        }
        entries.push(NewSuppression {
            address,
            stream,
            reason: reason.to_owned(),
            detail: field(detail).unwrap_or_default().to_owned(),
            message_id: None,
        });
    }
    Ok(entries)
}

/// A field of CSV (RFC 4180). What a spreadsheet would take for a formula is made text.
fn quoted(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
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
    let topic = stream.strip_prefix("topic:");
    let known = matches!(stream, ALL_STREAMS | "transactional" | "marketing");
    if known || topic.is_some_and(|topic| !topic.is_empty() && topic.len() <= 128) {
        return Ok(());
    }
    let message = "must be all, transactional, marketing, or topic: and a topic";
    Err(RequestError::invalid("stream", message))
}

fn filter(conditions: Conditions) -> Result<SuppressionFilter, RequestError> {
    let Conditions { domain, reason, stream, since, until } = conditions;
    let domain = domain.map(|domain| {
        relevo_mailkit::address::to_ascii(&domain)
            .map_err(|error| RequestError::invalid("domain", error.to_string()))
    });
    let time = |name: &'static str, text: Option<String>| {
        let parse = |text: String| {
            relevo_api::schedule::parse(&text, 0).map_err(|error| RequestError::invalid(name, error))
        };
        let time = text.map(parse).transpose();
        time.map(|time| time.and_then(|time| i64::try_from(time).ok()))
    };
    Ok(SuppressionFilter {
        id: None,
        address: None,
        domain: domain.transpose()?,
        stream,
        reason,
        since: time("since", since)?,
        until: time("until", until)?,
    })
}

fn view(record: SuppressionRecord) -> SuppressionView {
    SuppressionView {
        object: "suppression",
        id: record.id,
        email: record.address,
        stream: record.stream,
        origin: record.reason,
        detail: record.detail,
        source_id: record.message_id,
        created_at: relevo_relay::clock::timestamp(record.created_at),
    }
}
