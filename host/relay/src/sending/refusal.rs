//! Why a request is not accepted.

use relevo_api::Problem;
use relevo_queue::StoreError;
use serde::Serialize;

use super::Addressed;
use crate::pipeline::Rejection;
use crate::quota::QuotaExceeded;
use crate::templates::TemplateRefusal;

/// Why nothing of a request was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendRefusal {
    /// Mistakes of the request, at least one.
    Invalid(Vec<Problem>),
    /// The pipeline refuses the message for good: the rule, and the words of its reply.
    Refused {
        /// The value of the request that the rule is about.
        param: String,
        /// Such as `not-your-domain`.
        rule: String,
        /// The reply's text.
        message: String,
    },
    /// A request with the same idempotency key is under way.
    KeyInUse,
    /// The idempotency key was used for another request.
    KeyOfAnother,
    /// The tenant has sent as much as it may.
    QuotaExceeded(QuotaExceeded),
    /// The pipeline refuses for now.
    TryLater {
        /// The rule, such as `disk-full`.
        rule: String,
        /// The reply's text.
        message: String,
    },
    /// The message, or what it asks for, does not exist.
    NotFound(String),
    /// It cannot be done any more.
    Conflict(String),
    /// The tenant has such a request under way.
    Busy,
    /// The store or a stage failed. The log has the details.
    Unavailable,
}

impl SendRefusal {
    /// One mistake.
    pub(crate) fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Problem::new(param, message)])
    }

    /// The mistakes of a refusal that names values of the request; none of any other.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        match self {
            Self::Invalid(problems) => problems,
            Self::Refused { param, rule, message } => {
                vec![Problem::new(param, format!("{message} ({rule})"))]
            }
            _ => Vec::new(),
        }
    }

    pub(crate) fn stored(error: &StoreError) -> Self {
        tracing::error!(%error, "a request to send could not be stored");
        Self::Unavailable
    }

    /// The rejection of a message. What concerns its only recipient is about that value, anything
    /// else is about `param`.
    pub(super) fn rejected(rejection: &Rejection, to: &Addressed<'_>, param: &str) -> Self {
        let about_recipient = rejection.rule == "policy" || rejection.rule.contains("recipient");
        let place = match to.recipients {
            [(_, recipient)] if about_recipient => recipient,
            _ if about_recipient && param == "from" => "to",
            _ => param,
        };
        Self::of_rejection(rejection, place)
    }

    pub(super) fn of_rejection(rejection: &Rejection, param: &str) -> Self {
        let (rule, message) = (rejection.rule.clone(), rejection.reply.text.clone());
        if let Some(exceeded) = rejection.quota.as_deref() {
            return Self::QuotaExceeded(*exceeded);
        }
        match rejection.reply.code {
            451 => Self::Unavailable,
            code if code < 500 => Self::TryLater { rule, message },
            _ => Self::Refused { param: param.to_owned(), rule, message },
        }
    }

    /// The mistake of a stored template.
    pub(super) fn of_stored_template(refusal: TemplateRefusal, variables: &str) -> Self {
        match refusal.within_request(variables) {
            TemplateRefusal::Invalid { param, message } => Self::invalid(param, message),
            _ => Self::Unavailable,
        }
    }
}

pub(super) fn to_json(answer: &impl Serialize) -> Result<Vec<u8>, SendRefusal> {
    serde_json::to_vec(answer).map_err(|error| {
        tracing::error!(%error, "an answer cannot be encoded");
        SendRefusal::Unavailable
    })
}
