//! The pages of the inbox of `relevo dev`.

use askama::Template;

use crate::forms::Typed;
use crate::frame::{Frame, Section};
use crate::headers::HeaderField;
use crate::preview::PreviewOptions;
use crate::texts::Language;
use crate::visitor::Visitor;

/// Messages on a page of the list.
pub const ROWS: usize = 50;

/// A message in the list.
#[derive(Debug, Clone)]
pub struct MessageRow {
    /// The number.
    pub n: u64,
    /// Reverse-path; empty: a notification.
    pub from: String,
    /// Forward-paths.
    pub to: String,
    /// Decoded.
    pub subject: String,
    /// One for each signature: the selector, and whether it verifies.
    pub marks: Vec<(String, bool)>,
    /// Octets.
    pub size: usize,
    /// RFC 3339.
    pub received: String,
}

/// A DKIM signature.
#[derive(Debug, Clone)]
pub struct SignatureRow {
    /// Whether it verifies.
    pub pass: bool,
    /// Why.
    pub detail: String,
    /// d=, s= and a=.
    pub tags: String,
}

/// A stage that the message went through.
#[derive(Debug, Clone)]
pub struct StageRow {
    /// Such as `validate`.
    pub name: String,
    /// Microseconds.
    pub micros: u64,
    /// What it found or changed.
    pub summary: String,
}

/// What was found in the content.
#[derive(Debug, Clone)]
pub struct CheckRow {
    /// Such as `html_size`.
    pub check: String,
    /// How much it weighs.
    pub severity: CheckSeverity,
    /// For people, in English.
    pub message: String,
    /// Such as `html line 12`.
    pub location: Option<String>,
}

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckSeverity {
    /// Refused, distrusted or unreadable.
    Error,
    /// Disliked by some.
    Warning,
    /// Good to know.
    Info,
}

impl CheckSeverity {
    fn class(self) -> &'static str {
        match self {
            Self::Error => "bad",
            Self::Warning => "warning",
            Self::Info => "quiet",
        }
    }

    fn word(self, l: &Language) -> &'static str {
        let name = match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        };
        l.term("severity", name)
    }
}

/// A link of the message.
#[derive(Debug, Clone)]
pub struct LinkRow {
    /// As it stands there.
    pub url: String,
    /// Where a tracked link leads to; none: to itself.
    pub destination: Option<String>,
}

/// An attachment.
#[derive(Debug, Clone)]
pub struct AttachmentRow {
    /// Among the attachments, from 0.
    pub index: usize,
    /// The file name.
    pub name: String,
    /// Such as `application/pdf`.
    pub media_type: String,
    /// Octets, decoded.
    pub size: usize,
}

/// All that is shown of a message.
#[derive(Debug, Clone)]
pub struct MessageParts {
    /// What the list shows.
    pub row: MessageRow,
    /// The queue id.
    pub id: String,
    /// In their order.
    pub signatures: Vec<SignatureRow>,
    /// In their order.
    pub stages: Vec<StageRow>,
    /// Whether there is HTML, and how it is shown.
    pub preview: Option<PreviewOptions>,
    /// The text part.
    pub text: Option<String>,
    /// Findings about the content; none: it could not be looked at.
    pub checks: Option<Vec<CheckRow>>,
    /// Links of HTML and text.
    pub links: Vec<LinkRow>,
    /// Attachments.
    pub attachments: Vec<AttachmentRow>,
    /// The header.
    pub fields: Vec<HeaderField>,
    /// The beginning of the body as it was sent.
    pub raw: String,
    /// Where it can be released; none: nowhere.
    pub release: Option<ReleaseForm>,
}

/// Releases a message to a real address.
#[derive(Debug, Clone)]
pub struct ReleaseForm {
    /// The server that it goes through.
    pub server: String,
    /// What was typed.
    pub to: String,
    /// The reply of the server, or why it was not taken.
    pub outcome: Option<Result<String, String>>,
}

impl ReleaseForm {
    fn typed(&self) -> Typed<'_> {
        Typed(&self.to)
    }
}

#[derive(Template)]
#[template(path = "inbox/list.html")]
struct ListPage<'a> {
    f: Frame,
    search: &'a str,
    rows: &'a [MessageRow],
    older: Option<u64>,
    is_first: bool,
}

#[derive(Template)]
#[template(path = "inbox/message.html")]
struct MessagePage<'a> {
    f: Frame,
    m: &'a MessageParts,
    longest: u64,
}

impl MessagePage<'_> {
    fn meaning(&self, field: &HeaderField) -> &'static str {
        self.f.l.find("field", &field.name.to_ascii_lowercase()).unwrap_or_default()
    }
}

/// The list: at most [`ROWS`] messages, the newest first. `older`: there are more, from this number
/// down; `is_first`: there are no newer ones.
///
/// # Errors
/// The template's, which writes into memory.
pub fn list(
    (l, visitor): (Language, Visitor),
    search: &str,
    rows: &[MessageRow],
    (older, is_first): (Option<u64>, bool),
) -> askama::Result<String> {
    let mut f = Frame::new(l, Some(visitor), Section::INBOX, l.say("inbox.title"));
    if search.is_empty() && is_first {
        f = f.live_at("/panel/relay/live");
    }
    ListPage { f, search, rows, older, is_first }.render()
}

/// One message.
///
/// # Errors
/// The template's, which writes into memory.
pub fn message((l, visitor): (Language, Visitor), message: &MessageParts) -> askama::Result<String> {
    let subject = message.row.subject.as_str();
    let title = if subject.is_empty() { l.say("inbox.no_subject") } else { subject };
    let longest = message.stages.iter().map(|stage| stage.micros).max().unwrap_or(1).max(1);
    let f = Frame::new(l, Some(visitor), Section::INBOX, title);
    MessagePage { f, m: message, longest }.render()
}

#[expect(unreachable_pub, reason = "the macro of askama makes types")]
mod filters {
    /// In the query of a URL.
    #[askama::filter_fn]
    pub(crate) fn in_query(text: &str, _: &dyn askama::Values) -> askama::Result<String> {
        Ok(url::form_urlencoded::byte_serialize(text.as_bytes()).collect())
    }
}

#[cfg(test)]
mod tests;
