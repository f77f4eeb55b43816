//! Content of the messages of a request: rendered, and built into octets.

use std::sync::Arc;

use relevo_api::content::{self, LIMITS, RenderCall, Rendering};
use relevo_api::message::{MessageContent, MessageIds, OutgoingMessage};
use relevo_api::template::StoredTemplate;
use relevo_api::{CheckedRequest, Problem};
use relevo_mailkit::labels::Labels;
use relevo_mailkit::model::{MessageEnvelope, Rendered, TemplateError};
use relevo_mailkit::source::Source;
use relevo_queue::{ItemId, SpooledBody};
use relevo_runtime::Fault;
use relevo_submission::unsubscribe::can_leave;
use tracing::warn;

use super::attachments::{Downloads, may_fetch};
use super::{SendRefusal, Sender, Sending};
use crate::sandbox::WorkClass;

/// What all messages of a request share.
pub(super) struct Content {
    /// The attachments that have a URL, in their places.
    fetched: Vec<Option<Arc<Vec<u8>>>>,
    template: Option<StoredTemplate>,
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
                let found = sending.templates.stored(&sender.tenant, &choice.id, None).await;
                let refuse = |refusal| SendRefusal::of_stored_template(refusal, "template.variables");
                Some(found.map_err(refuse)?)
            }
            None => None,
        };
        let fetched = downloads.load(request, octets).await?;
        Ok(Self { fetched, template, literal: None })
    }

    /// The id of the template.
    pub(super) fn template(&self) -> Option<&str> {
        self.template.as_ref().map(|template| template.id.as_str())
    }

    /// Builds a message and spools it.
    pub(super) async fn build(
        &mut self,
        sending: &Sending,
        sender: &Sender,
        request: &CheckedRequest,
        message: &OutgoingMessage,
        named: (ItemId, &Labels),
    ) -> Result<SpooledBody, SendRefusal> {
        let octets = self.make(sending, sender, request, message, named).await?;
        spool(sending, &octets).await
    }

    /// Builds a message.
    pub(super) async fn make(
        &mut self,
        sending: &Sending,
        sender: &Sender,
        request: &CheckedRequest,
        message: &OutgoingMessage,
        (id, labels): (ItemId, &Labels),
    ) -> Result<Vec<u8>, SendRefusal> {
        let rendered = self.render(sending, sender, message).await?;
        if let Some(problem) = content::dead_link(&rendered, can_leave(labels)) {
            return Err(mistake(problem));
        }
        let ids = MessageIds {
            // A scheduled message gets its Date when it is released: that may still change.
            date: request.scheduled_at.is_none().then(|| sending.now().div_euclid(1000)),
            message_id: format!("<{id}@{}>", message.sender.domain),
            boundary_seed: boundary_seed(sending)?,
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
        build(sending, sender, envelope, rendered).await
    }

    async fn render(
        &mut self,
        sending: &Sending,
        sender: &Sender,
        message: &OutgoingMessage,
    ) -> Result<Rendered, SendRefusal> {
        let is_literal = matches!(message.content, MessageContent::Literal(_));
        if let (true, Some(rendered)) = (is_literal, &self.literal) {
            return Ok(rendered.clone());
        }
        let rendering = content::rendering(&message.content, self.template.as_ref());
        let rendered = match rendering.ok_or(SendRefusal::Unavailable)? {
            Rendering::Ready(rendered) => rendered,
            Rendering::Call(call) => render(sending, sender, call, &message.variables_param).await?,
        };
        if is_literal {
            self.literal = Some(rendered.clone());
        }
        Ok(rendered)
    }
}

async fn render(
    sending: &Sending,
    sender: &Sender,
    mut call: RenderCall,
    place: &str,
) -> Result<Rendered, SendRefusal> {
    let (source, variables) = (std::mem::take(&mut call.source), call.variables_json());
    let nothing: Arc<dyn Source> = Arc::new(Vec::new());
    let sandbox = &sending.pipeline.sandbox;
    let rendered = sandbox.run(WorkClass::Accept, &sender.tenant, &nothing, move |stages, _| {
        stages.render(source, &variables, LIMITS)
    });
    match answered(rendered.await, |message| call.too_expensive(message))? {
        Ok(rendered) => Ok(call.finish(rendered)),
        Err(error) => Err(mistake(call.problem(&error, place))),
    }
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
    answered(built.await, |message| Problem::new("attachments", message))?
        .map_err(|error| mistake(content::build_problem(&error)))
}

fn mistake(problem: Problem) -> SendRefusal {
    SendRefusal::Invalid(vec![problem])
}

/// A fault of `template` that the content brings about is a mistake of the request.
fn answered<T>(
    answer: Result<Result<T, TemplateError>, Fault>,
    too_expensive: impl Fn(&str) -> Problem,
) -> Result<Result<T, TemplateError>, SendRefusal> {
    answer.map_err(|fault| {
        warn!(%fault, "the content of a request could not be made into a message");
        match crate::templates::too_expensive(&fault) {
            Some(message) => mistake(too_expensive(message)),
            None => SendRefusal::Unavailable,
        }
    })
}

pub(super) async fn spool(sending: &Sending, octets: &[u8]) -> Result<SpooledBody, SendRefusal> {
    let mut spool = sending.pipeline.queue.spool().await.map_err(|e| not_stored(&e))?;
    spool.write(octets).await.map_err(|e| not_stored(&e))?;
    spool.finish().await.map_err(|e| not_stored(&e))
}

pub(super) fn not_stored(error: &relevo_queue::StoreError) -> SendRefusal {
    SendRefusal::of_rejection(&crate::pipeline::not_stored(error), "")
}

fn boundary_seed(sending: &Sending) -> Result<String, SendRefusal> {
    let octets = sending.pipeline.ids.random().map_err(|error| {
        tracing::error!(%error, "the system gives no randomness");
        SendRefusal::Unavailable
    })?;
    Ok(relevo_mailkit::hex::encode(&octets))
}
