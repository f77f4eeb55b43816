//! From replies to facts.

use super::types::{Command, Failure, RemoteReply};
use crate::EnhancedCode;

impl Failure {
    /// Something that may pass, and that concerns this host or connection.
    #[must_use]
    pub fn of_host(command: Command, status: impl Into<EnhancedCode>, detail: impl Into<String>) -> Self {
        Self {
            permanent: false,
            try_next_host: true,
            status: status.into(),
            command,
            reply: None,
            detail: detail.into(),
        }
    }

    /// Something that will not pass, and that concerns the message or recipient.
    #[must_use]
    pub fn of_message(command: Command, status: impl Into<EnhancedCode>, detail: impl Into<String>) -> Self {
        Self {
            permanent: true,
            try_next_host: false,
            status: status.into(),
            command,
            reply: None,
            detail: detail.into(),
        }
    }

    /// What a negative reply to `command` means.
    ///
    /// * 421, and anything negative before MAIL, speaks for the host: temporary, and another host may do better. A refused
    ///   login is our mistake or the smarthost's, not the message's.
    /// * 552 at RCPT counts as 452 (RFC 5321 section 4.5.3.1.10).
    /// * Otherwise 5xx is permanent and 4xx temporary.
    #[must_use]
    pub fn of_reply(command: Command, reply: RemoteReply) -> Self {
        let transaction = matches!(
            command,
            Command::Mail | Command::Rcpt | Command::Data | Command::Content | Command::EndOfData
        );
        let host = reply.code == 421 || !transaction;
        let full = command == Command::Rcpt && reply.code == 552;
        let permanent = reply.code >= 500 && !host && !full;
        let class = if permanent { 5 } else { 4 };
        let status = reply.enhanced.unwrap_or_else(|| default_status(command)).with_class(class);
        Self {
            permanent,
            try_next_host: host,
            status,
            command,
            detail: format!("{} refused", name(command)),
            reply: Some(reply),
        }
    }
}

/// RFC 3463, where the remote gave none.
fn default_status(command: Command) -> EnhancedCode {
    let (subject, detail) = match command {
        Command::Connect => (4, 1),
        Command::Greeting | Command::Ehlo => (3, 2),
        Command::StartTls | Command::Handshake => (7, 5),
        Command::Auth => (7, 8),
        Command::Mail | Command::Rcpt | Command::Data | Command::Content | Command::EndOfData => (0, 0),
    };
    EnhancedCode::new(4, subject, detail)
}

/// For people.
pub(crate) fn name(command: Command) -> &'static str {
    match command {
        Command::Connect => "connection",
        Command::Greeting => "greeting",
        Command::Ehlo => "EHLO",
        Command::StartTls => "STARTTLS",
        Command::Handshake => "TLS handshake",
        Command::Auth => "AUTH",
        Command::Mail => "MAIL",
        Command::Rcpt => "RCPT",
        Command::Data => "DATA",
        Command::Content => "content",
        Command::EndOfData => "message",
    }
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(name(*self))
    }
}
