//! Events: what the event log, webhooks, statistics and plugins are told about mail.
//!
//! [`Event`] is the one list of event types, and the structs below are the one vocabulary of their
//! fields. A field has the same name and meaning wherever it occurs; `host/EVENTS.md` documents
//! each, and `tests/golden/events.json` has an example of each type. Names of types and fields are
//! a contract: fields are added, never renamed.
//!
//! Producers make foreign text harmless before it goes into an event. No event holds secrets or
//! message content.

mod operation;

use serde::{Deserialize, Serialize};

use crate::classification::Classification;
use crate::labels::Labels;
use crate::model::Note;
use crate::policy::Attribute;
use crate::reply::EnhancedCode;
use crate::visitor::Visitor;
pub use operation::{PluginFault, ShapingSuspension, SuppressionChange, SuppressionPause};

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident($data:ty) = $name:literal,)*) => {
        /// An event, with the data of its type. The JSON form is one flat object with `type` beside
        /// the fields.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
        #[serde(tag = "type")]
        pub enum Event {
            $($(#[$doc])* #[serde(rename = $name)] $variant($data),)*
        }

        impl Event {
            /// The names of all event types.
            pub const NAMES: &[&str] = &[$($name),*];

            /// The name of the event's type, such as `email.delivered`.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                }
            }
        }
    };
}

events! {
    /// A message was accepted and is on disk.
    Queued(Queued) = "email.queued",
    /// A message, or some of its recipients, was refused for good at submission.
    Rejected(Refusal) = "email.rejected",
    /// A message was not accepted because something broke here, or a recipient was given up for a
    /// reason of our own.
    Failed(Failure) = "email.failed",
    /// A plugin keeps recipients' mail until it is released.
    Held(Withheld) = "email.held",
    /// A plugin had recipients' mail accepted and not sent.
    Discarded(Withheld) = "email.discarded",
    /// The next hop took responsibility for a recipient.
    Delivered(Attempt) = "email.delivered",
    /// An attempt failed for now; there will be another.
    DeliveryDelayed(Attempt) = "email.delivery_delayed",
    /// The remote server refused a recipient for good, or its domain takes no mail.
    Bounced(Attempt) = "email.bounced",
    /// A recipient was given up because the message's time is over.
    Expired(Attempt) = "email.expired",
    /// A delivery status notification about a recipient was queued for the sender.
    DsnQueued(DsnQueued) = "email.dsn_queued",
    /// A recipient got nothing because the address is suppressed.
    Suppressed(Suppressed) = "email.suppressed",
    /// A message was canceled before it was sent.
    Canceled(Canceled) = "email.canceled",
    /// A message that was not sent yet has another time of sending.
    Rescheduled(Rescheduled) = "email.rescheduled",
    /// A recipient left a stream or a topic.
    Unsubscribed(SubscriptionChange) = "email.unsubscribed",
    /// A recipient who had left a stream or a topic came back.
    Resubscribed(SubscriptionChange) = "email.resubscribed",
    /// A recipient called the message spam.
    Complained(Complained) = "email.complained",
    /// The open pixel of a recipient's copy was fetched.
    Opened(Opened) = "email.opened",
    /// A link in a recipient's copy was followed.
    Clicked(Clicked) = "email.clicked",
    /// A recipient gets no mail any more.
    SuppressionAdded(SuppressionChange) = "suppression.added",
    /// A recipient gets mail again.
    SuppressionRemoved(SuppressionChange) = "suppression.removed",
    /// So many hard bounces at a provider that they look like an incident there: they suppress nobody.
    SuppressionPaused(SuppressionPause) = "suppression.paused",
    /// A plugin broke while it was told of outcomes.
    PluginFault(PluginFault) = "plugin.fault",
    /// Mail of an address, a pool or a tenant waits, before it goes to a provider.
    ShapingSuspended(ShapingSuspension) = "shaping.suspended",
    /// Such mail goes again.
    ShapingResumed(ShapingSuspension) = "shaping.resumed",
}

