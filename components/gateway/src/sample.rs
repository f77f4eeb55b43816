//! The sample: a template with one link, from an address and at a time that never change. It is
//! planned as the host plans a submission, and one copy of it is made.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use relevo_mailkit::envelope::{Envelope, Recipient};
use relevo_mailkit::id::ItemId;
use relevo_mailkit::model::{
    Algorithm, Canonicalization, Mailbox, MessageEnvelope, Part, Rendered, Report, Rewrite, SignatureRequest,
    SigningInput, TemplateLimits, TemplateSource, TrackOptions, ValidateOptions,
};
use relevo_mailkit::source::{Source, for_each_chunk};
use relevo_mailkit::splice::Splice;
use relevo_mailkit::token::unsubscribe::Subscription;
use relevo_mailkit::token::{CopyUrls, TokenKey, TokenKeys};
use relevo_submission::{
    CheckedMessage, Disposition, EgressGrants, Origin, Ownership, Plan, PlanSettings, Protocol, Recipe,
    Signing, SubmissionOptions, Tracked, Tracking, Via, authority, tracking, validate_options,
};
use serde::{Deserialize, Serialize};

/// Seconds since 1970: the Date, `t=` and every clock of the sample.
pub const NOW: i64 = 1_795_325_640;

const HOSTNAME: &str = "edge.example.com";
const TENANT: &str = "sample";
const SENDER: &str = "shop@example.com";
const ID: ItemId = ItemId([0x42; 16]);

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
    /// Names of the fixes of `validate`.
    pub fixes: Vec<String>,
    /// The destinations that were found.
    pub links: Vec<String>,
    /// The recipe as the queue would store it.
    pub recipe: Vec<u8>,
    /// The deliveries: a domain, and the indexes of its recipients.
    pub deliveries: Vec<(String, Vec<u32>)>,
    /// The copy of the first recipient, rewritten and not yet signed.
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
    let message: Arc<dyn Source> = Arc::new(steps.build(message_envelope(), rendered)?);
    let envelope = envelope();
    let options = validate_options(HOSTNAME, ID, NOW * 1000, &envelope, 1 << 20);
    let report = steps.validate(options, message.as_ref())?;
    let (plan, links) = plan(steps, &envelope, &report, message.as_ref())?;
    let recipe = plan.recipe.encode().map_err(|error| error.to_string())?;
    let deliveries = plan.deliveries.into_iter().map(|d| (d.domain, d.recipients)).collect();
    let copy = copy(plan.recipe, message)?;
    let to_sign = steps.sign(requests(), &copy)?;
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    Ok(Sample {
        subject,
        domains: report.authors.into_iter().map(|author| author.domain).collect(),
        fixes: report.fixes.into_iter().map(|note| note.name).collect(),
        links,
        recipe,
        deliveries,
        message: text(&read(&copy).map_err(|error| error.to_string())?),
        to_sign: to_sign
            .iter()
            .map(|each| ToSign { octets: text(&each.to_sign), field: text(&each.field) })
            .collect(),
    })
}

