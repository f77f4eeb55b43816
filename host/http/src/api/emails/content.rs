//! The content of an email that was accepted: its source, its parts, what the relay changed, and
//! sending it again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use relevo_mailkit::model::{AttachmentInfo, MessageParts};
use relevo_mailkit::source::{CHUNK, Source};
use relevo_relay::contents::{ContentError, ResendRefusal};
use relevo_relay::copies::Changes;
use relevo_relay::sending::Begun;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::send::{answered, request_key, sender};
use super::{email_id, no_such};
use crate::api::ApiServices;
use crate::api::auth::Caller;
use crate::api::body;
use crate::bearer::Proven;
use crate::error::{self, RequestError};
use crate::observe::ClientAddress;

/// Recipients of a request to send again.
const MAX_TO: usize = 1_000;

/// Parameters of reading a message.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RecipientQuery {
    /// A recipient: its copy as it goes to the next hop, with tracking and signatures.
    recipient: Option<String>,
}

/// The parts of an email.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ContentView {
    /// `content`.
    object: &'static str,
    id: String,
    /// Octets of the message.
    size: u64,
    /// Its header, in order.
    headers: Vec<FieldView>,
    /// All HTML that is shown; null: none.
    html: Option<String>,
    /// All text that is shown; null: none.
    text: Option<String>,
    attachments: Vec<AttachmentView>,
    /// True when something was cut: HTML or text behind 1 MiB, fields or attachments behind 1,000.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

/// A header field.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct FieldView {
    name: String,
    /// Decoded, on one line.
    value: String,
}

/// An attachment.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct AttachmentView {
    /// What `GET /emails/{id}/attachments/{number}` takes.
    number: usize,
    filename: Option<String>,
    content_type: String,
    /// Octets, decoded.
    size: u64,
    /// To be shown within the text.
    inline: bool,
    /// How HTML names it (`cid:`).
    content_id: Option<String>,
}

/// What the relay changed in an email.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ChangesView {
    /// `changes`.
    object: &'static str,
    id: String,
    recipient: String,
    /// Header fields on top, from above, without signatures.
    headers_added: Vec<FieldView>,
    /// Links that lead over the tracking host.
    links: Vec<RewrittenLinkView>,
    /// An open pixel was added.
    open_pixel: bool,
    /// Placeholders that became the recipient's unsubscribe URL.
    unsubscribe_links: usize,
    /// DKIM signatures.
    signatures: Vec<SignatureView>,
    /// Places of the message that were replaced or removed, in all.
    edits: usize,
}

/// A link that was rewritten.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct RewrittenLinkView {
    /// The destination.
    from: String,
    /// The recipient's URL.
    to: String,
}

/// A DKIM signature.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SignatureView {
    domain: String,
    selector: String,
    /// `rsa-sha256` or `ed25519-sha256`.
    algorithm: &'static str,
}

/// The body of `POST /emails/{id}/resend`. It may be left out.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ResendFields {
    /// Recipients of the email that get it again; without it those that did not get it.
    to: Option<Vec<String>>,
}

/// Gives the octets of an email as they were accepted, or as a recipient gets them. Of a copy, links
/// count as the recipient's when they are followed.
#[utoipa::path(
    get,
    path = "/emails/{id}/source",
    tag = "emails",
    params(("id" = String, Path, description = "The id of a message."), RecipientQuery),
    responses((status = 200, description = "The message.", body = String, content_type = "message/rfc822"), (status = 410, description = "The content is kept no longer.", body = crate::error::ErrorBody)),
)]
pub(crate) async fn source(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
    query: Result<Query<RecipientQuery>, QueryRejection>,
) -> Result<Response, RequestError> {
    let query = error::query(query)?;
    let message = services.contents.find(&caller.tenant, email_id(&id)?).await?;
    let source = services.contents.source(&message, query.recipient.as_deref()).await?;
    let name = format!("attachment; filename=\"{}.eml\"", message.id);
    Ok(download("message/rfc822", &name, source.size(), streamed(source)))
}

