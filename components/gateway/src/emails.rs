//! From requests of the API to finished messages for the core: the same requests, mistakes and octets
//! as on the native host.

use relevo_api::answer::{BatchError, EmailAnswer};
use relevo_api::content::{self, Rendering};
use relevo_api::message::{MessageContent, MessageIds, OutgoingMessage, messages};
use relevo_api::relay::{RelayRequest, RelayedEmail, RelayedMessage};
use relevo_api::{CheckedBatch, CheckedRequest, EmailRequest, InvalidRequest, Limits, Problem, batch, check};
use relevo_mailkit::address::Address;
use relevo_mailkit::id::ItemId;
use relevo_mailkit::labels::Stream;
use relevo_mailkit::model::{MessageEnvelope, Rendered, TemplateError, TemplateLimits, TemplateSource};

use crate::signing::{self, Dkim, KeyName};

/// Octets of all messages of a request. A larger one is for the core itself.
const MAX_OCTETS: usize = 16 << 20;

/// The component `template`, as the gateway calls it.
pub trait Template {
    /// `template.render`.
    ///
    /// # Errors
    /// The mistake of a source, or a variable that is not given.
    fn render(
        &self,
        source: TemplateSource,
        variables: &str,
        limits: TemplateLimits,
    ) -> Result<Rendered, TemplateError>;

    /// `template.build`.
    ///
    /// # Errors
    /// A value that cannot stand in a message.
    fn build(&self, envelope: MessageEnvelope, content: Rendered) -> Result<Vec<u8>, TemplateError>;
}

/// Time and randomness.
pub trait Surroundings {
    /// Milliseconds since 1970.
    fn now(&self) -> u64;

    /// Unguessable octets.
    fn random(&self) -> [u8; 16];
}

/// What the core is asked, and where its answer belongs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HandOff {
    /// The body of `POST /relay`.
    pub request: RelayRequest,
    /// Requests of a permissive batch that are left out.
    pub errors: Vec<BatchError>,
    /// The places of the emails in the batch; none for a single request.
    indexes: Vec<Option<usize>>,
    /// The places of the messages' recipients, by email and message.
    places: Vec<Vec<Vec<String>>>,
    /// The emails whose recipients have a message each.
    personal: Vec<bool>,
    /// The messages that the core has still to write in, by email.
    unfinished: Vec<Vec<bool>>,
}

/// The messages of one request.
struct Finished {
    email: RelayedEmail,
    places: Vec<Vec<String>>,
    unfinished: Vec<bool>,
}

/// Reads one request and finishes its messages.
///
/// # Errors
/// Every mistake that the native API would name, or that only the core can do what is asked.
pub fn single(
    body: &[u8],
    template: &dyn Template,
    surroundings: &dyn Surroundings,
) -> Result<HandOff, InvalidRequest> {
    let request: EmailRequest = relevo_api::json::read(body)?;
    let checked = check::check(request, &Limits::default(), surroundings.now())?;
    let mut hand_off = HandOff::default();
    let mut octets = MAX_OCTETS;
    let finished = finish(&checked, template, surroundings, &mut octets);
    let finished = finished.map_err(|problem| InvalidRequest::Fields(vec![problem]))?;
    hand_off.add(&checked, None, finished);
    Ok(hand_off)
}

/// Reads a batch and finishes the messages of all its requests. If that is `permissive`, requests
/// that cannot be sent are left out.
///
/// # Errors
/// As for [`single`].
pub fn many(
    body: &[u8],
    permissive: bool,
    template: &dyn Template,
    surroundings: &dyn Surroundings,
) -> Result<HandOff, InvalidRequest> {
    let CheckedBatch { requests, mut problems } = batch::read(body, &Limits::default(), surroundings.now())?;
    let mut hand_off = HandOff::default();
    let mut octets = MAX_OCTETS;
    for (checked, index) in &requests {
        match finish(checked, template, surroundings, &mut octets) {
            Ok(finished) => hand_off.add(checked, Some(*index), finished),
            Err(problem) => problems.push((*index, problem.within(&format!("[{index}]")))),
        }
    }
    problems.sort_by_key(|(index, _)| *index);
    if !permissive && !problems.is_empty() {
        return Err(InvalidRequest::Fields(problems.into_iter().map(|(_, problem)| problem).collect()));
    }
    let error = |(index, Problem { param, message })| BatchError { index, param, message };
    hand_off.errors = problems.into_iter().map(error).collect();
    Ok(hand_off)
}

impl HandOff {
    fn add(&mut self, checked: &CheckedRequest, index: Option<usize>, finished: Finished) {
        self.personal.push(!checked.request.recipients.is_empty());
        self.request.emails.push(finished.email);
        self.indexes.push(index);
        self.places.push(finished.places);
        self.unfinished.push(finished.unfinished);
    }

