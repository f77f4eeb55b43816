//! Limits and rules of a request that no type can hold. Every mistake is named, not the first alone.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use relevo_mailkit::address::{Address, canonical_domain};

use crate::headers;
use crate::mailbox::{Mailbox, MailboxList};
use crate::problem::{InvalidRequest, Problem};
use crate::request::{Attachment, Content, EmailRequest, Tag};
use crate::schedule;

/// Entries of `recipients`, and of each other list of addresses.
pub(crate) const MAX_RECIPIENTS: usize = 1_000;
/// Octets of the tags and metadata of a message. Every event about it has a copy.
pub(crate) const MAX_LABELS: usize = 8 << 10;
/// Tags of a request.
pub(crate) const MAX_TAGS: usize = 75;
/// Octets of a tag's name, and of its value.
const MAX_TAG: usize = 256;
/// Entries of `metadata`.
pub(crate) const MAX_METADATA: usize = 50;
/// Octets of a key of `metadata`.
const MAX_METADATA_KEY: usize = 64;
/// Octets of a value of `metadata`.
const MAX_METADATA_VALUE: usize = 1024;
/// Entries of `headers`.
pub(crate) const MAX_HEADERS: usize = 50;
/// Attachments of a request.
pub(crate) const MAX_ATTACHMENTS: usize = 100;
/// Addresses in `reply_to`.
const MAX_REPLY_TO: usize = 50;
/// Entries of `tracking.exclude_domains`.
pub(crate) const MAX_EXCLUDED: usize = 100;
/// Octets of a topic's or a template's name.
const MAX_NAME: usize = 128;
/// Characters of an idempotency key.
const MAX_KEY: usize = 256;
/// Mistakes that are named in one answer.
pub(crate) const MAX_PROBLEMS: usize = 50;

/// Bounds that a host sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Recipients of one request: `to`, `cc` and `bcc` together, or `recipients`. A list has 1,000
    /// entries at most, whatever is given here.
    pub recipients: usize,
    /// Octets of all attachments, decoded.
    pub attachment_octets: usize,
    /// The furthest time of `scheduled_at`, in milliseconds from now.
    pub horizon: u64,
}

impl Default for Limits {
    /// 1,000 recipients, 40 MB, a year.
    fn default() -> Self {
        Self { recipients: MAX_RECIPIENTS, attachment_octets: 40_000_000, horizon: 366 * 86_400_000 }
    }
}

/// A request whose values can be used.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedRequest {
    /// The request as it came, without the content of its attachments.
    pub request: EmailRequest,
    /// The address of `from`.
    pub from: Address,
    /// The addresses of `to`, `cc`, `bcc`, or of `recipients`, in this order, without repetition.
    pub addresses: Vec<Recipient>,
    /// The attachments in the order of the request; `None`: to be fetched from its `path`.
    pub attachments: Vec<Option<Vec<u8>>>,
    /// Milliseconds since 1970; none: now.
    pub scheduled_at: Option<u64>,
    /// Milliseconds since 1970; none: as the host is configured.
    pub expires_at: Option<u64>,
    /// `tracking.exclude_domains` as lower-case A-labels.
    pub excluded_domains: Vec<String>,
}

/// A recipient with its place in the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The address.
    pub address: Address,
    /// The path of the value in the request, such as `to[0]`.
    pub param: String,
}

/// Checks a request. `now` is in milliseconds since 1970.
///
/// # Errors
/// Every mistake, at most 50.
pub fn check(mut request: EmailRequest, limits: &Limits, now: u64) -> Result<CheckedRequest, InvalidRequest> {
    let mut problems = Problems::default();
    let from = problems.keep("from", request.from.address());
    let addresses = recipients(&request, limits, &mut problems);
    list("reply_to", &request.reply_to, MAX_REPLY_TO, &mut problems);
    content(&request, &mut problems);
    header_fields(&request.headers, &mut problems);
    tags(&request.tags, &mut problems);
    metadata("metadata", &request.metadata, &mut problems);
    labels(&request, &mut problems);
    let attachments = attachments(&mut request.attachments, limits, &mut problems);
    let domains = &request.tracking.exclude_domains;
    let excluded_domains = excluded_domains("tracking.exclude_domains", domains, &mut problems);
    if let Some(topic) = &request.topic {
        problems.name("topic", topic);
    }
    let texts = [request.scheduled_at.as_deref(), request.expires_at.as_deref()];
    let [scheduled_at, expires_at] = times(["scheduled_at", "expires_at"], texts, limits, now, &mut problems);
    match (problems.is_empty(), from) {
        (true, Some(from)) => Ok(CheckedRequest {
            request,
            from,
            addresses,
            attachments,
            scheduled_at,
            expires_at,
            excluded_domains,
        }),
        _ => Err(InvalidRequest::Fields(problems.0)),
    }
}

