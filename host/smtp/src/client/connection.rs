//! Connections to next hops, and the transactions over them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use relevo_mailkit::source::Source;
use relevo_proto::client::{Abilities, Action, Transaction};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::content::{self, ContentError};
use super::tls::Tls;
use super::types::{Auth, ClientConfig, Command, Envelope, Failure, Target, TlsState, TransactionResult};
use super::wire::Wire;

/// For the last words of a peer that closed, and for the reply to QUIT.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A session with a next hop, between transactions.
pub struct Connection {
    pub(super) wire: Wire,
    pub(super) config: ClientConfig,
    pub(super) abilities: Abilities,
    pub(super) tls: TlsState,
    pub(super) remote: SocketAddr,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("remote", &self.remote)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects, and goes as far as the first MAIL: greeting, EHLO (or HELO), TLS as `target` needs, AUTH if given.
    ///
    /// TLS that is offered and does not come about is a failure with [`Failure::tls`] set, also where it is not needed:
    /// the caller decides whether to connect again in clear ([`super::TlsRequirement::allows_clear_after`]). Credentials go only
    /// to a host whose certificate is valid for its name, or to loopback.
    ///
    /// # Errors
    /// Every failure here is temporary and of the host.
    pub async fn open(
        target: &Target,
        config: &ClientConfig,
        auth: Option<&Auth>,
        tls: &Tls,
    ) -> Result<Self, Failure> {
        Self::establish(target, config, auth, tls).await
    }

    /// What the server announced, after TLS where there is TLS.
    #[must_use]
    pub fn abilities(&self) -> Abilities {
        self.abilities
    }

    /// TLS in use.
    #[must_use]
    pub fn tls(&self) -> TlsState {
        self.tls.clone()
    }

    /// The address connected to.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Before an idle connection is used again: whether the server has neither closed it nor said anything.
    pub async fn is_alive(&mut self) -> bool {
        self.wire.is_quiet().await
    }

    /// One mail transaction: an outcome for every recipient, whatever happens.
    ///
    /// `body` is read in chunks; large ones on a thread that may block.
    pub async fn transact(&mut self, envelope: &Envelope, body: Arc<dyn Source>) -> TransactionResult {
        let mut transaction = Transaction::new(envelope, self.abilities);
        loop {
            let failed = match transaction.advance() {
                Action::Done => return transaction.finish(),
                Action::Send(commands) => {
                    self.wire.send(&commands, Command::Mail, self.config.command_timeout).await.err()
                }
                Action::Receive(command) => match self.wire.receive(command, self.limit(command)).await {
                    Ok(reply) => {
                        transaction.reply(reply);
                        None
                    }
                    Err(failure) => Some(failure),
                },
                Action::SendContent => self.send_content(&mut transaction, Arc::clone(&body)).await,
            };
            if let Some(failure) = failed {
                transaction.lost(&failure);
            }
        }
    }

    async fn send_content(
        &mut self,
        transaction: &mut Transaction<'_>,
        body: Arc<dyn Source>,
    ) -> Option<Failure> {
        match content::send(&mut self.wire, body, self.config.block_timeout).await {
            Ok(()) => None,
            Err(ContentError::Fatal(failure)) => Some(failure),
            // A server that has seen enough may answer before the end and close.
            Err(ContentError::Lost(failure)) => {
                transaction.spoil();
                match self.wire.receive(Command::EndOfData, LAST_WORDS).await {
                    // It cannot have accepted what it has not got.
                    Ok(reply) if reply.code >= 400 => {
                        transaction.reply(reply);
                        None
                    }
                    _ => Some(failure),
                }
            }
        }
    }

    /// RFC 5321 section 4.5.3.2.
    fn limit(&self, command: Command) -> Duration {
        match command {
            Command::Data => self.config.data_timeout,
            Command::EndOfData => self.config.final_timeout,
            _ => self.config.command_timeout,
        }
    }

    /// QUIT, politely but not for long.
    pub async fn quit(mut self) {
        let farewell = async {
            let _ = self.wire.ask(b"QUIT\r\n", Command::Mail, LAST_WORDS).await;
            let _ = self.wire.stream.shutdown().await;
        };
        // Nothing depends on the answer.
        let _ = timeout(LAST_WORDS, farewell).await;
    }
}
