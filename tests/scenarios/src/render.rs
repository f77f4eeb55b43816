//! What a stage answered, as text that a person can check and a file can hold.

use std::fmt::Write as _;

use relevo_mailkit::model::{
    Edit, Finding, MessageOptions, Note, Part, Refusal, Rendered, Report, Rewrite, Segment, SignatureVerdict,
    SigningInput, Span, TemplateError,
};
use relevo_mailkit::returned::ReturnedMail;

fn octets(octets: &[u8]) -> String {
    let mut text = String::new();
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        let _ = writeln!(text, "  | {}", line.escape_ascii());
    }
    text
}

fn span(span: Span) -> String {
    format!("{}+{}", span.offset, span.length)
}

/// The report of `validate`.
#[must_use]
pub fn report(report: &Report) -> String {
    let mut out = String::from("accepted\n");
    for author in &report.authors {
        let _ = writeln!(out, "{:?}: {} ({})", author.role, author.address, author.domain);
    }
    let _ = writeln!(out, "message-id: {}", report.message_id.escape_debug());
    let _ = writeln!(out, "from-field: {}", report.from_field.escape_ascii());
    let _ = writeln!(out, "subject: {}", report.subject.escape_debug());
    let _ = writeln!(out, "received: {}", report.received);
    for (flag, name) in [
        (report.eight_bit, "needs 8BITMIME"),
        (report.utf8_header, "needs SMTPUTF8"),
        (report.signed, "signed already"),
        (report.list_unsubscribe, "has List-Unsubscribe"),
        (report.feedback_id, "has Feedback-ID"),
        (report.cfbl, "has CFBL-Address"),
        (report.tls_optional, "has TLS-Required: No"),
    ] {
        if flag {
            let _ = writeln!(out, "{name}");
        }
    }
    for (index, each) in report.parts.iter().enumerate() {
        part(&mut out, index, each);
    }
    notes(&mut out, "fix", &report.fixes);
    if !report.added_headers.is_empty() {
        let _ = write!(out, "added-headers:\n{}", octets(&report.added_headers));
    }
    edits(&mut out, &report.edits);
    for field in &report.content_fields {
        let _ = writeln!(out, "content field {}", span(*field));
    }
    match &report.options {
        Ok(asked) if *asked == MessageOptions::default() => {}
        Ok(asked) => options(&mut out, asked),
        Err(mistake) => {
            let _ = write!(out, "options {}", refusal(mistake));
        }
    }
    out
}

fn options(out: &mut String, options: &MessageOptions) {
    for (name, value) in &options.tags {
        let _ = writeln!(out, "tag {}={}", name.escape_debug(), value.escape_debug());
    }
    for (key, value) in &options.metadata {
        let _ = writeln!(out, "metadata {}: {}", key.escape_debug(), value.escape_debug());
    }
    let stream = options.stream.map(|stream| stream.name().to_owned());
    let (send_at, expires_at) = (options.send_at, options.expires_at);
    for (name, value) in [
        ("template", &options.template),
        ("variables", &options.variables),
        ("stream", &stream),
        ("topic", &options.topic),
        ("opens", &options.opens.map(|on| on.to_string())),
        ("clicks", &options.clicks.map(|on| on.to_string())),
        ("text-links", &options.text_links.map(|on| on.to_string())),
        ("send-at", &send_at.map(|at| at.to_string())),
        ("expires-at", &expires_at.map(|at| at.to_string())),
        ("idempotency-key", &options.idempotency_key),
    ] {
        if let Some(value) = value {
            let _ = writeln!(out, "{name}: {}", value.escape_debug());
        }
    }
    for domain in &options.exclude_domains {
        let _ = writeln!(out, "exclude {}", domain.escape_debug());
    }
    if options.enforce_tls {
        out.push_str("enforce-tls\n");
    }
}

fn part(out: &mut String, index: usize, part: &Part) {
    let _ = write!(out, "part {index}: {}", part.media_type);
    if let Some(charset) = &part.charset {
        let _ = write!(out, " charset={charset}");
    }
    if let Some(parent) = part.parent {
        let _ = write!(out, " in {parent}");
    }
    let _ = write!(out, ", header {}, body {}, {:?}", span(part.header), span(part.body), part.declared);
    if let Some(field) = part.encoding_field {
        let _ = write!(out, " at {}", span(field));
    }
    for (flag, name) in [
        (part.attachment, "attachment"),
        (part.sealed, "sealed"),
        (part.has_eight_bit, "8-bit"),
        (part.has_long_line, "long line"),
    ] {
        if flag {
            let _ = write!(out, ", {name}");
        }
    }
    out.push('\n');
}

fn notes(out: &mut String, what: &str, notes: &[Note]) {
    for note in notes {
        let _ = writeln!(out, "{what} {}: {}", note.name, note.detail.escape_debug());
    }
}

