//! The message: header fields in a fixed order, then the parts.

use mail_builder::MessageBuilder;
use mail_builder::headers::HeaderType;
use mail_builder::headers::date::Date;
use relevo_mailkit::model::{MessageEnvelope, Rendered, TemplateError};

use crate::failure::invalid;
use crate::{fields, parts};

/// Seconds from 1970 to the end of 9999: what a Date field can say without obsolete forms.
const DATES: std::ops::RangeInclusive<i64> = 0..=253_402_300_799;

/// Builds a message with CRLF line ends. The same input gives the same octets.
///
/// # Errors
/// `invalid-field` with the name of the field that cannot go into a message.
pub fn build(envelope: &MessageEnvelope, content: &Rendered) -> Result<Vec<u8>, TemplateError> {
    check_seed(&envelope.boundary_seed, content)?;
    let mut headers: Vec<(String, HeaderType<'static>)> = Vec::new();
    let date = envelope.date.unwrap_or_default();
    if !DATES.contains(&date) {
        return Err(invalid("date", "before 1970 or after 9999"));
    }
    headers.push(("Date".into(), Date::new(date).into()));
    headers.push(("From".into(), fields::addresses(vec![fields::mailbox("from", &envelope.from)?])));
    if let Some(sender) = &envelope.sender {
        headers.push(("Sender".into(), fields::addresses(vec![fields::mailbox("sender", sender)?])));
    }
    for (name, place, list) in
        [("To", "to", &envelope.to), ("Cc", "cc", &envelope.cc), ("Reply-To", "reply-to", &envelope.reply_to)]
    {
        if let Some(list) = fields::mailboxes(place, list)? {
            headers.push((name.into(), list));
        }
    }
    headers.push(("Subject".into(), fields::subject(&content.subject)?));
    headers.push(("Message-ID".into(), fields::message_id(&envelope.message_id)?));
    for (index, field) in envelope.fields.iter().enumerate() {
        check_single(envelope, index)?;
        headers.push((field.name.clone(), fields::extra(index, field)?));
    }
    let body = parts::tree(content, &envelope.attachments, &envelope.boundary_seed)?;
    let builder = headers.into_iter().fold(MessageBuilder::new().body(body), |b, (n, v)| b.header(n, v));
    let mut message = Vec::new();
    builder.serialize(&mut message);
    if !message.ends_with(b"\r\n") {
        message.extend_from_slice(b"\r\n");
    }
    if envelope.date.is_none() {
        remove_first_line(&mut message);
    }
    Ok(message)
}

/// The builder puts a Date of its own into a message that has none, so the first field is always one.
fn remove_first_line(message: &mut Vec<u8>) {
    if let Some(end) = message.iter().position(|octet| *octet == b'\n') {
        message.drain(..=end);
    }
}

/// Boundaries are made from the seed; base64 and quoted-printable cannot hold `-a`, but plain text
/// can.
pub(crate) fn check_seed(seed: &str, content: &Rendered) -> Result<(), TemplateError> {
    if !(16..=60).contains(&seed.len()) || !seed.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(invalid("boundary-seed", "not 16 to 60 letters and digits"));
    }
    if content.text.contains(seed) || content.html.as_ref().is_some_and(|h| h.contains(seed)) {
        return Err(invalid("boundary-seed", "it occurs in the content"));
    }
    Ok(())
}

/// RFC 5322 section 3.6: these may occur once.
fn check_single(envelope: &MessageEnvelope, index: usize) -> Result<(), TemplateError> {
    let Some((field, before)) = envelope.fields.get(..=index).and_then(<[_]>::split_last) else {
        return Ok(());
    };
    let single = ["in-reply-to", "references"].iter().any(|n| field.name.eq_ignore_ascii_case(n));
    if single && before.iter().any(|f| f.name.eq_ignore_ascii_case(&field.name)) {
        return Err(invalid(&format!("fields[{index}]"), "given twice"));
    }
    Ok(())
}
