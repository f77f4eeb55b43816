//! The MIME parts of a message that we build (RFC 2046, RFC 2387, RFC 2183).

use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::{BodyPart, MimePart};
use relevo_mailkit::model::{Attachment, Rendered, TemplateError};

use crate::failure::invalid;
use crate::fields::is_identifier;

/// Octets of a file name.
const MAX_FILE_NAME: usize = 1024;

/// The tree of parts: mixed > related > alternative, as far as needed. Boundaries are the seed and
/// a letter: all of one length, so that none begins with another.
pub(crate) fn tree(
    content: &Rendered,
    attachments: &[Attachment],
    seed: &str,
) -> Result<MimePart<'static>, TemplateError> {
    let (mut inline, mut attached) = (Vec::new(), Vec::new());
    for (index, attachment) in attachments.iter().enumerate() {
        let part = attachment_part(index, attachment)?;
        // Without HTML nothing can show it.
        if attachment.content_id.is_some() && content.html.is_some() {
            inline.push(part);
        } else {
            attached.push(part);
        }
    }
    let mut root = body(content, seed);
    if !inline.is_empty() {
        let shown = if is_alternative(content) { "multipart/alternative" } else { "text/html" };
        inline.insert(0, root);
        root = multipart("multipart/related", seed, 'r', inline, Some(shown));
    }
    if !attached.is_empty() {
        attached.insert(0, root);
        root = multipart("multipart/mixed", seed, 'm', attached, None);
    }
    Ok(root)
}

fn is_alternative(content: &Rendered) -> bool {
    content.html.is_some() && !content.text.trim().is_empty()
}

fn body(content: &Rendered, seed: &str) -> MimePart<'static> {
    match &content.html {
        None => text("text/plain", &content.text),
        Some(html) if !is_alternative(content) => text("text/html", html),
        Some(html) => {
            let parts = vec![text("text/plain", &content.text), text("text/html", html)];
            multipart("multipart/alternative", seed, 'a', parts, None)
        }
    }
}

fn multipart(
    kind: &'static str,
    seed: &str,
    letter: char,
    parts: Vec<MimePart<'static>>,
    shown: Option<&'static str>,
) -> MimePart<'static> {
    let mut content_type = ContentType::new(kind).attribute("boundary", format!("{seed}-{letter}"));
    if let Some(shown) = shown {
        content_type = content_type.attribute("type", shown);
    }
    MimePart::new(content_type, BodyPart::Multipart(parts))
}

fn text(kind: &'static str, text: &str) -> MimePart<'static> {
    let content_type = ContentType::new(kind).attribute("charset", "utf-8");
    MimePart::new(content_type, BodyPart::Text(lines(text).into()))
}

/// Every line ended by CRLF, the last one too; control characters that no line of mail may have
/// (NUL above all) become U+FFFD, so that it is seen that something was there.
fn lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 32 + 2);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => {
                chars.next_if_eq(&'\n');
                out.push_str("\r\n");
            }
            '\n' => out.push_str("\r\n"),
            '\t' => out.push('\t'),
            c if c.is_ascii_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    if !out.ends_with("\r\n") {
        out.push_str("\r\n");
    }
    out
}

fn attachment_part(index: usize, attachment: &Attachment) -> Result<MimePart<'static>, TemplateError> {
    let place = |field: &str| format!("attachments[{index}].{field}");
    let name = attachment.file_name.as_str();
    if name.contains(char::is_control) || name.len() > MAX_FILE_NAME {
        return Err(invalid(&place("file-name"), "a control character, or more than 1024 octets"));
    }
    if name.is_empty() && attachment.content_id.is_none() {
        return Err(invalid(&place("file-name"), "empty"));
    }
    let media_type = attachment.media_type.to_ascii_lowercase();
    if !is_media_type(&media_type) {
        return Err(invalid(&place("media-type"), "not type/subtype, or multipart or message"));
    }
    let kind = if attachment.content_id.is_some() { "inline" } else { "attachment" };
    let mut disposition = ContentType::new(kind);
    if !name.is_empty() {
        disposition = disposition.attribute("filename", name.to_owned());
    }
    let content = BodyPart::Binary(attachment.content.clone().into());
    let mut part =
        MimePart::new(ContentType::new(media_type), content).header("Content-Disposition", disposition);
    if let Some(id) = &attachment.content_id {
        if !is_identifier(id) {
            return Err(invalid(&place("content-id"), "not an identifier"));
        }
        part = part.header("Content-ID", Raw::new(format!("<{id}>")));
    }
    Ok(part)
}

/// RFC 6838 section 4.2. The composite types have structure of their own and may not be base64 (RFC
/// 2045 section 6.4).
fn is_media_type(media_type: &str) -> bool {
    let is_name = |s: &str| {
        (1..=64).contains(&s.len())
            && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    media_type
        .split_once('/')
        .is_some_and(|(main, sub)| is_name(main) && is_name(sub) && !matches!(main, "multipart" | "message"))
}
