//! The sample: a template with one link, from an address and at a time that never change.

use std::io;
use std::sync::Arc;

use relevo_mailkit::model::{
    Algorithm, Canonicalization, Mailbox, MessageEnvelope, Part, Rendered, Report, Rewrite, SignatureRequest,
    SigningInput, TemplateLimits, TemplateSource, TrackOptions, ValidateOptions,
};
use relevo_mailkit::source::{Source, for_each_chunk};
use relevo_mailkit::splice::{self, Splice, TrackingUrls};
use serde::{Deserialize, Serialize};

/// Seconds since 1970: the Date, `t=` and every clock of the sample.
pub const NOW: i64 = 1_795_325_640;

/// The stages as the sample calls them. An error is text for people.
pub trait Steps {
    /// `template.render`.
    ///
    /// # Errors
    /// The template's.
    fn render(
        &self,
        source: TemplateSource,
        variables: &str,
        limits: TemplateLimits,
    ) -> Result<Rendered, String>;

    /// `template.build`.
    ///
    /// # Errors
    /// The template's.
    fn build(&self, envelope: MessageEnvelope, content: Rendered) -> Result<Vec<u8>, String>;

    /// `validate`.
    ///
    /// # Errors
    /// The refusal.
    fn validate(&self, options: ValidateOptions, message: &dyn Source) -> Result<Report, String>;

    /// `track`.
    ///
    /// # Errors
    /// A message that cannot be read.
    fn track(&self, options: TrackOptions, parts: &[Part], message: &dyn Source) -> Result<Rewrite, String>;

    /// `dkim.signer`.
    ///
    /// # Errors
    /// Why it cannot be signed.
    fn sign(&self, requests: Vec<SignatureRequest>, copy: &dyn Source) -> Result<Vec<SigningInput>, String>;
}

/// What became of the sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The rendered subject.
    pub subject: String,
    /// The domains that claim authorship.
    pub domains: Vec<String>,
    /// What `validate` mended.
    pub fixes: Vec<String>,
    /// The destinations that were found.
    pub links: Vec<String>,
    /// The copy, rewritten and not yet signed.
    pub message: String,
    /// What a signer would be given, one for each algorithm.
    pub to_sign: Vec<ToSign>,
}

/// The octets for one signature, which are text: canonicalised header fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToSign {
    /// What is signed.
    pub octets: String,
    /// The field that the signature is appended to.
    pub field: String,
}

/// Takes the sample through `steps`.
///
/// # Errors
/// The first step's that fails.
pub fn run(steps: &dyn Steps) -> Result<Sample, String> {
    let rendered = steps.render(source(), r#"{"name":"Ana","order":{"number":1042}}"#, limits())?;
    let subject = rendered.subject.clone();
    let message: Arc<dyn Source> = Arc::new(steps.build(envelope(), rendered)?);
    let report = steps.validate(validate_options(), message.as_ref())?;
    let rewrite = steps.track(track_options(), &report.parts, message.as_ref())?;
    let edits = splice::merge(&report.edits, &rewrite.edits);
    let copy =
        Splice::new(report.added_headers, message, edits, &SampleUrls).map_err(|error| error.to_string())?;
    let to_sign = steps.sign(requests(), &copy)?;
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    Ok(Sample {
        subject,
        domains: report.authors.into_iter().map(|author| author.domain).collect(),
        fixes: report.fixes.into_iter().map(|note| note.name).collect(),
        links: rewrite.links,
        message: text(&read(&copy).map_err(|error| error.to_string())?),
        to_sign: to_sign
            .iter()
            .map(|each| ToSign { octets: text(&each.to_sign), field: text(&each.field) })
            .collect(),
    })
}

fn read(source: &dyn Source) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    for_each_chunk(source, 0, source.size(), |chunk| -> io::Result<()> {
        octets.extend_from_slice(chunk);
        Ok(())
    })?;
    Ok(octets)
}

struct SampleUrls;

impl TrackingUrls for SampleUrls {
    fn click(&self, link: u32) -> String {
        format!("https://t.example.com/c/{link}")
    }

    fn open(&self) -> String {
        "https://t.example.com/o/0".into()
    }
}

fn source() -> TemplateSource {
    TemplateSource {
        subject: "Order {{ order.number }}".into(),
        html: Some(
            "<p>Thank you, {{ name }}.</p><p><a href=\"https://shop.example.com/orders/{{ order.number }}?a=1&amp;b=2\">Your order</a></p>"
                .into(),
        ),
        mjml: None,
        text: None,
    }
}

fn limits() -> TemplateLimits {
    TemplateLimits { max_output: 1 << 20, max_steps: 100_000, max_depth: 32 }
}

fn envelope() -> MessageEnvelope {
    let mailbox = |name: &str, address: &str| Mailbox { name: Some(name.into()), address: address.into() };
    MessageEnvelope {
        from: mailbox("The Shop", "shop@example.com"),
        sender: None,
        to: vec![mailbox("Ana Núñez", "ana@example.net")],
        cc: Vec::new(),
        reply_to: Vec::new(),
        fields: Vec::new(),
        attachments: Vec::new(),
        date: NOW,
        message_id: "<sample.1042@example.com>".into(),
        boundary_seed: "k7Qw2mZx9Lp4Tn8B".into(),
    }
}

fn validate_options() -> ValidateOptions {
    ValidateOptions {
        max_size: 1 << 20,
        max_received: 100,
        max_depth: 10,
        max_parts: 100,
        smtputf8: false,
        hostname: "edge.example.com".into(),
        now: NOW,
        message_id_left: "sample".into(),
        downgrade: false,
        include_headers: false,
        strict_headers: false,
    }
}

fn track_options() -> TrackOptions {
    TrackOptions {
        clicks: true,
        opens: true,
        text_links: false,
        url_overhead: 64,
        max_html: 1 << 20,
        max_links: 100,
        max_link_length: 2048,
        reencode: Vec::new(),
    }
}

fn requests() -> Vec<SignatureRequest> {
    let request = |algorithm, selector: &str| SignatureRequest {
        domain: "example.com".into(),
        selector: selector.into(),
        algorithm,
        header_canonicalization: Canonicalization::Relaxed,
        body_canonicalization: Canonicalization::Relaxed,
        timestamp: NOW,
        expiration: None,
    };
    vec![request(Algorithm::RsaSha256, "r1"), request(Algorithm::Ed25519Sha256, "e1")]
}
