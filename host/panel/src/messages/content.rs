//! What a message says: rendered, as text, its header and attachments; what the relay changed; the
//! source.

use askama::Template;
use axum::body::Body;
use axum::extract::{Path, Query};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use tokio_stream::StreamExt;

use crate::api::{Problem, path};
use crate::frame::{self, Frame, Section, page_fields};
use crate::preview::{Choice, PreviewOptions, PreviewQuery};
use crate::state::TenantPage;

/// Octets of a text part, and of a source, that a page shows. The rest is in the download.
const SHOWN: usize = 40_000;
/// Header fields, links and attachments that a page shows.
const SHOWN_ROWS: usize = 100;
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CopyQuery {
    recipient: String,
    #[serde(flatten)]
    preview: PreviewQuery,
}

#[derive(Debug, Deserialize)]
struct Content {
    size: u64,
    headers: Vec<HeaderRow>,
    html: Option<String>,
    text: Option<String>,
    attachments: Vec<AttachmentRow>,
    #[serde(default)]
    truncated: bool,
}

#[derive(Debug, Deserialize)]
struct HeaderRow {
    name: String,
    value: String,
}

#[derive(Debug, Deserialize)]
struct AttachmentRow {
    number: u64,
    filename: Option<String>,
    content_type: String,
    size: u64,
}

/// The pages about the content of a message: links to the others.
struct Tabs {
    id: String,
    /// The recipient whose copy it is; empty: what was accepted.
    recipient: String,
    here: &'static str,
}

impl Tabs {
    fn url(&self, f: &Frame, place: &str) -> String {
        let query = path(&[], &[("recipient", &self.recipient)]);
        f.url(&["messages", &self.id, place]) + &query
    }
}

#[derive(Template)]
#[template(path = "messages/content.html")]
struct ContentPage {
    f: Frame,
    tabs: Tabs,
    content: Content,
    preview: PreviewOptions,
    text: Option<String>,
}

impl ContentPage {
    fn choices(&self) -> Vec<Choice> {
        let recipient = path(&[], &[("recipient", &self.tabs.recipient)]).replacen('?', "&", 1);
        let mut choices = self.preview.choices(&self.f.l);
        choices.iter_mut().for_each(|choice| choice.query.push_str(&recipient));
        choices
    }

    fn frame_url(&self) -> String {
        let images = if self.preview.images { "1" } else { "" };
        let query = path(&[], &[("images", images)]);
        self.f.url(&["messages", &self.tabs.id, "html"]) + &query
    }

    fn meaning(&self, field: &HeaderRow) -> &'static str {
        self.f.l.find("field", &field.name.to_ascii_lowercase()).unwrap_or_default()
    }

    fn attachment_url(&self, number: &u64) -> String {
        self.f.url(&["messages", &self.tabs.id, "attachments", &number.to_string()])
    }
}

/// What the relay changed of a message.
#[derive(Debug, Deserialize)]
struct Changes {
    headers_added: Vec<HeaderRow>,
    links: Vec<Link>,
    open_pixel: bool,
    #[serde(default)]
    unsubscribe_links: u64,
    signatures: Vec<Signature>,
    edits: u64,
}

#[derive(Debug, Deserialize)]
struct Link {
    from: String,
    to: String,
}

#[derive(Debug, Deserialize)]
struct Signature {
    domain: String,
    selector: String,
    algorithm: String,
}

#[derive(Template)]
#[template(path = "messages/changes.html")]
struct ChangesPage {
    f: Frame,
    tabs: Tabs,
    changes: Changes,
}

#[derive(Template)]
#[template(path = "messages/source.html")]
struct SourcePage {
    f: Frame,
    tabs: Tabs,
    source: String,
    is_cut: bool,
}

/// The message is known, and its content is kept no longer.
#[derive(Template)]
#[template(path = "messages/gone.html")]
struct GonePage {
    f: Frame,
    tabs: Tabs,
    message: String,
}

type MessagePath = Path<(String, String)>;

/// The page that says so when content is kept no longer; any other problem stays one.
fn unless_gone(tenant: &TenantPage, tabs: Tabs, problem: Problem) -> Result<Response, Problem> {
    if problem.status != StatusCode::GONE {
        return Err(problem);
    }
    frame::page(&GonePage { f: frame_of(tenant), tabs, message: problem.message })
}

async fn content(tenant: &TenantPage, id: &str, recipient: &str) -> Result<Content, Problem> {
    tenant.api.get(&path(&["emails", id, "content"], &[("recipient", recipient)])).await
}

/// The frame of a page about a message's content.
fn frame_of(tenant: &TenantPage) -> Frame {
    tenant.frame(Section::MESSAGES, tenant.l.say("content.title"))
}