/// The mistakes that were found.
#[derive(Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// The first mistake.
    pub(crate) fn into_first(self) -> Option<Problem> {
        self.0.into_iter().next()
    }

    /// All mistakes.
    pub(crate) fn into_all(self) -> Vec<Problem> {
        self.0
    }

    pub(crate) fn add(&mut self, param: impl Into<String>, message: impl Into<String>) {
        if self.0.len() < MAX_PROBLEMS {
            self.0.push(Problem::new(param, message));
        }
    }

    pub(crate) fn keep<T>(&mut self, param: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.add(param, message)).ok()
    }

    pub(crate) fn at_most(&mut self, param: &str, what: &str, count: usize, max: usize) {
        if count > max {
            self.add(param, format!("{count} {what}, at most {max} are allowed"));
        }
    }

    /// Tags and metadata of a message: `octets` in all.
    pub(crate) fn labels(&mut self, param: &str, octets: usize) {
        if octets > MAX_LABELS {
            self.add(
                param,
                format!(
                    "the message has {octets} octets of tags and metadata, at most {MAX_LABELS} are allowed"
                ),
            );
        }
    }

    pub(crate) fn name(&mut self, param: &str, name: &str) {
        let is_name = (1..=MAX_NAME).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        if !is_name {
            self.add(param, format!("not a name: 1 to {MAX_NAME} ASCII letters, digits, `_`, `-` and `.`"));
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn recipients(request: &EmailRequest, limits: &Limits, problems: &mut Problems) -> Vec<Recipient> {
    let shared = [("to", &request.to), ("cc", &request.cc), ("bcc", &request.bcc)];
    let count: usize = shared.iter().map(|(_, list)| list.0.len()).sum();
    if !request.recipients.is_empty() && count > 0 {
        problems.add("recipients", "give either `recipients`, or `to`, `cc` and `bcc`");
    }
    if request.recipients.is_empty() && request.to.0.is_empty() {
        problems.add("to", "at least one recipient is needed");
    }
    problems.at_most("to", "recipients", count, limits.recipients);
    problems.at_most("recipients", "recipients", request.recipients.len(), limits.recipients);
    let mut found: Vec<Recipient> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut take = |param: String, mailbox: &Mailbox, problems: &mut Problems| {
        let Some(address) = problems.keep(&param, mailbox.address()) else { return };
        if seen.insert(address.to_string()) {
            found.push(Recipient { address, param });
        } else if param.starts_with("recipients") {
            problems.add(param, "this address stands in `recipients` already");
        }
    };
    for (name, list) in shared {
        for (index, mailbox) in list.0.iter().enumerate().take(limits.recipients) {
            take(format!("{name}[{index}]"), mailbox, problems);
        }
    }
    for (index, each) in request.recipients.iter().enumerate().take(limits.recipients) {
        let mailbox = Mailbox { name: each.name.clone(), email: each.email.trim().to_owned() };
        take(format!("recipients[{index}].email"), &mailbox, problems);
        metadata(&format!("recipients[{index}].metadata"), &each.metadata, problems);
    }
    found
}

fn list(param: &str, list: &MailboxList, max: usize, problems: &mut Problems) {
    problems.at_most(param, "addresses", list.0.len(), max);
    for (index, mailbox) in list.0.iter().enumerate().take(max) {
        problems.keep(&format!("{param}[{index}]"), mailbox.address());
    }
}

fn content(request: &EmailRequest, problems: &mut Problems) {
    match &request.template {
        Some(template) => {
            problems.name("template.id", &template.id);
            for (param, given) in [("html", request.html.is_some()), ("text", request.text.is_some())] {
                if given {
                    problems.add(param, "the template has the content, leave this field out");
                }
            }
        }
        None => {
            if request.subject.is_none() {
                problems.add("subject", "a subject or a template is needed");
            }
            if request.html.is_none() && request.text.is_none() {
                problems.add("html", "`html`, `text` or a template is needed");
            }
        }
    }
    if request.subject.as_deref().is_some_and(|s| s.contains(char::is_control)) {
        problems.add("subject", "a line break or another control character");
    }
}

fn header_fields(headers: &BTreeMap<String, String>, problems: &mut Problems) {
    problems.at_most("headers", "header fields", headers.len(), MAX_HEADERS);
    for (name, value) in headers.iter().take(MAX_HEADERS) {
        let is_name = !name.is_empty() && name.bytes().all(|b| (b'!'..=b'~').contains(&b) && b != b':');
        if !is_name {
            problems.add("headers", format!("`{}` is not the name of a header field", name.escape_debug()));
        } else if headers::is_option(name) {
            problems.add(format!("headers.{name}"), "is for SMTP: use the field of the request");
        } else if value.contains(char::is_control) {
            problems.add(format!("headers.{name}"), "a line break or another control character");
        }
    }
}

pub(crate) fn tags(tags: &[Tag], problems: &mut Problems) {
    problems.at_most("tags", "tags", tags.len(), MAX_TAGS);
    let is_word = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    for (index, tag) in tags.iter().enumerate().take(MAX_TAGS) {
        for (part, text) in [("name", &tag.name), ("value", &tag.value)] {
            if text.len() > MAX_TAG || !is_word(text) || (part == "name" && text.is_empty()) {
                let message = format!("not 1 to {MAX_TAG} ASCII letters, digits, `_` and `-`");
                problems.add(format!("tags[{index}].{part}"), message);
            }
        }
    }
}

pub(crate) fn metadata(param: &str, metadata: &BTreeMap<String, String>, problems: &mut Problems) {
    problems.at_most(param, "entries", metadata.len(), MAX_METADATA);
    for (key, value) in metadata.iter().take(MAX_METADATA) {
        if key.is_empty() || key.len() > MAX_METADATA_KEY {
            problems.add(param, format!("a key has 1 to {MAX_METADATA_KEY} octets"));
        } else if value.len() > MAX_METADATA_VALUE {
            problems.add(format!("{param}.{key}"), format!("more than {MAX_METADATA_VALUE} octets"));
        }
    }
}

/// What a message carries into each of its events has a bound: tags and metadata of the request,
/// and the recipient's own metadata.
fn labels(request: &EmailRequest, problems: &mut Problems) {
    let tags = pairs_octets(request.tags.iter().map(|tag| (&tag.name, &tag.value)));
    let shared = tags + pairs_octets(&request.metadata);
    problems.labels("tags", tags);
    if tags <= MAX_LABELS {
        problems.labels("metadata", shared);
    }
    if shared <= MAX_LABELS {
        for (index, each) in request.recipients.iter().enumerate() {
            problems.labels(&format!("recipients[{index}].metadata"), shared + pairs_octets(&each.metadata));
        }
    }
}

/// Octets of names and values.
pub(crate) fn pairs_octets<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> usize {
    pairs.into_iter().map(|(name, value)| name.len() + value.len()).sum()
}

fn attachments(list: &mut [Attachment], limits: &Limits, problems: &mut Problems) -> Vec<Option<Vec<u8>>> {
    problems.at_most("attachments", "attachments", list.len(), MAX_ATTACHMENTS);
    let mut total = 0;
    let mut decoded = Vec::new();
    for (index, attachment) in list.iter_mut().enumerate().take(MAX_ATTACHMENTS) {
        let param = format!("attachments[{index}]");
        if attachment.filename.is_none() && attachment.content_id.is_none() {
            problems.add(format!("{param}.filename"), "a name is needed unless there is a `content_id`");
        }
        let octets = match (attachment.content.take(), &attachment.path) {
            (Some(content), None) => problems.keep(&format!("{param}.content"), octets(content)),
            (None, Some(_)) => None,
            _ => problems.keep(&param, Err("exactly one of `content` and `path` is needed".to_owned())),
        };
        total += octets.as_ref().map_or(0, Vec::len);
        decoded.push(octets);
    }
    problems.at_most("attachments", "octets in all", total, limits.attachment_octets);
    decoded
}

/// The octets of an attachment. Its text is gone when they are there.
fn octets(content: Content) -> Result<Vec<u8>, String> {
    match content {
        Content::Octets(octets) => Ok(octets),
        Content::Base64(mut text) => {
            text.retain(|c| !c.is_ascii_whitespace());
            STANDARD.decode(text).map_err(|error| format!("not base64: {error}"))
        }
    }
}

/// Domains whose links stay as they are, as lower-case A-labels.
pub(crate) fn excluded_domains(param: &str, domains: &[String], problems: &mut Problems) -> Vec<String> {
    problems.at_most(param, "domains", domains.len(), MAX_EXCLUDED);
    let canonical = domains.iter().enumerate().take(MAX_EXCLUDED).filter_map(|(index, domain)| {
        let domain = canonical_domain(domain).map_err(|error| error.to_string());
        problems.keep(&format!("{param}[{index}]"), domain)
    });
    canonical.collect()
}

/// The time of sending and the time of expiry, in milliseconds since 1970. A time of sending that
/// has passed is now, as every provider takes it.
pub(crate) fn times(
    [send, expire]: [&str; 2],
    [send_at, expires_at]: [Option<&str>; 2],
    limits: &Limits,
    now: u64,
    problems: &mut Problems,
) -> [Option<u64>; 2] {
    let send_at = time(send, send_at, now, problems);
    let expires_at = time(expire, expires_at, now, problems);
    if send_at.is_some_and(|at| at > now.saturating_add(limits.horizon)) {
        problems.add(send, format!("more than {} days ahead", limits.horizon / 86_400_000));
    }
    if expires_at.is_some_and(|at| at <= send_at.unwrap_or(now)) {
        problems.add(expire, "not after the time of sending");
    }
    [send_at.filter(|at| *at > now), expires_at]
}

fn time(param: &str, text: Option<&str>, now: u64, problems: &mut Problems) -> Option<u64> {
    text.and_then(|text| problems.keep(param, schedule::parse(text, now)))
}

/// An idempotency key: 1 to 256 printable ASCII characters.
///
/// # Errors
/// The mistake, in words.
pub fn idempotency_key(key: &str) -> Result<(), String> {
    let fits = (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|b| (b' '..=b'~').contains(&b));
    if fits { Ok(()) } else { Err(format!("not 1 to {MAX_KEY} printable ASCII characters")) }
}
