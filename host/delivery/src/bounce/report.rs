//! The bounce as a message: multipart/report (RFC 6522) with a delivery status (RFC 3464). All
//! ASCII unless the sender's own address is not (RFC 6533).

use std::sync::Arc;

use relevo_mailkit::classification::Classification;
use relevo_mailkit::dsn::OriginalRecipient;
use relevo_mailkit::reply::EnhancedCode;
use relevo_mailkit::transfer::encode_quoted_printable;
use relevo_mailkit::transfer::fold::field;
use relevo_queue::{ItemId, ItemMeta, LastAttempt, Millis, ReportKind};
use relevo_submission::date;

use super::original::Original;
use super::words::{About, explain, pieces, subject};
use crate::text::remote_text;

/// A recipient and what became of it.
#[derive(Debug, Clone)]
pub(super) struct ReportEntry {
    pub(super) kind: ReportKind,
    pub(super) address: String,
    /// The address that the sender of the message wrote, if it was told.
    pub(super) orcpt: Option<OriginalRecipient>,
    pub(super) why: LastAttempt,
    /// What a failure means, by the rules in force now.
    pub(super) classification: Option<Arc<Classification>>,
}

/// Everything that is said.
pub(super) struct BounceReport<'a> {
    /// Of the bounce.
    pub(super) id: ItemId,
    /// Of the message it is about.
    pub(super) item: ItemId,
    pub(super) hostname: &'a str,
    pub(super) meta: &'a ItemMeta,
    pub(super) entries: Vec<ReportEntry>,
    pub(super) original: &'a Original,
    pub(super) now: Millis,
}

impl BounceReport<'_> {
    /// With angle brackets.
    pub(super) fn message_id(&self) -> String {
        format!("<{}@{}>", self.id, self.hostname)
    }

    /// Without the original's subject, which is not ours to repeat in a header.
    pub(super) fn subject(&self) -> &'static str {
        subject(&self.entries)
    }

    /// The whole message, every line ended by CRLF.
    pub(super) fn compose(&self) -> Vec<u8> {
        // Distinct from everything inside: the id is random and nobody has seen it.
        let boundary = format!("report-{}", self.id);
        let mut out = self.own_header(&boundary);
        out.extend_from_slice(b"This is a delivery report in MIME format.\r\n");
        self.explanation(&mut out, &boundary);
        self.status(&mut out, &boundary);
        self.returned(&mut out, &boundary);
        out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        out
    }

    fn own_header(&self, boundary: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(4096);
        let mut put = |name: &str, value: &str| out.extend_from_slice(&field(name, value));
        put("From", &format!("Mail Delivery <MAILER-DAEMON@{}>", self.hostname));
        put("To", &format!("<{}>", self.meta.sender));
        put("Subject", self.subject());
        put("Date", &date(self.now));
        put("Message-ID", &self.message_id());
        if is_message_id(&self.meta.message_id) {
            put("In-Reply-To", &self.meta.message_id);
            put("References", &self.meta.message_id);
        }
        put("Auto-Submitted", "auto-replied");
        put("MIME-Version", "1.0");
        put(
            "Content-Type",
            &format!("multipart/report; report-type=delivery-status; boundary=\"{boundary}\""),
        );
        out.extend_from_slice(b"\r\n");
        out
    }

    fn explanation(&self, out: &mut Vec<u8>, boundary: &str) {
        let about = About {
            hostname: self.hostname,
            subject: &remote_text(&self.meta.subject),
            message_id: &remote_text(&self.meta.message_id),
            accepted: &date(self.meta.accepted_at),
            queue_id: &self.item.to_string(),
            waited: self.meta.expires_at.saturating_sub(self.meta.accepted_at),
            tried_until: &date(self.meta.expires_at),
        };
        let text = explain(&about, &self.entries);
        let (encoding, text) = if text.is_ascii() {
            ("7bit", text.into_bytes())
        } else {
            ("quoted-printable", encode_quoted_printable(text.as_bytes()))
        };
        part(out, boundary, "text/plain; charset=utf-8", encoding, Some("Notification"));
        out.extend_from_slice(&text);
    }

    /// RFC 3464 section 2.
    fn status(&self, out: &mut Vec<u8>, boundary: &str) {
        part(out, boundary, "message/delivery-status", "7bit", Some("Delivery report"));
        if let Some(envid) = &self.meta.options.dsn.envid {
            out.extend_from_slice(&field("Original-Envelope-Id", envid.as_str()));
        }
        out.extend_from_slice(&field("Reporting-MTA", &format!("dns; {}", self.hostname)));
        out.extend_from_slice(&field("X-Relevo-Queue-ID", &self.item.to_string()));
        out.extend_from_slice(&field("Arrival-Date", &date(self.meta.accepted_at)));
        if let Some(by) = &self.meta.options.deliver_by {
            // RFC 2852 adds this field.
            out.extend_from_slice(&field("Deliver-By-Date", &date(by.ends_at(self.meta.accepted_at))));
        }
        for entry in &self.entries {
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(&of_recipient(entry, self.meta.expires_at));
        }
    }

    fn returned(&self, out: &mut Vec<u8>, boundary: &str) {
        match self.original {
            Original::Header(header) => returned_header(out, boundary, header),
            Original::Whole(message) => returned_whole(out, boundary, message),
        }
    }
}

