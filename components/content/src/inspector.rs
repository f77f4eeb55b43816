//! One message: its parts, and the findings about all of it.

use mail_parser::{HeaderName, Message, MessageParser, MimeHeaders, PartType};
use relevo_mailkit::model::{ContentOptions, Finding, Severity};
use relevo_mailkit::text::escaped;
use relevo_mailkit::unsubscribe::PLACEHOLDER;

use crate::html::Document;
use crate::{links, markup, subject};

/// Octets of a message that is looked at.
pub const MAX_MESSAGE: usize = 16 << 20;
/// Findings of one message. Those of the greatest severity are kept.
pub const MAX_FINDINGS: usize = 100;

/// Gmail shows no more octets of HTML than this, with a link to the rest.
const GMAIL_CLIPS_AT: usize = 102 * 1024;
/// From here on, tracking and a footer may bring the HTML over that size.
const NEARLY_CLIPPED: usize = GMAIL_CLIPS_AT / 10 * 9;
/// Extensions of files that large receivers refuse, whatever is in the file: Gmail's list
/// (<https://support.google.com/mail/answer/6590>).
const REFUSED_FILES: [&str; 54] = [
    "ade",
    "adp",
    "apk",
    "appx",
    "appxbundle",
    "bat",
    "cab",
    "chm",
    "cmd",
    "com",
    "cpl",
    "diagcab",
    "diagcfg",
    "diagpkg",
    "dll",
    "dmg",
    "ex",
    "ex_",
    "exe",
    "hta",
    "img",
    "ins",
    "iso",
    "isp",
    "jar",
    "jnlp",
    "js",
    "jse",
    "lib",
    "lnk",
    "mde",
    "mjs",
    "msc",
    "msi",
    "msix",
    "msixbundle",
    "msp",
    "mst",
    "nsh",
    "pif",
    "ps1",
    "scr",
    "sct",
    "shb",
    "sys",
    "vb",
    "vbe",
    "vbs",
    "vhd",
    "vxd",
    "wsc",
    "wsf",
    "wsh",
    "xll",
];

/// Takes a message in chunks.
#[derive(Debug)]
pub struct Inspector {
    options: ContentOptions,
    message: MessageBuffer,
}

/// The octets of a message as they come.
#[derive(Debug, Default)]
pub(crate) struct MessageBuffer {
    octets: Vec<u8>,
    too_large: bool,
}

impl MessageBuffer {
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        if self.too_large || self.octets.len() + chunk.len() > MAX_MESSAGE {
            self.too_large = true;
            self.octets = Vec::new();
        } else {
            self.octets.extend_from_slice(chunk);
        }
    }

    /// The whole message.
    pub(crate) fn into_octets(self) -> Result<Vec<u8>, String> {
        match self.too_large {
            true => Err(format!("the message has more than {MAX_MESSAGE} octets")),
            false => Ok(self.octets),
        }
    }
}

/// Findings as they are made.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    /// Adds a finding. `message` may have foreign text in it.
    pub(crate) fn add(
        &mut self,
        check: &str,
        severity: Severity,
        message: impl AsRef<str>,
        location: impl Into<Option<String>>,
    ) {
        let message = escaped(message.as_ref(), 500);
        self.0.push(Finding { check: check.to_owned(), severity, message, location: location.into() });
    }

    fn sorted(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        self.0.truncate(MAX_FINDINGS);
        self.0
    }
}

impl Inspector {
    /// An inspector for one message.
    #[must_use]
    pub fn new(options: ContentOptions) -> Self {
        Self { options, message: MessageBuffer::default() }
    }

    /// Takes the next octets.
    pub fn push(&mut self, chunk: &[u8]) {
        self.message.push(chunk);
    }

    /// The findings, those of the greatest severity first.
    ///
    /// # Errors
    /// The message is too large, or it is none.
    pub fn finish(self) -> Result<Vec<Finding>, String> {
        let octets = self.message.into_octets()?;
        let message = MessageParser::default().parse(&octets).ok_or("it is not a message")?;
        let mut findings = Findings::default();
        let is_answer = [HeaderName::InReplyTo, HeaderName::References]
            .into_iter()
            .any(|name| message.header(name).is_some());
        subject::check(message.subject().unwrap_or_default(), is_answer, &mut findings);
        bodies(&message, &self.options, &mut findings);
        attachments(&message, &mut findings);
        Ok(findings.sorted())
    }
}