pub(super) async fn page(
    tenant: TenantPage,
    Path((_, id)): MessagePath,
    Query(query): Query<CopyQuery>,
) -> Result<Response, Problem> {
    let mut content = match content(&tenant, &id, &query.recipient).await {
        Ok(content) => content,
        Err(problem) => {
            let tabs = Tabs { id, recipient: query.recipient, here: "content" };
            return unless_gone(&tenant, tabs, problem);
        }
    };
    content.truncated |= content.headers.len() > SHOWN_ROWS || content.attachments.len() > SHOWN_ROWS;
    content.headers.truncate(SHOWN_ROWS);
    content.attachments.truncate(SHOWN_ROWS);
    let text = content.text.as_deref().map(|text| shortened(text, SHOWN).to_owned());
    let preview = PreviewOptions::of(&query.preview);
    let tabs = Tabs { id, recipient: query.recipient, here: "content" };
    frame::page(&ContentPage { f: frame_of(&tenant), tabs, content, preview, text })
}

/// The HTML alone: it is shown in a frame. It is what was accepted, also beside the copy of a recipient:
/// links and images of a copy would count as theirs.
pub(super) async fn html(
    tenant: TenantPage,
    Path((_, id)): MessagePath,
    Query(query): Query<CopyQuery>,
) -> Result<Response, Problem> {
    let html = content(&tenant, &id, "").await?.html.ok_or_else(Problem::not_found)?;
    let policy = PreviewOptions::of(&query.preview).policy();
    Ok((page_fields(policy), Html(html)).into_response())
}

pub(super) async fn changes(
    tenant: TenantPage,
    Path((_, id)): MessagePath,
    Query(query): Query<CopyQuery>,
) -> Result<Response, Problem> {
    let asked = path(&["emails", &id, "changes"], &[("recipient", &query.recipient)]);
    let tabs = Tabs { id, recipient: query.recipient, here: "changes" };
    let mut changes: Changes = match tenant.api.get(&asked).await {
        Ok(changes) => changes,
        Err(problem) => return unless_gone(&tenant, tabs, problem),
    };
    changes.links.truncate(SHOWN_ROWS);
    changes.headers_added.truncate(SHOWN_ROWS);
    frame::page(&ChangesPage { f: frame_of(&tenant), tabs, changes })
}

pub(super) async fn source(
    tenant: TenantPage,
    Path((_, id)): MessagePath,
    Query(query): Query<CopyQuery>,
) -> Result<Response, Problem> {
    let asked = path(&["emails", &id, "source"], &[("recipient", &query.recipient)]);
    let tabs = Tabs { id, recipient: query.recipient, here: "source" };
    let answer = match tenant.api.download(&asked).await {
        Ok(answer) => answer,
        Err(problem) => return unless_gone(&tenant, tabs, problem),
    };
    // The rest is not read, so that it is not made either.
    let (mut octets, mut chunks) = (Vec::new(), answer.into_body().into_data_stream());
    while let (true, Some(chunk)) = (octets.len() <= SHOWN, chunks.next().await) {
        octets.extend_from_slice(&chunk.map_err(|error| Problem::internal(&error))?);
    }
    let source = String::from_utf8_lossy(&octets[..octets.len().min(SHOWN)]).into_owned();
    let is_cut = octets.len() > SHOWN;
    frame::page(&SourcePage { f: frame_of(&tenant), tabs, source, is_cut })
}

/// The source as a file.
pub(super) async fn download(
    tenant: TenantPage,
    Path((_, id)): MessagePath,
    Query(query): Query<CopyQuery>,
) -> Result<Response, Problem> {
    let asked = path(&["emails", &id, "source"], &[("recipient", &query.recipient)]);
    let answer = tenant.api.download(&asked).await?;
    Ok(as_file(answer.into_body(), &format!("{id}.eml"), "message/rfc822"))
}

/// An attachment as a file.
pub(super) async fn attachment(
    tenant: TenantPage,
    Path((_, id, number)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let answer = tenant.api.download(&path(&["emails", &id, "attachments", &number], &[])).await?;
    let name = answer.headers().get(header::CONTENT_DISPOSITION).cloned();
    let mut file = as_file(answer.into_body(), "attachment", "application/octet-stream");
    if let Some(name) = name {
        file.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(file)
}

/// A file that a browser keeps, and never shows as a page of this host.
pub(crate) fn as_file(body: Body, name: &str, media_type: &str) -> Response {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    let fields: [(HeaderName, String); 5] = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (header::CONTENT_SECURITY_POLICY, frame::BODY_POLICY.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (StatusCode::OK, fields, body).into_response()
}

/// At most `max` octets of a text.
fn shortened(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max.min(text.len()))]
}
