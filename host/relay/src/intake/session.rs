//! The state that the product keeps of a connection.

use std::sync::Arc;

use relevo_mailkit::envelope::Envelope;
use relevo_mailkit::reply::Reply;
use relevo_smtp::server::{SessionInfo, SmtpPeer};

use crate::pipeline::{Origin, Protocol, SubmissionOptions, Via};
use crate::returns::{ReturnAddress, StrangerConnection};
use crate::settings::Settings;

/// A connection.
pub struct IntakeSession {
    pub(super) peer: SmtpPeer,
    /// Set for a peer of the relay port that is in no trusted network: it may only bring mail back.
    pub(super) stranger: Option<StrangerConnection>,
    pub(super) user: Option<User>,
    pub(super) transaction: Option<OpenTransaction>,
}

/// Who authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) tenant: String,
    pub(super) method: LoginMethod,
}

/// How a user has authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LoginMethod {
    /// PLAIN or LOGIN.
    Password,
    /// SCRAM-SHA-256 or SCRAM-SHA-256-PLUS.
    Scram,
    /// OAUTHBEARER or XOAUTH2.
    Token,
    /// EXTERNAL, with the certificate of this SHA-256.
    Certificate([u8; 32]),
    /// At a trusted proxy, which says so by XCLIENT.
    Proxy,
}

/// Between MAIL and the final dot. Keeps the settings that it began with.
pub(super) struct OpenTransaction {
    pub(super) settings: Arc<Settings>,
    pub(super) origin: Origin,
    pub(super) envelope: Envelope,
    pub(super) options: SubmissionOptions,
    /// Why the transaction may not have recipients elsewhere.
    pub(super) relaying: Result<(), Reply>,
    /// The recipient is an address at a return domain. It has no other beside it.
    pub(super) returned: Option<ReturnAddress>,
}

impl IntakeSession {
    pub(super) fn new(peer: SmtpPeer, stranger: Option<StrangerConnection>) -> Self {
        Self { peer, stranger, user: None, transaction: None }
    }

    /// A session whose user has authenticated before it.
    pub(super) fn with_user(self, user: Option<User>) -> Self {
        Self { user, ..self }
    }

    /// Who authenticated, as long as the dialogue still knows it: STARTTLS forgets (RFC 3207
    /// section 4.2).
    pub(super) fn user(&self, info: &SessionInfo) -> Option<&User> {
        self.user.as_ref().filter(|u| info.username.as_deref() == Some(u.name.as_str()))
    }

    pub(super) fn via(&self, info: &SessionInfo) -> Via {
        let tls = info.tls.is_some();
        let auth = self.user(info).is_some();
        Via {
            protocol: if info.extended { Protocol::Esmtp { tls, auth } } else { Protocol::Smtp },
            peer: Some(self.peer.remote.ip()),
            helo: Some(info.helo.clone()),
            tls: info.tls.clone(),
            auth_user: self.user(info).map(|u| u.name.clone()),
        }
    }
}
