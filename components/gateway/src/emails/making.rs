//! The making of finished messages.

use relevo_api::content::{self, Rendering};
use relevo_api::message::{MessageContent, MessageIds, OutgoingMessage, messages};
use relevo_api::relay::{RelayedEmail, RelayedMessage};
use relevo_api::template::StoredTemplate;
use relevo_api::{CheckedRequest, EmailRequest, Problem};
use relevo_mailkit::address::Address;
use relevo_mailkit::id::ItemId;
use relevo_mailkit::labels::Stream;
use relevo_mailkit::model::Rendered;

use super::{Surroundings, Template};
use crate::templates::Templates;

/// Octets of all messages of a request. A larger one is for the core itself.
const MAX_OCTETS: usize = 16 << 20;

/// The making of the messages of one request or batch.
pub(super) struct Making<'a> {
    templates: &'a Templates,
    template: &'a dyn Template,
    surroundings: &'a dyn Surroundings,
    /// The id of the first message. The others have those that follow, as on the native host.
    pub(super) first: ItemId,
    next: u32,
    /// Octets that are left for messages.
    octets: usize,
}

/// The messages of one request.
pub(super) struct Finished {
    pub(super) email: RelayedEmail,
    /// The places of the messages' recipients.
    pub(super) places: Vec<Vec<String>>,
    /// The messages that the core has still to write in.
    pub(super) unfinished: Vec<bool>,
}

impl<'a> Making<'a> {
    pub(super) fn new(
        templates: &'a Templates,
        template: &'a dyn Template,
        surroundings: &'a dyn Surroundings,
    ) -> Self {
        let mut random = [0; 10];
        random.copy_from_slice(&surroundings.random()[..10]);
        let now = i64::try_from(surroundings.now()).unwrap_or(i64::MAX);
        let first = ItemId::new(now, random);
        Self { templates, template, surroundings, first, next: 0, octets: MAX_OCTETS }
    }

    pub(super) fn finish(&mut self, checked: &CheckedRequest) -> Result<Finished, Problem> {
        let first = self.first.nth(self.next);
        self.next += u32::try_from(checked.request.recipients.len()).unwrap_or(u32::MAX).max(1);
        let attachments = attachments(checked)?;
        let named = checked.request.template.as_ref();
        let stored = named.map(|choice| self.templates.get(&choice.id)).transpose()?;
        let mut email = email(&checked.request, stored);
        let (mut places, mut unfinished, mut literal) = (Vec::new(), Vec::new(), None);
        let can_leave = email.stream == Stream::Marketing || email.topic.is_some();
        for (number, message) in (0..).zip(messages(checked)) {
            let content = self.render(&message, &mut literal, stored)?;
            if let Some(problem) = content::dead_link(&content, can_leave) {
                return Err(problem);
            }
            unfinished.push(is_unfinished(checked, &content));
            let ids = self.ids(checked, first.nth(number), &message.sender);
            let envelope = message.envelope(&checked.request, &attachments, &ids);
            let built = self.template.build(envelope, content);
            let built = built.map_err(|error| content::build_problem(&error))?;
            self.octets = self.octets.checked_sub(built.len()).ok_or_else(|| {
                let message =
                    format!("the messages have more than {MAX_OCTETS} octets in all: send to the core");
                Problem::new("", message)
            })?;
            places.push(message.recipients.iter().map(|(_, param)| param.clone()).collect());
            email.messages.push(relayed_message(message, built)?);
        }
        Ok(Finished { email, places, unfinished })
    }

    fn render(
        &self,
        message: &OutgoingMessage,
        literal: &mut Option<Rendered>,
        stored: Option<&StoredTemplate>,
    ) -> Result<Rendered, Problem> {
        let is_literal = matches!(message.content, MessageContent::Literal(_));
        if let (true, Some(rendered)) = (is_literal, &literal) {
            return Ok(rendered.clone());
        }
        let missing = || Problem::new("template.id", "the template is missing");
        let rendered = match content::rendering(&message.content, stored).ok_or_else(missing)? {
            Rendering::Ready(rendered) => rendered,
            Rendering::Call(mut call) => {
                let source = std::mem::take(&mut call.source);
                let rendered = self.template.render(source, &call.variables_json(), content::LIMITS);
                let rendered = rendered.map_err(|error| call.problem(&error, &message.variables_param))?;
                call.finish(rendered)
            }
        };
        if is_literal {
            *literal = Some(rendered.clone());
        }
        Ok(rendered)
    }

    fn ids(&self, checked: &CheckedRequest, id: ItemId, sender: &Address) -> MessageIds {
        let now = i64::try_from(self.surroundings.now()).unwrap_or(i64::MAX);
        MessageIds {
            // A scheduled message gets its Date when it is released: that may still change.
            date: checked.scheduled_at.is_none().then(|| now.div_euclid(1000)),
            message_id: format!("<{id}@{}>", sender.domain),
            boundary_seed: relevo_mailkit::hex::encode(&self.surroundings.random()),
        }
    }
}

/// Returns true if the core has still to write in the message: the Date of scheduled mail, the URL to
/// unsubscribe, or tracking that was asked for. A signature would not survive that.
fn is_unfinished(checked: &CheckedRequest, content: &Rendered) -> bool {
    let tracking = &checked.request.tracking;
    let is_tracked = [tracking.opens, tracking.clicks, tracking.clicks_text].contains(&Some(true));
    checked.scheduled_at.is_some() || is_tracked || content::has_unsubscribe_url(content)
}

/// What the messages of a request share.
fn email(request: &EmailRequest, stored: Option<&StoredTemplate>) -> RelayedEmail {
    RelayedEmail {
        messages: Vec::new(),
        tags: request.tags.clone(),
        stream: request.stream,
        topic: request.topic.clone(),
        template: stored.map(|template| template.id.clone()),
        tracking: request.tracking.clone(),
        scheduled_at: request.scheduled_at.clone(),
        expires_at: request.expires_at.clone(),
        tls: request.tls,
        dry_run: request.dry_run,
        alone: false,
    }
}

fn relayed_message(message: OutgoingMessage, built: Vec<u8>) -> Result<RelayedMessage, Problem> {
    let text = String::from_utf8(built);
    Ok(RelayedMessage {
        sender: message.sender.to_string(),
        recipients: message.recipients.iter().map(|(address, _)| address.to_string()).collect(),
        message: Some(text.map_err(|_| Problem::new("", "the message is not UTF-8"))?),
        message_base64: None,
        metadata: message.metadata,
    })
}

fn attachments(checked: &CheckedRequest) -> Result<Vec<&[u8]>, Problem> {
    let all = checked.attachments.iter().enumerate().map(|(index, content)| {
        let message = "is fetched by the core only: send there, or give `content`";
        content.as_deref().ok_or_else(|| Problem::new(format!("attachments[{index}].path"), message))
    });
    all.collect()
}
