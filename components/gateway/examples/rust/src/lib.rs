//! Sends a receipt for an order: see the README one folder up.
#![cfg(target_family = "wasm")]

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use spin_sdk::http::{IntoResponse, Method, Request, Response};
use spin_sdk::http_component;

use bindings::relevo::host::signer;
use bindings::relevo::mail::{dkim, template};

mod bindings {
    wit_bindgen::generate!({
        path: ["../../../../wit/relevo-mail", "../../../../wit/relevo-host-0.1.0"],
        inline: "package relevo:examples;
            world receipt {
                import relevo:mail/template@0.1.0;
                import relevo:mail/dkim@0.1.0;
                import relevo:host/signer@0.1.0;
            }",
        generate_all,
    });
}

const HTML: &str = "<p>Dear {{ name }},</p><p>thank you for {{ total }} EUR.</p>";
const LIMITS: template::Limits = template::Limits { max_output: 1 << 20, max_steps: 100_000, max_depth: 32 };

#[derive(Deserialize)]
struct Order {
    order: String,
    email: String,
    name: String,
    total: String,
}

#[http_component]
async fn handle(request: Request) -> impl IntoResponse {
    if request.path() != "/receipt" || *request.method() != Method::Post {
        return Response::new(404, "POST /receipt");
    }
    let shown = request.header("authorization").and_then(|value| value.as_str());
    if !env::var("RECEIPT_KEY").is_ok_and(|key| !key.is_empty() && shown == Some(&format!("Bearer {key}"))) {
        return Response::new(403, "who are you?");
    }
    let Ok(order) = serde_json::from_slice::<Order>(request.body()) else {
        return Response::new(400, "order, email, name and total, please");
    };
    match receipt(&order).await {
        Ok(answer) => answer,
        Err(error) => {
            eprintln!("{error:#}");
            Response::new(503, "try again")
        }
    }
}

async fn receipt(order: &Order) -> Result<Response> {
    let from = variable("RECEIPT_FROM")?;
    let domain = from.rsplit('@').next().unwrap_or_default();
    let message = sign(build(order, &from, domain)?, domain)?;
    let message = String::from_utf8(message).context("the message is not UTF-8")?;
    let body = json!({"emails": [{"messages": [{"sender": from, "recipients": [order.email], "message": message}]}]});
    let asked = Request::builder()
        .method(Method::Post)
        .uri(format!("{}/relay", variable("RELEVO_RELAY_URL")?))
        .header("authorization", format!("Bearer {}", variable("RELEVO_RELAY_TOKEN")?))
        .header("content-type", "application/json")
        // Made anew for each try: what counts is the order.
        .header("idempotency-key", format!("receipt-{}", order.order))
        .header("x-relevo-digest", format!("receipt {} to {}", order.order, order.email))
        .body(serde_json::to_vec(&body)?)
        .build();
    let answer: Response = spin_sdk::http::send(asked).await?;
    Ok(answer)
}

/// The octets of the message.
fn build(order: &Order, from: &str, domain: &str) -> Result<Vec<u8>> {
    let source = template::Source {
        subject: "Receipt {{ order }}".to_owned(),
        html: Some(HTML.to_owned()),
        mjml: None,
        text: None,
        partials: Vec::new(),
    };
    let variables = json!({"order": order.order, "name": order.name, "total": order.total}).to_string();
    let mistake = |error: template::TemplateError| anyhow!("{}: {}", error.template, error.message);
    let rendered = template::render(&source, &variables, LIMITS).map_err(mistake)?;
    let mailbox = |address: &str| template::Mailbox { name: None, address: address.to_owned() };
    let envelope = template::Envelope {
        from: mailbox(from),
        sender: None,
        to: vec![mailbox(&order.email)],
        cc: Vec::new(),
        reply_to: Vec::new(),
        fields: Vec::new(),
        attachments: Vec::new(),
        date: Some(now()?),
        message_id: format!("<{}@{domain}>", random()?),
        boundary_seed: random()?,
    };
    template::build(&envelope, &rendered).map_err(mistake)
}

/// The message with a DKIM-Signature on top.
fn sign(message: Vec<u8>, domain: &str) -> Result<Vec<u8>> {
    let selector = variable("RECEIPT_SELECTOR")?;
    let request = dkim::Request {
        domain: domain.to_owned(),
        selector: selector.clone(),
        algorithm: dkim::Algorithm::Ed25519Sha256,
        header_canonicalization: dkim::Canonicalization::Relaxed,
        body_canonicalization: dkim::Canonicalization::Relaxed,
        timestamp: now()?,
        expiration: None,
    };
    let octets = dkim::Signer::new(&[request]);
    message.chunks(1 << 16).for_each(|chunk| octets.push(chunk));
    let input = octets.finish().map_err(|error| anyhow!(error))?.pop().context("nothing to sign")?;
    let signature = signer::sign(domain, &selector, "ed25519-sha256", &input.to_sign);
    let signature = signature.map_err(|error| anyhow!("the signer says {error:?}"))?;
    let signature = STANDARD.encode(signature);
    Ok([&*input.field, signature.as_bytes(), b"\r\n", &message].concat())
}

fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set"))
}

fn now() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?)
}

fn random() -> Result<String> {
    let mut octets = [0; 16];
    getrandom::fill(&mut octets).map_err(|error| anyhow!("no randomness: {error}"))?;
    Ok(octets.iter().map(|octet| format!("{octet:02x}")).collect())
}
