//! The body of `POST /relay`: messages that are finished, each with its envelope. The edge gateway
//! hands over so what it has built, and so can any program that writes its own MIME.
//!
//! ```json
//! {"emails": [{"tags": [], "messages": [
//!   {"sender": "shop@example.com", "recipients": ["ana@example.net"], "message": "From: ..."}
//! ]}]}
//! ```

use std::collections::{BTreeMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use relevo_mailkit::address::Address;
use relevo_mailkit::labels::{Stream, Tag};
use serde::{Deserialize, Serialize};

use crate::batch::MAX_BATCH;
use crate::bounded;
use crate::check::{self, Limits, MAX_METADATA, MAX_RECIPIENTS, MAX_TAGS, Problems};
use crate::problem::{InvalidRequest, Problem};
use crate::request::{TlsChoice, TrackingChoice, null_is_empty};

/// The body of `POST /relay`. All of it is accepted, or nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RelayRequest {
    /// 1 to 1,000 emails.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_BATCH>")]
    pub emails: Vec<RelayedEmail>,
}

/// Messages that belong together, and what they share. The fields have the meaning that they have in
/// `POST /emails`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RelayedEmail {
    /// 1 to 1,000 messages, of which each has octets of its own.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_RECIPIENTS>")]
    pub messages: Vec<RelayedMessage>,
    /// Names and values for filters, statistics and webhooks.
    #[serde(
        default,
        deserialize_with = "bounded::list::<_, _, MAX_TAGS>",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub tags: Vec<Tag>,
    /// Kind of mail: decides about suppression and unsubscribing.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub stream: Stream,
    /// Topic that a recipient can leave without leaving the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The template that the content was made from, for statistics. It is not looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Tracking of opens and clicks. Absent fields are as the domain has them.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub tracking: TrackingChoice,
    /// The time of sending. Absent: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<String>,
    /// The time after which no further attempt is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// `enforced`: only over a verified TLS connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsChoice>,
    /// Everything is checked and nothing is sent.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub dry_run: bool,
    /// It came to the edge in no batch, and gets no `batch_id`.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
}

/// A finished message (RFC 5322) with its envelope.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RelayedMessage {
    /// The reverse-path. Its domain belongs to the tenant, like that of every author.
    pub sender: String,
    /// The forward-paths: 1 to 1,000 addresses.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_RECIPIENTS>")]
    pub recipients: Vec<String>,
    /// The message as text. A line may end with LF alone. Exactly one of `message` and
    /// `message_base64` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The octets of the message in base64 (RFC 4648 section 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_base64: Option<String>,
    /// Keys and values that events and webhooks of this message carry.
    #[serde(
        default,
        deserialize_with = "bounded::map::<_, MAX_METADATA>",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub metadata: BTreeMap<String, String>,
}

impl RelayedMessage {
    /// Adds an entry to the metadata, unless the entry would pass a bound of them. `tags` are those of
    /// the email. Returns true if the entry was added.
    pub fn add_metadata(&mut self, tags: &[Tag], key: &str, value: &str) -> bool {
        let octets = check::pairs_octets(tags.iter().map(|tag| (&tag.name, &tag.value)))
            + check::pairs_octets(self.metadata.iter())
            + key.len()
            + value.len();
        let fits = octets <= check::MAX_LABELS
            && self.metadata.len() < MAX_METADATA
            && !self.metadata.contains_key(key);
        if fits {
            self.metadata.insert(key.to_owned(), value.to_owned());
        }
        fits
    }
}

/// An email whose values can be used.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedRelay {
    /// What came, without its messages.
    pub email: RelayedEmail,
    /// The messages.
    pub messages: Vec<FinishedMessage>,
    /// Milliseconds since 1970; none: now.
    pub scheduled_at: Option<u64>,
    /// Milliseconds since 1970; none: as the host is configured.
    pub expires_at: Option<u64>,
    /// `tracking.exclude_domains` as lower-case A-labels.
    pub excluded_domains: Vec<String>,
}

