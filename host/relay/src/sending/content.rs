//! Content of the messages of a request: rendered, and built into octets.

use std::sync::Arc;

use relevo_api::CheckedRequest;
use relevo_api::message::{MessageContent, MessageIds, OutgoingMessage};
use relevo_mailkit::labels::Labels;
use relevo_mailkit::model::{MessageEnvelope, Rendered, TemplateError, TemplateSource};
use relevo_mailkit::source::Source;
use relevo_queue::{ItemId, SpooledBody};
use relevo_runtime::Fault;
use relevo_submission::unsubscribe::can_leave;
use serde_json::{Map, Value};
use tracing::warn;

use super::attachments::{Downloads, may_fetch};
use super::{SendRefusal, Sender, Sending};
use crate::sandbox::WorkClass;
use crate::templates::{LIMITS, TemplateVersion, UNSUBSCRIBE, UNSUBSCRIBE_URL};

/// The host of the URL that stands for a recipient's own one, however its slashes are written.
const UNSUBSCRIBE_HOST: &str = "unsubscribe.invalid";

/// What all messages of a request share.
pub(super) struct Content {
    /// The attachments that have a URL, in their places.
    fetched: Vec<Option<Arc<Vec<u8>>>>,
    template: Option<(String, TemplateVersion, TemplateSource)>,
    /// The content of the last message, for those that are alike.
    literal: Option<Rendered>,
}

impl Content {
    /// Fetches attachments and the template. What is fetched by URL is taken from `octets`.
    pub(super) async fn load(
        sending: &Sending,
        sender: &Sender,
        request: &CheckedRequest,
        (downloads, octets): (&mut Downloads, &mut u64),
    ) -> Result<Self, SendRefusal> {
        may_fetch(sender, request)?;
        let template = match &request.request.template {
            Some(choice) => {
                let refuse = |refusal| SendRefusal::of_stored_template(refusal, "template.variables");
                let templates = &sending.templates;
                let found = templates.find(&sender.tenant, &choice.id).await.map_err(refuse)?;
                let version = templates.published(&sender.tenant, &found.id).await.map_err(refuse)?;
                let loaded =
                    templates.with_partials(&sender.tenant, &version.content).await.map_err(refuse)?;
                Some((found.id, version, loaded))
            }
            None => None,
        };
        let fetched = downloads.load(request, octets).await?;
        Ok(Self { fetched, template, literal: None })
    }

    /// The id of the template.
    pub(super) fn template(&self) -> Option<&str> {
        self.template.as_ref().map(|(id, ..)| id.as_str())
    }

    /// Builds a message and spools it.
    pub(super) async fn build(
        &mut self,
        sending: &Sending,
        sender: &Sender,
        request: &CheckedRequest,
        message: &OutgoingMessage,
        (id, labels): (ItemId, &Labels),
    ) -> Result<SpooledBody, SendRefusal> {
        let rendered = self.render(sending, sender, message).await?;
        refuse_dead_link(&rendered, labels)?;
        let ids = MessageIds {
            // A scheduled message gets its Date when it is released: that may still change.
            date: request.scheduled_at.is_none().then(|| sending.now().div_euclid(1000)),
            message_id: format!("<{id}@{}>", message.sender.domain),
            boundary_seed: boundary_seed()?,
        };
        let pairs = request.attachments.iter().zip(&self.fetched);
        let attachments: Vec<&[u8]> = pairs
            .map(|(given, fetched)| match (given, fetched) {
                (Some(octets), _) => octets.as_slice(),
                (None, Some(octets)) => octets.as_slice(),
                (None, None) => &[],
            })
            .collect();
        let envelope = message.envelope(&request.request, &attachments, &ids);
        let octets = build(sending, sender, envelope, rendered).await?;
        spool(sending, &octets).await
    }

    async fn render(
        &mut self,
        sending: &Sending,
        sender: &Sender,
        message: &OutgoingMessage,
    ) -> Result<Rendered, SendRefusal> {
        let place = &message.variables_param;
        match &message.content {
            MessageContent::Literal(source) => {
                if let Some(rendered) = &self.literal {
                    return Ok(rendered.clone());
                }
                let rendered = literal(sending, sender, source).await?;
                Ok(self.literal.insert(rendered).clone())
            }
            MessageContent::Inline(source, variables) => {
                let variables = with_unsubscribe(variables.clone());
                render(sending, sender, source.clone(), variables, place).await
            }
            MessageContent::Stored { variables, subject, .. } => {
                let Some((_, version, loaded)) = &self.template else { return Err(SendRefusal::Unavailable) };
                let mut source = loaded.clone();
                if let Some(subject) = subject {
                    source.subject.clone_from(subject);
                }
                let (templates, content) = (&sending.templates, &version.content);
                let rendered =
                    templates.render_loaded(&sender.tenant, content, source, variables.clone()).await;
                rendered.map_err(|refusal| SendRefusal::of_stored_template(refusal, place))
            }
        }
    }
}

