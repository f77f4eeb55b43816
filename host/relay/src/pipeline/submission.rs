//! What comes in, and what comes of it.

use std::net::IpAddr;
use std::sync::Arc;

use relevo_mailkit::envelope::Envelope;
use relevo_mailkit::reply::{EnhancedCode, Reply};
use relevo_mailkit::text::printable;
use relevo_queue::{ItemId, SpooledBody};
use relevo_runtime::Fault;

use crate::policy::PluginAnswer;
use crate::settings::Settings;

/// A message with its envelope, from wherever it came.
pub struct Submission {
    /// Those of the session.
    pub settings: Arc<Settings>,
    /// On whose authority.
    pub origin: Origin,
    /// Reverse-path and forward-paths.
    pub envelope: Envelope,
    /// For the Received field.
    pub via: Via,
    /// The bytes.
    pub body: SpooledBody,
}

/// Who may say what a message claims (decision 10 of the design).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Proven by a credential or API key.
    Tenant(String),
    /// A trusted peer on the relay port: the tenant is who owns the header From.
    Relay(IpAddr),
}

/// How a message came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    /// `with` of Received.
    pub protocol: Protocol,
    /// Who handed it over; none for the host's own.
    pub peer: Option<IpAddr>,
    /// Argument of EHLO or HELO.
    pub helo: Option<String>,
    /// Protocol version and cipher suite.
    pub tls: Option<String>,
    /// The user name of AUTH or the name of the API key; none for a trusted network.
    pub identity: Option<String>,
}

/// The `with` clause (RFC 3848) and what events call the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// After HELO.
    Smtp,
    /// After EHLO.
    Esmtp {
        /// Under TLS.
        tls: bool,
        /// After AUTH.
        auth: bool,
    },
    /// The HTTP API.
    Http,
}

impl Protocol {
    /// `with` of Received.
    #[must_use]
    pub fn with(self) -> &'static str {
        match self {
            Self::Smtp => "SMTP",
            Self::Esmtp { tls: false, auth: false } => "ESMTP",
            Self::Esmtp { tls: true, auth: false } => "ESMTPS",
            Self::Esmtp { tls: false, auth: true } => "ESMTPA",
            Self::Esmtp { tls: true, auth: true } => "ESMTPSA",
            Self::Http => "HTTP",
        }
    }

    /// `smtp` or `http`.
    #[must_use]
    pub fn source(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Smtp | Self::Esmtp { .. } => "smtp",
        }
    }
}

/// A message that is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its id.
    pub id: ItemId,
    /// Its owner; none: mail of trusted peers that belongs to no tenant.
    pub tenant: Option<String>,
}

/// A message that is not accepted. Nothing of it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// For the sender.
    pub reply: Reply,
    /// The rule that was broken, lower case with hyphens: for events and metrics.
    pub rule: String,
    /// Set when a stage broke: the message is not to blame.
    pub fault: Option<Fault>,
    /// Set when a check refused it: what each of them answered, and which one decided.
    pub policy: Option<Box<PolicyRefusal>>,
}

/// Why checks refused a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRefusal {
    /// Its owner, which is proven by then.
    pub tenant: String,
    /// What each check or plugin answered.
    pub answers: Vec<PluginAnswer>,
    /// The one whose reply it is.
    pub by: Option<PluginAnswer>,
    /// A fault decided.
    pub faulted: bool,
}

impl Rejection {
    pub(crate) fn new(code: u16, enhanced: impl Into<EnhancedCode>, rule: &str, text: &str) -> Self {
        let text = printable(text, 400);
        Self { reply: Reply::new(code, enhanced, text), rule: rule.to_owned(), fault: None, policy: None }
    }
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        let text = "the message cannot be processed now, try again later";
        Self { fault: Some(fault), ..Self::new(451, (4, 3, 0), "component-fault", text) }
    }
}