    /// Puts the signatures of the edge on top of each message. A message whose domain has no key here,
    /// or that the core has still to write in, stays as it is: the core signs it alone.
    ///
    /// # Errors
    /// A message that cannot be signed, as text for the log. Nothing may be handed over then.
    pub fn sign(&mut self, keys: &[KeyName], dkim: &dyn Dkim, now: u64) -> Result<(), String> {
        let now = i64::try_from(now / 1000).unwrap_or(i64::MAX);
        for (email, unfinished) in self.request.emails.iter_mut().zip(&self.unfinished) {
            let messages = email.messages.iter_mut().zip(unfinished);
            for (message, _) in messages.filter(|(_, is_unfinished)| !**is_unfinished) {
                let Some(text) = &mut message.message else { continue };
                let fields = signing::fields(keys, &message.sender, text.as_bytes(), dkim, now)?;
                let fields = String::from_utf8(fields).map_err(|error| error.to_string())?;
                text.insert_str(0, &fields);
            }
        }
        Ok(())
    }

    /// Returns true if the request did not come in a batch.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.indexes == [None]
    }

    /// Makes the core's answer about an email the native API's: an id for each recipient stands where
    /// each has a message of its own.
    pub fn adjust(&self, number: usize, email: &mut EmailAnswer) {
        if self.personal.get(number) == Some(&false) {
            email.recipients.iter_mut().for_each(|recipient| recipient.message_id = None);
        }
    }

    /// The value of the caller's request that the core means by `param`, a path such as
    /// `emails[0].messages[2].recipients[0]`.
    #[must_use]
    pub fn param(&self, param: &str) -> Option<String> {
        let (email, rest) = indexed(param, "emails")?;
        let index = *self.indexes.get(email)?;
        let place = match indexed(rest, "messages") {
            None => rest.to_owned(),
            Some((message, rest)) => {
                let recipient = indexed(rest, "recipients")
                    .and_then(|(number, _)| self.places.get(email)?.get(message)?.get(number));
                recipient.cloned().unwrap_or_else(|| "from".to_owned())
            }
        };
        Some(match index {
            Some(index) => Problem::new(place, String::new()).within(&format!("[{index}]")).param,
            None => place,
        })
    }
}

/// Reads `name[N]`, and returns N and what stands behind the point that follows.
fn indexed<'p>(param: &'p str, name: &str) -> Option<(usize, &'p str)> {
    let (number, rest) = param.strip_prefix(name)?.strip_prefix('[')?.split_once(']')?;
    Some((number.parse().ok()?, rest.strip_prefix('.').unwrap_or(rest)))
}

/// Finishes the messages of a request. Beside them are the places of their recipients.
fn finish(
    checked: &CheckedRequest,
    template: &dyn Template,
    surroundings: &dyn Surroundings,
    octets: &mut usize,
) -> Result<Finished, Problem> {
    let request = &checked.request;
    let attachments = attachments(checked)?;
    let attachments: Vec<&[u8]> = attachments.iter().map(Vec::as_slice).collect();
    let mut relayed = RelayedEmail {
        messages: Vec::new(),
        tags: request.tags.clone(),
        stream: request.stream,
        topic: request.topic.clone(),
        template: None,
        tracking: request.tracking.clone(),
        scheduled_at: request.scheduled_at.clone(),
        expires_at: request.expires_at.clone(),
        tls: request.tls,
        dry_run: request.dry_run,
    };
    let (mut places, mut unfinished) = (Vec::new(), Vec::new());
    let mut literal = None;
    for message in messages(checked) {
        let content = render(&message, &mut literal, template)?;
        let can_leave = request.stream == Stream::Marketing || request.topic.is_some();
        if let Some(problem) = content::dead_link(&content, can_leave) {
            return Err(problem);
        }
        unfinished.push(is_unfinished(checked, &content));
        let envelope = message.envelope(request, &attachments, &ids(checked, &message.sender, surroundings));
        let built = template.build(envelope, content).map_err(|error| content::build_problem(&error))?;
        *octets = octets.checked_sub(built.len()).ok_or_else(|| {
            Problem::new(
                "",
                format!("the messages have more than {MAX_OCTETS} octets in all: send to the core"),
            )
        })?;
        places.push(message.recipients.iter().map(|(_, param)| param.clone()).collect());
        relayed.messages.push(relayed_message(message, built)?);
    }
    Ok(Finished { email: relayed, places, unfinished })
}

