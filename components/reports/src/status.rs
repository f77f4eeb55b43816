//! `message/delivery-status` (RFC 3464) and `message/global-delivery-status` (RFC 6533).

use relevo_mailkit::returned::{ReportedAction, ReportedRecipient};

use crate::fields::{Fields, MAX_ADDRESS, clean};

/// Octets of a diagnostic that are kept.
pub(crate) const MAX_DIAGNOSTIC: usize = 1_024;
/// Octets of the name of a mailer that are kept.
pub(crate) const MAX_NAME: usize = 255;

/// What a delivery status says.
#[derive(Debug, Default)]
pub(crate) struct DeliveryStatus {
    pub(crate) reporter: String,
    pub(crate) recipients: Vec<ReportedRecipient>,
}

pub(crate) fn read(status: &[u8]) -> DeliveryStatus {
    let groups = Fields::groups(status);
    let reporter = groups.iter().find_map(|g| g.get("reporting-mta")).map(name);
    let of_recipients = groups.iter().filter(|g| {
        g.get("final-recipient").is_some()
            || g.get("original-recipient").is_some()
            || g.get("action").is_some()
    });
    let recipients = of_recipients.map(recipient).collect();
    DeliveryStatus { reporter: reporter.unwrap_or_default(), recipients }
}

fn recipient(group: &Fields) -> ReportedRecipient {
    let status = group.get("status").and_then(status_code).unwrap_or_default();
    let word = group.get("action").and_then(|value| value.split([' ', '(', ';']).next()).unwrap_or_default();
    let (kind, diagnostic) = typed(group.get("diagnostic-code").unwrap_or_default());
    ReportedRecipient {
        original: group.get("original-recipient").map(address).unwrap_or_default(),
        address: group.get("final-recipient").map(address).unwrap_or_default(),
        action: action(word, &status),
        is_smtp: !diagnostic.is_empty() && kind.eq_ignore_ascii_case("smtp"),
        diagnostic: clean(diagnostic, MAX_DIAGNOSTIC),
        remote: group.get("remote-mta").map(name).unwrap_or_default(),
        status,
    }
}

/// The action by its word. Without one the class of the status tells.
fn action(word: &str, status: &str) -> ReportedAction {
    match word.to_ascii_lowercase().as_str() {
        "failed" | "failure" => ReportedAction::Failed,
        "delayed" => ReportedAction::Delayed,
        "delivered" => ReportedAction::Delivered,
        "relayed" => ReportedAction::Relayed,
        "expanded" => ReportedAction::Expanded,
        _ => match status.as_bytes().first() {
            Some(b'5') => ReportedAction::Failed,
            Some(b'4') => ReportedAction::Delayed,
            _ => ReportedAction::Unknown,
        },
    }
}

/// The first word that is a status code; comments may stand around it.
fn status_code(value: &str) -> Option<String> {
    let words = value.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    words.filter(|word| is_status(word)).map(str::to_owned).next()
}

/// Class, subject and detail (RFC 3463 section 2).
pub(crate) fn is_status(word: &str) -> bool {
    let numbers: Vec<&str> = word.split('.').collect();
    let [class, subject, detail] = numbers.as_slice() else { return false };
    let short = |number: &str| (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    ["2", "4", "5"].contains(class) && short(subject) && short(detail)
}

/// A type and what follows its semicolon; without one all of it.
fn typed(value: &str) -> (&str, &str) {
    match value.split_once(';') {
        Some((kind, rest)) if !kind.trim().contains(' ') => (kind.trim(), rest.trim()),
        _ => ("", value.trim()),
    }
}

fn name(value: &str) -> String {
    clean(typed(value).1, MAX_NAME)
}

/// An address without its type. In `utf-8` addresses `\x{E9}` stands for a character (RFC 6533
/// section 3).
fn address(value: &str) -> String {
    let (kind, text) = typed(value);
    let text = text.trim_start_matches('<').trim_end_matches('>');
    let decoded = if kind.eq_ignore_ascii_case("utf-8") { unescaped(text) } else { text.to_owned() };
    clean(&decoded, MAX_ADDRESS)
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escaped)) = rest.split_once("\\x{") {
        out.push_str(before);
        let character = escaped.split_once('}').and_then(|(hex, after)| {
            let number = u32::from_str_radix(hex, 16).ok().filter(|_| hex.len() <= 6)?;
            Some((char::from_u32(number)?, after))
        });
        match character {
            Some((c, after)) => {
                out.push(c);
                rest = after;
            }
            None => {
                out.push_str("\\x{");
                rest = escaped;
            }
        }
    }
    out.push_str(rest);
    out
}