impl Event {
    /// Leaves the conversation out: for readers that are not to have it.
    #[must_use]
    pub fn without_conversation(mut self) -> Self {
        if let Self::Delivered(attempt)
        | Self::DeliveryDelayed(attempt)
        | Self::Bounced(attempt)
        | Self::Expired(attempt)
        | Self::Failed(Failure::Delivery(attempt)) = &mut self
        {
            attempt.conversation = Vec::new();
        }
        self
    }

    /// Returns true for an event that a list of messages has a message by: it was queued, discarded, or
    /// one of its recipients was suppressed before there was a delivery.
    #[must_use]
    pub fn lists_message(&self) -> bool {
        match self {
            Self::Queued(_) | Self::Discarded(_) => true,
            Self::Suppressed(suppressed) => suppressed.delivery_id.is_none(),
            _ => false,
        }
    }

    /// The attempt that the event reports, if it reports one.
    #[must_use]
    pub fn attempt(&self) -> Option<&Attempt> {
        match self {
            Self::Delivered(attempt)
            | Self::DeliveryDelayed(attempt)
            | Self::Bounced(attempt)
            | Self::Expired(attempt)
            | Self::Failed(Failure::Delivery(attempt)) => Some(attempt),
            _ => None,
        }
    }
}

/// An entry of the event log as readers get it, in JSON one flat object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EventEntry {
    /// The position in the log, a decimal number.
    pub cursor: String,
    /// The time, RFC 3339 with milliseconds.
    pub created_at: String,
    /// The queue's id of the message (a ULID); absent when the event is about none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// What the sender attached to the message.
    #[serde(flatten)]
    pub labels: Labels,
    /// The event itself.
    #[serde(flatten)]
    pub event: Event,
}

/// The data of `email.queued`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Queued {
    /// The reverse-path without angle brackets; empty for the null reverse-path.
    pub sender: String,
    /// The addresses that are sent to or held.
    pub recipients: Vec<String>,
    /// Octets of the message as submitted.
    pub size: u64,
    /// The subject, for people.
    pub subject: String,
    /// The Message-ID field, with angle brackets.
    pub message_id_header: String,
    /// How the message came: `smtp` or `http`.
    pub source: String,
    /// What `validate` repaired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<Note>,
    /// What `track` left alone, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// What each plugin answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PluginAnswer>,
    /// Attributes that plugins attached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
    /// Attributes with an effect that is not granted to the domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes_left_out: Vec<Attribute>,
    /// The pool of source addresses; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pool: String,
    /// The route; empty for MX.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub route: String,
    /// The priority (RFC 6710); 0 is the usual one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i8,
    /// When it is sent, RFC 3339; absent: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<String>,
}

/// The data of `email.rejected`, and of `email.failed` when a message was not accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Refusal {
    /// The reverse-path without angle brackets; empty for the null reverse-path.
    pub sender: String,
    /// The addresses concerned; of a whole message at most the first ten.
    pub recipients: Vec<String>,
    /// How many recipients are concerned.
    pub recipient_count: u64,
    /// Octets of the message as submitted; absent when the message was accepted for other
    /// recipients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// How the message came: `smtp` or `http`; absent like `size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The SMTP reply code that the sender got, or reads in the notification.
    pub code: u16,
    /// The enhanced status code of that reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub status: Option<EnhancedCode>,
    /// The text of that reply.
    pub reply: String,
    /// The rule that refused, such as `too-many-received` or `policy`.
    pub rule: String,
    /// The plugin that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// SHA-256 of that plugin's component, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What each plugin answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PluginAnswer>,
    /// What broke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blame: Option<Blame>,
}