/// A message whose values can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedMessage {
    /// The path of the message in the request, such as `emails[0].messages[2]`.
    pub param: String,
    /// The reverse-path.
    pub sender: Address,
    /// The forward-paths without repetition, with the paths of the values in the request.
    pub recipients: Vec<(Address, String)>,
    /// The octets, with CRLF at the ends of lines where they came as text.
    pub octets: Vec<u8>,
    /// Keys and values of this message.
    pub metadata: BTreeMap<String, String>,
}

/// Reads and checks a request. `now` is in milliseconds since 1970.
///
/// # Errors
/// Every mistake, at most 50.
pub fn read(body: &[u8], limits: &Limits, now: u64) -> Result<Vec<CheckedRelay>, InvalidRequest> {
    let request: RelayRequest = crate::json::read(body)?;
    if request.emails.is_empty() {
        return Err(InvalidRequest::field("emails", "at least one is needed"));
    }
    let (mut checked, mut found) = (Vec::new(), Vec::new());
    for (index, email) in request.emails.into_iter().enumerate() {
        match check(email, &format!("emails[{index}]"), limits, now) {
            Ok(email) => checked.push(email),
            Err(problems) => found.extend(problems),
        }
    }
    found.truncate(check::MAX_PROBLEMS);
    if found.is_empty() { Ok(checked) } else { Err(InvalidRequest::Fields(found)) }
}

fn check(mut email: RelayedEmail, at: &str, limits: &Limits, now: u64) -> Result<CheckedRelay, Vec<Problem>> {
    let mut problems = Problems::default();
    check::tags(&email.tags, &mut problems);
    for (param, name) in [("topic", &email.topic), ("template", &email.template)] {
        if let Some(name) = name {
            problems.name(param, name);
        }
    }
    let domains = &email.tracking.exclude_domains;
    let excluded_domains = check::excluded_domains("tracking.exclude_domains", domains, &mut problems);
    let times = [email.scheduled_at.as_deref(), email.expires_at.as_deref()];
    let [scheduled_at, expires_at] =
        check::times(["scheduled_at", "expires_at"], times, limits, now, &mut problems);
    if email.messages.is_empty() {
        problems.add("messages", "at least one is needed");
    }
    let tags = check::pairs_octets(email.tags.iter().map(|tag| (&tag.name, &tag.value)));
    let messages = std::mem::take(&mut email.messages);
    let messages: Vec<FinishedMessage> = (0..)
        .zip(messages)
        .filter_map(|(index, message)| finished(message, (at, index), tags, limits, &mut problems))
        .collect();
    let found = problems.into_all();
    match found.is_empty() {
        true => Ok(CheckedRelay { email, messages, scheduled_at, expires_at, excluded_domains }),
        false => Err(found.into_iter().map(|problem| problem.within(at)).collect()),
    }
}

fn finished(
    message: RelayedMessage,
    (at, index): (&str, usize),
    tags: usize,
    limits: &Limits,
    problems: &mut Problems,
) -> Option<FinishedMessage> {
    let param = format!("messages[{index}]");
    let address = |text: &str| Address::parse(text.trim()).map_err(|error| error.to_string());
    let sender = problems.keep(&format!("{param}.sender"), address(&message.sender));
    let list = format!("{param}.recipients");
    if message.recipients.is_empty() {
        problems.add(&list, "at least one is needed");
    }
    problems.at_most(&list, "recipients", message.recipients.len(), limits.recipients);
    let (mut recipients, mut seen) = (Vec::new(), HashSet::new());
    for (number, text) in message.recipients.iter().enumerate().take(limits.recipients) {
        let place = format!("{list}[{number}]");
        if let Some(address) = problems.keep(&place, address(text))
            && seen.insert(address.to_string())
        {
            recipients.push((address, format!("{at}.{place}")));
        }
    }
    let place = format!("{param}.metadata");
    check::metadata(&place, &message.metadata, problems);
    problems.labels(&place, tags + check::pairs_octets(message.metadata.iter()));
    let octets = match (message.message, message.message_base64) {
        (Some(text), None) => Some(with_crlf(text)),
        (None, Some(text)) => {
            let decoded = STANDARD.decode(text).map_err(|error| format!("not base64: {error}"));
            problems.keep(&format!("{param}.message_base64"), decoded)
        }
        _ => {
            problems.add(&param, "exactly one of `message` and `message_base64` is needed");
            None
        }
    };
    let (sender, octets) = (sender?, octets?);
    let param = format!("{at}.{param}");
    Some(FinishedMessage { param, sender, recipients, octets, metadata: message.metadata })
}

