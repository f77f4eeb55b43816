//! Elements, images and errors of the HTML.

use relevo_mailkit::model::Severity;

use crate::html::Document;
use crate::inspector::Findings;

/// Characters of text for each image, below which a message is mostly images.
const TEXT_PER_IMAGE: usize = 60;
/// Characters of text below which there is none to speak of.
const LITTLE_TEXT: usize = 20;

/// Elements that mail programs remove, and that filters count against the mail.
const DANGEROUS: [&str; 7] = ["script", "iframe", "frame", "frameset", "object", "embed", "applet"];
/// Elements that mail programs remove.
const UNSUPPORTED: [&str; 10] =
    ["form", "input", "button", "select", "textarea", "video", "audio", "canvas", "base", "dialog"];

/// Returns the severity of an element that does not work in mail.
pub(crate) fn unsupported(name: &str) -> Option<Severity> {
    match name {
        name if DANGEROUS.contains(&name) => Some(Severity::Error),
        name if UNSUPPORTED.contains(&name) => Some(Severity::Warning),
        _ => None,
    }
}

pub(crate) fn check(document: &Document, findings: &mut Findings) {
    images(document, findings);
    for (name, (count, line)) in &document.unsupported {
        let severity = unsupported(name).unwrap_or(Severity::Warning);
        let message = format!("Mail programs remove <{name}> ({count} of them). Link to a page that has it.");
        findings.add("html_element", severity, message, format!("html line {line}"));
    }
    if document.refreshes {
        let message = "A meta element redirects readers, as phishing does. Remove it.";
        findings.add("html_element", Severity::Error, message, None);
    }
    if document.event_handlers > 0 {
        let message = format!(
            "Mail programs remove attributes such as onclick ({} of them). Use links.",
            document.event_handlers
        );
        findings.add("html_element", Severity::Warning, message, None);
    }
    if document.stylesheets > 0 {
        let message = "Mail programs load no style sheets. Put the styles into the document.";
        findings.add("html_element", Severity::Warning, message, None);
    }
    for (message, line) in &document.errors {
        findings.add("html_syntax", Severity::Warning, message, format!("html line {line}"));
    }
    if document.too_deep {
        let message = "The elements nest deeper than mail programs show. Use fewer tables in tables.";
        findings.add("html_syntax", Severity::Error, message, None);
    }
}

fn images(document: &Document, findings: &mut Findings) {
    let (images, text) = (document.images, document.text_length);
    if images > 0 && text < LITTLE_TEXT {
        let message = "There are images and no text. Readers who load no images see nothing, and filters suspect it. Add text.";
        findings.add("images_only", Severity::Error, message, None);
    } else if images > 0 && text < images.saturating_mul(TEXT_PER_IMAGE) {
        let message = format!(
            "There is little text ({text} characters) for {images} images, as spam often has. Add text."
        );
        findings.add("image_text_ratio", Severity::Warning, message, None);
    }
    if let Some(line) = document.first_without_alt {
        let message = format!(
            "{} of {images} images have no alt. Readers who load no images miss them: add alt, empty for decoration.",
            document.without_alt
        );
        findings.add("image_alt", Severity::Warning, message, format!("html line {line}"));
    }
}
