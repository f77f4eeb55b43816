//! What tests of this crate share.

use relevo_mailkit::model::Report;

/// The report about a message without edits, to which Date was added.
pub(crate) fn report() -> Report {
    Report {
        authors: Vec::new(),
        added_headers: b"Date: Sun, 22 Nov 2026 05:33:41 +0000\r\n".to_vec(),
        edits: Vec::new(),
        parts: Vec::new(),
        fixes: Vec::new(),
        eight_bit: false,
        utf8_header: false,
        signed: false,
        list_unsubscribe: false,
        feedback_id: false,
        cfbl: false,
        tls_optional: false,
        message_id: "<id@example.com>".into(),
        from_field: b"From: a@example.com".to_vec(),
        subject: String::new(),
        received: 0,
        headers: Vec::new(),
        headers_left_out: 0,
        options: Ok(relevo_mailkit::model::MessageOptions::default()),
        content_fields: Vec::new(),
    }
}
