//! The data of the `relevo:mail` WIT package as plain Rust types. `wit/relevo-mail/*.wit` documents
//! every field; the names are the same.

use serde::{Deserialize, Serialize};

pub use crate::labels::Stream;
pub use crate::policy::HeaderField;

/// `types.span`: `length` octets from `offset` of the submitted message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// From the start of the message, the first octet is 0.
    pub offset: u64,
    /// Octets.
    pub length: u64,
}

impl Span {
    /// The offset after the last octet.
    #[must_use]
    pub fn end(self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

/// `types.encoding`: how a replacement is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// RFC 2045 section 6.7.
    QuotedPrintable,
    /// RFC 2045 section 6.8.
    Base64,
}

/// `types.segment`: a part of a replacement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Segment {
    /// These octets.
    Literal(Vec<u8>),
    /// Octets of the submitted message.
    Source(Span),
    /// The click URL for this index of the link table.
    Click(u32),
    /// The URL of the open pixel.
    Open,
    /// The URL by which the recipient unsubscribes.
    Unsubscribe,
}

impl Segment {
    /// Returns true if the caller mints this segment, for each recipient.
    #[must_use]
    pub fn is_url(&self) -> bool {
        matches!(self, Self::Click(_) | Self::Open | Self::Unsubscribe)
    }
}

/// `types.edit`: replaces the octets at `at`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// What is replaced; a length of 0 inserts.
    pub at: Span,
    /// How the joined segments are written.
    pub encoding: Encoding,
    /// The replacement.
    pub segments: Vec<Segment>,
    /// The part it belongs to.
    pub part: Option<u32>,
}

/// `types.declared-encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DeclaredEncoding {
    /// 7bit, or none declared.
    SevenBit,
    /// 8bit.
    EightBit,
    /// binary.
    Binary,
    /// quoted-printable.
    QuotedPrintable,
    /// base64.
    Base64,
    /// Anything else.
    Other,
}

/// `types.part`: an entity of the MIME structure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Index of the enclosing entity.
    pub parent: Option<u32>,
    /// With the empty line.
    pub header: Span,
    /// Without the CRLF before the next boundary.
    pub body: Span,
    /// Lower case `type/subtype`.
    pub media_type: String,
    /// Lower case.
    pub charset: Option<String>,
    /// Content-Transfer-Encoding.
    pub declared: DeclaredEncoding,
    /// The whole field with its CRLF.
    pub encoding_field: Option<Span>,
    /// By its Content-Disposition or file name.
    pub attachment: bool,
    /// Not one octet may change.
    pub sealed: bool,
    /// Octets above 127 in the body.
    pub has_eight_bit: bool,
    /// A line of more than 998 octets in the body.
    pub has_long_line: bool,
}

/// `types.note`: a named remark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Note {
    /// Lower case with hyphens.
    pub name: String,
    /// For people.
    pub detail: String,
}

/// `validate.options`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidateOptions {
    /// Octets.
    pub max_size: u64,
    /// Received fields.
    pub max_received: u32,
    /// MIME nesting.
    pub max_depth: u32,
    /// MIME parts.
    pub max_parts: u32,
    /// SMTPUTF8 was given.
    pub smtputf8: bool,
    /// This host's name.
    pub hostname: String,
    /// Seconds since 1970.
    pub now: i64,
    /// Left side of a Message-ID to be added.
    pub message_id_left: String,
    /// Only turn 8-bit parts into 7bit.
    pub downgrade: bool,
    /// The report has the header fields.
    pub include_headers: bool,
    /// To, Cc, Reply-To, Resent-To and Resent-Cc must parse.
    pub strict_headers: bool,
}

/// `validate.author-role`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AuthorRole {
    /// From.
    From,
    /// Sender.
    Sender,
    /// Resent-From.
    ResentFrom,
    /// Resent-Sender.
    ResentSender,
}

/// `validate.author`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// Which field names it.
    pub role: AuthorRole,
    /// `local@domain` as written.
    pub address: String,
    /// Lower case A-labels.
    pub domain: String,
}

