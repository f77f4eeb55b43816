//! From replies to facts.

use super::types::{DialogueStep, Failure, RemoteReply, TlsFailure};
use crate::EnhancedCode;

impl Failure {
    /// Something that may pass, and that concerns this host or connection.
    #[must_use]
    pub fn of_host(
        command: DialogueStep,
        status: impl Into<EnhancedCode>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            permanent: false,
            try_next_host: true,
            status: status.into(),
            command,
            tls: None,
            reply: None,
            detail: detail.into(),
        }
    }

    /// TLS did not come about: temporary, and of the host.
    #[must_use]
    pub fn of_tls(failure: TlsFailure, command: DialogueStep, detail: impl Into<String>) -> Self {
        let status = if failure == TlsFailure::NotOffered { (4, 7, 4) } else { (4, 7, 5) };
        Self { tls: Some(failure), ..Self::of_host(command, status, detail) }
    }

    /// Something that will not pass, and that concerns the message or recipient.
    #[must_use]
    pub fn of_message(
        command: DialogueStep,
        status: impl Into<EnhancedCode>,
        detail: impl Into<String>,
    ) -> Self {
        Self { permanent: true, try_next_host: false, ..Self::of_host(command, status, detail) }
    }

    /// Returns true if it says that the host never takes mail (RFC 7504). Another one may.
    #[must_use]
    pub fn is_of_dead_host(&self) -> bool {
        self.permanent && self.try_next_host
    }

    /// What a negative reply to `command` means.
    ///
    /// * 421, and anything negative before MAIL, speaks for the host: temporary, and another host
    ///   may do better. A refused login is our mistake or the smarthost's, not the message's.
    /// * 521 as a greeting says that this host never takes mail (RFC 7504 section 3): permanent, and
    ///   another host may.
    /// * 552 at RCPT without a detail, or with 5.5.3, is "too many recipients" of old (RFC 5321
    ///   section 4.5.3.1.10), and with 5.2.2 a full mailbox, which may be emptied: both are
    ///   temporary.
    /// * Otherwise 5xx is permanent and 4xx temporary.
    #[must_use]
    pub fn of_reply(command: DialogueStep, reply: RemoteReply) -> Self {
        let transaction = matches!(
            command,
            DialogueStep::Mail
                | DialogueStep::Rcpt
                | DialogueStep::Data
                | DialogueStep::Content
                | DialogueStep::EndOfData
        );
        let host = reply.code == 421 || !transaction;
        let subject_and_detail = reply.enhanced.map(|status| (status.subject, status.detail));
        let full = command == DialogueStep::Rcpt && reply.code == 552;
        let passes = full && matches!(subject_and_detail, None | Some((5, 3) | (2, 2)));
        let default = if full { EnhancedCode::new(4, 5, 3) } else { default_status(command) };
        let takes_no_mail = command == DialogueStep::Greeting && reply.code == 521;
        let permanent = (reply.code >= 500 && !host && !passes) || takes_no_mail;
        let class = if permanent { 5 } else { 4 };
        let status = reply.enhanced.unwrap_or(default).with_class(class);
        let tls = (command == DialogueStep::StartTls && reply.code != 421).then_some(TlsFailure::Refused);
        Self {
            permanent,
            try_next_host: host,
            status,
            command,
            tls,
            detail: format!("{} refused", name(command)),
            reply: Some(reply),
        }
    }
}

/// RFC 3463, where the remote gave none.
fn default_status(command: DialogueStep) -> EnhancedCode {
    let (subject, detail) = match command {
        DialogueStep::Connect => (4, 1),
        DialogueStep::Greeting | DialogueStep::Ehlo => (3, 2),
        DialogueStep::StartTls | DialogueStep::Handshake => (7, 5),
        DialogueStep::Auth => (7, 8),
        DialogueStep::Mail
        | DialogueStep::Rcpt
        | DialogueStep::Data
        | DialogueStep::Content
        | DialogueStep::EndOfData => (0, 0),
    };
    EnhancedCode::new(4, subject, detail)
}

/// For people.
pub(crate) fn name(command: DialogueStep) -> &'static str {
    match command {
        DialogueStep::Connect => "connection",
        DialogueStep::Greeting => "greeting",
        DialogueStep::Ehlo => "EHLO",
        DialogueStep::StartTls => "STARTTLS",
        DialogueStep::Handshake => "TLS handshake",
        DialogueStep::Auth => "AUTH",
        DialogueStep::Mail => "MAIL",
        DialogueStep::Rcpt => "RCPT",
        DialogueStep::Data => "DATA",
        DialogueStep::Content => "content",
        DialogueStep::EndOfData => "message",
    }
}

impl std::fmt::Display for DialogueStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(name(*self))
    }
}
