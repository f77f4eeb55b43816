//! Mail that comes back on the relay port: from anybody, for return domains only.

use std::sync::Arc;

use relevo_mailkit::envelope::Recipient;
use relevo_mailkit::reply::Reply;
use relevo_queue::SpooledBody;
use relevo_smtp::server::{ListenerKind, MailFrom, SessionInfo};
use tokio::sync::OnceCell;

use super::session::{IntakeSession, OpenTransaction};
use super::{Intake, too_large};
use crate::pipeline::{Origin, reverse_path};
use crate::returns::{ReturnAddress, Returned, Returns};
use crate::settings::Settings;

impl Intake {
    /// Takes mail that comes back, if return domains are configured.
    pub(super) fn returns_of(&self, settings: &Settings) -> Option<&Arc<Returns>> {
        self.returns.as_ref().filter(|_| settings.returns.is_on())
    }

    /// Whether the transaction may have recipients elsewhere. Where mail may come back, a
    /// reverse-path of a stranger's domain is refused only with such a recipient.
    ///
    /// # Errors
    /// The reply to MAIL.
    pub(super) fn may_relay(
        &self,
        settings: &Settings,
        session: &IntakeSession,
        origin: &Origin,
        from: &MailFrom,
    ) -> Result<Result<(), Reply>, Reply> {
        let returns = self.returns_of(settings).filter(|_| session.peer.listener == ListenerKind::Relay);
        if session.stranger.is_some() {
            // The return domains may be gone since the connection began.
            let returns = returns.ok_or_else(relaying_denied)?;
            if from.size > settings.returns.max_size {
                return Err(too_large(settings.returns.max_size));
            }
            returns.admit(settings, session.peer.remote.ip())?;
            return Ok(Err(relaying_denied()));
        }
        let allowed = match from.address.is_empty() {
            true => Ok(()),
            false => reverse_path(settings, origin, &from.domain).map_err(|r| r.reply),
        };
        if returns.is_some() { Ok(allowed) } else { allowed.map(Ok) }
    }

    /// Adds a recipient at a return domain. None: the recipient is none of ours.
    pub(super) fn add_returned(
        &self,
        session: &mut IntakeSession,
        to: &Recipient,
    ) -> Option<Result<(), Reply>> {
        if session.peer.listener != ListenerKind::Relay {
            return None;
        }
        let is_stranger = session.stranger.is_some();
        let transaction = session.transaction.as_mut()?;
        let returns = self.returns_of(&transaction.settings)?;
        // RFC 5321 section 4.5.1: whoever takes mail takes it for <postmaster>.
        let address = match to.domain.is_empty() && is_stranger {
            true => Ok(Some(ReturnAddress::Postmaster)),
            false => returns.address(&transaction.settings, to),
        };
        match address {
            Ok(Some(address)) if transaction.envelope.recipients.is_empty() => {
                transaction.returned = Some(address);
                transaction.envelope.recipients.push(to.clone());
                Some(Ok(()))
            }
            Ok(Some(_)) => Some(Err(one_at_a_time())),
            Ok(None) if transaction.returned.is_some() => Some(Err(match &transaction.relaying {
                Err(reply) => reply.clone(),
                Ok(()) => one_at_a_time(),
            })),
            Ok(None) => None,
            Err(reply) => Some(Err(reply)),
        }
    }

    pub(super) async fn take_returned(
        &self,
        session: &IntakeSession,
        info: &SessionInfo,
        transaction: OpenTransaction,
        to: ReturnAddress,
        body: SpooledBody,
    ) -> Reply {
        let OpenTransaction { settings, envelope, .. } = transaction;
        let smtputf8 = envelope.has_smtputf8();
        let recipient = envelope.recipients.into_iter().next();
        let (Some(returns), Some(recipient)) = (self.returns_of(&settings), recipient) else {
            return super::no_transaction();
        };
        let (via, peer) = (session.via(info), session.peer.remote.ip());
        let returned = Returned {
            settings: Arc::clone(&settings),
            to,
            recipient,
            via,
            peer,
            smtputf8,
            reverse_path: envelope.sender,
            spf: OnceCell::new(),
        };
        returns.receive(returned, body).await
    }
}

fn relaying_denied() -> Reply {
    Reply::new(550, (5, 7, 1), "relaying denied")
}

/// The client sends the rest in a transaction of its own (RFC 5321 section 4.5.3.1.10).
fn one_at_a_time() -> Reply {
    Reply::new(452, (4, 5, 3), "one recipient at a time")
}
