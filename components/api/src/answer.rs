//! What a request to send is answered.

use serde::{Deserialize, Serialize};

/// The answer to `POST /emails`, and an element of the answer to `POST /emails/batch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EmailAnswer {
    /// `email`.
    pub object: String,
    /// The id of the request's message, or of the first of its messages.
    pub id: String,
    /// What becomes of each recipient, in the order of the request and without repetition.
    pub recipients: Vec<RecipientAnswer>,
    /// When it is sent, RFC 3339; absent: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<String>,
    /// True when the request was a trial: nothing was kept and nothing is sent.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dry_run: bool,
}

/// The answer to `POST /emails/{id}/resend`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ResentAnswer {
    /// The new message.
    #[serde(flatten)]
    pub email: EmailAnswer,
    /// The id of the message whose content it has.
    pub resent_from: String,
}

/// A recipient in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RecipientAnswer {
    /// The address.
    pub email: String,
    /// The id of the message, where each recipient has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The id of the delivery; absent when nothing is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<String>,
    /// What becomes of it.
    pub status: RecipientStatus,
    /// Why nothing is sent, or not now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What becomes of a recipient of an accepted request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum RecipientStatus {
    /// It is sent to now.
    Queued,
    /// It is sent to at the time that the request names.
    Scheduled,
    /// A plugin keeps the mail until somebody releases it.
    Held,
    /// The address is suppressed: nothing is sent.
    Suppressed,
    /// A plugin refused the recipient: nothing is sent.
    Invalid,
    /// A plugin had the mail accepted and not sent.
    Discarded,
}

/// The answer to `POST /emails/batch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BatchAnswer {
    /// `list`.
    pub object: String,
    /// The id of the batch: what `POST /emails/cancel` takes.
    pub id: String,
    /// One for each request, in their order; without those that `errors` names.
    pub data: Vec<EmailAnswer>,
    /// Requests that were left out, when `x-batch-validation: permissive` was sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<BatchError>,
}

/// A request of a batch that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BatchError {
    /// Its position in the batch; the first is 0.
    pub index: usize,
    /// The path of the value within the batch, such as `[3].to[0]`.
    pub param: String,
    /// The mistake and its remedy.
    pub message: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !*value
}
