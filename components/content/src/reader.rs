//! One message, taken apart for people: decoded header fields, HTML, text, attachments.

use mail_parser::{HeaderName, Message, MessageParser, MessagePart, MimeHeaders, PartType};
use relevo_mailkit::model::{AttachmentInfo, BodyText, DecodedField, MessageParts};
use relevo_mailkit::text::is_unsafe;

use crate::inspector::MessageBuffer;

/// Octets of HTML, and of text.
const MAX_TEXT: usize = 1 << 20;
/// Header fields.
const MAX_FIELDS: usize = 1_000;
/// Octets of the value of a header field.
const MAX_VALUE: usize = 64 << 10;
/// Attachments.
const MAX_ATTACHMENTS: usize = 1_000;
/// Octets of a name that an attachment has.
const MAX_NAME: usize = 1_000;

/// Takes a message in chunks.
#[derive(Debug, Default)]
pub struct Reader(MessageBuffer);

impl Reader {
    /// Takes the next octets.
    pub fn push(&mut self, chunk: &[u8]) {
        self.0.push(chunk);
    }

    /// The parts of the message.
    ///
    /// # Errors
    /// The message has more octets than [`crate::MAX_MESSAGE`], or it is none.
    pub fn parts(self) -> Result<MessageParts, String> {
        let octets = self.0.into_octets()?;
        let message = parse(&octets)?;
        let fields = fields(&message);
        let attachments: Vec<_> = message.attachments().take(MAX_ATTACHMENTS).map(described).collect();
        let is_cut = message.attachment_count() > attachments.len() || message.headers().len() > fields.len();
        Ok(MessageParts {
            fields,
            html: body(&message, &message.html_body, |part| match &part.body {
                PartType::Html(html) => Some(html.as_ref()),
                _ => None,
            }),
            text: body(&message, &message.text_body, |part| match &part.body {
                PartType::Text(text) => Some(text.as_ref()),
                _ => None,
            }),
            attachments,
            truncated: is_cut,
        })
    }

    /// The decoded octets of an attachment.
    ///
    /// # Errors
    /// As for [`Self::parts`].
    pub fn attachment(self, number: u32) -> Result<Option<Vec<u8>>, String> {
        let octets = self.0.into_octets()?;
        Ok(parse(&octets)?.attachment(number).map(|part| part.contents().to_vec()))
    }
}

fn parse(octets: &[u8]) -> Result<Message<'_>, String> {
    MessageParser::default().parse(octets).ok_or_else(|| "it is not a message".to_owned())
}

/// The fields of the message itself, as they stand but for encoded words and folds.
fn fields(message: &Message<'_>) -> Vec<DecodedField> {
    // A parser that has no field of its own parses each as what it is.
    let raw = MessageParser::new().header_text(HeaderName::Subject).default_header_text();
    let parsed = raw.parse_headers(message.raw_message());
    let Some(parsed) = parsed else { return Vec::new() };
    let of = |header: &mail_parser::Header<'_>| DecodedField {
        name: clean(header.name(), MAX_NAME),
        value: clean(header.value().as_text().unwrap_or_default(), MAX_VALUE),
    };
    parsed.headers().iter().take(MAX_FIELDS).map(of).collect()
}

/// The bodies of one kind, one after the other.
fn body<'m>(
    message: &'m Message<'m>,
    numbers: &[u32],
    of_kind: impl Fn(&'m MessagePart<'m>) -> Option<&'m str>,
) -> Option<BodyText> {
    let mut found: Option<BodyText> = None;
    for text in numbers.iter().filter_map(|number| message.part(*number)).filter_map(of_kind) {
        let body = found.get_or_insert_with(BodyText::default);
        let kept = cut(text, MAX_TEXT - body.text.len());
        body.text.push_str(kept);
        body.truncated |= kept.len() < text.len();
    }
    found
}

fn described(part: &MessagePart<'_>) -> AttachmentInfo {
    let content_type = part.content_type().map_or_else(
        || match &part.body {
            PartType::Message(_) => "message/rfc822".to_owned(),
            PartType::Text(_) => "text/plain".to_owned(),
            _ => "application/octet-stream".to_owned(),
        },
        |kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("octet-stream")).to_ascii_lowercase(),
    );
    let disposition = part.content_disposition();
    let is_inline = match disposition {
        Some(disposition) => disposition.is_inline(),
        None => part.content_id().is_some(),
    };
    AttachmentInfo {
        filename: part.attachment_name().map(|name| clean(name, MAX_NAME)),
        content_type: clean(&content_type, MAX_NAME),
        size: part.contents().len() as u64,
        inline: is_inline,
        content_id: part.content_id().map(|id| clean(id.trim_matches(['<', '>']), MAX_NAME)),
    }
}

/// On one line, without what makes a terminal or a reader see something else.
fn clean(text: &str, max: usize) -> String {
    cut(text.trim(), max).chars().filter(|c| !is_unsafe(*c)).collect()
}

/// The beginning of a text, of at most `max` octets.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests;