/// `validate.report`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Who claims authorship.
    pub authors: Vec<Author>,
    /// Whole header fields to be put on top.
    pub added_headers: Vec<u8>,
    /// Removals and re-encodings.
    pub edits: Vec<Edit>,
    /// The MIME structure.
    pub parts: Vec<Part>,
    /// What was fixed.
    pub fixes: Vec<Note>,
    /// The next hop needs 8BITMIME.
    pub eight_bit: bool,
    /// The next hop needs SMTPUTF8.
    pub utf8_header: bool,
    /// Carries a DKIM-Signature already.
    pub signed: bool,
    /// Has a List-Unsubscribe field of its own.
    pub list_unsubscribe: bool,
    /// Has a Feedback-ID field of its own.
    pub feedback_id: bool,
    /// Has a CFBL-Address or CFBL-Feedback-ID field of its own.
    pub cfbl: bool,
    /// The message has one field `TLS-Required: No` (RFC 8689 section 5).
    pub tls_optional: bool,
    /// With angle brackets.
    pub message_id: String,
    /// Unfolded From field.
    pub from_field: Vec<u8>,
    /// For people; no decision depends on it.
    pub subject: String,
    /// Received fields.
    pub received: u32,
    /// Header fields of the message as it is sent; empty unless
    /// [`ValidateOptions::include_headers`] is set.
    pub headers: Vec<HeaderField>,
    /// How many fields more there are.
    pub headers_left_out: u32,
    /// The options of the `X-Relevo-*` fields, or the mistake in them.
    pub options: Result<MessageOptions, Refusal>,
    /// The fields that go with the content; empty without a template.
    pub content_fields: Vec<Span>,
}

/// `validate.message-options`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageOptions {
    /// Names and values.
    pub tags: Vec<(String, String)>,
    /// Keys and values.
    pub metadata: Vec<(String, String)>,
    /// Id or alias.
    pub template: Option<String>,
    /// A JSON object.
    pub variables: Option<String>,
    /// Kind of mail.
    pub stream: Option<Stream>,
    /// Topic.
    pub topic: Option<String>,
    /// Track opens.
    pub opens: Option<bool>,
    /// Track clicks.
    pub clicks: Option<bool>,
    /// Also in text/plain.
    pub text_links: Option<bool>,
    /// Links to them stay as they are.
    pub exclude_domains: Vec<String>,
    /// Milliseconds since 1970.
    pub send_at: Option<u64>,
    /// Milliseconds since 1970.
    pub expires_at: Option<u64>,
    /// 1 to 256 printable ASCII characters.
    pub idempotency_key: Option<String>,
    /// Only over a verified TLS connection.
    pub enforce_tls: bool,
}

/// Fields of [`Report::headers`], and octets of their names and values together.
pub const MAX_FIELDS: usize = 200;
/// See [`MAX_FIELDS`].
pub const MAX_FIELD_OCTETS: usize = 64 << 10;

/// `validate.refusal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// 550, 552 or 554.
    pub code: u16,
    /// Such as `5.6.0`.
    pub enhanced: String,
    /// The rule that was broken.
    pub rule: String,
    /// For the sender.
    pub detail: String,
}

/// `track.options`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackOptions {
    /// Rewrite links.
    pub clicks: bool,
    /// Insert the open pixel.
    pub opens: bool,
    /// Also in text/plain.
    pub text_links: bool,
    /// Octets of a minted URL besides the destination.
    pub url_overhead: u32,
    /// Octets of a raw HTML part.
    pub max_html: u64,
    /// Links.
    pub max_links: u32,
    /// Octets of a destination.
    pub max_link_length: u32,
    /// Parts that are re-encoded anyway.
    pub reencode: Vec<u32>,
    /// Domains whose links are left alone, and those of their subdomains; lower-case A-labels.
    pub exclude_domains: Vec<String>,
    /// Octets of the longest unsubscribe URL; 0: there is none.
    pub unsubscribe_length: u32,
}

/// `track.rewrite`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewrite {
    /// With segments that stand for URLs.
    pub edits: Vec<Edit>,
    /// Destinations.
    pub links: Vec<String>,
    /// What was left alone, and why.
    pub notes: Vec<Note>,
}

/// `dkim.algorithm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// RFC 6376.
    #[serde(rename = "rsa-sha256")]
    RsaSha256,
    /// RFC 8463.
    #[serde(rename = "ed25519-sha256")]
    Ed25519Sha256,
}

impl Algorithm {
    /// The value of `a=`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }

    /// The algorithm with this value of `a=`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::RsaSha256, Self::Ed25519Sha256].into_iter().find(|algorithm| algorithm.as_str() == text)
    }
}

/// `dkim.canonicalization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Canonicalization {
    /// RFC 6376 sections 3.4.2 and 3.4.4.
    Relaxed,
    /// RFC 6376 sections 3.4.1 and 3.4.3.
    Simple,
}

/// `dkim.request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureRequest {
    /// d=
    pub domain: String,
    /// s=
    pub selector: String,
    /// a=
    pub algorithm: Algorithm,
    /// c=, first half.
    pub header_canonicalization: Canonicalization,
    /// c=, second half.
    pub body_canonicalization: Canonicalization,
    /// t=
    pub timestamp: i64,
    /// x=
    pub expiration: Option<i64>,
}

/// `dkim.signing-input`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningInput {
    /// What the host signs.
    pub to_sign: Vec<u8>,
    /// The field up to and including `b=`.
    pub field: Vec<u8>,
}

/// `dkim.txt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Txt {
    /// Without a final dot.
    pub name: String,
    /// Strings joined.
    pub value: String,
}

