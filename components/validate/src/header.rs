//! Header blocks: fields, folding, line rules (RFC 5322 section 2.2).

use relevo_mailkit::model::Span;

use crate::rules::{self, Checked};

/// Octets of a header block.
pub(crate) const MAX_HEADER: usize = relevo_mailkit::signing::MAX_SUBMITTED_HEADER;
/// Fields of a header block.
const MAX_FIELDS: usize = 10_000;
/// Octets of a line without its CRLF (RFC 5322 section 2.1.1).
pub(crate) const MAX_LINE: usize = 998;

/// The fields that some rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    From,
    Sender,
    ReplyTo,
    To,
    Cc,
    Bcc,
    Date,
    MessageId,
    InReplyTo,
    References,
    Subject,
    ResentFrom,
    ResentSender,
    ResentTo,
    ResentCc,
    ResentBcc,
    ResentDate,
    ResentMessageId,
    ReturnPath,
    Received,
    ContentLength,
    AuthenticationResults,
    DkimSignature,
    MimeVersion,
    ContentType,
    ContentTransferEncoding,
    ContentDisposition,
    ContentId,
    ContentDescription,
    Other,
}

/// A longer name is none of ours.
const LONGEST: usize = 25;

impl Name {
    fn of(name: &[u8]) -> Self {
        let mut lower = [0; LONGEST];
        let Some(lower) = lower.get_mut(..name.len()) else { return Self::Other };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        match &*lower {
            b"from" => Self::From,
            b"sender" => Self::Sender,
            b"reply-to" => Self::ReplyTo,
            b"to" => Self::To,
            b"cc" => Self::Cc,
            b"bcc" => Self::Bcc,
            b"date" => Self::Date,
            b"message-id" => Self::MessageId,
            b"in-reply-to" => Self::InReplyTo,
            b"references" => Self::References,
            b"subject" => Self::Subject,
            b"resent-from" => Self::ResentFrom,
            b"resent-sender" => Self::ResentSender,
            b"resent-to" => Self::ResentTo,
            b"resent-cc" => Self::ResentCc,
            b"resent-bcc" => Self::ResentBcc,
            b"resent-date" => Self::ResentDate,
            b"resent-message-id" => Self::ResentMessageId,
            b"return-path" => Self::ReturnPath,
            b"received" => Self::Received,
            b"content-length" => Self::ContentLength,
            b"authentication-results" => Self::AuthenticationResults,
            b"dkim-signature" => Self::DkimSignature,
            b"mime-version" => Self::MimeVersion,
            b"content-type" => Self::ContentType,
            b"content-transfer-encoding" => Self::ContentTransferEncoding,
            b"content-disposition" => Self::ContentDisposition,
            b"content-id" => Self::ContentId,
            b"content-description" => Self::ContentDescription,
            _ => Self::Other,
        }
    }
}

/// One field of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: Name,
    start: usize,
    colon: usize,
    /// After the CRLF.
    end: usize,
}

/// A header block that was read.
pub(crate) struct Block<'a> {
    bytes: &'a [u8],
    base: u64,
    pub(crate) fields: Vec<Field>,
    /// Octets above 127.
    pub(crate) eight_bit: bool,
}

