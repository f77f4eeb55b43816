//! From requests of the API to finished messages for the core: the same requests, mistakes and octets
//! as on the native host.

mod making;

use std::collections::BTreeSet;

use relevo_api::answer::{BatchAnswer, BatchError};
use relevo_api::relay::{RelayRequest, RelayedEmail};
use relevo_api::{CheckedBatch, CheckedRequest, EmailRequest, InvalidRequest, Limits, Problem, batch, check};
use relevo_mailkit::model::{MessageEnvelope, Rendered, TemplateError, TemplateLimits, TemplateSource};

use self::making::{Finished, Making};
use crate::signing::{self, Dkim, KeyName};
use crate::templates::Templates;

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

/// Requests that can be used.
#[derive(Debug)]
pub struct CheckedEmails {
    /// With their positions in the batch; none for a single request.
    requests: Vec<(CheckedRequest, Option<usize>)>,
    /// The mistakes of the others.
    problems: Vec<(usize, Problem)>,
    permissive: bool,
}

/// What the core is asked, and where its answer belongs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HandOff {
    /// The body of `POST /relay`.
    pub request: RelayRequest,
    /// Requests of a permissive batch that are left out.
    pub errors: Vec<BatchError>,
    /// An id for an answer about nothing that is sent.
    id: String,
    /// The places of the emails in the batch; none for a single request.
    indexes: Vec<Option<usize>>,
    /// The places of the messages' recipients, by email and message.
    places: Vec<Vec<Vec<String>>>,
    /// The emails whose recipients have a message each.
    personal: Vec<bool>,
    /// The messages that the core has still to write in, by email.
    unfinished: Vec<Vec<bool>>,
}

impl CheckedEmails {
    /// Reads one request. `now` is in milliseconds since 1970.
    ///
    /// # Errors
    /// Every mistake that the native API would name.
    pub fn single(body: &[u8], now: u64) -> Result<Self, InvalidRequest> {
        let request: EmailRequest = relevo_api::json::read(body)?;
        let checked = check::check(request, &Limits::default(), now)?;
        Ok(Self { requests: vec![(checked, None)], problems: Vec::new(), permissive: false })
    }

    /// Reads a batch. If that is `permissive`, requests that cannot be sent are left out.
    ///
    /// # Errors
    /// Every mistake that the native API would name.
    pub fn batch(body: &[u8], permissive: bool, now: u64) -> Result<Self, InvalidRequest> {
        let CheckedBatch { requests, problems } = batch::read(body, &Limits::default(), now)?;
        if !permissive && !problems.is_empty() {
            return Err(InvalidRequest::Fields(problems.into_iter().map(|(_, problem)| problem).collect()));
        }
        let requests = requests.into_iter().map(|(checked, index)| (checked, Some(index))).collect();
        Ok(Self { requests, problems, permissive })
    }

    /// Ids and aliases of the stored templates that are named.
    #[must_use]
    pub fn templates(&self) -> BTreeSet<String> {
        let all = self.requests.iter();
        all.filter_map(|(checked, _)| Some(checked.request.template.as_ref()?.id.clone())).collect()
    }

