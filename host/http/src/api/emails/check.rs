//! `POST /emails/check`: a look at the content of an email before it is sent.

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::{Extension, Json};
use relevo_api::{EmailRequest, Limits, check};
use relevo_mailkit::labels::Stream;
use relevo_relay::inspection::{
    ContentOptions, Finding, Inspection, InspectionError, MAX_MESSAGE, Severity, SpamScore,
};
use serde::{Deserialize, Serialize};

use super::send::{now, sender};
use crate::api::ApiServices;
use crate::api::auth::Caller;
use crate::bearer::Proven;
use crate::error::{self, RequestError};
use crate::observe::ClientAddress;

/// Parameters of `POST /emails/check`.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CheckQuery {
    /// `marketing`: a raw message is looked at as marketing. A request in JSON says so itself.
    stream: Option<String>,
}

/// What was found in the content of an email.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ContentCheckView {
    /// `content_check`.
    object: &'static str,
    /// Octets of the message.
    size: usize,
    /// What receivers or readers may dislike, those that weigh most first.
    findings: Vec<FindingView>,
    /// Scores of the spam filters of this relay that answered.
    spam_scores: Vec<SpamScoreView>,
}

/// A finding.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct FindingView {
    /// The name of the check, such as `html_size`, `link_mismatch` or `spam_score`.
    check: String,
    /// `error`: mail with it is refused, distrusted or unreadable. `warning`: some receivers or readers
    /// dislike it. `info`: good to know. `unknown`: the check could not be made.
    severity: &'static str,
    /// What was found, for people.
    message: String,
    /// Where it is: `subject`, `text`, or such as `html line 12`.
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
}

/// The score of a spam filter.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SpamScoreView {
    /// `spamassassin` or `rspamd`.
    filter: &'static str,
    score: f64,
    /// From here on the filter calls a message spam.
    threshold: f64,
    is_spam: bool,
    /// Rules that matched.
    rules: Vec<String>,
}

impl ContentCheckView {
    /// The answer for programs about a message of `size` octets.
    #[must_use]
    pub fn of(size: usize, inspection: Inspection) -> Self {
        let Inspection { findings, scores, unanswered } = inspection;
        let unknown = unanswered.into_iter().map(|(filter, reason)| FindingView {
            check: "spam_score".to_owned(),
            severity: "unknown",
            message: format!("{filter} gave no score: {reason}"),
            location: None,
        });
        Self {
            object: "content_check",
            size,
            findings: findings.into_iter().map(FindingView::of).chain(unknown).collect(),
            spam_scores: scores.into_iter().map(SpamScoreView::of).collect(),
        }
    }

    /// Returns true if a finding is an `error`.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == "error")
    }

    /// The findings and scores in lines, for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let finding = |found: &FindingView| {
            let place = found.location.as_ref().map_or_else(String::new, |place| format!(" ({place})"));
            format!("{}  {}{place}: {}", found.severity, found.check, found.message)
        };
        let score = |score: &SpamScoreView| {
            format!("{}: {:.1} points of {:.1}", score.filter, score.score, score.threshold)
        };
        self.findings.iter().map(finding).chain(self.spam_scores.iter().map(score)).collect()
    }
}

impl FindingView {
    fn of(finding: Finding) -> Self {
        let severity = match finding.severity {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let Finding { check, message, location, .. } = finding;
        Self { check, severity, message, location }
    }
}

impl SpamScoreView {
    fn of(score: SpamScore) -> Self {
        let SpamScore { filter, score, threshold, rules } = score;
        Self { filter, score, threshold, is_spam: score >= threshold, rules }
    }
}

impl From<InspectionError> for RequestError {
    fn from(error: InspectionError) -> Self {
        match error {
            InspectionError::Message(message) => Self::Invalid { param: None, message },
            InspectionError::Unavailable => Self::unavailable(),
        }
    }
}

/// Looks at the content of an email: what receivers and readers may dislike, and the scores of spam
/// filters that the relay is configured with. Nothing is sent.
///
/// The body is that of `POST /emails`, or a whole message as `message/rfc822`. Of a request with
/// `recipients` the first message is looked at.
#[utoipa::path(
    post,
    path = "/emails/check",
    tag = "emails",
    params(CheckQuery),
    request_body(content(
        (relevo_api::EmailRequest = "application/json"),
        (String = "message/rfc822"),
    )),
    responses((status = 200, description = "What was found.", body = ContentCheckView)),
)]
pub(crate) async fn check_content(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    Extension(client): Extension<ClientAddress>,
    query: Result<Query<CheckQuery>, QueryRejection>,
    headers: HeaderMap,
    content: Bytes,
) -> Result<Json<ContentCheckView>, RequestError> {
    let stream = error::query(query)?.stream.as_deref().map(str::parse::<Stream>).transpose();
    let stream = stream.map_err(|message| RequestError::invalid("stream", message))?;
    let tenant = caller.tenant.clone();
    let (message, stream) = match is_message(&headers) {
        true => (content.to_vec(), stream.unwrap_or_default()),
        false => {
            let request: EmailRequest = relevo_api::json::read(&content)?;
            let checked = check::check(request, &Limits::default(), now(&services))?;
            let stream = stream.unwrap_or(checked.request.stream);
            (services.sending.first_message(&sender(&services, caller, client), &checked).await?, stream)
        }
    };
    drop(content);
    if message.len() > MAX_MESSAGE {
        return Err(RequestError::TooLarge(format!("the message has more than {MAX_MESSAGE} octets")));
    }
    let (size, options) = (message.len(), ContentOptions { marketing: stream == Stream::Marketing });
    let found = services.inspection.inspect(&tenant, message, options).await?;
    Ok(Json(ContentCheckView::of(size, found)))
}

fn is_message(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.trim().to_ascii_lowercase().starts_with("message/"))
}