/// `dkim.verdict`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureVerdict {
    /// d=
    pub domain: String,
    /// s=
    pub selector: String,
    /// a=
    pub algorithm: String,
    /// Whether it verifies.
    pub pass: bool,
    /// `pass`, or why not.
    pub detail: String,
}

/// `content.severity`. Ordered: the last one weighs most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Some receivers or readers dislike it.
    Warning,
    /// Mail with it is refused, distrusted or unreadable.
    Error,
}

/// `content.options`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContentOptions {
    /// The message is marketing: its readers must be able to unsubscribe.
    pub marketing: bool,
}

/// `content.finding`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The name of the check, such as `html_size` or `link_mismatch`.
    pub check: String,
    /// How much it weighs.
    pub severity: Severity,
    /// For people, on one line.
    pub message: String,
    /// Where in the message, such as `subject` or `html line 12`.
    pub location: Option<String>,
}

/// `content.decoded-field`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DecodedField {
    /// As it stands.
    pub name: String,
    /// Decoded, on one line.
    pub value: String,
}

/// `content.body-text`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BodyText {
    /// At most 1 MiB.
    pub text: String,
    /// There was more.
    pub truncated: bool,
}

/// `content.attachment`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AttachmentInfo {
    /// Its name.
    pub filename: Option<String>,
    /// Lower case `type/subtype`.
    pub content_type: String,
    /// Octets, decoded.
    pub size: u64,
    /// To be shown within the text.
    pub inline: bool,
    /// Without angle brackets.
    pub content_id: Option<String>,
}

/// `content.parts`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MessageParts {
    /// The header, in order.
    pub fields: Vec<DecodedField>,
    /// All HTML that is shown.
    pub html: Option<BodyText>,
    /// All text that is shown.
    pub text: Option<BodyText>,
    /// In order.
    pub attachments: Vec<AttachmentInfo>,
    /// Fields or attachments were left out.
    pub truncated: bool,
}

/// `template.source`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TemplateSource {
    /// MiniJinja.
    pub subject: String,
    /// MiniJinja, HTML autoescape.
    pub html: Option<String>,
    /// MiniJinja, then MJML.
    pub mjml: Option<String>,
    /// MiniJinja; absent: made from the HTML.
    pub text: Option<String>,
    /// The templates that are named.
    pub partials: Vec<TemplatePartial>,
}

/// `template.partial`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct TemplatePartial {
    /// As others name it.
    pub name: String,
    /// For subjects.
    pub subject: String,
    /// For HTML.
    pub html: Option<String>,
    /// For MJML.
    pub mjml: Option<String>,
    /// For texts.
    pub text: Option<String>,
}

/// `template.reference`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateReference {
    /// The other template.
    pub name: String,
    /// The source that names it.
    pub template: String,
    /// It must exist.
    pub required: bool,
}

/// `template.limits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateLimits {
    /// Octets of each rendered part.
    pub max_output: u64,
    /// MiniJinja fuel.
    pub max_steps: u64,
    /// Nesting.
    pub max_depth: u32,
}

/// `template.rendered`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendered {
    /// Unfolded text.
    pub subject: String,
    /// A whole document or a fragment.
    pub html: Option<String>,
    /// The text alternative.
    pub text: String,
}

/// `template.template-error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateError {
    /// Such as `undefined-variable`.
    pub kind: String,
    /// Which source or field.
    pub template: String,
    /// The variable.
    pub path: Option<String>,
    /// From 1.
    pub line: Option<u32>,
    /// From 1.
    pub column: Option<u32>,
    /// For people.
    pub message: String,
}

/// `template.mailbox`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    /// Display name.
    pub name: Option<String>,
    /// `local@domain`.
    pub address: String,
}

/// `template.attachment`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// As shown to the reader.
    pub file_name: String,
    /// `type/subtype`.
    pub media_type: String,
    /// Inline when given.
    pub content_id: Option<String>,
    /// Octets.
    pub content: Vec<u8>,
}

/// `template.extra-field`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraField {
    /// Field name.
    pub name: String,
    /// Unfolded text.
    pub value: String,
}

/// `template.envelope`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageEnvelope {
    /// From.
    pub from: Mailbox,
    /// Sender.
    pub sender: Option<Mailbox>,
    /// To.
    pub to: Vec<Mailbox>,
    /// Cc.
    pub cc: Vec<Mailbox>,
    /// Reply-To.
    pub reply_to: Vec<Mailbox>,
    /// Other fields.
    pub fields: Vec<ExtraField>,
    /// Files.
    pub attachments: Vec<Attachment>,
    /// Seconds since 1970; none: the message gets no Date.
    pub date: Option<i64>,
    /// With angle brackets.
    pub message_id: String,
    /// Letters and digits.
    pub boundary_seed: String,
}