/// Returns true if the core has still to write in the message: the Date of scheduled mail, the URL to
/// unsubscribe, or tracking that was asked for. A signature would not survive that.
fn is_unfinished(checked: &CheckedRequest, content: &Rendered) -> bool {
    let tracking = &checked.request.tracking;
    let is_tracked = [tracking.opens, tracking.clicks, tracking.clicks_text].contains(&Some(true));
    checked.scheduled_at.is_some() || is_tracked || content::has_unsubscribe_url(content)
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

fn attachments(checked: &CheckedRequest) -> Result<Vec<Vec<u8>>, Problem> {
    let all = checked.attachments.iter().enumerate().map(|(index, content)| {
        let message = "is fetched by the core only: send there, or give `content`";
        content.clone().ok_or_else(|| Problem::new(format!("attachments[{index}].path"), message))
    });
    all.collect()
}

fn render(
    message: &OutgoingMessage,
    literal: &mut Option<Rendered>,
    template: &dyn Template,
) -> Result<Rendered, Problem> {
    if let (MessageContent::Literal(_), Some(rendered)) = (&message.content, &literal) {
        return Ok(rendered.clone());
    }
    let rendering = content::rendering(&message.content, None).ok_or_else(|| {
        Problem::new("template", "a stored template is rendered by the core only: send there")
    })?;
    let rendered = match rendering {
        Rendering::Ready(rendered) => rendered,
        Rendering::Call(call) => {
            let rendered = template.render(call.source.clone(), &call.variables_json(), content::LIMITS);
            let rendered = rendered.map_err(|error| call.problem(&error, &message.variables_param))?;
            call.finish(rendered)
        }
    };
    if matches!(message.content, MessageContent::Literal(_)) {
        *literal = Some(rendered.clone());
    }
    Ok(rendered)
}

fn ids(checked: &CheckedRequest, sender: &Address, surroundings: &dyn Surroundings) -> MessageIds {
    let now = i64::try_from(surroundings.now()).unwrap_or(i64::MAX);
    let mut random = [0; 10];
    random.copy_from_slice(&surroundings.random()[..10]);
    MessageIds {
        // A scheduled message gets its Date when it is released: that may still change.
        date: checked.scheduled_at.is_none().then(|| now.div_euclid(1000)),
        message_id: format!("<{}@{}>", ItemId::new(now, random), sender.domain),
        boundary_seed: relevo_mailkit::hex::encode(&surroundings.random()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    struct Fixed;

    impl Surroundings for Fixed {
        fn now(&self) -> u64 {
            1_795_325_640_000
        }

        fn random(&self) -> [u8; 16] {
            [7; 16]
        }
    }

    /// Puts the subject and the text behind each other.
    struct Plain;

    impl Template for Plain {
        fn render(
            &self,
            source: TemplateSource,
            variables: &str,
            _limits: TemplateLimits,
        ) -> Result<Rendered, TemplateError> {
            Ok(Rendered { subject: source.subject, html: None, text: variables.to_owned() })
        }

        fn build(&self, envelope: MessageEnvelope, content: Rendered) -> Result<Vec<u8>, TemplateError> {
            Ok(format!("{}|{}|{}", envelope.message_id, content.subject, content.text).into_bytes())
        }
    }

    fn mistake(body: &Value) -> Vec<String> {
        match single(body.to_string().as_bytes(), &Plain, &Fixed) {
            Err(InvalidRequest::Fields(problems)) => problems.into_iter().map(|p| p.param).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_recipient_has_its_message_and_its_place() {
        let body = json!({
            "from": "Shop <shop@example.com>",
            "subject": "Hello {{ name }}",
            "text": "x",
            "stream": "marketing",
            "tags": [{"name": "a", "value": "b"}],
            "recipients": [
                {"email": "ana@example.net", "variables": {"name": "Ana"}, "metadata": {"row": "1"}},
                {"email": "luis@example.net"},
            ],
        });
        let hand_off = single(body.to_string().as_bytes(), &Plain, &Fixed).expect("it is valid");
        let [email] = hand_off.request.emails.as_slice() else { panic!("one email") };
        assert_eq!((email.messages.len(), email.tags[0].name.as_str()), (2, "a"));
        let first = &email.messages[0];
        assert_eq!((first.sender.as_str(), &first.metadata["row"]), ("shop@example.com", &"1".to_owned()));
        let message = first.message.as_deref().unwrap_or_default();
        assert!(message.contains("@example.com>|Hello {{ name }}|") && message.contains("Ana"), "{message}");
        let place = |param: &str| hand_off.param(param);
        assert_eq!(place("emails[0].messages[1].recipients[0]"), Some("recipients[1].email".to_owned()));
        assert_eq!(place("emails[0].messages[1]"), Some("from".to_owned()));
        assert_eq!(place("emails[0].expires_at"), Some("expires_at".to_owned()));
        assert_eq!(place("elsewhere"), None);
    }

    #[test]
    fn what_only_the_core_can_do_is_said() {
        let with = |more: Value| {
            let mut body = json!({"from": "a@example.com", "to": "b@example.net"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            mistake(&body)
        };
        assert_eq!(with(json!({"template": {"id": "x"}})), ["template"]);
        let path = json!([{"filename": "a.txt", "path": "https://example.com/a.txt"}]);
        assert_eq!(with(json!({"subject": "s", "text": "t", "attachments": path})), ["attachments[0].path"]);
    }

    #[test]
    fn a_permissive_batch_leaves_out_what_cannot_be_sent() {
        let good = json!({"from": "a@example.com", "to": "b@example.net", "subject": "s", "text": "t"});
        let bad = json!({"from": "a@example.com", "to": "b", "subject": "s", "text": "t"});
        let body = json!([bad, good]).to_string();
        assert!(many(body.as_bytes(), false, &Plain, &Fixed).is_err());
        let hand_off = many(body.as_bytes(), true, &Plain, &Fixed).expect("one is left");
        assert_eq!((hand_off.request.emails.len(), hand_off.errors[0].index), (1, 0));
        assert_eq!(hand_off.param("emails[0].messages[0].recipients[0]"), Some("[1].to[0]".to_owned()));
    }
}