/// The URL that stands for the recipient's own one leads nowhere in mail that nobody can leave.
fn refuse_dead_link(content: &Rendered, labels: &Labels) -> Result<(), SendRefusal> {
    let has_it = |text: &str| text.contains(UNSUBSCRIBE_HOST);
    if can_leave(labels) || !(content.html.as_deref().is_some_and(has_it) || has_it(&content.text)) {
        return Ok(());
    }
    let message = "the content has `unsubscribe_url`: give `marketing`, or a `topic`";
    Err(SendRefusal::invalid("stream", message))
}

/// Content that is no template: only a text that is missing is made from the HTML.
async fn literal(
    sending: &Sending,
    sender: &Sender,
    source: &TemplateSource,
) -> Result<Rendered, SendRefusal> {
    let subject = source.subject.clone();
    if let (html, Some(text)) = (&source.html, &source.text) {
        return Ok(Rendered { subject, html: html.clone(), text: text.clone() });
    }
    // The HTML is a value, so that nothing in it is read as a template.
    let html = source.html.clone().unwrap_or_default();
    let variables = Map::from_iter([("html".to_owned(), Value::String(html))]);
    let whole = TemplateSource { html: Some("{{ html|safe }}".to_owned()), ..TemplateSource::default() };
    let rendered = render(sending, sender, whole, variables, "html").await?;
    Ok(Rendered { subject, ..rendered })
}

fn with_unsubscribe(mut variables: Map<String, Value>) -> Map<String, Value> {
    variables.entry(UNSUBSCRIBE).or_insert_with(|| Value::String(UNSUBSCRIBE_URL.to_owned()));
    variables
}

async fn render(
    sending: &Sending,
    sender: &Sender,
    source: TemplateSource,
    variables: Map<String, Value>,
    place: &str,
) -> Result<Rendered, SendRefusal> {
    let variables = Value::Object(variables).to_string();
    let nothing: Arc<dyn Source> = Arc::new(Vec::new());
    let sandbox = &sending.pipeline.sandbox;
    let rendered = sandbox.run(WorkClass::Accept, &sender.tenant, &nothing, move |stages, _| {
        stages.render(source, &variables, LIMITS)
    });
    answered(rendered.await, "html")?.map_err(|error| SendRefusal::of_template(&error, place))
}

async fn build(
    sending: &Sending,
    sender: &Sender,
    envelope: MessageEnvelope,
    content: Rendered,
) -> Result<Vec<u8>, SendRefusal> {
    let nothing: Arc<dyn Source> = Arc::new(Vec::new());
    let sandbox = &sending.pipeline.sandbox;
    let built = sandbox
        .run(WorkClass::Accept, &sender.tenant, &nothing, move |stages, _| stages.build(envelope, content));
    answered(built.await, "attachments")?
        .map_err(|error| SendRefusal::invalid(request_param(&error.template), error.message))
}

/// A fault of `template` that the content brings about is a mistake of the request.
fn answered<T>(
    answer: Result<Result<T, TemplateError>, Fault>,
    place: &str,
) -> Result<Result<T, TemplateError>, SendRefusal> {
    answer.map_err(|fault| {
        warn!(%fault, "the content of a request could not be made into a message");
        match crate::templates::too_expensive(&fault) {
            Some(message) => SendRefusal::invalid(place, message),
            None => SendRefusal::Unavailable,
        }
    })
}

/// The value of the request that a field of the envelope comes from.
fn request_param(field: &str) -> String {
    match field {
        "reply-to" => "reply_to".to_owned(),
        field if field.starts_with("fields") => "headers".to_owned(),
        field => field.to_owned(),
    }
}

pub(super) async fn spool(sending: &Sending, octets: &[u8]) -> Result<SpooledBody, SendRefusal> {
    let mut spool = sending.pipeline.queue.spool().await.map_err(|e| not_stored(&e))?;
    spool.write(octets).await.map_err(|e| not_stored(&e))?;
    spool.finish().await.map_err(|e| not_stored(&e))
}

fn not_stored(error: &relevo_queue::StoreError) -> SendRefusal {
    SendRefusal::of_rejection(&crate::pipeline::not_stored(error), "")
}

fn boundary_seed() -> Result<String, SendRefusal> {
    let mut octets = [0; 16];
    getrandom::fill(&mut octets).map_err(|error| {
        tracing::error!(%error, "the system gives no randomness");
        SendRefusal::Unavailable
    })?;
    Ok(relevo_mailkit::hex::encode(&octets))
}
