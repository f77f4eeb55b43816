//! The pages. No scripts; everything that came in by mail is escaped.

use std::fmt::Write;
use std::sync::Arc;

use relevo_pages::html::escape;

use super::Captured;

const STYLE: &str = include_str!("style.css");

/// Octets of a raw message that the page shows; the whole of it is behind the link.
const SHOWN_RAW: usize = 256 << 10;

pub(super) fn list(messages: &[Arc<Captured>]) -> String {
    let mut body = String::from(
        "<header><h1>Relevo inbox</h1><p>Mail that was delivered into this capture inbox. Nothing leaves this machine.</p></header><main>",
    );
    if messages.is_empty() {
        body.push_str("<p class=empty>No messages yet. Send one to <code>127.0.0.1:2525</code> as user <code>dev</code>, password <code>dev</code>, from an address at <code>example.test</code>.</p>");
    } else {
        body.push_str("<table><thead><tr><th>#<th>From<th>To<th>Subject<th>Signatures<th>Size<th>Received</thead><tbody>");
        for m in messages.iter().rev() {
            let _ = write!(
                body,
                "<tr><td><a href=\"/inbox/{n}\">{n}</a><td>{from}<td>{to}<td><a href=\"/inbox/{n}\">{subject}</a><td>{marks}<td class=num>{size}<td>{at}",
                n = m.n,
                from = reverse_path(&m.from),
                to = escape(&m.to.join(", ")),
                subject = subject(&m.subject),
                marks = marks(m),
                size = octets(m.size),
                at = escape(&m.received_at),
            );
        }
        body.push_str("</tbody></table>");
    }
    body.push_str("</main>");
    document("Relevo inbox", true, &body)
}

pub(super) fn message(m: &Captured) -> String {
    let mut body = format!(
        "<header><p><a href=\"/inbox\">Inbox</a></p><h1>{}</h1><dl><dt>From<dd>{}<dt>To<dd>{}<dt>Queue id<dd><code>{}</code><dt>Received<dd>{}<dt>Size<dd>{}</dl></header><main>",
        subject(&m.subject),
        reverse_path(&m.from),
        escape(&m.to.join(", ")),
        escape(&m.id),
        escape(&m.received_at),
        octets(m.size),
    );
    signatures(&mut body, m);
    timeline(&mut body, m);
    if m.html.is_some() {
        let _ = write!(
            body,
            "<h2>HTML</h2><iframe sandbox=\"allow-popups allow-popups-to-escape-sandbox\" src=\"/inbox/{}/html\" title=\"The HTML of this message\"></iframe>",
            m.n
        );
    }
    if let Some(text) = &m.text {
        let _ = write!(body, "<h2>Text</h2><pre class=text>{}</pre>", escape(text));
    }
    let (header, rest) = split_header(&m.raw);
    let _ = write!(body, "<h2>Header</h2><pre>{}</pre>", escape(&String::from_utf8_lossy(header)));
    let shown = &rest[..rest.len().min(SHOWN_RAW)];
    let _ = write!(
        body,
        "<details><summary>Raw body</summary><pre>{}</pre></details><p><a href=\"/inbox/messages/{}\">The whole message, raw</a></p></main>",
        escape(&String::from_utf8_lossy(shown)),
        m.n
    );
    document(&m.subject, false, &body)
}

fn signatures(body: &mut String, m: &Captured) {
    body.push_str("<h2>DKIM</h2>");
    if m.signatures.is_empty() {
        body.push_str("<p class=bad>Not signed.</p>");
        return;
    }
    body.push_str("<ul class=verdicts>");
    for s in &m.signatures {
        let class = if s.pass { "good" } else { "bad" };
        let _ = write!(
            body,
            "<li class={class}><b>{}</b> <code>d={} s={} a={}</code>",
            escape(&s.detail),
            escape(&s.domain),
            escape(&s.selector),
            escape(&s.algorithm)
        );
    }
    body.push_str("</ul>");
}

fn timeline(body: &mut String, m: &Captured) {
    if m.stages.is_empty() {
        return;
    }
    let longest = m.stages.iter().map(|s| s.micros).max().unwrap_or(1).max(1);
    body.push_str("<h2>Stages</h2><table class=stages><thead><tr><th>Stage<th>Time<th><th>What it found or changed</thead><tbody>");
    for s in &m.stages {
        let width = (s.micros * 100 / longest).max(1);
        let _ = write!(
            body,
            "<tr><td>{}<td class=num>{} &micro;s<td class=bar><i style=\"width:{width}px\"></i><td>{}",
            escape(&s.name),
            s.micros,
            escape(&s.summary)
        );
    }
    body.push_str("</tbody></table>");
}

fn marks(m: &Captured) -> String {
    if m.signatures.is_empty() {
        return "<span class=bad>none</span>".to_owned();
    }
    let mark = |pass: bool, name: &str| {
        format!(
            "<span class={}>{} {}</span>",
            if pass { "good" } else { "bad" },
            if pass { "pass" } else { "fail" },
            escape(name)
        )
    };
    m.signatures.iter().map(|s| mark(s.pass, &s.selector)).collect::<Vec<_>>().join(" ")
}

fn reverse_path(from: &str) -> String {
    if from.is_empty() { "&lt;&gt;".to_owned() } else { escape(from) }
}

fn subject(subject: &str) -> String {
    if subject.is_empty() { "<i>(no subject)</i>".to_owned() } else { escape(subject) }
}

fn octets(n: usize) -> String {
    match n {
        0..=9_999 => format!("{n} B"),
        10_000..=9_999_999 => format!("{} kB", n / 1_000),
        _ => format!("{} MB", n / 1_000_000),
    }
}

fn split_header(raw: &[u8]) -> (&[u8], &[u8]) {
    match raw.windows(4).position(|w| w == b"\r\n\r\n") {
        Some(at) => (&raw[..at], &raw[at + 4..]),
        None => (raw, &[]),
    }
}

fn document(title: &str, refresh: bool, body: &str) -> String {
    let refresh = if refresh { "<meta http-equiv=refresh content=5>" } else { "" };
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">{refresh}<title>{}</title><style>{STYLE}</style><body>{body}",
        escape(title)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostile() -> Captured {
        let evil = "<script>alert(1)</script>\u{202e}\u{7}\"'";
        Captured {
            n: 1,
            id: evil.into(),
            from: evil.into(),
            to: vec![evil.into()],
            subject: evil.into(),
            received_at: evil.into(),
            size: 1,
            signatures: vec![relevo_mailkit::model::SignatureVerdict {
                domain: evil.into(),
                selector: evil.into(),
                algorithm: evil.into(),
                pass: false,
                detail: evil.into(),
            }],
            stages: vec![super::super::StageLine { name: evil.into(), micros: 0, summary: evil.into() }],
            raw: format!("Subject: {evil}\r\n\r\n{evil}\r\n").into_bytes(),
            html: Some(evil.into()),
            text: Some(evil.into()),
        }
    }

    #[test]
    fn nothing_of_a_message_becomes_markup() {
        for page in [message(&hostile()), list(&[Arc::new(hostile())])] {
            assert!(!page.contains("<script"), "{page}");
            assert!(!page.contains('\u{7}'), "{page}");
        }
    }
}
