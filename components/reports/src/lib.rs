//! Mail that comes back: delivery status notifications (RFC 3464, RFC 6522, RFC 6533), feedback
//! reports (RFC 5965, RFC 6591), automatic answers (RFC 3834), and everything else.
//!
//! Everything here is a stranger's: texts are bounded and made harmless, and whoever uses the
//! answer decides by the return path and the signatures what it is worth. MIME is `mail-parser`'s.

mod auto;
mod feedback;
mod fields;
mod original;
mod plain;
mod signatures;
mod status;

#[cfg(target_family = "wasm")]
mod guest;

use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders as _};
use relevo_mailkit::returned::{OriginalMessage, ReturnedKind, ReturnedMail};

use fields::{Fields, clean};

/// Octets of a message that are looked at.
pub const MAX_MESSAGE: usize = 4 << 20;
/// Lines that may begin a part. A message with more is not parsed: each part takes memory.
const MAX_DELIMITERS: usize = 1_000;
/// Lines of a message that is parsed.
const MAX_LINES: usize = 100_000;
/// Depth of messages in messages that is looked into.
const MAX_DEPTH: usize = 3;
/// Octets of a subject that are kept.
const MAX_SUBJECT: usize = 200;

/// Reads one message that came back.
#[derive(Debug, Default)]
pub struct Reader(Vec<u8>);

impl Reader {
    /// The next octets of the message. Octets beyond [`MAX_MESSAGE`] are not kept.
    pub fn push(&mut self, chunk: &[u8]) {
        let room = MAX_MESSAGE.saturating_sub(self.0.len());
        self.0.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }

    /// What was read.
    #[must_use]
    pub fn finish(self) -> ReturnedMail {
        read(&self.0)
    }
}

/// Reads a message.
#[must_use]
pub fn read(message: &[u8]) -> ReturnedMail {
    if !is_parsed_within_limits(message) {
        return ReturnedMail::default();
    }
    let Some(message) = MessageParser::default().parse(message) else { return ReturnedMail::default() };
    let fields = Fields::of(&message);
    let parts = Parts::of(&message);
    let known = ReturnedMail {
        original: parts.original(),
        subject: clean(message.subject().unwrap_or_default(), MAX_SUBJECT),
        from_domain: signatures::from_domain(&message),
        key_names: signatures::key_names(&fields),
        received: u32::try_from(fields.all("received").count()).unwrap_or(u32::MAX),
        ..ReturnedMail::default()
    };
    if let Some(status) = parts.status {
        return of_status(status, &parts, known);
    }
    if let Some(feedback) = feedback::read(&fields, &parts) {
        let kind = ReturnedKind::Feedback;
        return ReturnedMail { kind, reporter: feedback.reporter, feedback: Some(feedback.report), ..known };
    }
    if let Some(report) = plain::read(&fields, &known.subject, &parts.text) {
        let original = if known.original == OriginalMessage::default() {
            original::of_text(report.returned)
        } else {
            known.original
        };
        return ReturnedMail {
            kind: ReturnedKind::PlainReport,
            reporter: report.reporter,
            recipients: vec![report.recipient],
            original,
            ..known
        };
    }
    let kind = if auto::is_reply(&fields, &known.subject) || parts.is_disposition {
        ReturnedKind::AutoReply
    } else {
        ReturnedKind::Ordinary
    };
    ReturnedMail { kind, ..known }
}

fn of_status(status: &[u8], parts: &Parts<'_>, known: ReturnedMail) -> ReturnedMail {
    let mut report = status::read(status);
    // Some mailers say only in the text what they heard.
    if let [only] = report.recipients.as_mut_slice()
        && only.diagnostic.is_empty()
        && let Some(words) = plain::diagnostic(plain::before_copy(&parts.text).0)
    {
        (only.diagnostic, only.is_smtp) = (words.text, words.code.is_some());
    }
    let kind = ReturnedKind::DeliveryReport;
    ReturnedMail { kind, reporter: report.reporter, recipients: report.recipients, ..known }
}

fn is_parsed_within_limits(message: &[u8]) -> bool {
    let (mut lines, mut delimiters) = (0, 0);
    for line in message.split(|octet| *octet == b'\n') {
        lines += 1;
        delimiters += usize::from(line.starts_with(b"--"));
    }
    lines <= MAX_LINES && delimiters <= MAX_DELIMITERS
}

/// The parts of a message that matter here.
#[derive(Default)]
struct Parts<'m> {
    /// `message/delivery-status` or its form in UTF-8.
    status: Option<&'m [u8]>,
    /// `message/feedback-report`.
    feedback: Option<&'m [u8]>,
    /// `message/disposition-notification`: somebody read it.
    is_disposition: bool,
    /// The first text.
    text: String,
    /// The returned message.
    message: Option<&'m Message<'m>>,
    /// The header of the returned message.
    header: Option<&'m [u8]>,
}

impl<'m> Parts<'m> {
    fn of(message: &'m Message<'m>) -> Self {
        let mut parts = Self::default();
        let mut message = message;
        for _ in 0..MAX_DEPTH {
            message.parts.iter().for_each(|part| parts.add(part));
            if parts.is_report() {
                break;
            }
            // A report that was forwarded as an attachment, or sits in one more message.
            match parts.message.take() {
                Some(inner) if !parts.has_original_of(inner) => message = inner,
                kept => {
                    parts.message = kept;
                    break;
                }
            }
        }
        parts
    }

    fn is_report(&self) -> bool {
        self.status.is_some() || self.feedback.is_some() || self.is_disposition
    }

    /// Returns true if the inner message is no report itself: then it is the returned one.
    fn has_original_of(&self, inner: &Message<'_>) -> bool {
        let is_report = |part: &MessagePart<'_>| {
            ["delivery-status", "global-delivery-status", "feedback-report"]
                .iter()
                .any(|subtype| part.is_content_type("message", subtype))
        };
        !inner.parts.iter().any(is_report)
    }

    fn add(&mut self, part: &'m MessagePart<'m>) {
        let is = |subtype: &str| part.is_content_type("message", subtype);
        if is("delivery-status") || is("global-delivery-status") {
            self.status.get_or_insert(part.contents());
        } else if is("feedback-report") {
            self.feedback.get_or_insert(part.contents());
        } else if is("disposition-notification") || is("global-disposition-notification") {
            self.is_disposition = true;
        } else if let Some(message) = part.message() {
            self.message.get_or_insert(message);
        } else if part.is_content_type("text", "rfc822-headers") || is("global-headers") {
            self.header.get_or_insert(part.contents());
        } else if let (true, Some(text)) = (self.text.is_empty(), part.text_contents()) {
            text.clone_into(&mut self.text);
        }
    }

    fn original(&self) -> OriginalMessage {
        match (self.message, self.header) {
            (Some(message), _) => original::of(&Fields::of(message)),
            (None, Some(header)) => original::of_text(&String::from_utf8_lossy(header)),
            (None, None) => OriginalMessage::default(),
        }
    }
}

#[cfg(test)]
mod tests;
