//! Facts about a delivery attempt. Retry and bounces read these; nobody parses text.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use relevo_proto::client::{
    Command, Envelope, Failure, Outcome, RecipientOutcome, RemoteReply, TransactionResult,
};

/// When and how to use TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsPolicy {
    /// Never.
    None,
    /// STARTTLS when offered, any certificate; when the handshake fails the connection is made again without.
    Opportunistic,
    /// STARTTLS or nothing; any certificate.
    Required,
    /// STARTTLS or nothing; the certificate must be valid for the host name.
    Verified,
    /// TLS from the first octet; the certificate must be valid for the host name.
    Implicit,
}

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The MX or smarthost name, for SNI, certificate and logs.
    pub host: String,
    /// Address and port.
    pub addr: SocketAddr,
    /// Source address; none: the system's choice.
    pub source: Option<IpAddr>,
    /// How to use TLS.
    pub tls: TlsPolicy,
}

/// Credentials for a smarthost. Sent only under a verified certificate or to loopback.
#[derive(Clone)]
pub struct Auth {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("username", &self.username).finish_non_exhaustive()
    }
}

/// What all connections of a relay share.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Argument of EHLO.
    pub ehlo: String,
    /// Time to connect one address.
    pub connect_timeout: Duration,
    /// Greeting, EHLO, MAIL, RCPT: 5 minutes (RFC 5321 section 4.5.3.2).
    pub command_timeout: Duration,
    /// DATA initiation: 2 minutes.
    pub data_timeout: Duration,
    /// Each block of content: 3 minutes.
    pub block_timeout: Duration,
    /// After the final dot: 10 minutes.
    pub final_timeout: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            ehlo: String::new(),
            connect_timeout: Duration::from_secs(30),
            command_timeout: Duration::from_secs(300),
            data_timeout: Duration::from_secs(120),
            block_timeout: Duration::from_secs(180),
            final_timeout: Duration::from_secs(600),
        }
    }
}

/// TLS of the connection, for logs and events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsState {
    /// Protocol version and cipher suite; none: in clear.
    pub cipher: Option<String>,
    /// The certificate was valid for the name.
    pub verified: bool,
}