fn bodies(message: &Message<'_>, options: &ContentOptions, findings: &mut Findings) {
    let parts = |numbers: &[u32]| {
        let numbers = numbers.to_vec();
        numbers.into_iter().filter_map(|number| message.part(number)).collect::<Vec<_>>()
    };
    let html: Vec<&str> = parts(&message.html_body)
        .into_iter()
        .filter_map(|part| match &part.body {
            PartType::Html(html) => Some(html.as_ref()),
            _ => None,
        })
        .collect();
    let text: Vec<&str> = parts(&message.text_body)
        .into_iter()
        .filter_map(|part| match &part.body {
            PartType::Text(text) => Some(text.as_ref()),
            _ => None,
        })
        .collect();
    let has_text = text.iter().any(|text| !text.trim().is_empty());
    if html.is_empty() && !has_text {
        findings.add("content", Severity::Error, "The message has neither text nor HTML. Add a text.", None);
        return;
    }
    if !has_text {
        let message = "There is no plain text part. Some readers see nothing, and filters count it against the mail. Add one.";
        findings.add("text_part", Severity::Warning, message, None);
    }
    text.iter().for_each(|text| placeholders(text, "text", findings));
    html.iter().for_each(|html| size(html.len(), findings));
    let documents: Vec<Document> = html.iter().map(|html| Document::read(html)).collect();
    for document in &documents {
        placeholders(&document.text, "html", findings);
        markup::check(document, findings);
        links::check(document, findings);
    }
    if options.marketing && !can_leave(&text, &documents) {
        let message = format!(
            "The body has no link to unsubscribe. Gmail and Yahoo require one of marketing mail: \
             add a link to {PLACEHOLDER}, which becomes that of the recipient."
        );
        findings.add("unsubscribe", Severity::Warning, message, None);
    }
}

/// A List-Unsubscribe field does not suffice: large receivers ask for a link that is seen.
fn can_leave(text: &[&str], documents: &[Document]) -> bool {
    text.iter().any(|text| links::says_unsubscribe(text))
        || documents.iter().any(Document::has_unsubscribe_link)
}

fn size(octets: usize, findings: &mut Findings) {
    let kibibytes = octets.div_ceil(1024);
    if octets > GMAIL_CLIPS_AT {
        let message = format!(
            "The HTML has {kibibytes} KB. Gmail hides what is behind 102 KB, the open pixel with it. \
             Shorten it, or remove styles and comments."
        );
        findings.add("html_size", Severity::Warning, message, None);
    } else if octets > NEARLY_CLIPPED {
        let message =
            format!("The HTML has {kibibytes} KB. Tracking may bring it over the 102 KB that Gmail shows.");
        findings.add("html_size", Severity::Info, message, None);
    }
}

/// What a template should have replaced.
pub(crate) fn placeholders(text: &str, part: &str, findings: &mut Findings) {
    for (opening, closing) in [("{{", "}}"), ("*|", "|*"), ("<%=", "%>")] {
        let Some((_, rest)) = text.split_once(opening) else { continue };
        let Some((name, _)) = rest.split_once(closing) else { continue };
        if name.len() <= 100 {
            let message = format!(
                "A placeholder has no value: {opening}{name}{closing}. Set it, or give it a default."
            );
            findings.add("placeholder", Severity::Error, message, part.to_owned());
        }
    }
}

fn attachments(message: &Message<'_>, findings: &mut Findings) {
    for part in message.attachments() {
        let Some(name) = part.attachment_name() else { continue };
        let extension =
            name.rsplit_once('.').map(|(_, end)| end.trim().to_ascii_lowercase()).unwrap_or_default();
        if REFUSED_FILES.contains(&extension.as_str()) {
            let message = format!("Large receivers refuse mail with files such as {name}. Link to the file.");
            findings.add("attachment_type", Severity::Error, message, None);
        }
    }
}
