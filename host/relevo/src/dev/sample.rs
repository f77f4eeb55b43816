//! The message of `relevo dev --once`, made by the `template` component.

use relevo_mailkit::model::{ExtraField, Mailbox, MessageEnvelope, TemplateLimits, TemplateSource};
use relevo_runtime::Stages;
use serde_json::json;

use super::setup::DOMAIN;

/// Bounds that no honest template reaches.
const LIMITS: TemplateLimits = TemplateLimits { max_output: 1 << 20, max_steps: 100_000, max_depth: 32 };

const MJML: &str = include_str!("sample.mjml");

pub(crate) fn sender() -> String {
    format!("shop@{DOMAIN}")
}

pub(crate) const RECIPIENT: &str = "ada@reader.test";

/// Renders and builds it. `now` in seconds since 1970.
pub(crate) fn build(stages: &dyn Stages, now: i64, seed: &str) -> anyhow::Result<Vec<u8>> {
    let source = TemplateSource {
        subject: "Your order {{ order.number }} is on its way ✓".to_owned(),
        mjml: Some(MJML.to_owned()),
        ..TemplateSource::default()
    };
    let variables = json!({
        "name": "Ada <Lovelace>",
        "order": { "number": 1843, "items": ["Analytical engine, spare gears", "Punched cards (500)"] },
        "shop": format!("https://shop.{DOMAIN}"),
    });
    let rendered = stages.render(source, &variables.to_string(), LIMITS)?;
    let rendered = rendered.map_err(|e| anyhow::anyhow!("the sample template: {}", e.message))?;
    let envelope = MessageEnvelope {
        from: Mailbox { name: Some("Example Shop".to_owned()), address: sender() },
        sender: None,
        to: vec![Mailbox { name: Some("Ada Lovelace".to_owned()), address: RECIPIENT.to_owned() }],
        cc: Vec::new(),
        reply_to: Vec::new(),
        fields: vec![ExtraField { name: "X-Campaign".to_owned(), value: "relevo-sample".to_owned() }],
        attachments: Vec::new(),
        date: Some(now),
        message_id: format!("<{seed}@{DOMAIN}>"),
        boundary_seed: seed.to_owned(),
    };
    let built = stages.build(envelope, rendered)?;
    built.map_err(|e| anyhow::anyhow!("the sample message: {}", e.message))
}
