//! What a bounce says to a person.

use relevo_mailkit::reply::EnhancedCode;
use relevo_queue::{LastAttempt, Millis, ReportKind};

use super::report::ReportEntry;
use crate::outcome::in_words;
use crate::text::remote_text;

/// What the whole explanation is about.
pub(super) struct About<'a> {
    pub(super) hostname: &'a str,
    pub(super) subject: &'a str,
    pub(super) message_id: &'a str,
    pub(super) accepted: &'a str,
    pub(super) queue_id: &'a str,
    pub(super) waited: Millis,
    /// Until when what waits is tried again.
    pub(super) tried_until: &'a str,
}

/// The order in which a report tells what became of recipients: the worst first.
const ORDER: [ReportKind; 3] = [ReportKind::Failed, ReportKind::Delayed, ReportKind::Relayed];

/// The subject of a report: of the worst that it tells.
pub(super) fn subject(entries: &[ReportEntry]) -> &'static str {
    let worst = ORDER.into_iter().find(|kind| entries.iter().any(|entry| entry.kind == *kind));
    match worst {
        Some(ReportKind::Delayed) => "Your message is delayed",
        Some(ReportKind::Relayed) => "Your message was relayed",
        Some(ReportKind::Failed) | None => "Your message could not be delivered",
    }
}

/// The text/plain part, with CRLF.
pub(super) fn explain(about: &About<'_>, entries: &[ReportEntry]) -> String {
    let mut text = Lines::default();
    text.line(&format!("This is the mail relay {}.", about.hostname));
    for kind in ORDER {
        let of_kind: Vec<&ReportEntry> = entries.iter().filter(|entry| entry.kind == kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        text.line("");
        text.line(&introduction(kind, of_kind.len(), about));
        for entry in of_kind {
            recipient(&mut text, entry, about);
        }
    }
    text.line("");
    text.line("The message:");
    if !about.subject.is_empty() {
        text.line(&format!("  Subject: {}", about.subject));
    }
    text.line(&format!("  Accepted: {}", about.accepted));
    if !about.message_id.is_empty() {
        text.line(&format!("  Message-ID: {}", about.message_id));
    }
    text.line(&format!("  Queue id: {}", about.queue_id));
    text.0
}

fn introduction(kind: ReportKind, count: usize, about: &About<'_>) -> String {
    let one = count == 1;
    let recipients =
        if one { "the recipient below".to_owned() } else { format!("the {count} recipients below") };
    match kind {
        ReportKind::Failed => format!(
            "Your message could not be delivered to {recipients}. It will not be tried again{}.",
            if one { "" } else { " for them" }
        ),
        ReportKind::Delayed => format!(
            "Your message is not yet delivered to {recipients}. It is tried again until {}. You need not send it again.",
            about.tried_until
        ),
        ReportKind::Relayed => format!(
            "Your message was handed on to the next mail server for {recipients}. That server may not report what becomes of it."
        ),
    }
}

fn recipient(text: &mut Lines, entry: &ReportEntry, about: &About<'_>) {
    text.line("");
    text.line(&format!("<{}>", entry.address));
    text.line(&format!("  What happened: {}", happened(entry, about.waited)));
    if !entry.why.text.is_empty() {
        let said = if entry.why.code.is_some() { "What it said" } else { "Details" };
        text.line(&format!("  {said}: {}", said_text(&entry.why)));
    }
    if let (Some(answer), Some(_)) = (&entry.classification, entry.why.code) {
        text.line(&format!("  What it means: {}", answer.explanation.en));
    }
    if entry.kind == ReportKind::Failed {
        text.line(&format!("  What to do: {}", advice(&entry.why)));
    }
}

/// Lines of at most 76 characters where spaces allow it; continued lines of what is indented are
/// indented by two more.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, text: &str) {
        let indent = text.len() - text.trim_start_matches(' ').len();
        let hanging = if indent == 0 { 0 } else { indent + 2 };
        let mut column = 0;
        for word in remote_text(text).split(' ').filter(|w| !w.is_empty()) {
            for (n, piece) in pieces(word).enumerate() {
                let width = piece.chars().count();
                if column == 0 {
                    self.0.push_str(&" ".repeat(indent));
                    column = indent;
                } else if n > 0 || column + 1 + width > 76 {
                    self.0.push_str("\r\n");
                    self.0.push_str(&" ".repeat(hanging));
                    column = hanging;
                } else {
                    self.0.push(' ');
                    column += 1;
                }
                self.0.push_str(piece);
                column += width;
            }
        }
        self.0.push_str("\r\n");
    }
}

