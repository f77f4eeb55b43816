//! Facts about a transaction. Retry and bounces read these; nobody parses text.

use relevo_mailkit::dsn::{MessageDsn, RecipientDsn};
use relevo_mailkit::urgency::{DeliverBy, MtPriority};

use crate::EnhancedCode;

/// The envelope of one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// Empty for the null reverse-path.
    pub sender: String,
    /// At least one.
    pub recipients: Vec<EnvelopeRecipient>,
    /// Octets of the copy, for SIZE=.
    pub size: u64,
    /// BODY=8BITMIME is needed.
    pub eight_bit: bool,
    /// SMTPUTF8 is needed.
    pub smtputf8: bool,
    /// REQUIRETLS is needed (RFC 8689): a server that does not offer it gets nothing.
    pub require_tls: bool,
    /// RET= and ENVID=. Sent where DSN is offered.
    pub dsn: MessageDsn,
    /// BY=. Sent where DELIVERBY is offered.
    pub deliver_by: Option<DeliverBy>,
    /// MT-PRIORITY=. Sent where it is offered.
    pub priority: Option<MtPriority>,
}

/// A recipient of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvelopeRecipient {
    /// The forward-path without angle brackets.
    pub address: String,
    /// NOTIFY= and ORCPT=. Sent where DSN is offered.
    pub dsn: RecipientDsn,
}

impl<A: Into<String>> From<A> for EnvelopeRecipient {
    fn from(address: A) -> Self {
        Self { address: address.into(), dsn: RecipientDsn::default() }
    }
}

/// A reply as it came: at most 100 lines and 4 KB are kept; not yet escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteReply {
    /// Three digits.
    pub code: u16,
    /// Of RFC 3463, where the reply has one that matches the code's class.
    pub enhanced: Option<EnhancedCode>,
    /// Lines without code, joined by LF; invalid UTF-8 replaced.
    pub text: String,
}

/// The command that was answered or under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DialogueStep {
    /// Connecting.
    Connect,
    /// Waiting for the greeting.
    Greeting,
    /// EHLO or HELO.
    Ehlo,
    /// STARTTLS.
    StartTls,
    /// The TLS handshake.
    Handshake,
    /// AUTH.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA.
    Data,
    /// Content.
    Content,
    /// After the content: the final dot, or the last chunk.
    EndOfData,
}

/// Why something was not delivered: facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Trying again makes no sense.
    pub permanent: bool,
    /// It concerns this host or connection, not the recipient or message: another MX may do better.
    pub try_next_host: bool,
    /// Enhanced status for the bounce: the remote's, or ours (RFC 3463).
    pub status: EnhancedCode,
    /// Where it happened.
    pub command: DialogueStep,
    /// Set when TLS did not come about.
    pub tls: Option<TlsFailure>,
    /// The remote's words, where it spoke.
    pub reply: Option<RemoteReply>,
    /// Our words: what happened, for log and bounce.
    pub detail: String,
}

/// Why TLS did not come about (the kinds of RFC 8460 section 4.3 that a client can see without a
/// policy).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsFailure {
    /// The server does not offer STARTTLS.
    NotOffered,
    /// The server refused STARTTLS, or did not follow RFC 3207.
    Refused,
    /// The handshake was not over in time.
    TimedOut,
    /// The handshake failed, or the connection was lost in it.
    Handshake,
    /// The certificate is expired or not valid yet.
    CertificateExpired,
    /// The certificate is for another name.
    CertificateName,
    /// The certificate matches none of the TLSA records (RFC 7672).
    CertificateTlsa,
    /// The certificate is not trusted for another reason.
    CertificateUntrusted,
    /// The host is not one that the MTA-STS policy of the domain names (RFC 8461 section 4.1).
    NotInPolicy,
    /// DNSSEC could not prove which certificates the host may show.
    Unproved,
    /// DANE is required, and the host has no TLSA record that is usable.
    NoTlsa,
}

impl TlsFailure {
    /// The result type of RFC 8460 section 4.3.
    #[must_use]
    pub fn result_type(self) -> &'static str {
        match self {
            Self::NotOffered => "starttls-not-supported",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateName => "certificate-host-mismatch",
            Self::CertificateUntrusted => "certificate-not-trusted",
            Self::CertificateTlsa => "tlsa-invalid",
            Self::Unproved => "dnssec-invalid",
            Self::NoTlsa => "dane-required",
            Self::Refused | Self::TimedOut | Self::Handshake | Self::NotInPolicy => "validation-failure",
        }
    }
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecipientOutcome {
    /// The remote took responsibility, with this reply to the final dot or the last chunk.
    Delivered(RemoteReply),
    /// It did not.
    Failed(Failure),
    /// 452 4.5.3 after others were accepted (RFC 5321 section 4.5.3.1.10): to be sent at once in a
    /// new transaction.
    NextTransaction,
}

/// What a transaction found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionResult {
    /// Position in the envelope and outcome of each recipient, in order.
    pub outcomes: Vec<(usize, RecipientOutcome)>,
    /// The connection can be used for another transaction.
    pub reusable: bool,
}