fn edits(out: &mut String, edits: &[Edit]) {
    for edit in edits {
        let _ = write!(out, "edit {} {:?}", span(edit.at), edit.encoding);
        match edit.part {
            Some(part) => {
                let _ = writeln!(out, " part {part}");
            }
            None => out.push('\n'),
        }
        for segment in &edit.segments {
            match segment {
                Segment::Literal(literal) => out.push_str(&octets(literal)),
                Segment::Source(at) => {
                    let _ = writeln!(out, "  source {}", span(*at));
                }
                Segment::Click(link) => {
                    let _ = writeln!(out, "  click {link}");
                }
                Segment::Open => out.push_str("  open\n"),
                Segment::Unsubscribe => out.push_str("  unsubscribe\n"),
            }
        }
    }
}

/// The refusal of `validate`, as the reply reads.
#[must_use]
pub fn refusal(refusal: &Refusal) -> String {
    format!("refused\n{} {} {}: {}\n", refusal.code, refusal.enhanced, refusal.rule, refusal.detail)
}

/// The answer of `track`.
#[must_use]
pub fn rewrite(rewrite: &Rewrite) -> String {
    let mut out = String::new();
    for (index, link) in rewrite.links.iter().enumerate() {
        let _ = writeln!(out, "link {index}: {}", link.escape_debug());
    }
    notes(&mut out, "note", &rewrite.notes);
    edits(&mut out, &rewrite.edits);
    if out.is_empty() { "nothing to rewrite\n".into() } else { out }
}

/// The answer of `dkim.signer`.
#[must_use]
pub fn unsigned(all: &[SigningInput]) -> String {
    let mut out = String::new();
    for each in all {
        let _ = write!(out, "to sign:\n{}field:\n{}", octets(&each.to_sign), octets(&each.field));
    }
    out
}

/// The answer of `content.inspector`.
#[must_use]
pub fn findings(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let location = finding.location.as_deref().unwrap_or("-").escape_debug();
        let message = finding.message.escape_debug();
        let _ =
            writeln!(out, "{:?} {} ({location}): {message}", finding.severity, finding.check.escape_debug());
    }
    if out.is_empty() { "no finding\n".into() } else { out }
}

/// The answer of `dkim.verifier`.
#[must_use]
pub fn verdicts(verdicts: &[SignatureVerdict]) -> String {
    let mut out = String::new();
    for verdict in verdicts {
        let result = if verdict.pass { "pass" } else { "fail" };
        let _ = writeln!(
            out,
            "{result}: d={} s={} a={}: {}",
            verdict.domain.escape_debug(),
            verdict.selector.escape_debug(),
            verdict.algorithm.escape_debug(),
            verdict.detail.escape_debug()
        );
    }
    if out.is_empty() { "no signature\n".into() } else { out }
}

/// What `reports` read.
#[must_use]
pub fn returned(mail: &ReturnedMail) -> String {
    let mut out = format!("kind: {:?}\nsubject: {}\n", mail.kind, mail.subject.escape_debug());
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(out, "{name}: {}", value.escape_debug());
        }
    };
    line("reporter", &mail.reporter);
    for recipient in &mail.recipients {
        line("- recipient", &recipient.address);
        line("  original", &recipient.original);
        line("  action", recipient.action.name());
        line("  status", &recipient.status);
        line(if recipient.is_smtp { "  reply" } else { "  diagnostic" }, &recipient.diagnostic);
        line("  remote", &recipient.remote);
    }
    if let Some(feedback) = &mail.feedback {
        line("feedback", &feedback.feedback_type);
        line("  user agent", &feedback.user_agent);
        line("  mail from", &feedback.mail_from);
        feedback.recipients.iter().for_each(|recipient| line("  recipient", recipient));
        line("  source ip", &feedback.source_ip);
        line("  auth failure", &feedback.auth_failure);
        line("  incidents", &feedback.incidents.to_string());
    }
    line("original message id", &mail.original.message_id);
    line("original return path", &mail.original.return_path);
    line("original received ids", &mail.original.received_ids.join(" "));
    line("original feedback id", &mail.original.cfbl_feedback_id);
    if mail.feedback.is_some() {
        line("from domain", &mail.from_domain);
    }
    line("keys", &mail.key_names.join(" "));
    line("received", &mail.received.to_string());
    out
}

/// The answer of `template.render`.
#[must_use]
pub fn rendered(rendered: &Rendered) -> String {
    let mut out = format!("subject: {}\n", rendered.subject.escape_debug());
    if let Some(html) = &rendered.html {
        let _ = writeln!(out, "--- html\n{html}");
    }
    let _ = writeln!(out, "--- text\n{}", rendered.text);
    out
}

/// The error of `template`.
#[must_use]
pub fn template_error(error: &TemplateError) -> String {
    let mut out = format!("error {} in {}", error.kind, error.template);
    if let Some(path) = &error.path {
        let _ = write!(out, ", {path}");
    }
    if let Some(line) = error.line {
        let _ = write!(out, ", line {line}");
    }
    if let Some(column) = error.column {
        let _ = write!(out, ", column {column}");
    }
    let _ = writeln!(out, "\n{}", error.message);
    out
}
