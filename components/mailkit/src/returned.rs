//! Mail that comes back, as the component `reports` reads it. `wit/relevo-mail/reports.wit`
//! documents every field; the names are the same.
//!
//! Every text is a stranger's. The component bounds lengths and numbers, and leaves out control
//! characters.

use serde::{Deserialize, Serialize};

/// `reports.mail`: one message that came back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnedMail {
    /// The kind of message.
    pub kind: ReturnedKind,
    /// The mailer that reports: Reporting-MTA, or the one that the report names otherwise; empty
    /// when it names none.
    pub reporter: String,
    /// The recipients that a delivery report is about.
    pub recipients: Vec<ReportedRecipient>,
    /// What a feedback report says.
    pub feedback: Option<FeedbackReport>,
    /// The message that the report is about, as far as it was returned.
    pub original: OriginalMessage,
    /// The subject, for the log.
    pub subject: String,
    /// The domain of the From field, in lower case; empty when it does not have exactly one address.
    pub from_domain: String,
    /// The names of the TXT records with the keys of DKIM signatures.
    pub key_names: Vec<String>,
    /// Received fields.
    pub received: u32,
}

/// `reports.kind`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReturnedKind {
    /// A delivery status notification (RFC 3464, RFC 6533).
    DeliveryReport,
    /// A delivery report in words alone, such as qmail's.
    PlainReport,
    /// A feedback report (RFC 5965).
    Feedback,
    /// An automatic answer (RFC 3834).
    AutoReply,
    /// Anything else.
    #[default]
    Ordinary,
}

/// `reports.recipient`: a recipient of a delivery report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedRecipient {
    /// Original-Recipient; empty when there is none.
    pub original: String,
    /// Final-Recipient; empty when there is none.
    pub address: String,
    /// Action.
    pub action: ReportedAction,
    /// Status (RFC 3463); empty when there is none.
    pub status: String,
    /// The words of the mailer that refused, without the type.
    pub diagnostic: String,
    /// The diagnostic is an SMTP reply.
    pub is_smtp: bool,
    /// Remote-MTA, the mailer that refused; empty when there is none.
    pub remote: String,
}

/// `reports.action` (RFC 3464 section 2.3.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReportedAction {
    /// It could not be delivered.
    Failed,
    /// It could not be delivered yet.
    Delayed,
    /// It was delivered.
    Delivered,
    /// It went to a mailer that does not report.
    Relayed,
    /// It went to several further recipients.
    Expanded,
    /// None that is known.
    #[default]
    Unknown,
}

impl ReportedAction {
    /// The word of the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
            Self::Unknown => "unknown",
        }
    }
}

/// `reports.feedback-report` (RFC 5965, RFC 6591).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedbackReport {
    /// Feedback-Type in lower case, such as `abuse`.
    pub feedback_type: String,
    /// User-Agent: the program that made it.
    pub user_agent: String,
    /// Original-Mail-From, without angle brackets.
    pub mail_from: String,
    /// Original-Rcpt-To, without angle brackets.
    pub recipients: Vec<String>,
    /// Source-IP: where the message came from.
    pub source_ip: String,
    /// Auth-Failure (RFC 6591): what failed.
    pub auth_failure: String,
    /// Incidents: how many the report stands for; 1 when it does not say.
    pub incidents: u32,
}

/// `reports.original`: the message that a report is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginalMessage {
    /// Message-ID with angle brackets.
    pub message_id: String,
    /// Return-Path without angle brackets.
    pub return_path: String,
    /// The ids in Received fields that could be those of a relay like this one.
    pub received_ids: Vec<String>,
    /// CFBL-Feedback-ID (RFC 9477) without its white space.
    pub cfbl_feedback_id: String,
}
