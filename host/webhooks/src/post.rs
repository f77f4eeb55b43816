//! One request to an endpoint.

use std::time::{Duration, Instant};

use relevo_fetch::{FetchError, FetchLimits, FetchRequest, FetchResponse, Method};
use relevo_mailkit::text::escaped;
use relevo_mailkit::webhook::{WebhookSecret, signature};
use relevo_queue::Millis;
use relevo_store::WebhookEndpoint;

use crate::retry::{self, Answer};
use crate::shared::Shared;

/// Octets of an answer that are read.
const MAX_BODY: usize = 4_096;
/// Octets of an answer, or of an error, that are kept.
const MAX_DETAIL: usize = 512;

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Posted {
    pub(crate) started_at: Millis,
    pub(crate) took: Duration,
    pub(crate) answer: Answer,
    /// The beginning of the answer's body, or the error.
    pub(crate) detail: String,
}

impl Posted {
    pub(crate) fn status(&self) -> Option<i64> {
        match self.answer {
            Answer::Status { code, .. } => Some(code.into()),
            Answer::None => None,
        }
    }
}

/// Posts a body to an endpoint, signed with each of its secrets that counts now.
pub(crate) async fn post(shared: &Shared, endpoint: &WebhookEndpoint, id: &str, body: Vec<u8>) -> Posted {
    let started_at = shared.now();
    let request = FetchRequest {
        method: Method::Post,
        url: endpoint.url.clone(),
        headers: headers(endpoint, id, started_at, &body),
        body,
    };
    let limits = FetchLimits {
        time: shared.config.timeout,
        body: MAX_BODY,
        cut: true,
        clear: shared.config.allow_http,
    };
    let clock = Instant::now();
    let sent = shared.fetcher.send(request, limits).await;
    let took = clock.elapsed();
    let (answer, detail) = read(sent, shared.now());
    let result = match answer {
        answer if answer.is_success() => "success",
        Answer::Status { .. } => "status",
        Answer::None => "none",
    };
    shared.metrics.attempted(result, took);
    Posted { started_at, took, answer, detail }
}

fn read(sent: Result<FetchResponse, FetchError>, now: Millis) -> (Answer, String) {
    match sent {
        Ok(response) => {
            let retry_after = response.header("retry-after").and_then(|value| retry::retry_after(value, now));
            let detail = match response.status {
                300..=399 => "redirects are not followed".to_owned(),
                _ => escaped(&String::from_utf8_lossy(&response.body), MAX_DETAIL),
            };
            (Answer::Status { code: response.status, retry_after }, detail)
        }
        Err(error) => (Answer::None, escaped(&error.to_string(), MAX_DETAIL)),
    }
}

/// Fields of the endpoint's own go first: they cannot replace ours.
fn headers(endpoint: &WebhookEndpoint, id: &str, now: Millis, body: &[u8]) -> Vec<(String, String)> {
    let seconds = now.div_euclid(1_000);
    let signed = signature(&secrets(endpoint, now), id, seconds, body);
    let mut headers = endpoint.settings.headers.clone();
    headers.push(("content-type".to_owned(), "application/json".to_owned()));
    for prefix in ["webhook", "svix"] {
        headers.push((format!("{prefix}-id"), id.to_owned()));
        headers.push((format!("{prefix}-timestamp"), seconds.to_string()));
        headers.push((format!("{prefix}-signature"), signed.clone()));
    }
    headers
}

/// The secrets that sign at a time.
fn secrets(endpoint: &WebhookEndpoint, now: Millis) -> Vec<WebhookSecret> {
    let counting = endpoint.settings.secrets.iter().filter(|secret| secret.until.is_none_or(|at| at > now));
    let parsed = counting.filter_map(|stored| match WebhookSecret::parse(&stored.secret) {
        Ok(secret) => Some(secret),
        Err(error) => {
            tracing::error!(webhook = endpoint.id, error, "a stored secret cannot be read");
            None
        }
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use relevo_store::{StoredSecret, WebhookSettings};

    use super::*;

    #[test]
    fn both_secrets_sign_while_they_overlap() {
        let secret = |octet: u8, until| StoredSecret {
            secret: WebhookSecret::new(vec![octet; 32]).expect("32 octets").reveal(),
            until,
        };
        let endpoint = WebhookEndpoint {
            tenant: "acme".into(),
            id: "w".into(),
            url: "https://hooks.example.com/".into(),
            enabled: true,
            disabled_reason: None,
            failing_since: None,
            settings: WebhookSettings {
                headers: vec![("x-key".into(), "1".into()), ("webhook-id".into(), "forged".into())],
                secrets: vec![secret(2, None), secret(1, Some(5_000))],
                ..WebhookSettings::default()
            },
            created_at: 0,
            version: 1,
        };
        for (now, signatures) in [(4_999, 2), (5_000, 1)] {
            let headers = headers(&endpoint, "msg_1", now, b"{}");
            let last = |name: &str| {
                let found = headers.iter().rfind(|(key, _)| key == name).map(|(_, value)| value.as_str());
                found.expect("is sent").to_owned()
            };
            assert_eq!(last("webhook-signature").split(' ').count(), signatures);
            assert_eq!(last("webhook-signature"), last("svix-signature"));
            assert_eq!(
                (last("webhook-id"), last("webhook-timestamp")),
                ("msg_1".into(), (now / 1_000).to_string())
            );
            assert_eq!(last("x-key"), "1");
        }
    }
}
