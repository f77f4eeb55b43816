//! Rendered content for a message that has a header of its own.

use mail_builder::headers::Header;
use relevo_mailkit::model::{Rendered, TemplateError};

use crate::{build, fields, parts};

/// The Subject field where it is wanted, the MIME fields, an empty line, and the body, with CRLF
/// line ends. The same input gives the same octets.
///
/// # Errors
/// `invalid-field` with the name of the field that cannot go into a message.
pub fn entity(content: &Rendered, subject: bool, seed: &str) -> Result<Vec<u8>, TemplateError> {
    build::check_seed(seed, content)?;
    let mut out = Vec::new();
    if subject {
        out.extend_from_slice(b"Subject: ");
        fields::subject(&content.subject)?.write_header(&mut out, "Subject: ".len());
    }
    out.extend_from_slice(b"MIME-Version: 1.0\r\n");
    parts::tree(content, &[], seed)?.write_part(&mut out);
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = "k7Qw2mZx9Lp4Tn8B";

    fn of(subject: bool, html: Option<&str>) -> String {
        let content =
            Rendered { subject: "Grüße".into(), html: html.map(Into::into), text: "Hello.\n".into() };
        String::from_utf8(entity(&content, subject, SEED).expect("an entity")).expect("ASCII")
    }

    #[test]
    fn it_goes_below_a_header() {
        let plain = of(false, None);
        assert!(plain.starts_with("MIME-Version: 1.0\r\nContent-Type: text/plain"), "{plain}");
        assert!(plain.ends_with("\r\n\r\nHello.\r\n"), "{plain}");
        let both = of(true, Some("<p>Hello.</p>"));
        assert!(both.starts_with("Subject: =?utf-8?"), "{both}");
        assert!(both.contains("Content-Type: multipart/alternative"), "{both}");
        let message = format!("From: a@example.org\r\n{both}");
        let parsed = mail_parser::MessageParser::default().parse(message.as_bytes()).expect("a message");
        assert_eq!(parsed.subject(), Some("Grüße"));
        assert_eq!(parsed.body_html(0).as_deref().map(str::trim), Some("<p>Hello.</p>"));
        let mut validator = relevo_validate::Validator::new(relevo_validate::defaults());
        validator.push(message.as_bytes());
        assert!(validator.finish().is_ok());
    }

    #[test]
    fn a_seed_that_occurs_in_the_content_is_refused() {
        let content = Rendered { subject: String::new(), html: None, text: SEED.into() };
        assert_eq!(entity(&content, false, SEED).expect_err("refused").kind, "invalid-field");
    }
}
