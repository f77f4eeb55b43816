//! The pages of the inbox. Everything in a message is hostile: it is escaped, or shown in a frame
//! without scripts.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use relevo_mailkit::address::Address;
use relevo_mailkit::model::AttachmentInfo;
use relevo_mailkit::source::Source;
use relevo_panel::inbox::{
    AttachmentRow, CheckRow, CheckSeverity, LinkRow, MessageParts, MessageRow, ROWS, ReleaseForm,
    SignatureRow, StageRow,
};
use relevo_panel::preview::{PreviewOptions, PreviewQuery};
use relevo_panel::{Language, Posted, Visitor, headers, page_fields};
use relevo_relay::inspection::{ContentOptions, Severity};
use serde::Deserialize;
use url::Url;

use super::{Captured, InboxPages, StageLine, find};
use crate::error::{self, RequestError};

/// Octets of a raw body that a page shows; the whole of it is behind the link.
const SHOWN_RAW: usize = 16 << 10;
/// Octets of a text part that a page shows.
const SHOWN_TEXT: usize = 32 << 10;
/// Links, attachments and findings that a page shows.
const SHOWN_ROWS: usize = 100;

pub(super) fn routes() -> Router<InboxPages> {
    let to_list = async || Redirect::temporary("/panel/inbox");
    Router::new()
        .route("/", get(to_list))
        .route("/inbox", get(to_list))
        .route("/inbox/{n}", get(moved))
        .route("/panel/inbox", get(list))
        .route("/panel/inbox/{n}", get(message))
        .route("/panel/inbox/{n}/release", post(release))
        .route("/panel/inbox/{n}/html", get(html))
        .route("/panel/inbox/{n}/attachments/{index}", get(attachment))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ListQuery {
    search: String,
    /// Messages with smaller numbers.
    before: Option<u64>,
}

async fn moved(Path(n): Path<String>) -> Result<Redirect, RequestError> {
    let n: u64 = n.parse().map_err(|_| RequestError::NotFound("there is nothing at this path".to_owned()))?;
    Ok(Redirect::temporary(&format!("/panel/inbox/{n}")))
}

async fn list(
    State(pages): State<InboxPages>,
    query: Result<Query<ListQuery>, QueryRejection>,
    reader: Reader,
) -> Result<Response, RequestError> {
    let ListQuery { search, before } = error::query(query)?;
    let wanted = search.trim().to_lowercase();
    let all = pages.inbox.list();
    let newest_first = all.iter().rev().filter(|m| before.is_none_or(|before| m.n < before));
    let found: Vec<_> = newest_first.filter(|m| is_found(m, &wanted)).take(ROWS + 1).collect();
    let older = (found.len() > ROWS).then(|| found[ROWS - 1].n);
    let rows: Vec<MessageRow> = found.iter().take(ROWS).map(|m| row(m)).collect();
    let page = relevo_panel::inbox::list(reader.0, search.trim(), &rows, (older, before.is_none()));
    page_of(page.map_err(|_| RequestError::Internal)?, relevo_panel::POLICY)
}

/// Whether addresses, subject, id or text have `wanted`, which is in lower case.
fn is_found(m: &Captured, wanted: &str) -> bool {
    let texts = [&m.from, &m.subject, &m.id].into_iter().chain(&m.to).chain(&m.text);
    wanted.is_empty() || texts.into_iter().any(|text| text.to_lowercase().contains(wanted))
}

fn row(m: &Captured) -> MessageRow {
    MessageRow {
        n: m.n,
        from: m.from.clone(),
        to: shortened(&m.to.join(", "), 200).into_owned(),
        subject: shortened(&m.subject, 200).into_owned(),
        marks: m.signatures.iter().map(|s| (s.selector.clone(), s.pass)).collect(),
        size: m.size,
        received: m.received_at.clone(),
    }
}

async fn message(
    State(pages): State<InboxPages>,
    Path(n): Path<String>,
    query: Result<Query<PreviewQuery>, QueryRejection>,
    fields: HeaderMap,
    reader: Reader,
) -> Result<Response, RequestError> {
    let m = find(&pages.inbox, &n)?;
    let preview = PreviewOptions::of(&error::query(query)?);
    page(&pages, &m, preview, (&fields, reader), None).await
}

/// Sends a message to a real address, and shows the page with what became of it.
async fn release(
    State(pages): State<InboxPages>,
    Path(n): Path<String>,
    fields: HeaderMap,
    reader: Reader,
    Posted(form): Posted,
) -> Result<Response, RequestError> {
    let m = find(&pages.inbox, &n)?;
    let Some(release) = &pages.inbox.release else {
        return Err(RequestError::NotFound("`relevo dev` was started without --smarthost".to_owned()));
    };
    let to = form.get("to").trim();
    let released = match Address::parse(to) {
        Ok(address) => release.release(&m, &address.to_string()).await,
        Err(error) => Err(error.to_string()),
    };
    tracing::info!(n = m.n, to, ?released, "a message of the inbox is released");
    page(&pages, &m, PreviewOptions::default(), (&fields, reader), Some((to, released))).await
}

async fn page(
    pages: &InboxPages,
    m: &Captured,
    preview: PreviewOptions,
    (fields, reader): (&HeaderMap, Reader),
    released: Option<(&str, Result<String, String>)>,
) -> Result<Response, RequestError> {
    let host = fields.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let status = match released {
        Some((_, Err(_))) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::OK,
    };
    let (head, body) = headers::split(&m.raw);
    let stage =
        |s: &StageLine| StageRow { name: s.name.clone(), micros: s.micros, summary: s.summary.clone() };
    let parts = MessageParts {
        row: row(m),
        id: m.id.clone(),
        signatures: m.signatures.iter().map(signature).collect(),
        stages: m.stages.iter().map(stage).collect(),
        preview: m.html.is_some().then_some(preview),
        text: m.text.as_deref().map(|text| shortened(text, SHOWN_TEXT).into_owned()),
        checks: checks(pages, m).await,
        links: m.links.iter().take(SHOWN_ROWS).map(|url| link(pages, url, host)).collect(),
        attachments: attachments(pages, m).await,
        fields: headers::fields(&head[..head.len().min(SHOWN_RAW)]),
        raw: String::from_utf8_lossy(&body[..body.len().min(SHOWN_RAW)]).into_owned(),
        release: pages.inbox.release.as_ref().map(|release| ReleaseForm {
            server: release.server(),
            to: released.as_ref().map(|(to, _)| (*to).to_owned()).unwrap_or_default(),
            outcome: released.map(|(_, outcome)| outcome),
        }),
    };
    let page = relevo_panel::inbox::message(reader.0, &parts).map_err(|_| RequestError::Internal)?;
    Ok((status, page_of(page, relevo_panel::POLICY)?).into_response())
}

fn signature(found: &relevo_mailkit::model::SignatureVerdict) -> SignatureRow {
    SignatureRow {
        pass: found.pass,
        detail: found.detail.clone(),
        tags: format!("d={} s={} a={}", found.domain, found.selector, found.algorithm),
    }
}

/// What the component finds in the content. None: it gave no answer.
async fn checks(pages: &InboxPages, m: &Captured) -> Option<Vec<CheckRow>> {
    let found = pages.inspection.inspect("", m.raw.clone(), ContentOptions::default()).await.ok()?;
    let check = |finding: relevo_relay::inspection::Finding| CheckRow {
        check: finding.check,
        severity: match finding.severity {
            Severity::Error => CheckSeverity::Error,
            Severity::Warning => CheckSeverity::Warning,
            Severity::Info => CheckSeverity::Info,
        },
        message: finding.message,
        location: finding.location,
    };
    Some(found.findings.into_iter().take(SHOWN_ROWS).map(check).collect())
}

/// A link, with the destination where it is one of ours.
fn link(pages: &InboxPages, url: &str, host: &str) -> LinkRow {
    let token = Url::parse(url).ok().and_then(|url| Some(url.path().strip_prefix("/c/")?.to_owned()));
    let destination = token.and_then(|token| pages.tracking.click_target(host, &token));
    LinkRow {
        url: shortened(url, 500).into_owned(),
        destination: destination.map(|url| shortened(url.as_str(), 500).into_owned()),
    }
}

/// The source of a message, for the component that takes it apart.
fn source(m: &Captured) -> Arc<dyn Source> {
    Arc::new(m.raw.clone())
}

async fn attachments(pages: &InboxPages, m: &Captured) -> Vec<AttachmentRow> {
    let Ok(parts) = pages.contents.parts("", &source(m)).await else { return Vec::new() };
    let row = |(index, part): (usize, AttachmentInfo)| AttachmentRow {
        index,
        name: shortened(part.filename.as_deref().unwrap_or("-"), 200).into_owned(),
        media_type: shortened(&part.content_type, 100).into_owned(),
        size: usize::try_from(part.size).unwrap_or(usize::MAX),
    };
    parts.attachments.into_iter().take(SHOWN_ROWS).enumerate().map(row).collect()
}

async fn html(
    State(pages): State<InboxPages>,
    Path(n): Path<String>,
    query: Result<Query<PreviewQuery>, QueryRejection>,
) -> Result<Response, RequestError> {
    let m = find(&pages.inbox, &n)?;
    let html = m.html.clone();
    let html = html.ok_or_else(|| RequestError::NotFound("this message has no text/html part".to_owned()))?;
    let policy = PreviewOptions::of(&error::query(query)?).policy();
    page_of(html, policy)
}

/// An attachment, to be kept as a file: a browser must not show it as a page of this host.
async fn attachment(
    State(pages): State<InboxPages>,
    Path((n, index)): Path<(String, usize)>,
) -> Result<Response, RequestError> {
    let m = find(&pages.inbox, &n)?;
    let missing = || RequestError::NotFound("this message has no such attachment".to_owned());
    let parts = pages.contents.parts("", &source(&m)).await?;
    let part = parts.attachments.get(index).ok_or_else(missing)?;
    let number = u32::try_from(index).map_err(|_| missing())?;
    let octets = pages.contents.attachment("", &source(&m), number).await?.ok_or_else(missing)?;
    let name = part.filename.as_deref().unwrap_or("attachment");
    let name: String = url::form_urlencoded::byte_serialize(shortened(name, 200).as_bytes()).collect();
    let fields = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename*=UTF-8''{}", name.replace('+', "%20"))),
        (header::CONTENT_SECURITY_POLICY, relevo_panel::BODY_POLICY.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((fields, octets).into_response())
}

/// Who reads the pages, and in which language.
struct Reader((Language, Visitor));

impl<S: Send + Sync> FromRequestParts<S> for Reader {
    type Rejection = RequestError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, RequestError> {
        let visitor = parts.extensions.get::<Visitor>().cloned();
        let visitor = visitor.ok_or_else(|| RequestError::NotFound("there is no panel here".to_owned()))?;
        Ok(Self((Language::of(&visitor, &parts.headers), visitor)))
    }
}

fn page_of(body: String, policy: &'static str) -> Result<Response, RequestError> {
    Ok((page_fields(policy), Html(body)).into_response())
}

/// At most `max` octets of a text, and a sign that there is more.
fn shortened(text: &str, max: usize) -> Cow<'_, str> {
    match text.len() > max {
        true => format!("{}\u{2026}", &text[..text.floor_char_boundary(max)]).into(),
        false => text.into(),
    }
}
