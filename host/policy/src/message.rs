//! What a plugin is told about a message.
//!
//! The header is split at its line ends here, and nowhere else in the host: it is not interpreted. `validate` has refused what is
//! no header by then.

use std::io;
use std::sync::Arc;

use relevo_mailkit::address::Address;
use relevo_mailkit::model::{DeclaredEncoding, Edit, Part as FoundPart, Report};
use relevo_mailkit::policy::{Attribute, Envelope, HeaderField, Message, Parameter, Part, Recipient};
use relevo_mailkit::source::Source;
use relevo_mailkit::splice::{NoLinks, Splice};
use relevo_relay::pipeline::Origin;
use relevo_relay::policy::Question;
use relevo_relay::text::escaped;
use relevo_runtime::policy::Body;

/// Of the header (`wit/relevo-policy-0.1.0/types.wit`).
const MAX_FIELDS: usize = 200;
const MAX_HEADER: usize = 64 << 10;
/// Octets that are read to count the fields that are left out.
const MAX_COUNTED: u64 = 1 << 20;
/// Parts.
const MAX_PARTS: usize = 100;
/// Octets of the value of an attribute.
const MAX_VALUE: usize = 1_024;
/// Octets of the subject.
const MAX_SUBJECT: usize = 200;
/// Messages up to this size are in memory: reading them blocks nobody.
const IN_MEMORY: u64 = 64 << 10;

/// The message of a question, and where its body is.
///
/// # Errors
/// The octets cannot be read.
pub(crate) async fn of(question: &Question) -> io::Result<(Message, Body)> {
    let (report, source) = (Arc::clone(&question.report), Arc::clone(&question.message));
    let (headers, left_out) = if source.size() <= IN_MEMORY {
        header(&report, source)?
    } else {
        tokio::task::spawn_blocking(move || header(&report, source)).await.map_err(io::Error::other)??
    };
    let offset = question.report.parts.first().map_or(question.message.size(), |root| root.body.offset);
    let message = Message {
        id: question.id.to_string(),
        stage: "data".to_owned(),
        tenant: question.tenant.id.clone(),
        identity: question.via.identity.clone(),
        envelope: envelope(question),
        headers,
        size: question.message.size(),
        parts: question.report.parts.iter().take(MAX_PARTS).map(|p| part(p, offset)).collect(),
        facts: facts(question, left_out),
        attributes: Vec::new(),
        now: u64::try_from(question.now).unwrap_or(0),
    };
    Ok((message, Body { source: Arc::clone(&question.message), offset }))
}

fn envelope(question: &Question) -> Envelope {
    let envelope = &question.envelope;
    let sender_domain = Address::parse(&envelope.sender).map_or_else(|_| String::new(), |a| a.domain);
    let given = |p: &relevo_smtp::server::Parameter| Parameter {
        keyword: p.keyword.clone(),
        value: p.value.clone().unwrap_or_default(),
    };
    let recipient = |to: &relevo_relay::pipeline::ForwardPath| Recipient {
        address: to.address.clone(),
        domain: to.domain.clone(),
        // No extension that we announce has parameters for RCPT.
        parameters: Vec::new(),
    };
    Envelope {
        sender: envelope.sender.clone(),
        sender_domain,
        parameters: envelope.parameters.iter().map(given).collect(),
        recipients: envelope.recipients.iter().map(recipient).collect(),
    }
}

