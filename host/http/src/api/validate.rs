//! `/validate`: addresses, before anything is sent to them.

mod upload;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use relevo_relay::validation::Validation;
use serde::{Deserialize, Serialize};

use super::ApiServices;
use super::auth::Caller;
use super::body;
use super::list::Page;
use crate::bearer::Proven;
use crate::error::RequestError;

/// Addresses of one request.
const MAX_EMAILS: usize = 1_000;
/// Addresses of an upload.
const MAX_UPLOADED: usize = 10_000;
/// Octets of one entry: more is no address, and an answer repeats it.
const MAX_LENGTH: usize = 1_024;

/// The body of `POST /validate`: one of both.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ValidateFields {
    /// An address.
    #[serde(default)]
    email: Option<String>,
    /// Up to 1,000 addresses.
    #[serde(default)]
    emails: Option<Vec<String>>,
}

/// The answer to `POST /validate`: for `email` one validation, for `emails` a list in their order.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub(super) enum Validated {
    /// For `email`.
    One(Box<ValidationView>),
    /// For `emails`.
    List(Page<ValidationView>),
}

/// What can be said of an address.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ValidationView {
    /// `validation`.
    object: &'static str,
    /// The address as it was given.
    email: String,
    /// `deliverable`, `risky`, `undeliverable` or `unknown`.
    result: &'static str,
    /// Why, the weightiest first, such as `null_mx`, `disposable` or `free_provider`.
    reasons: Vec<&'static str>,
    /// The reasons in sentences; empty when there is none.
    explanation: String,
    /// The address that was probably meant. Ask before it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<String>,
    /// Absent when it is not an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<ValidatedDomain>,
    /// The domain gives out addresses that live for minutes.
    disposable: bool,
    /// The local part is that of a role, such as `info`.
    role: bool,
    /// Everybody can have a mailbox at the domain for nothing.
    free: bool,
}

/// What DNS says about the domain of an address.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ValidatedDomain {
    /// In lower case A-labels.
    name: String,
    /// `mx`, `implicit_mx`, `null_mx`, `no_such_domain`, `no_mail_host`, `loops_back`, `dns_failed` or
    /// `not_looked_up`.
    status: &'static str,
    /// The first ten MX hosts, best first.
    mx: Vec<String>,
}

impl ValidationView {
    /// The answer for programs.
    #[must_use]
    pub fn of(validation: Validation) -> Self {
        let Validation { candidate, domain, judgement } = validation;
        let mx = match &domain {
            relevo_relay::validation::DomainFinding::Mx(hosts) => hosts.clone(),
            _ => Vec::new(),
        };
        Self {
            object: "validation",
            email: candidate.text().to_owned(),
            result: judgement.result.name(),
            reasons: judgement.reasons.iter().map(|reason| reason.name()).collect(),
            explanation: judgement.explanation,
            suggestion: judgement.suggestion,
            domain: candidate.address().map(|address| ValidatedDomain {
                name: address.domain.clone(),
                status: domain.name(),
                mx,
            }),
            disposable: candidate.is_disposable(),
            role: candidate.is_role(),
            free: candidate.is_free(),
        }
    }
}

/// Says whether mail to an address would arrive, and why. Nothing is sent and no server is connected to.
///
/// The answer comes from the syntax, DNS, lists of disposable domains, free providers and roles, near
/// names of large providers, and earlier mail of the tenant to the address.
#[utoipa::path(
    post,
    path = "/validate",
    tag = "validation",
    request_body = ValidateFields,
    responses((status = 200, description = "A validation for `email`, a list of them for `emails`.", body = Validated)),
)]
pub(super) async fn validate(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    body: Bytes,
) -> Result<Json<Validated>, RequestError> {
    let fields: ValidateFields = body::read(&body)?;
    match (fields.email, fields.emails) {
        (Some(email), None) => {
            check_length("email", &email)?;
            let mut found = answers(&services, &caller, &[email]).await?;
            let one = found.pop().ok_or_else(RequestError::unavailable)?;
            Ok(Json(Validated::One(Box::new(one))))
        }
        (None, Some(emails)) => {
            if emails.len() > MAX_EMAILS {
                return Err(RequestError::invalid("emails", format!("at most {MAX_EMAILS} are allowed")));
            }
            for (index, email) in emails.iter().enumerate() {
                check_length(&format!("emails[{index}]"), email)?;
            }
            Ok(Json(Validated::List(Page::whole(answers(&services, &caller, &emails).await?))))
        }
        _ => Err(RequestError::invalid("email", "give `email` or `emails`")),
    }
}

/// Validates up to 10,000 addresses: a CSV with a column `email`, or lines that are JSON texts or
/// objects with `email`. The answer has a validation a line, in the same order.
#[utoipa::path(
    post,
    path = "/validate/bulk",
    tag = "validation",
    request_body(content(
        (String = "text/csv"),
        (String = "application/x-ndjson"),
    )),
    responses((status = 200, description = "A validation a line.", body = String, content_type = "application/x-ndjson")),
)]
pub(super) async fn validate_bulk(
    State(services): State<ApiServices>,
    Proven(caller): Proven<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, RequestError> {
    let most =
        MAX_UPLOADED.min(usize::try_from(services.validation.addresses_per_minute()).unwrap_or(MAX_UPLOADED));
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let emails = upload::emails(content_type.unwrap_or_default(), &body, most)?;
    admit(&services, &caller, emails.len())?;
    drop(body);
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    tokio::spawn(async move {
        for chunk in emails.chunks(MAX_EMAILS) {
            let lines = match services.validation.validate(&caller.tenant, chunk).await {
                Ok(found) => lines(found.into_iter().map(ValidationView::of)),
                // The body ends early, and the client sees that it is not whole.
                Err(error) => Err(std::io::Error::other(error.to_string())),
            };
            let failed = lines.is_err();
            if sender.send(lines).await.is_err() || failed {
                return;
            }
        }
    });
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response())
}

fn lines(views: impl Iterator<Item = ValidationView>) -> Result<Bytes, std::io::Error> {
    let mut octets = Vec::new();
    for view in views {
        serde_json::to_writer(&mut octets, &view)?;
        octets.push(b'\n');
    }
    Ok(Bytes::from(octets))
}

fn check_length(param: &str, email: &str) -> Result<(), RequestError> {
    if email.len() <= MAX_LENGTH {
        return Ok(());
    }
    Err(RequestError::invalid(param.to_owned(), format!("must have at most {MAX_LENGTH} octets")))
}

fn admit(services: &ApiServices, caller: &Caller, count: usize) -> Result<(), RequestError> {
    services
        .validation
        .admit(&caller.tenant, count)
        .map_err(|retry_after| RequestError::TooMany { retry_after })
}

async fn answers(
    services: &ApiServices,
    caller: &Caller,
    emails: &[String],
) -> Result<Vec<ValidationView>, RequestError> {
    admit(services, caller, emails.len())?;
    let found = services.validation.validate(&caller.tenant, emails).await?;
    Ok(found.into_iter().map(ValidationView::of).collect())
}