/// Takes an email apart: its header, HTML, text and attachments.
#[utoipa::path(
    get,
    path = "/emails/{id}/content",
    tag = "emails",
    params(("id" = String, Path, description = "The id of a message."), RecipientQuery),
    responses((status = 200, description = "The parts.", body = ContentView), (status = 410, description = "The content is kept no longer.", body = crate::error::ErrorBody)),
)]
pub(crate) async fn content(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
    query: Result<Query<RecipientQuery>, QueryRejection>,
) -> Result<Json<ContentView>, RequestError> {
    let query = error::query(query)?;
    let message = services.contents.find(&caller.tenant, email_id(&id)?).await?;
    let source = services.contents.source(&message, query.recipient.as_deref()).await?;
    let parts = services.contents.parts(&caller.tenant, &source).await?;
    Ok(Json(ContentView::of(message.id.to_string(), source.size(), parts)))
}

/// Gives the decoded octets of an attachment.
#[utoipa::path(
    get,
    path = "/emails/{id}/attachments/{number}",
    tag = "emails",
    params(("id" = String, Path, description = "The id of a message."), ("number" = u32, Path, description = "That of `content`.")),
    responses((status = 200, description = "The octets.", body = String, content_type = "application/octet-stream"), (status = 410, description = "The content is kept no longer.", body = crate::error::ErrorBody)),
)]
pub(crate) async fn attachment(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path((id, number)): Path<(String, String)>,
) -> Result<Response, RequestError> {
    let item = email_id(&id)?;
    let none = || RequestError::NotFound(format!("the email has no attachment {number:?}"));
    let number: u32 = number.parse().map_err(|_| none())?;
    let message = services.contents.find(&caller.tenant, item).await?;
    let parts = services.contents.parts(&caller.tenant, &message.body).await?;
    let info = parts.attachments.get(usize::try_from(number).unwrap_or(usize::MAX)).ok_or_else(none)?;
    let octets = services.contents.attachment(&caller.tenant, &message.body, number).await?;
    let octets = octets.ok_or_else(none)?;
    let name = disposition(info.filename.as_deref().unwrap_or("attachment"));
    // Its own type is the sender's word, and a browser may do something with it.
    Ok(download("application/octet-stream", &name, octets.len() as u64, Body::from(octets)))
}

/// Tells what the relay changed in a recipient's copy.
#[utoipa::path(
    get,
    path = "/emails/{id}/changes",
    tag = "emails",
    params(("id" = String, Path, description = "The id of a message."), ("recipient" = Option<String>, Query, description = "A recipient; without it the only one.")),
    responses((status = 200, description = "The changes.", body = ChangesView), (status = 410, description = "The content is kept no longer.", body = crate::error::ErrorBody)),
)]
pub(crate) async fn changes(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Path(id): Path<String>,
    query: Result<Query<RecipientQuery>, QueryRejection>,
) -> Result<Json<ChangesView>, RequestError> {
    let query = error::query(query)?;
    let message = services.contents.find(&caller.tenant, email_id(&id)?).await?;
    let (recipient, changes) = services.contents.changes(&message, query.recipient.as_deref())?;
    Ok(Json(ChangesView::of(message.id.to_string(), recipient, changes)))
}

/// Sends an email again: a new message with the same content, for recipients of the old one.
#[utoipa::path(
    post,
    path = "/emails/{id}/resend",
    tag = "emails",
    params(("id" = String, Path, description = "The id of a message."), ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 256, pattern = "^[ -~]+$", description = "At most 256 characters; a repetition within 24 hours gets the same answer.")),
    request_body = ResendFields,
    responses((status = 202, description = "It is on disk.", body = relevo_api::answer::ResentAnswer), (status = 409, description = "It is not sent yet, or everybody got it.", body = crate::error::ErrorBody), (status = 410, description = "The content is kept no longer.", body = crate::error::ErrorBody)),
)]
pub(crate) async fn resend(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Extension(client): Extension<ClientAddress>,
    Path(id): Path<String>,
    headers: HeaderMap,
    content: Bytes,
) -> Result<Response, RequestError> {
    let item = email_id(&id)?;
    let key = request_key(&headers, &format!("/emails/{id}/resend"), &content)?;
    let key = match services.sending.begin(&caller.tenant, key).await? {
        Begun::Before(answer) => return Ok(answered(answer)),
        Begun::Now(key) => key,
    };
    let fields = match content.trim_ascii().is_empty() {
        true => ResendFields::default(),
        false => body::read(&content)?,
    };
    if fields.to.as_ref().is_some_and(|to| to.len() > MAX_TO) {
        return Err(RequestError::invalid("to", format!("more than {MAX_TO} recipients")));
    }
    let now = services.sending.now();
    let message = services.contents.resent(&caller.tenant, item, fields.to.as_deref(), now).await?;
    let answer = services.sending.resend(&sender(&services, caller, client), message, key).await?;
    Ok(answered(answer))
}