/// The data of `email.failed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "events are written and read one at a time")]
pub enum Failure {
    /// The message was accepted, and a recipient was given up.
    Delivery(Attempt),
    /// The message was not accepted. The sender may try again.
    Submission(Refusal),
}

/// The data of `email.held` and `email.discarded`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Withheld {
    /// The reverse-path without angle brackets; empty for the null reverse-path.
    pub sender: String,
    /// The addresses concerned.
    pub recipients: Vec<String>,
    /// Why, in the plugin's words.
    pub reason: String,
    /// The plugin that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// SHA-256 of that plugin's component, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// The data of `email.delivered`, `email.delivery_delayed`, `email.bounced`, `email.expired`, and
/// of `email.failed` when a recipient was given up: one attempt for one recipient.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Attempt {
    /// The delivery: the message's id, a hyphen, and a number.
    pub delivery_id: String,
    /// The recipient's address.
    pub recipient: String,
    /// The recipient's position in the envelope as accepted; the first is 0.
    pub recipient_index: u32,
    /// The reverse-path without angle brackets; empty for the null reverse-path.
    pub sender: String,
    /// The Message-ID field, with angle brackets.
    pub message_id_header: String,
    /// The name of the MX or smarthost that was spoken to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mx: Option<String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mx_ip: Option<String>,
    /// The TLS cipher suite of the connection; absent for clear text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// The certificate was valid for the host by what counts for this mail: public authorities,
    /// the MTA-STS policy or TLSA records. Absent where it was not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls_verified: bool,
    /// What this mail's need of TLS came from: `dane`, `mta-sts`, `operator`, `sender` or
    /// `smarthost`. Absent where mail goes in clear to a host without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_policy: Option<String>,
    /// Why TLS did not come about, if that ended the attempt: a result type of RFC 8460 section 4.3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_failure: Option<String>,
    /// The SMTP reply code; absent when there was no reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// The enhanced status code: the remote server's, or ours where it gave none.
    pub status: String,
    /// The text of the remote server's reply; absent when there was no reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    /// What happened, in our words; absent when there was a reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The number of this attempt; the first is 1.
    pub attempt: u32,
    /// Milliseconds since the message was accepted.
    pub delay_ms: i64,
    /// What the failure means; absent for a delivery, and where nothing can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classification: Option<Classification>,
    /// The report by mail that told of it; absent for an attempt of this relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Box<MailReport>>,
    /// When the next attempt is due, in milliseconds since 1970; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<i64>,
    /// What broke here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blame: Option<Blame>,
    /// What was said, in the event of the attempt's first recipient; absent unless conversations are
    /// recorded, and in everything but `GET /emails/{id}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conversation: Vec<ConversationLine>,
}

/// A line of a conversation by SMTP. It has neither message content nor credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ConversationLine {
    /// Who said it.
    pub from: Speaker,
    /// What was said. Lines of a reply are separated by LF.
    pub text: String,
    /// Milliseconds since the attempt began.
    pub at_ms: u64,
}

/// Who said a line of a conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// This relay.
    Client,
    /// The next hop.
    Server,
    /// Nobody: a fact about the connection.
    #[default]
    Note,
}

/// A report that came back by mail after the next hop had taken the message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MailReport {
    /// The mailer that reports, in its own words; where it gave no name, the address that the
    /// report came from.
    pub reported_by: String,
    /// The action of a delivery report (`failed` or `delayed`), or the type of a feedback report,
    /// such as `abuse`.
    pub action: String,
    /// The address that the report came from.
    pub peer: String,
    /// The domains whose DKIM signatures of the report verify.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signed_by: Vec<String>,
    /// SPF of the report's transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spf: Option<SpfVerdict>,
}

/// What SPF says of a transaction (RFC 7208). It decides nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SpfVerdict {
    /// `pass`, `fail`, `softfail`, `neutral`, `none`, `temperror` or `permerror`.
    pub result: String,
    /// The domain that was asked: that of the reverse-path, or the EHLO name where it is null.
    pub domain: String,
}