impl<'a> Block<'a> {
    /// Splits `bytes`, whole lines with CRLF, into fields. `base` is the offset of the block in the
    /// message. `foreign` blocks belong to an enclosed message: lines that are no fields are
    /// skipped there, because the enclosed message is only carried.
    pub(crate) fn read(bytes: &'a [u8], base: u64, foreign: bool) -> Checked<Self> {
        let mut block = Self { bytes, base, fields: Vec::with_capacity(24), eight_bit: !bytes.is_ascii() };
        let mut at = 0;
        let mut number = 0;
        let mut skipped = true;
        while at < bytes.len() {
            number += 1;
            let end = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |i| at + i + 1);
            let line = &bytes[at..end - usize::min(2, end - at)];
            if line.is_empty() {
                break;
            }
            check_line(line, number, foreign)?;
            match line_kind(line) {
                LineKind::Continuation { blank } => {
                    if (skipped || blank) && !foreign {
                        let rule = if skipped { rules::FIELD_SYNTAX } else { rules::BLANK_CONTINUATION };
                        return Err(rule.at(format!("line {number} of the header")));
                    }
                    if let (false, Some(last)) = (skipped, block.fields.last_mut()) {
                        last.end = end;
                    }
                }
                LineKind::Field { colon } => {
                    skipped = false;
                    if block.fields.len() == MAX_FIELDS {
                        return Err(rules::HEADER_TOO_LARGE.at(""));
                    }
                    let name = Name::of(&line[..colon]);
                    block.fields.push(Field { name, start: at, colon: at + colon, end });
                }
                LineKind::Neither if foreign => skipped = true,
                LineKind::Neither => {
                    return Err(rules::FIELD_SYNTAX.at(format!("line {number} of the header")));
                }
            }
            at = end;
        }
        Ok(block)
    }

    /// The value, folded as it stands, without its last CRLF.
    pub(crate) fn value(&self, field: &Field) -> &'a [u8] {
        &self.bytes[field.colon + 1..field.end - 2]
    }

    /// Offset of the value in the message.
    pub(crate) fn value_offset(&self, field: &Field) -> u64 {
        self.base + field.colon as u64 + 1
    }

    /// The name as it stands.
    pub(crate) fn name(&self, field: &Field) -> &'a [u8] {
        &self.bytes[field.start..field.colon]
    }

    /// The whole field without CRLFs.
    pub(crate) fn unfolded(&self, field: &Field) -> Vec<u8> {
        unfold(&self.bytes[field.start..field.end])
    }

    /// The whole field with its CRLF.
    pub(crate) fn span(&self, field: &Field) -> Span {
        Span { offset: self.base + field.start as u64, length: (field.end - field.start) as u64 }
    }
}

enum LineKind {
    Continuation { blank: bool },
    Field { colon: usize },
    Neither,
}

/// RFC 5322 section 2.2. White space before the colon (section 4.5) is refused on purpose: readers
/// differ about it.
fn line_kind(line: &[u8]) -> LineKind {
    if matches!(line[0], b' ' | b'\t') {
        return LineKind::Continuation { blank: line.iter().all(|b| matches!(b, b' ' | b'\t')) };
    }
    match memchr::memchr(b':', line) {
        Some(colon) if colon > 0 && line[..colon].iter().all(|b| (b'!'..=b'~').contains(b)) => {
            LineKind::Field { colon }
        }
        _ => LineKind::Neither,
    }
}

fn check_line(line: &[u8], number: usize, foreign: bool) -> Checked<()> {
    if line.len() > MAX_LINE {
        let rule = if foreign { rules::LONG_LINE_SEALED } else { rules::HEADER_LINE_TOO_LONG };
        return Err(rule.at(format!("line {number} of the header")));
    }
    if !foreign && line.iter().any(|&b| (b < b' ' && b != b'\t') || b == 0x7f) {
        return Err(rules::HEADER_CONTROL.at(format!("line {number} of the header")));
    }
    Ok(())
}

/// A value as a refusal shows it.
pub(crate) fn shown(value: &[u8]) -> Vec<u8> {
    unfold(value.trim_ascii())
}

/// Without CR and LF (RFC 5322 section 2.2.3).
pub(crate) fn unfold(value: &[u8]) -> Vec<u8> {
    value.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_spans() {
        let bytes = b"From: a@b\r\nX-A:\r\n b\r\n\tc\r\n\r\nbody: x\r\n";
        let block = Block::read(bytes, 100, false).unwrap();
        assert_eq!(block.fields.len(), 2);
        assert_eq!(block.fields[0].name, Name::From);
        assert_eq!(block.value(&block.fields[1]), b"\r\n b\r\n\tc");
        assert_eq!(block.unfolded(&block.fields[1]), b"X-A: b\tc");
        assert_eq!(block.span(&block.fields[1]), Span { offset: 111, length: 14 });
    }

    #[test]
    fn lines_that_are_not_fields() {
        for (text, rule) in [
            (&b" x\r\n"[..], "field-syntax"),
            (b"From : x\r\n", "field-syntax"),
            (b": x\r\n", "field-syntax"),
            (b"no colon\r\n", "field-syntax"),
            (b"X: a\r\n \t\r\n", "blank-continuation"),
            (b"X: a\x1b\r\n", "header-control"),
            (b"X\xc3\xa9: a\r\n", "field-syntax"),
        ] {
            assert_eq!(Block::read(text, 0, false).map(|_| ()).unwrap_err().rule, rule);
            assert!(Block::read(text, 0, true).is_ok(), "{rule}: carried messages are not judged");
        }
    }
}