/// The plan, and the destinations of the links.
fn plan(
    steps: &dyn Steps,
    envelope: &Envelope,
    report: &Report,
    message: &dyn Source,
) -> Result<(Plan, Vec<String>), String> {
    let directory = SampleDirectory;
    let origin = Origin::Tenant(TENANT.into());
    let domain = authority::authors(&directory, &origin, Some("example.com"), &report.authors);
    let domain = domain.map_err(|refused| refused.text)?.ok_or("nobody owns the sample")?;
    let tracking = Tracking {
        url: "https://t.example.com".into(),
        opens: true,
        clicks: true,
        text_links: false,
        rewrite_signed: false,
    };
    let options =
        tracking.options(report, &SubmissionOptions::default()).ok_or("the sample is not tracked")?;
    let rewrite = steps.track(options, &report.parts, message)?;
    let rewrite = tracking::merge(report, rewrite, message.size())?;
    let links = rewrite.links.clone();
    let via = Via { protocol: Protocol::Http, peer: None, helo: None, tls: None, auth_user: None };
    let checked = CheckedMessage {
        id: ID,
        accepted_at: NOW * 1000,
        via: &via,
        envelope,
        report,
        prepend: b"",
        attributes: &[],
        send_at: None,
        expires_at: None,
    };
    let grants = EgressGrants::default();
    let settings = PlanSettings {
        hostname: HOSTNAME,
        signing: Some(Signing {
            domain: (*domain).into(),
            selectors: requests().into_iter().map(|request| request.selector).collect(),
            from_field: report.from_field.clone(),
        }),
        tracked: Some(Tracked {
            tracking: &tracking,
            key: Some("sample"),
            rewrite,
            sender: domain,
            list_unsubscribe: None,
        }),
        grants: Some(&grants),
        lifetime: LIFETIME,
        hold_lifetime: LIFETIME,
    };
    let plan = Plan::new(&checked, settings, |_| Disposition::Send).map_err(|error| error.to_string())?;
    Ok((plan, links))
}

/// Milliseconds: five days.
const LIFETIME: i64 = 5 * 24 * 3600 * 1000;

/// The copy of the first recipient, as the host makes it.
fn copy(recipe: Recipe, message: Arc<dyn Source>) -> Result<Splice, String> {
    let links = recipe.links.ok_or("no links")?;
    let keys =
        TokenKeys(vec![TokenKey { id: links.key, secret: b"the key of the sample is no secret".to_vec() }]);
    let urls = CopyUrls {
        keys: &keys,
        tenant: TENANT,
        base_url: &links.base_url,
        message: ID.0,
        recipient: 0,
        links: &links.table,
        unsubscribe: Subscription::default(),
    };
    Splice::new(recipe.prepend, message, recipe.edits, &urls).map_err(|error| error.to_string())
}

/// One tenant with one domain.
struct SampleDirectory;

impl Ownership for SampleDirectory {
    type OwnedDomain = &'static str;

    fn covering(&self, domain: &str) -> Option<&&'static str> {
        (domain == "example.com").then_some(&"example.com")
    }

    fn tenant<'a>(&self, _domain: &'a &'static str) -> &'a str {
        TENANT
    }

    fn may_use_from(&self, _tenant: &str, _peer: IpAddr) -> bool {
        false
    }
}

fn envelope() -> Envelope {
    Envelope {
        sender: SENDER.into(),
        sender_domain: "example.com".into(),
        recipients: vec![
            Recipient::new("ana@example.net", "example.net"),
            Recipient::new("archive@example.org", "example.org"),
            Recipient::new("luis@example.net", "example.net"),
        ],
        ..Envelope::default()
    }
}

fn read(source: &dyn Source) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    for_each_chunk(source, 0, source.size(), |chunk| -> io::Result<()> {
        octets.extend_from_slice(chunk);
        Ok(())
    })?;
    Ok(octets)
}

fn source() -> TemplateSource {
    TemplateSource {
        subject: "Order {{ order.number }}".into(),
        html: Some(
            "<p>Thank you, {{ name }}.</p><p><a href=\"https://shop.example.com/orders/{{ order.number }}?a=1&amp;b=2\">Your order</a></p>"
                .into(),
        ),
        ..TemplateSource::default()
    }
}

fn limits() -> TemplateLimits {
    TemplateLimits { max_output: 1 << 20, max_steps: 100_000, max_depth: 32 }
}

fn message_envelope() -> MessageEnvelope {
    let mailbox = |name: &str, address: &str| Mailbox { name: Some(name.into()), address: address.into() };
    MessageEnvelope {
        from: mailbox("The Shop", SENDER),
        sender: None,
        to: vec![mailbox("Ana Núñez", "ana@example.net")],
        cc: Vec::new(),
        reply_to: Vec::new(),
        fields: Vec::new(),
        attachments: Vec::new(),
        date: Some(NOW),
        message_id: "<sample.1042@example.com>".into(),
        boundary_seed: "k7Qw2mZx9Lp4Tn8B".into(),
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