    /// Finishes the messages.
    ///
    /// # Errors
    /// Every mistake that the native API would name, or that only the core can do what is asked.
    pub fn finish(
        self,
        templates: &Templates,
        template: &dyn Template,
        surroundings: &dyn Surroundings,
    ) -> Result<HandOff, InvalidRequest> {
        let Self { requests, mut problems, permissive } = self;
        let mut making = Making::new(templates, template, surroundings);
        let mut hand_off = HandOff { id: making.first.to_string(), ..HandOff::default() };
        for (checked, index) in requests {
            match (making.finish(&checked), index) {
                (Ok(finished), index) => hand_off.add(&checked, index, finished),
                (Err(problem), None) => return Err(InvalidRequest::Fields(vec![problem])),
                (Err(problem), Some(index)) => problems.push((index, problem.within(&format!("[{index}]")))),
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
}

/// Reads one request that names no stored template, and finishes its messages.
///
/// # Errors
/// As for [`CheckedEmails`].
pub fn single(
    body: &[u8],
    template: &dyn Template,
    surroundings: &dyn Surroundings,
) -> Result<HandOff, InvalidRequest> {
    let checked = CheckedEmails::single(body, surroundings.now())?;
    checked.finish(&Templates::default(), template, surroundings)
}

impl HandOff {
    fn add(&mut self, checked: &CheckedRequest, index: Option<usize>, finished: Finished) {
        self.personal.push(!checked.request.recipients.is_empty());
        self.request.emails.push(RelayedEmail { alone: index.is_none(), ..finished.email });
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

    /// Makes the core's answer that of the native API. What it has left out of a permissive batch stands
    /// at the places of the caller's batch, beside what was left out here.
    #[must_use]
    pub fn answer(self, answer: BatchAnswer) -> BatchAnswer {
        let Self { errors, personal, indexes, .. } = &self;
        let out: BTreeSet<usize> = answer.errors.iter().map(|error| error.index).collect();
        let mut data = answer.data;
        let sent = personal.iter().enumerate().filter(|(number, _)| !out.contains(number));
        for (email, _) in data.iter_mut().zip(sent).filter(|(_, (_, is_personal))| !**is_personal) {
            email.recipients.iter_mut().for_each(|recipient| recipient.message_id = None);
        }
        let refused = answer.errors.into_iter().filter_map(|BatchError { index, param, message }| {
            let index = (*indexes.get(index)?)?;
            let param = self.param(&param).unwrap_or_else(|| format!("[{index}]"));
            Some(BatchError { index, param, message })
        });
        let mut errors: Vec<_> = errors.iter().cloned().chain(refused).collect();
        errors.sort_by_key(|error| error.index);
        BatchAnswer { data, errors, ..answer }
    }

    /// Returns the answer to a batch of which nothing is left.
    #[must_use]
    pub fn empty_answer(&self) -> Option<BatchAnswer> {
        self.request.emails.is_empty().then(|| BatchAnswer {
            object: "list".to_owned(),
            id: self.id.clone(),
            data: Vec::new(),
            errors: self.errors.clone(),
        })
    }

    /// Returns true if the request did not come in a batch.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.indexes == [None]
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

#[cfg(test)]
mod tests {
    use relevo_api::template::StoredTemplate;
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

    fn single(body: &Value) -> Result<HandOff, InvalidRequest> {
        super::single(body.to_string().as_bytes(), &Plain, &Fixed)
    }

    fn mistake(body: &Value) -> Vec<String> {
        match single(body) {
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
        let hand_off = single(&body).expect("it is valid");
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
        assert_eq!(with(json!({"template": {"id": "x"}})), ["template.id"], "it was not fetched");
        let path = json!([{"filename": "a.txt", "path": "https://example.com/a.txt"}]);
        assert_eq!(with(json!({"subject": "s", "text": "t", "attachments": path})), ["attachments[0].path"]);
    }

    #[test]
    fn a_stored_template_is_named_by_its_id() {
        let body = json!({
            "from": "a@example.com",
            "stream": "marketing",
            "template": {"id": "welcome", "variables": {"a": 1}},
            "recipients": [{"email": "b@example.net", "variables": {"b": 2}}, {"email": "c@example.net"}],
        });
        let checked = CheckedEmails::single(body.to_string().as_bytes(), Fixed.now()).expect("it is valid");
        assert_eq!(checked.templates(), BTreeSet::from(["welcome".to_owned()]));
        let mut templates = Templates::default();
        let fallbacks = serde_json::Map::from_iter([("b".to_owned(), 3.into())]);
        templates
            .add("welcome".into(), Ok(StoredTemplate { id: "01K".into(), fallbacks, ..Default::default() }));
        let hand_off = checked.finish(&templates, &Plain, &Fixed).expect("it is valid");
        let email = &hand_off.request.emails[0];
        assert_eq!(email.template.as_deref(), Some("01K"));
        let texts: Vec<&str> =
            email.messages.iter().filter_map(|message| message.message.as_deref()).collect();
        assert!(texts[0].contains(r#""a":1,"b":2"#) && texts[1].contains(r#""a":1,"b":3"#), "{texts:?}");
        let ids: BTreeSet<_> = texts.iter().map(|text| text.split('|').next()).collect();
        assert_eq!(ids.len(), 2, "each message has an id of its own");
    }

    #[test]
    fn a_permissive_batch_leaves_out_what_cannot_be_sent() {
        let good = json!({"from": "a@example.com", "to": "b@example.net", "subject": "s", "text": "t"});
        let bad = json!({"from": "a@example.com", "to": "b", "subject": "s", "text": "t"});
        let many = |body: &Value, permissive: bool| {
            let checked = CheckedEmails::batch(body.to_string().as_bytes(), permissive, Fixed.now())?;
            checked.finish(&Templates::default(), &Plain, &Fixed)
        };
        let body = json!([bad, good]);
        assert!(many(&body, false).is_err());
        let nothing = many(&json!([bad]), true).expect("nothing is left").empty_answer().expect("so");
        assert_eq!((nothing.data.len(), nothing.errors.len(), nothing.id.len()), (0, 1, 26));
        let hand_off = many(&body, true).expect("one is left");
        assert_eq!(hand_off.empty_answer(), None);
        assert_eq!((hand_off.request.emails.len(), hand_off.errors[0].index), (1, 0));
        assert_eq!(hand_off.param("emails[0].messages[0].recipients[0]"), Some("[1].to[0]".to_owned()));

        // The core left out the second of three, whose ids stay with the others.
        let personal = json!({"from": "a@example.com", "stream": "marketing", "recipients": [{"email": "p@example.net"}], "subject": "s", "text": "t"});
        let hand_off = many(&json!([bad, good, good, personal]), true).expect("three are left");
        let email = |id: &str| {
            let recipients = json!([{"email": "x@example.net", "status": "queued", "message_id": id}]);
            json!({"object": "email", "id": id, "recipients": recipients})
        };
        let errors = json!([{"index": 1, "param": "emails[1].messages[0]", "message": "no"}]);
        let said = json!({"object": "list", "id": "1", "data": [email("1"), email("3")], "errors": errors});
        let answer = hand_off.answer(serde_json::from_value(said).expect("an answer"));
        let errors: Vec<_> = answer.errors.iter().map(|error| (error.index, error.param.as_str())).collect();
        assert_eq!(errors, [(0, "[0].to[0]"), (2, "[2].from")]);
        let ids: Vec<_> = answer.data.iter().map(|email| email.recipients[0].message_id.as_deref()).collect();
        assert_eq!(ids, [None, Some("3")], "an id for each recipient that has a message of its own");
    }
}