/// A word in pieces of at most 240 characters.
pub(super) fn pieces(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = rest.char_indices().nth(240).map_or(rest.len(), |(at, _)| at);
        let (piece, tail) = rest.split_at(at);
        rest = tail;
        Some(piece)
    })
}

fn said_text(why: &LastAttempt) -> String {
    match why.code {
        Some(code) => format!("{code} {}", why.text),
        None => why.text.clone(),
    }
}

fn happened(entry: &ReportEntry, waited: Millis) -> String {
    let why = &entry.why;
    let host = match (&why.host, why.ip) {
        (Some(host), Some(ip)) => format!("{host} [{ip}]"),
        (Some(host), None) => host.clone(),
        _ => String::new(),
    };
    match (entry.kind, host.is_empty()) {
        (ReportKind::Relayed, false) => return format!("the mail server {host} took it."),
        (ReportKind::Relayed, true) => return "the next mail server took it.".to_owned(),
        (ReportKind::Delayed, _) if class(&why.status) == (4, 7) => {
            return "the time that you gave for its delivery is over.".to_owned();
        }
        (ReportKind::Delayed, false) if why.code.is_some() => {
            return format!("the mail server {host} did not take it yet.");
        }
        (ReportKind::Delayed, _) => return "it waits.".to_owned(),
        (ReportKind::Failed, _) => {}
    }
    match (class(&why.status), host.is_empty()) {
        ((4, 7), _) => format!("it could not be delivered within {}.", in_words(waited)),
        ((1, 10), _) => "the recipient's domain does not accept mail.".to_owned(),
        ((1, 2), true) => "the recipient's domain does not exist or has no mail server.".to_owned(),
        ((4, 6), _) => "mail for this recipient runs in a circle.".to_owned(),
        _ if why.code.is_some() && !host.is_empty() => format!("the mail server {host} refused it."),
        (_, false) => format!("it cannot be handed to the mail server {host}."),
        (_, true) => "it cannot be delivered.".to_owned(),
    }
}

/// By the enhanced status (RFC 3463), never by the remote's words.
fn advice(why: &LastAttempt) -> &'static str {
    match class(&why.status) {
        (1, 10) => "Ask the recipient for another address: this one can only send.",
        (1, 1..=3 | 6) => "Check the address for mistakes and ask the recipient for the right one.",
        (1, 7 | 8) => "Check that your own address exists and is the one you meant to send from.",
        (2, 2) => "The mailbox is full. Try again later, or reach the recipient in another way.",
        (2, _) => "The mailbox takes no mail now. Reach the recipient in another way.",
        (3, 4) => "Make the message smaller: send a link instead of an attachment.",
        (4, 7) => "Send it again later. If it fails again, reach the recipient in another way.",
        (4, 6) => "Tell the administrator of the recipient's domain: its mail is set up wrongly.",
        (6, 7 | 8) => "Use an address without letters outside a-z, 0-9 and the usual signs.",
        (6, _) => "Send it in a simpler form: plain text, without special characters in the header.",
        (7, _) => "The server did not want this message. Ask the recipient's administrator why.",
        _ => "Reach the recipient in another way, or ask the administrator of their domain.",
    }
}

/// Subject and detail.
fn class(status: &str) -> (u16, u16) {
    status.parse().map_or((0, 0), |status: EnhancedCode| (status.subject, status.detail))
}
