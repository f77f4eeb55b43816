//! The messages of the self-test. A version that breaks on one of these would break on mail.

use std::sync::Arc;

use relevo_mailkit::policy::{Attribute, Envelope, HeaderField, Message, Part, Recipient};
use relevo_runtime::policy::{Body, Case, Data};

const PLAIN: &[u8] = b"Hello\r\n";
const MIXED: &[u8] =
    b"--x\r\nContent-Type: text/plain\r\n\r\nHello\r\n--x\r\nContent-Type: application/pdf\r\n\
    Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\nSGVsbG8=\r\n--x--\r\n";

/// A short message, one with an attachment and two recipients, and a bounce without a body.
pub(crate) fn cases(tenant: &str, now: u64, data: &Data) -> Vec<Case> {
    let plain = message(tenant, now, "sender@example.com", &["reader@example.net"], "text/plain", PLAIN);
    let mut mixed = message(
        tenant,
        now,
        "sender@example.com",
        &["reader@example.net", "Another.Reader@example.org"],
        "multipart/mixed; boundary=x",
        MIXED,
    );
    let text = find(MIXED, b"Hello");
    let file = find(MIXED, b"SGVs");
    mixed.parts = vec![
        part(None, "multipart/mixed", "7bit", false, 0, MIXED.len() as u64),
        part(Some(0), "text/plain", "7bit", false, text, 5),
        part(Some(0), "application/pdf", "base64", true, file, 8),
    ];
    let bounce = message(tenant, now, "", &["reader@example.net"], "text/plain", b"");
    [(plain, PLAIN), (mixed, MIXED), (bounce, b"")]
        .into_iter()
        .map(|(message, body)| Case {
            message: Arc::new(message),
            body: Body { source: Arc::new(body.to_vec()), offset: 0 },
            data: data.clone(),
        })
        .collect()
}

fn message(tenant: &str, now: u64, sender: &str, to: &[&str], media: &str, body: &[u8]) -> Message {
    let field =
        |name: &str, value: &str| HeaderField { name: name.into(), value: format!(" {value}").into() };
    let recipient = |address: &&str| Recipient {
        address: (*address).to_owned(),
        domain: address.rsplit('@').next().unwrap_or_default().to_owned(),
        parameters: Vec::new(),
    };
    Message {
        id: "00000000000000000000000000".to_owned(),
        stage: "data".to_owned(),
        tenant: tenant.to_owned(),
        identity: None,
        envelope: Envelope {
            sender: sender.to_owned(),
            sender_domain: sender.rsplit_once('@').map_or("", |(_, domain)| domain).to_owned(),
            parameters: Vec::new(),
            recipients: to.iter().map(recipient).collect(),
        },
        headers: vec![
            field("From", "Sender <sender@example.com>"),
            field("To", &to.join(", ")),
            field("Subject", "Self-test"),
            field("Message-ID", "<self-test@example.com>"),
            field("Content-Type", media),
        ],
        size: body.len() as u64 + 200,
        parts: vec![part(None, "text/plain", "7bit", false, 0, body.len() as u64)],
        facts: vec![
            Attribute::new("source", "smtp"),
            Attribute::new("auth", "network"),
            Attribute::new("author", "sender@example.com"),
            Attribute::new("message-id", "<self-test@example.com>"),
            Attribute::new("subject", "Self-test"),
        ],
        attributes: Vec::new(),
        now,
    }
}

fn part(
    parent: Option<u32>,
    media: &str,
    encoding: &str,
    attachment: bool,
    offset: u64,
    length: u64,
) -> Part {
    Part {
        parent,
        media_type: media.to_owned(),
        charset: None,
        transfer_encoding: encoding.to_owned(),
        attachment,
        offset,
        length,
    }
}

fn find(body: &[u8], what: &[u8]) -> u64 {
    body.windows(what.len()).position(|w| w == what).unwrap_or(0) as u64
}
