//! What a session is told when it begins.

use super::content::BareNewlines;
use super::offers::Offers;

/// When AUTH is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthPolicy {
    /// Never.
    Off,
    /// Under TLS.
    AfterTls,
    /// Also in clear, for peers on loopback.
    Always,
}

/// Bounds of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// Octets of a message.
    pub message_size: u64,
    /// Protocol errors and failed logins; then 421.
    pub errors: u32,
    /// Commands that move no mail, between two messages; then 421.
    pub idle_commands: u32,
    /// MAIL and RCPT commands that the product refused; then 421.
    pub refusals: u32,
    /// Chunks (RFC 3030) of less than 1 KiB in one transaction, the last not counted; then 421.
    pub small_chunks: u32,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { message_size: 52_428_800, errors: 20, idle_commands: 100, refusals: 2000, small_chunks: 4096 }
    }
}

/// What a session is told about its listener and peer.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// For the greeting and EHLO.
    pub hostname: String,
    /// STARTTLS can be offered.
    pub starttls: bool,
    /// When AUTH is offered.
    pub auth: AuthPolicy,
    /// MAIL needs AUTH.
    pub auth_required: bool,
    /// What becomes of lines of a message that end in LF alone.
    pub bare_newlines: BareNewlines,
    /// Extensions that are not always there.
    pub offers: Offers,
    /// Bounds.
    pub limits: SessionLimits,
}