/// The text with CRLF where a line ends with LF alone.
fn with_crlf(text: String) -> Vec<u8> {
    let octets = text.into_bytes();
    let is_bare = |at: usize| octets[at] == b'\n' && (at == 0 || octets[at - 1] != b'\r');
    let bare = (0..octets.len()).filter(|at| is_bare(*at)).count();
    if bare == 0 {
        return octets;
    }
    let mut out = Vec::with_capacity(octets.len() + bare);
    for (at, octet) in octets.iter().enumerate() {
        if is_bare(at) {
            out.push(b'\r');
        }
        out.push(*octet);
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: u64 = 1_795_325_640_000;

    fn answer(emails: &Value) -> Result<Vec<CheckedRelay>, Vec<(String, String)>> {
        let body = json!({ "emails": emails }).to_string();
        read(body.as_bytes(), &Limits::default(), NOW).map_err(|invalid| match invalid {
            InvalidRequest::Fields(found) => found.into_iter().map(|p| (p.param, p.message)).collect(),
            InvalidRequest::Json { message, .. } => vec![(String::new(), message)],
        })
    }

    fn message() -> Value {
        json!({
            "sender": "shop@example.com",
            "recipients": ["ana@example.net", "ana@example.net", "luis@example.org"],
            "message": "From: shop@example.com\nSubject: x\r\n\nHello\n",
        })
    }

    #[test]
    fn a_message_is_taken_with_its_envelope() {
        let emails = json!([{ "stream": "marketing", "topic": "news", "messages": [message()] }]);
        let [email] = answer(&emails).expect("it is valid").try_into().expect("one");
        let [finished] = email.messages.try_into().expect("one");
        assert_eq!(finished.octets, b"From: shop@example.com\r\nSubject: x\r\n\r\nHello\r\n");
        let places: Vec<&str> = finished.recipients.iter().map(|(_, param)| param.as_str()).collect();
        let list = "emails[0].messages[0].recipients";
        assert_eq!(places, [format!("{list}[0]"), format!("{list}[2]")], "without repetition");
        assert_eq!((email.email.stream, email.scheduled_at), (Stream::Marketing, None));
    }

    #[test]
    fn base64_is_taken_as_it_is() {
        let mut given = message();
        given["message"] = Value::Null;
        given["message_base64"] = json!(STANDARD.encode(b"A: b\n\xff"));
        let email = answer(&json!([{ "messages": [given] }])).expect("it is valid").remove(0);
        assert_eq!(email.messages[0].octets, b"A: b\n\xff");
    }

    #[test]
    fn every_mistake_is_named() {
        let bad = json!([
            { "messages": [], "topic": "a b" },
            { "messages": [{ "sender": "", "recipients": ["x"], "metadata": { "": "y" } }] },
        ]);
        let found = answer(&bad).expect_err("it is not valid");
        let places: Vec<&str> = found.iter().map(|(param, _)| param.as_str()).collect();
        let one = "emails[1].messages[0]";
        assert_eq!(
            places,
            [
                "emails[0].topic".to_owned(),
                "emails[0].messages".to_owned(),
                format!("{one}.sender"),
                format!("{one}.recipients[0]"),
                format!("{one}.metadata"),
                one.to_owned(),
            ],
        );
        assert_eq!(answer(&json!([])).expect_err("none")[0].0, "emails");
        let mut both = message();
        both["message_base64"] = json!("QQ==");
        assert_eq!(answer(&json!([{ "messages": [both] }])).expect_err("both")[0].0, "emails[0].messages[0]");
    }

    #[test]
    fn labels_of_a_message_are_bounded_together() {
        let mut given = message();
        let long = "v".repeat(1024);
        let metadata: serde_json::Map<String, Value> =
            (0..9).map(|number| (format!("k{number}"), json!(long))).collect();
        given["metadata"] = Value::Object(metadata);
        let found = answer(&json!([{ "messages": [given] }])).expect_err("too long");
        assert_eq!(found[0].0, "emails[0].messages[0].metadata");
    }
}
