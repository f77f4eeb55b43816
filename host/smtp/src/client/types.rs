//! Facts about a delivery attempt. Retry and bounces read these; nobody parses text.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

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

/// The envelope of one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Empty for the null reverse-path.
    pub sender: String,
    /// At least one.
    pub recipients: Vec<String>,
    /// Octets of the copy, for SIZE=.
    pub size: u64,
    /// BODY=8BITMIME is needed.
    pub eight_bit: bool,
    /// SMTPUTF8 is needed.
    pub smtputf8: bool,
}

/// A reply as it came: at most 100 lines and 4 KB are kept; not yet escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteReply {
    /// Three digits.
    pub code: u16,
    /// Class, subject, detail of RFC 3463, where the reply has one that matches the code's class.
    pub enhanced: Option<(u8, u16, u16)>,
    /// Lines without code, joined by LF; invalid UTF-8 replaced.
    pub text: String,
}

/// The command that was answered or under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
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
    /// After the final dot.
    EndOfData,
}

/// TLS of the connection, for logs and events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsState {
    /// Protocol version and cipher suite; none: in clear.
    pub cipher: Option<String>,
    /// The certificate was valid for the name.
    pub verified: bool,
}

/// Why something was not delivered: facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Trying again makes no sense.
    pub permanent: bool,
    /// It concerns this host or connection, not the recipient or message: another MX may do better.
    pub try_next_host: bool,
    /// Enhanced status for the bounce: the remote's, or ours (RFC 3463).
    pub status: (u8, u16, u16),
    /// Where it happened.
    pub command: Command,
    /// The remote's words, where it spoke.
    pub reply: Option<RemoteReply>,
    /// Our words: what happened, for log and bounce.
    pub detail: String,
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The remote took responsibility, with this reply to the final dot.
    Delivered(RemoteReply),
    /// It did not.
    Failed(Failure),
    /// 452 4.5.3 after others were accepted (RFC 5321 section 4.5.3.1.10): to be sent at once in a new transaction.
    NextTransaction,
}

/// A recipient of the envelope, by position, and its outcome.
pub type RecipientOutcome = (usize, Outcome);

/// What a transaction found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionResult {
    /// One for each recipient, in order.
    pub outcomes: Vec<RecipientOutcome>,
    /// The connection can be used for another transaction.
    pub reusable: bool,
}
