//! What a receiver's answer means: the one answer that all refusals, deferrals and bounces are
//! brought to.

use serde::{Deserialize, Serialize};

/// What a receiver said: the input of a classifier.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReceiverReply {
    /// The name of the MX or smarthost that spoke.
    pub host: Option<String>,
    /// The reply code of three digits.
    pub code: Option<u16>,
    /// The enhanced status code (RFC 3463), where the reply had one.
    pub status: Option<String>,
    /// What was answered: `CONNECT`, `EHLO`, `STARTTLS`, `AUTH`, `MAIL`, `RCPT`, `DATA` or `DOT`.
    pub command: Option<String>,
    /// The words, lines joined by LF.
    pub text: String,
    /// Names and addresses of the sender: what it greeted with, and where it connected from.
    pub own: Vec<String>,
}

/// What a refusal or deferral means, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Classification {
    /// Whether mail to this recipient can ever arrive.
    #[serde(rename = "type")]
    pub bounce_type: BounceType,
    /// The kind of cause, such as `mailbox_full`; one of the rules' categories.
    pub category: String,
    /// Whom or what the answer is about.
    pub about: Subject,
    /// What to do.
    pub action: Action,
    /// The name of the rule that decided.
    pub rule: String,
    /// The version of the rules, such as `2026-11-29`; an operator's file has its own.
    pub rules_version: String,
    /// What happened and what to do, for people.
    pub explanation: Explanation,
    /// Where the provider, an RFC or this project explains more; absent where nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
}

/// Whether mail can ever arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BounceType {
    /// Never: the recipient or its domain does not exist or takes no mail.
    Hard,
    /// Later, perhaps: a full mailbox, a limit, an outage.
    Soft,
    /// Not as it was sent: the sender, its reputation or the message is refused.
    Block,
    /// The answer does not tell.
    Undetermined,
}

/// Whom or what an answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The recipient or its domain.
    Recipient,
    /// The address that the mail came from.
    SenderIp,
    /// The domain that sent it, its DNS records or its signatures.
    SenderDomain,
    /// The message: content, size, form.
    Message,
    /// The server that answered, or the way to it.
    RemoteSystem,
    /// This relay: its configuration or protocol.
    Us,
}

/// What to do about an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Send to this recipient no more.
    Suppress,
    /// Try again later.
    Retry,
    /// Try again later, and send less to this provider.
    SlowDown,
    /// Send nothing from this address, or of this sender, to this provider for a while.
    Suspend,
    /// Somebody has to change something: the message, a record, a setting.
    Fix,
}

/// A sentence or two for people, by language.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Explanation {
    /// English.
    pub en: String,
    /// Spanish.
    pub es: String,
}
