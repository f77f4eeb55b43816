//! Delivery reports in words alone: qmail's (QSBMF), those of older mailers, and hand-made ones.

use relevo_mailkit::returned::{ReportedAction, ReportedRecipient};

use crate::fields::{Fields, clean, mailbox};
use crate::status::{MAX_DIAGNOSTIC, MAX_NAME, is_status};

/// Octets of a text that are looked at.
const MAX_TEXT: usize = 64 << 10;
/// Lines of a paragraph that belong to a diagnostic.
const MAX_LINES: usize = 8;

/// Lines that begin the copy of the message.
const COPY: [&str; 7] = [
    "--- below this line is a copy of the message",
    "------ this is a copy of the message",
    "--- below the next line is a copy of the message",
    "----- original message",
    "--- undelivered message follows",
    "--- enclosed is a copy of the message",
    "original message follows",
];

/// Local parts of programs that report.
const REPORTERS: [&str; 5] = ["mailer-daemon", "postmaster", "mail-daemon", "mailerdaemon", "double-bounce"];

/// Words in the subjects of delivery reports, in lower case.
const SUBJECTS: [&str; 18] = [
    "failure notice",
    "undeliver",
    "returned mail",
    "returned to sender",
    "delivery status notification",
    "delivery failure",
    "delivery failed",
    "delivery notification",
    "delivery problem",
    "delivery error",
    "mail delivery",
    "could not be delivered",
    "message not delivered",
    "mail system error",
    "unzustellbar",
    "nicht zustell",
    "no se puede entregar",
    "non remis",
];

/// Words that say that it was given up, in lower case.
const GIVEN_UP: [&str; 12] = [
    "permanent error",
    "permanent fatal error",
    "permanent failure",
    "failed permanently",
    "given up",
    "could not be delivered",
    "couldn't be delivered",
    "wasn't able to deliver",
    "unable to deliver",
    "delivery has failed",
    "konnte nicht zugestellt",
    "no se pudo entregar",
];

/// Words that say that it is tried again, in lower case.
const DELAYED: [&str; 5] = [
    "will be retried",
    "will continue to",
    "will keep trying",
    "no action is required on your part",
    "this is a warning message only",
];

/// A delivery report in words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PlainReport<'t> {
    pub(crate) reporter: String,
    pub(crate) recipient: ReportedRecipient,
    /// The text with the copy of the message.
    pub(crate) returned: &'t str,
}

/// The words of a mailer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    pub(crate) text: String,
    /// Of three digits.
    pub(crate) code: Option<String>,
    pub(crate) status: Option<String>,
}

/// The report, if the message is one.
pub(crate) fn read<'t>(fields: &Fields, subject: &str, text: &'t str) -> Option<PlainReport<'t>> {
    let text = &text[..text.floor_char_boundary(MAX_TEXT)];
    let (words, returned) = before_copy(text);
    let failed = fields.get("x-failed-recipients").and_then(|value| value.split(',').next()).map(mailbox);
    let qmail = words.trim_start().starts_with("Hi. This is the ");
    if failed.is_none() && !qmail && !is_from_reporter(fields) && !has(&SUBJECTS, subject) {
        return None;
    }
    let (address, found) = match qmail_paragraph(words) {
        Some((address, paragraph)) => (address, in_paragraph(paragraph)),
        None => (failed.clone().unwrap_or_default(), diagnostic(words)),
    };
    let action = match () {
        () if has(&DELAYED, words) => ReportedAction::Delayed,
        () if failed.is_some() || qmail || has(&GIVEN_UP, words) => ReportedAction::Failed,
        () => match found.as_ref().and_then(|d| d.code.as_ref().or(d.status.as_ref()))?.as_bytes().first() {
            Some(b'4') => ReportedAction::Delayed,
            _ => ReportedAction::Failed,
        },
    };
    let found = found.unwrap_or_default();
    let recipient = ReportedRecipient {
        original: String::new(),
        address,
        action,
        status: found.status.unwrap_or_default(),
        is_smtp: found.code.is_some(),
        diagnostic: found.text,
        remote: String::new(),
    };
    Some(PlainReport { reporter: reporter(fields, words), recipient, returned })
}

/// The words of a text, and the copy of the message below them.
pub(crate) fn before_copy(text: &str) -> (&str, &str) {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        let line = line.trim().to_lowercase();
        if COPY.iter().any(|start| line.starts_with(start)) {
            return (&text[..at], &text[end..]);
        }
        at = end;
    }
    (text, "")
}

