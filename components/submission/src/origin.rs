//! Where a message came from.

use std::net::IpAddr;

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
    pub auth_user: Option<String>,
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
