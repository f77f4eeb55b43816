//! Answers, in the words of the native API.

use relevo_api::answer::BatchAnswer;
use relevo_api::{InvalidRequest, Problem};
use relevo_pages::ReaderAnswer;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::emails::HandOff;

/// Seconds after which a caller may try again, unless the core says when.
const RETRY_AFTER: u32 = 5;

/// An answer to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Names, in lower case, and values of the fields.
    pub fields: Vec<(&'static str, String)>,
    /// The octets; empty for none.
    pub body: Vec<u8>,
}

impl From<ReaderAnswer> for Answer {
    fn from(ReaderAnswer { status, fields, body }: ReaderAnswer) -> Self {
        Self { status, fields, body }
    }
}

impl Answer {
    /// An answer with a JSON body.
    #[must_use]
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => Self { status, fields: vec![("content-type", "application/json".to_owned())], body },
            Err(_) => Self { status: 500, fields: Vec::new(), body: Vec::new() },
        }
    }

    /// An error as the native API writes it.
    #[must_use]
    pub fn error(status: u16, name: &str, message: &str) -> Self {
        Self::json(status, &json!({ "statusCode": status, "name": name, "message": message }))
    }

    /// 503: nothing was done, and the same request may be sent again.
    #[must_use]
    pub fn unavailable(message: &str) -> Self {
        Self::error(503, "unavailable", message).retry_after(Some(RETRY_AFTER))
    }

    /// Says after how many seconds the caller may try again.
    fn retry_after(mut self, seconds: Option<u32>) -> Self {
        self.fields.extend(seconds.map(|seconds| ("retry-after", seconds.to_string())));
        self
    }

    /// What is wrong with a request.
    #[must_use]
    pub fn invalid(invalid: &InvalidRequest) -> Self {
        let problems = match invalid {
            InvalidRequest::Json { .. } => return Self::error(400, "bad_request", &invalid.to_string()),
            InvalidRequest::Fields(problems) => problems,
        };
        let first = problems.first().cloned().unwrap_or_else(|| Problem::new("", invalid.to_string()));
        let mut body = json!({ "statusCode": 422, "name": "validation_error", "message": first.message });
        if !first.param.is_empty() {
            body["param"] = first.param.into();
        }
        if problems.len() > 1 {
            let all = problems.iter().map(|each| json!({ "param": each.param, "message": each.message }));
            body["errors"] = all.collect();
        }
        Self::json(422, &body)
    }

    /// The promise of a request that waits for the core.
    #[must_use]
    pub fn stored(promise: BatchAnswer, hand_off: HandOff) -> Self {
        accepted(202, promise, hand_off)
    }

    /// 409: the idempotency key stands for another request.
    #[must_use]
    pub fn key_of_another() -> Self {
        let message = "this idempotency key was used for another request: take a new key";
        Self::error(409, "invalid_idempotent_request", message)
    }

    /// The core's answer to what was handed off, as the native API would have answered.
    #[must_use]
    pub fn of_core(status: u16, body: &[u8], retry_after: Option<u32>, hand_off: HandOff) -> Self {
        match status {
            200 | 202 => match serde_json::from_slice::<BatchAnswer>(body) {
                Ok(answer) => accepted(status, answer, hand_off),
                Err(_) => Self::unavailable("the core's answer cannot be read: it may be of another version"),
            },
            404 => Self::unavailable("the core does not know `POST /relay`: RELEVO_RELAY_URL may be wrong"),
            _ => Self::of_error(status, body, retry_after, |error| in_place(error, &hand_off)),
        }
    }

    /// An error of the core that is not about a value of the request.
    #[must_use]
    pub fn of_core_error(status: u16, body: &[u8], retry_after: Option<u32>) -> Self {
        match status {
            401 | 403 | 429 | 500.. => Self::of_error(status, body, retry_after, |error| error),
            _ => Self::unavailable("the core is not available now, try again"),
        }
    }

    fn of_error(
        status: u16,
        body: &[u8],
        retry_after: Option<u32>,
        change: impl FnOnce(Map<String, Value>) -> Map<String, Value>,
    ) -> Self {
        if let 401 | 403 = status {
            return Self::unavailable("the core refuses the token of this gateway");
        }
        // A proxy in front of the core says not always when.
        let retry_after = retry_after.or(matches!(status, 429 | 502..=504).then_some(RETRY_AFTER));
        match serde_json::from_slice::<Value>(body) {
            Ok(Value::Object(error)) if (400..=599).contains(&status) => {
                Self::json(status, &Value::Object(change(error))).retry_after(retry_after)
            }
            _ => Self::unavailable("the core is not available now, try again"),
        }
    }
}

fn accepted(status: u16, answer: BatchAnswer, hand_off: HandOff) -> Answer {
    let is_single = hand_off.is_single();
    let mut answer = hand_off.answer(answer);
    if is_single {
        return match answer.data.pop() {
            Some(email) => Answer::json(status, &email),
            None => Answer::unavailable("the core's answer is empty"),
        };
    }
    Answer::json(status, &answer)
}

/// The error with the paths of the caller's request.
fn in_place(mut error: Map<String, Value>, hand_off: &HandOff) -> Map<String, Value> {
    if let Some(param) = error.get("param").and_then(Value::as_str).and_then(|param| hand_off.param(param)) {
        error.insert("param".to_owned(), param.into());
    }
    let errors = error.get_mut("errors").and_then(Value::as_array_mut);
    for each in errors.into_iter().flatten() {
        if let Some(param) = each["param"].as_str().and_then(|param| hand_off.param(param)) {
            each["param"] = param.into();
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_is_away_says_when_to_try_again() {
        for (status, body, given, told, seconds) in [
            (503, "{}", Some(9), 503, Some("9")),
            (503, "{}", None, 503, Some("5")),
            (502, "<html>", None, 503, Some("5")),
            (429, "{}", None, 429, Some("5")),
            (302, "{}", None, 503, Some("5")),
            (422, "{}", None, 422, None),
        ] {
            let answer = Answer::of_core(status, body.as_bytes(), given, HandOff::default());
            let field = answer.fields.iter().find(|(name, _)| *name == "retry-after");
            assert_eq!((answer.status, field.map(|(_, value)| value.as_str())), (told, seconds), "{status}");
        }
    }
}