/// The header as it will be sent, without what only the copies get, and how many fields are left out.
fn header(report: &Report, message: Arc<dyn Source>) -> io::Result<(Vec<HeaderField>, usize)> {
    let end = report.parts.first().map_or(message.size(), |root| root.body.offset);
    let of_the_header = |edit: &&Edit| edit.part.is_none() && edit.at.end() <= end;
    let edits: Vec<Edit> = report.edits.iter().filter(of_the_header).cloned().collect();
    let spliced = Splice::new(report.additions.clone(), message, edits, &NoLinks)?;
    let wanted = (end + report.additions.len() as u64).min(MAX_COUNTED);
    let mut octets = vec![0; usize::try_from(wanted).unwrap_or(0)];
    let mut filled = 0;
    while filled < octets.len() {
        match spliced.read_at(filled as u64, &mut octets[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    octets.truncate(filled);
    Ok(fields(&octets))
}

/// Up to the empty line: the first fields, and the number of the others.
fn fields(header: &[u8]) -> (Vec<HeaderField>, usize) {
    let mut raw: Vec<Vec<u8>> = Vec::new();
    for line in header.split_inclusive(|c| *c == b'\n') {
        let content = line.strip_suffix(b"\r\n").unwrap_or(line);
        match raw.last_mut() {
            _ if content.is_empty() => break,
            Some(field) if matches!(content.first(), Some(b' ' | b'\t')) => {
                field.extend_from_slice(b"\r\n");
                field.extend_from_slice(content);
            }
            _ => raw.push(content.to_vec()),
        }
    }
    let mut octets = 0;
    let mut fields = Vec::new();
    let total = raw.len();
    for field in raw {
        octets += field.len();
        if fields.len() == MAX_FIELDS || octets > MAX_HEADER {
            break;
        }
        let colon = field.iter().position(|c| *c == b':').unwrap_or(field.len());
        let name = String::from_utf8_lossy(&field[..colon]).trim_end().to_owned();
        let value = field.get(colon + 1..).unwrap_or_default().to_vec();
        fields.push(HeaderField { name, value });
    }
    let left_out = total - fields.len();
    (fields, left_out)
}

fn part(found: &FoundPart, base: u64) -> Part {
    let encoding = match found.declared {
        DeclaredEncoding::SevenBit => "7bit",
        DeclaredEncoding::EightBit => "8bit",
        DeclaredEncoding::Binary => "binary",
        DeclaredEncoding::QuotedPrintable => "quoted-printable",
        DeclaredEncoding::Base64 => "base64",
        DeclaredEncoding::Other => "unknown",
    };
    Part {
        parent: found.parent,
        media_type: found.media_type.clone(),
        charset: found.charset.clone(),
        transfer_encoding: encoding.to_owned(),
        attachment: found.attachment,
        offset: found.body.offset.saturating_sub(base),
        length: found.body.length,
    }
}

fn facts(question: &Question, left_out: usize) -> Vec<Attribute> {
    let (via, report) = (&question.via, &question.report);
    let mut facts = Vec::new();
    let mut fact = |name: &str, value: &str| facts.push(Attribute::new(name, escaped(value, MAX_VALUE)));
    fact("source", via.protocol.source());
    fact(
        "auth",
        match (&question.origin, via.protocol.source()) {
            (Origin::Relay(_), _) => "network",
            (Origin::Tenant(_), "http") => "api-key",
            (Origin::Tenant(_), _) => "password",
        },
    );
    let peer = via.peer.map(|ip| ip.to_canonical().to_string());
    for (name, value) in [("peer", &peer), ("helo", &via.helo), ("tls", &via.tls)] {
        if let Some(value) = value {
            fact(name, value);
        }
    }
    for author in &report.authors {
        let local = author.address.rsplit_once('@').map_or("", |(local, _)| local);
        fact("author", &format!("{local}@{}", author.domain));
    }
    fact("message-id", &report.message_id);
    fact("subject", &escaped(&report.subject, MAX_SUBJECT));
    fact("parts", &report.parts.len().to_string());
    fact("received", &report.received.to_string());
    if left_out > 0 {
        fact("headers-left-out", &left_out.to_string());
    }
    let found =
        [("signed", report.signed), ("eight-bit", report.eight_bit), ("utf8-header", report.utf8_header)];
    for (name, _) in found.into_iter().filter(|(_, found)| *found) {
        fact(name, "true");
    }
    for fix in &report.fixes {
        fact("fix", &fix.name);
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_split_at_its_line_ends() {
        let (found, left_out) = fields(b"A: b\r\n c\r\nX:\r\nSubject : \xff\r\n\r\nNot: this\r\n");
        let found: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.value.as_slice())).collect();
        assert_eq!(found, [("A", &b" b\r\n c"[..]), ("X", b""), ("Subject", b" \xff")]);
        assert_eq!(left_out, 0);
    }

    #[test]
    fn a_long_header_is_cut_and_counted() {
        let many = "A: b\r\n".repeat(MAX_FIELDS + 7);
        let (found, left_out) = fields(many.as_bytes());
        assert_eq!((found.len(), left_out), (MAX_FIELDS, 7));
        let large = format!("A: {}\r\n", "x".repeat(30_000)).repeat(3);
        let (found, left_out) = fields(large.as_bytes());
        assert_eq!((found.len(), left_out), (2, 1));
    }
}
