//! The component: HTTP in, the stages as imports.
#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    reason = "the generated bindings; what is written here has no unsafe code and no public items"
)]

use relevo_mailkit::model;
use relevo_mailkit::source::{Source, for_each_chunk};
use spin_sdk::http::{IntoResponse, Method, Request, Response};
use spin_sdk::http_component;

use crate::sample::{self, Steps};

mod bindings {
    wit_bindgen::generate!({ path: "../../wit/relevo-mail", world: "gateway" });
}

use bindings::relevo::mail::{dkim, template, track, validate};

relevo_mailkit::wit_conversions!(types: bindings::relevo::mail::types);
relevo_mailkit::wit_conversions!(validate: bindings::relevo::mail::validate);
relevo_mailkit::wit_conversions!(track: bindings::relevo::mail::track);
relevo_mailkit::wit_conversions!(dkim: bindings::relevo::mail::dkim);
relevo_mailkit::wit_conversions!(template: bindings::relevo::mail::template);

#[http_component]
fn handle(request: Request) -> impl IntoResponse {
    match (request.method(), request.path()) {
        (Method::Get, "/healthz") => answer(200, "text/plain", "ok\n".into()),
        (Method::Get, "/sample") => match sample::run(&Imports) {
            Ok(sample) => match serde_json::to_string_pretty(&sample) {
                Ok(json) => answer(200, "application/json", json),
                Err(error) => failure(500, "internal_error", &error.to_string()),
            },
            Err(reason) => failure(500, "internal_error", &reason),
        },
        (_, "/healthz" | "/sample") => failure(405, "method_not_allowed", "only GET"),
        _ => failure(404, "not_found", "there are /healthz and /sample"),
    }
}

fn answer(status: u16, media_type: &str, body: String) -> Response {
    Response::builder().status(status).header("content-type", media_type).body(body).build()
}

fn failure(status: u16, name: &str, message: &str) -> Response {
    let body = serde_json::json!({ "statusCode": status, "name": name, "message": message });
    answer(status, "application/json", body.to_string())
}

/// The stages as they are imported.
struct Imports;

impl Steps for Imports {
    fn render(
        &self,
        source: model::TemplateSource,
        variables: &str,
        limits: model::TemplateLimits,
    ) -> Result<model::Rendered, String> {
        let rendered = template::render(&source.into(), variables, limits.into());
        rendered.map(Into::into).map_err(|error| error.message)
    }

    fn build(&self, envelope: model::MessageEnvelope, content: model::Rendered) -> Result<Vec<u8>, String> {
        template::build(&envelope.into(), &content.into()).map_err(|error| error.message)
    }

    fn validate(
        &self,
        options: model::ValidateOptions,
        message: &dyn Source,
    ) -> Result<model::Report, String> {
        let validator = validate::Validator::new(&options.into());
        push(message, 0, message.size(), |chunk| validator.push(chunk))?;
        let report = validator.finish().map_err(|refusal| format!("{}: {}", refusal.rule, refusal.detail))?;
        Ok(report.into())
    }

    fn track(
        &self,
        options: model::TrackOptions,
        parts: &[model::Part],
        message: &dyn Source,
    ) -> Result<model::Rewrite, String> {
        let index: Vec<_> = parts.iter().cloned().map(Into::into).collect();
        let rewriter = track::Rewriter::new(&options.into(), &index);
        for number in rewriter.parts_needed() {
            let part = usize::try_from(number).ok().and_then(|n| parts.get(n)).ok_or("no such part")?;
            rewriter.begin(number);
            push(message, part.body.offset, part.body.length, |chunk| rewriter.push(chunk))?;
            rewriter.end();
        }
        Ok(rewriter.finish().into())
    }

    fn sign(
        &self,
        requests: Vec<model::SignatureRequest>,
        copy: &dyn Source,
    ) -> Result<Vec<model::SigningInput>, String> {
        let requests: Vec<_> = requests.into_iter().map(Into::into).collect();
        let signer = dkim::Signer::new(&requests);
        push(copy, 0, copy.size(), |chunk| signer.push(chunk))?;
        Ok(signer.finish()?.into_iter().map(Into::into).collect())
    }
}

fn push(source: &dyn Source, offset: u64, length: u64, mut call: impl FnMut(&[u8])) -> Result<(), String> {
    for_each_chunk(source, offset, length, |chunk| -> std::io::Result<()> {
        call(chunk);
        Ok(())
    })
    .map_err(|error| error.to_string())
}
