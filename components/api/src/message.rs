//! The messages that a request asks for.

use std::collections::BTreeMap;

use relevo_mailkit::address::Address;
use relevo_mailkit::model::{self, ExtraField, MessageEnvelope, TemplateSource};
use serde_json::{Map, Value};

use crate::check::CheckedRequest;
use crate::mailbox::{Mailbox, MailboxList};
use crate::request::{Attachment, EmailRequest};

/// Media types by the ending of a file's name. Other files are `application/octet-stream`.
const MEDIA_TYPES: [(&str, &str); 20] = [
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ics", "text/calendar"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("mp4", "video/mp4"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain"),
    ("webp", "image/webp"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

/// What tells one message from another; made by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageIds {
    /// Seconds since 1970; none: the message gets no Date.
    pub date: Option<i64>,
    /// With angle brackets.
    pub message_id: String,
    /// 16 to 60 letters and digits, unguessable: MIME boundaries are made from it.
    pub boundary_seed: String,
}

/// One message: its recipients share every octet of it.
#[derive(Debug, Clone, PartialEq)]
pub struct OutgoingMessage {
    /// The reverse-path: the author's address.
    pub sender: Address,
    /// The forward-paths, with the paths of the values in the request.
    pub recipients: Vec<(Address, String)>,
    /// Subject and bodies.
    pub content: MessageContent,
    /// Metadata of the request with those of the recipient over them.
    pub metadata: BTreeMap<String, String>,
    /// Where the variables of the content stand in the request: `template.variables`, or those of
    /// the recipient.
    pub variables_param: String,
    to: Vec<model::Mailbox>,
}

/// Subject and bodies of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum MessageContent {
    /// As they are.
    Literal(TemplateSource),
    /// Templates of the request and the variables for them, a JSON object.
    Inline(TemplateSource, Map<String, Value>),
    /// A published template, and the variables for it.
    Stored {
        /// Id or alias.
        id: String,
        /// A JSON object.
        variables: Map<String, Value>,
        /// In place of the template's.
        subject: Option<String>,
    },
}

/// The messages of a request: one for each of `recipients`, otherwise one for all. Each is made
/// when it is asked for: all of them together would hold the content as often as there are
/// recipients.
pub fn messages(checked: &CheckedRequest) -> impl Iterator<Item = OutgoingMessage> {
    let request = &checked.request;
    let shared = request.recipients.is_empty().then(|| OutgoingMessage {
        sender: checked.from.clone(),
        recipients: checked.addresses.iter().map(|r| (r.address.clone(), r.param.clone())).collect(),
        content: content(request, None),
        metadata: request.metadata.clone(),
        variables_param: "template.variables".to_owned(),
        to: mailboxes(&request.to),
    });
    let each = checked.addresses.iter().zip(&request.recipients).enumerate();
    shared.into_iter().chain(each.map(move |(index, (recipient, personal))| {
        let mut metadata = request.metadata.clone();
        metadata.extend(personal.metadata.clone());
        let name = personal.name.clone().filter(|name| !name.trim().is_empty());
        OutgoingMessage {
            sender: checked.from.clone(),
            recipients: vec![(recipient.address.clone(), recipient.param.clone())],
            content: content(request, Some(&personal.variables)),
            metadata,
            variables_param: format!("recipients[{index}].variables"),
            to: vec![model::Mailbox { name, address: recipient.address.to_string() }],
        }
    }))
}

impl OutgoingMessage {
    /// The header for the `template` component. `attachments` has the octets of every attachment of
    /// the request.
    #[must_use]
    pub fn envelope(
        &self,
        request: &EmailRequest,
        attachments: &[&[u8]],
        ids: &MessageIds,
    ) -> MessageEnvelope {
        MessageEnvelope {
            from: mailbox(&request.from),
            sender: None,
            to: self.to.clone(),
            cc: if request.recipients.is_empty() { mailboxes(&request.cc) } else { Vec::new() },
            reply_to: mailboxes(&request.reply_to),
            fields: request
                .headers
                .iter()
                .map(|(name, value)| ExtraField { name: name.clone(), value: value.clone() })
                .collect(),
            attachments: request.attachments.iter().zip(attachments).map(attachment).collect(),
            date: ids.date,
            message_id: ids.message_id.clone(),
            boundary_seed: ids.boundary_seed.clone(),
        }
    }
}

fn content(request: &EmailRequest, personal: Option<&Map<String, Value>>) -> MessageContent {
    if let Some(template) = &request.template {
        let mut variables = template.variables.clone();
        variables.extend(personal.cloned().unwrap_or_default());
        return MessageContent::Stored {
            id: template.id.clone(),
            variables,
            subject: request.subject.clone(),
        };
    }
    let source = TemplateSource {
        subject: request.subject.clone().unwrap_or_default(),
        html: request.html.clone(),
        text: request.text.clone(),
        ..TemplateSource::default()
    };
    match personal {
        None => MessageContent::Literal(source),
        Some(variables) => MessageContent::Inline(source, variables.clone()),
    }
}

fn mailbox(mailbox: &Mailbox) -> model::Mailbox {
    model::Mailbox { name: mailbox.name.clone(), address: mailbox.email.clone() }
}

fn mailboxes(list: &MailboxList) -> Vec<model::Mailbox> {
    list.0.iter().map(mailbox).collect()
}

fn attachment((attachment, octets): (&Attachment, &&[u8])) -> model::Attachment {
    let name = attachment.filename.clone().unwrap_or_default();
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    let by_ending = MEDIA_TYPES.iter().find(|(known, _)| *known == ending);
    let media_type = match (&attachment.content_type, by_ending) {
        (Some(given), _) => given.split(';').next().unwrap_or_default().trim().to_owned(),
        (None, Some((_, known))) => (*known).to_owned(),
        (None, None) => "application/octet-stream".to_owned(),
    };
    model::Attachment {
        file_name: name,
        media_type,
        content_id: attachment.content_id.clone(),
        content: octets.to_vec(),
    }
}