/// The data of `email.complained`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Complained {
    /// The recipient's address.
    pub recipient: String,
    /// The recipient's position in the envelope as accepted; the first is 0.
    pub recipient_index: u32,
    /// The reverse-path without angle brackets.
    pub sender: String,
    /// The Message-ID field, with angle brackets.
    pub message_id_header: String,
    /// The feedback report.
    pub report: MailReport,
}

/// The data of `email.dsn_queued`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DsnQueued {
    /// The delivery that it is about.
    pub delivery_id: String,
    /// The address of the recipient that it is about.
    pub recipient: String,
    /// The recipient's position in the envelope as accepted; the first is 0.
    pub recipient_index: u32,
    /// What it says of the recipient: `failed`, `delayed` or `relayed`.
    pub action: String,
    /// The queue's id of the notification.
    pub dsn_id: String,
}

/// The data of `email.suppressed`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Suppressed {
    /// The recipient's address.
    pub recipient: String,
    /// The recipient's position in the envelope as accepted; the first is 0. Recipients without
    /// `delivery_id` stand after those of the envelope.
    pub recipient_index: u32,
    /// The reverse-path without angle brackets; empty for the null reverse-path.
    pub sender: String,
    /// Why: the reason, list and date of the entry.
    pub reason: String,
    /// The delivery; absent when the message was not queued for this recipient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<String>,
}

/// The data of `email.canceled`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Canceled {
    /// The addresses that get nothing.
    pub recipients: Vec<String>,
}

/// The data of `email.rescheduled`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Rescheduled {
    /// When it is sent now, RFC 3339.
    pub scheduled_at: String,
    /// When it was to be sent before.
    pub previous: String,
}

/// The data of `email.unsubscribed` and `email.resubscribed`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SubscriptionChange {
    /// The recipient's address.
    pub recipient: String,
    /// The recipient's position in the envelope as accepted; the first is 0.
    pub recipient_index: u32,
    /// What was left: a stream, or `topic:` and a topic.
    pub list: String,
    /// How: `one_click` (RFC 8058), `page` or `mailto`.
    pub method: String,
}

/// The data of `email.opened`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Opened {
    /// The recipient's address; absent when neither queue nor event log know the message any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// The recipient's position in the envelope as accepted; the first is 0.
    pub recipient_index: u32,
    /// How many requests the event stands for.
    pub count: u64,
    /// Who it was, as far as can be told.
    pub visitor: Visitor,
    /// The rule by which that was told.
    pub visitor_reason: String,
    /// No open by this recipient is known before this one; left out when that is not so or not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first: bool,
}

/// The data of `email.clicked`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Clicked {
    /// The recipient's address; absent when neither queue nor event log know the message any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// The recipient's position in the envelope as accepted; the first is 0.
    pub recipient_index: u32,
    /// The destination.
    pub url: String,
    /// How many requests the event stands for.
    pub count: u64,
    /// Who it was, as far as can be told.
    pub visitor: Visitor,
    /// The rule by which that was told.
    pub visitor_reason: String,
    /// No click by this recipient on this link is known before this one; left out when that is not so or not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first: bool,
}

/// One plugin's answer about a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PluginAnswer {
    /// The plugin's name in the configuration.
    pub plugin: String,
    /// SHA-256 of its component, in hex.
    pub digest: String,
    /// The strictest verdict (`accept`, `hold`, `discard`, `reject`), or `fault`.
    pub verdict: String,
    /// The reason or reply that goes with it; of a fault, its kind.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// The part of the relay that broke. Details are in the log only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Blame {
    /// The stage, such as `validate` or `dkim`.
    pub stage: String,
    /// `guest` or `host`.
    pub who: String,
    /// The kind of fault, such as `trap` or `deadline`.
    pub kind: String,
}

fn is_zero(priority: &i8) -> bool {
    *priority == 0
}