fn returned_header(out: &mut Vec<u8>, boundary: &str, header: &[u8]) {
    match std::str::from_utf8(header) {
        // RFC 6533 section 4.3: may be encoded where 8-bit may not pass.
        Ok(header) if !header.is_ascii() => {
            part(out, boundary, "message/global-headers", "quoted-printable", Some("Header of the message"));
            out.extend_from_slice(&encode_quoted_printable(header.as_bytes()));
        }
        _ => {
            part(out, boundary, "text/rfc822-headers", "7bit", Some("Header of the message"));
            out.extend(header.iter().map(|c| if c.is_ascii() { *c } else { b'?' }));
        }
    }
}

/// message/rfc822 must not be encoded (RFC 2046 section 5.2.1). So a message that cannot pass
/// everywhere as it is becomes message/global, which may be (RFC 6532 section 3.7).
fn returned_whole(out: &mut Vec<u8>, boundary: &str, message: &[u8]) {
    let description = Some("The message");
    if passes_as_it_is(message) {
        part(out, boundary, "message/rfc822", "7bit", description);
        out.extend_from_slice(message);
    } else {
        part(out, boundary, "message/global", "quoted-printable", description);
        out.extend_from_slice(&encode_quoted_printable(message));
    }
}

/// Returns true for ASCII without NUL in lines of at most 998 octets, each ended by CRLF.
fn passes_as_it_is(message: &[u8]) -> bool {
    message.is_ascii()
        && message.split_inclusive(|c| *c == b'\n').all(|line| {
            let content = line.strip_suffix(b"\r\n").unwrap_or(line);
            content.len() <= 998 && !content.iter().any(|c| matches!(c, b'\r' | b'\n' | 0))
        })
}

fn part(out: &mut Vec<u8>, boundary: &str, media_type: &str, encoding: &str, description: Option<&str>) {
    out.extend_from_slice(format!("\r\n--{boundary}\r\n").as_bytes());
    out.extend_from_slice(&field("Content-Type", media_type));
    out.extend_from_slice(&field("Content-Transfer-Encoding", encoding));
    if let Some(description) = description {
        out.extend_from_slice(&field("Content-Description", description));
    }
    out.extend_from_slice(b"\r\n");
}

/// RFC 3464 section 2.3.
fn of_recipient(entry: &ReportEntry, expires_at: Millis) -> Vec<u8> {
    let why = &entry.why;
    let mut out = Vec::new();
    let mut put = |name: &str, value: &str| out.extend_from_slice(&field(name, value));
    if let Some(original) = &entry.orcpt {
        put("Original-Recipient", &original.to_field());
    }
    put("Final-Recipient", &typed_address(&entry.address));
    put("Action", entry.kind.name());
    put("Status", &status(entry.kind, &why.status).to_string());
    if let Some(host) = &why.host {
        put("Remote-MTA", &format!("dns; {}", ascii(host)));
    }
    if !why.text.is_empty() {
        put("Diagnostic-Code", &diagnostic(why));
    }
    if why.at > 0 {
        put("Last-Attempt-Date", &date(why.at));
    }
    if entry.kind == ReportKind::Delayed {
        put("Will-Retry-Until", &date(expires_at));
    }
    out
}

/// `rfc822; address`, or for one that is not ASCII the form of RFC 6533 section 3 that is safe
/// everywhere.
fn typed_address(address: &str) -> String {
    if address.is_ascii() {
        return format!("rfc822; {}", address.replace(|c: char| c.is_ascii_control(), "?"));
    }
    let mut out = String::from("utf-8; ");
    for c in address.chars() {
        match c {
            // "\", "+" and "=" are special in this form (utf-8-addr-xtext).
            '\\' | '+' | '=' => out.push_str(&format!("\\x{{{:02X}}}", u32::from(c))),
            ' '..='~' => out.push(c),
            c => out.push_str(&format!("\\x{{{:02X}}}", u32::from(c))),
        }
    }
    out
}

/// The class says what became of the recipient (RFC 3463 section 2). What failed for good is of
/// class 5, also when the last reply was temporary: 4.4.7 becomes 5.4.7.
fn status(kind: ReportKind, status: &str) -> EnhancedCode {
    let class = match kind {
        ReportKind::Failed => 5,
        ReportKind::Delayed => 4,
        ReportKind::Relayed => 2,
    };
    status.parse().map_or(EnhancedCode::new(class, 0, 0), |status: EnhancedCode| status.with_class(class))
}

/// `smtp; ...` is for what a remote said; our own words have a type of their own (RFC 3464 section
/// 2.3.6).
fn diagnostic(why: &LastAttempt) -> String {
    let text = remote_text(&ascii(&why.text));
    let text: Vec<&str> = text.split(' ').flat_map(pieces).collect();
    match why.code {
        Some(code) => format!("smtp; {code} {}", text.join(" ")),
        None => format!("x-relevo; {}", text.join(" ")),
    }
}

fn ascii(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
}

/// Something that may stand in In-Reply-To: foreign text otherwise stays out of our header.
fn is_message_id(text: &str) -> bool {
    let inner = text.strip_prefix('<').and_then(|t| t.strip_suffix('>'));
    inner.is_some_and(|inner| {
        inner.len() <= 250
            && inner.contains('@')
            && inner.bytes().all(|c| c.is_ascii_graphic() && c != b'<' && c != b'>')
    })
}

#[cfg(test)]
mod tests;