impl ContentView {
    fn of(id: String, size: u64, parts: MessageParts) -> Self {
        let MessageParts { fields, html, text, attachments, mut truncated } = parts;
        truncated |= [&html, &text].into_iter().flatten().any(|body| body.truncated);
        Self {
            object: "content",
            id,
            size,
            headers: fields.into_iter().map(|f| FieldView { name: f.name, value: f.value }).collect(),
            html: html.map(|body| body.text),
            text: text.map(|body| body.text),
            attachments: attachments.into_iter().enumerate().map(AttachmentView::of).collect(),
            truncated,
        }
    }
}

impl AttachmentView {
    fn of((number, info): (usize, AttachmentInfo)) -> Self {
        let AttachmentInfo { filename, content_type, size, inline, content_id } = info;
        Self { number, filename, content_type, size, inline, content_id }
    }
}

impl ChangesView {
    fn of(id: String, recipient: String, changes: Changes) -> Self {
        let Changes { fields, links, has_open_pixel, unsubscribe_links, signatures, edits } = changes;
        let signature = |s: relevo_relay::copies::SignatureFacts| SignatureView {
            domain: s.domain,
            selector: s.selector,
            algorithm: s.algorithm.as_str(),
        };
        Self {
            object: "changes",
            id,
            recipient,
            headers_added: fields.into_iter().map(|f| FieldView { name: f.name, value: f.value }).collect(),
            links: links.into_iter().map(|link| RewrittenLinkView { from: link.from, to: link.to }).collect(),
            open_pixel: has_open_pixel,
            unsubscribe_links,
            signatures: signatures.into_iter().map(signature).collect(),
            edits,
        }
    }
}

/// Something to be stored, not shown: whatever is in it, a browser does nothing with it.
fn download(content_type: &'static str, disposition: &str, size: u64, body: Body) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, size.into());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderValue::from_static("default-src 'none'; sandbox");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    if let Ok(value) = HeaderValue::from_str(disposition) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

/// `attachment` with a file name of any characters (RFC 6266 section 4.3).
fn disposition(name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "._- ".contains(c) { c } else { '_' }).collect();
    let encoded: String = name
        .bytes()
        .map(|octet| match octet {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'.' | b'_' | b'-' => char::from(octet).to_string(),
            octet => format!("%{octet:02X}"),
        })
        .collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

/// The octets of a source, read as the client takes them.
fn streamed(source: Arc<dyn Source>) -> Body {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, io::Error>>(2);
    tokio::spawn(async move {
        let mut at = 0;
        while at < source.size() {
            let from = Arc::clone(&source);
            let chunk = spawn_blocking(move || {
                let mut chunk = vec![0; CHUNK];
                let n = from.read_at(at, &mut chunk)?;
                chunk.truncate(n);
                match n {
                    0 => Err(io::ErrorKind::UnexpectedEof.into()),
                    _ => Ok(chunk),
                }
            });
            let chunk = chunk.await.unwrap_or_else(|error| Err(io::Error::other(error)));
            let is_last = chunk.is_err();
            at += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
            // After an error the body ends early, and the client sees that it is not whole.
            if sender.send(chunk.map(Bytes::from)).await.is_err() || is_last {
                return;
            }
        }
    });
    Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver))
}

impl From<ContentError> for RequestError {
    fn from(error: ContentError) -> Self {
        match error {
            ContentError::NotFound(id) => no_such(&id.to_string()),
            ContentError::Gone => Self::ContentGone(error.to_string()),
            ContentError::Recipient(message) => Self::invalid("recipient", message),
            ContentError::Message(message) => Self::Invalid { param: None, message },
            ContentError::Busy => Self::TooMany { retry_after: Duration::from_secs(1) },
            ContentError::Unavailable => Self::unavailable(),
        }
    }
}

impl From<ResendRefusal> for RequestError {
    fn from(refusal: ResendRefusal) -> Self {
        match refusal {
            ResendRefusal::Content(error) => error.into(),
            ResendRefusal::Send(refusal) => refusal.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_cannot_leave_its_quotes() {
        assert_eq!(
            disposition("a\"\r\nX: \u{f6}.pdf"),
            "attachment; filename=\"a___X_ _.pdf\"; filename*=UTF-8''a%22%0D%0AX%3A%20%C3%B6.pdf"
        );
    }
}