/// The words about a refusal: from the line with a reply or status code to the end of the
/// paragraph.
pub(crate) fn diagnostic(text: &str) -> Option<Diagnostic> {
    let mut lines = text.lines();
    let (first, code, status) = lines.by_ref().find_map(|line| {
        let line = &line[..line.floor_char_boundary(MAX_DIAGNOSTIC)];
        let (at, code, status) = codes(line)?;
        Some((&line[at..], code, status))
    })?;
    let rest = lines.take(MAX_LINES).take_while(|line| !line.trim().is_empty());
    let paragraph: Vec<&str> = std::iter::once(first).chain(rest).collect();
    Some(Diagnostic { text: clean(&paragraph.join(" "), MAX_DIAGNOSTIC), code, status })
}

/// Where the reply or the status code of a line begins, and what they are.
fn codes(line: &str) -> Option<(usize, Option<String>, Option<String>)> {
    let mut status = None;
    let mut reply = None;
    let mut at = 0;
    for word in line.split_inclusive([' ', '\t']) {
        let begin = at;
        at += word.len();
        let plain = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let begin = begin + word.find(plain).unwrap_or(0);
        let (number, tail) = plain.split_at_checked(3).unwrap_or((plain, ""));
        let is_code = number.len() == 3
            && number.starts_with(['4', '5'])
            && number.bytes().all(|b| b.is_ascii_digit())
            && (tail.is_empty() || tail.starts_with('-'));
        if is_code && reply.is_none() && may_begin_reply(line, begin) {
            reply = Some((begin, number.to_owned()));
        }
        let code = tail.strip_prefix('-').filter(|_| is_code).unwrap_or(plain);
        if status.is_none() && is_status(code) && !code.starts_with('2') {
            status = Some((begin, code.to_owned()));
        }
    }
    let begin = reply.iter().chain(&status).map(|(at, _)| *at).min()?;
    Some((begin, reply.map(|(_, code)| code), status.map(|(_, code)| code)))
}

/// Returns true if a number of three digits may be a reply: it begins the line, comes after a mark,
/// or is followed by an enhanced code.
fn may_begin_reply(line: &str, at: usize) -> bool {
    let before = line[..at].trim_end();
    let next = line[at..].split([' ', '-']).nth(1).unwrap_or_default();
    before.is_empty()
        || before.ends_with([':', '(', '[', '<', '>', '"', '\'', '#', ';'])
        || is_status(next.trim_matches(|c: char| !c.is_ascii_digit()))
        || ["said", "error", "reply", "code"].iter().any(|word| before.to_lowercase().ends_with(word))
}

/// The first address of qmail's report and its paragraph: `<address>:` on a line of its own.
fn qmail_paragraph(text: &str) -> Option<(String, &str)> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        at += line.len();
        if let Some(address) = line.trim().strip_suffix(">:").and_then(|line| line.strip_prefix('<'))
            && address.contains('@')
        {
            let rest = &text[at..];
            let end = rest.find("\n\n").or_else(|| rest.find("\r\n\r\n")).unwrap_or(rest.len());
            return Some((mailbox(address), &rest[..end]));
        }
    }
    None
}

/// The words about one recipient: those of the remote server, or else all of them.
fn in_paragraph(paragraph: &str) -> Option<Diagnostic> {
    let found = diagnostic(paragraph);
    if found.as_ref().is_some_and(|found| found.code.is_some()) {
        return found;
    }
    let text = clean(paragraph, MAX_DIAGNOSTIC);
    let status = found.and_then(|found| found.status);
    (!text.is_empty()).then_some(Diagnostic { text, code: None, status })
}

fn has(words: &[&str], text: &str) -> bool {
    let text = text.to_lowercase();
    words.iter().any(|word| text.contains(word))
}

fn is_from_reporter(fields: &Fields) -> bool {
    let from = mailbox(fields.get("from").unwrap_or_default()).to_ascii_lowercase();
    let local = from.split('@').next().unwrap_or_default();
    REPORTERS.contains(&local)
}

/// qmail names itself in the first line; others stand in From.
fn reporter(fields: &Fields, words: &str) -> String {
    let first = words.trim_start().lines().next().unwrap_or_default();
    let named = first.rsplit_once(" at ").filter(|_| first.starts_with("Hi. This is")).map(|(_, name)| name);
    let from = mailbox(fields.get("from").unwrap_or_default());
    let of_from = from.rsplit_once('@').map(|(_, domain)| domain);
    clean(named.map(|name| name.trim_end_matches('.')).or(of_from).unwrap_or_default(), MAX_NAME)
}
