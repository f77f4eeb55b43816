//! Connections to next hops, and the transactions over them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use relevo_mailkit::source::Source;
use relevo_proto::client::{Abilities, ClientTransaction, TransactionStep};
use rustls_pki_types::CertificateDer;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::content::{self, ContentError};
use super::recorder::Recorder;
use super::tls::Tls;
use super::types::{
    Auth, ClientConfig, DialogueStep, Envelope, Failure, Target, TlsState, TransactionResult,
};
use super::wire::LineStream;

/// For the last words of a peer that closed, and for the reply to QUIT.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A session with a next hop, between transactions.
pub struct Connection {
    pub(super) wire: LineStream,
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
    /// Connects, and goes as far as the first MAIL: greeting, EHLO (or HELO), TLS as `target`
    /// needs, AUTH if given.
    ///
    /// TLS that is offered and does not come about is a failure with [`Failure::tls`] set, also
    /// where it is not needed: the caller decides whether to connect again in clear
    /// ([`super::TlsRequirement::allows_clear_after`]). Credentials go only to a host whose
    /// certificate is valid for its name, or to loopback.
    ///
    /// # Errors
    /// Every failure here is of the host, and temporary unless the host says that it never takes
    /// mail (521, RFC 7504).
    pub async fn open(
        target: &Target,
        config: &ClientConfig,
        auth: Option<&Auth>,
        tls: &Tls,
    ) -> Result<Self, Failure> {
        Self::establish(target, config, auth, tls, Recorder::default()).await
    }

    /// As [`Self::open`], and writes down what is said until [`Self::record`] is called.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub async fn open_recorded(
        target: &Target,
        config: &ClientConfig,
        auth: Option<&Auth>,
        tls: &Tls,
        recorder: Recorder,
    ) -> Result<Self, Failure> {
        Self::establish(target, config, auth, tls, recorder).await
    }

    /// From now on what is said is written here.
    pub fn record(&mut self, recorder: Recorder) {
        self.wire.recorder = recorder;
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

    /// The certificates (DER) that the server showed, its own first; none in clear.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        self.wire.stream.tls().and_then(|tls| tls.peer_certificates()).unwrap_or_default()
    }

    /// The address connected to.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Before an idle connection is used again: whether the server has neither closed it nor said
    /// anything.
    pub async fn is_alive(&mut self) -> bool {
        self.wire.is_quiet().await
    }

    /// One mail transaction: an outcome for every recipient, whatever happens.
    ///
    /// `body` is read in chunks; large ones on a thread that may block.
    pub async fn transact(&mut self, envelope: &Envelope, body: Arc<dyn Source>) -> TransactionResult {
        let mut transaction = ClientTransaction::new(envelope, self.abilities);
        loop {
            let failed = match transaction.advance() {
                TransactionStep::Done => return transaction.finish(),
                TransactionStep::Send(commands) => {
                    self.wire.send(&commands, DialogueStep::Mail, self.config.command_timeout).await.err()
                }
                TransactionStep::Receive(command) => {
                    match self.wire.receive(command, self.limit(command)).await {
                        Ok(reply) => {
                            transaction.reply(reply);
                            None
                        }
                        Err(failure) => Some(failure),
                    }
                }
                TransactionStep::SendContent => {
                    let note = "octets of the message, and the final dot";
                    self.wire.recorder.note(|| format!("{} {note}", body.size()).into());
                    let sent =
                        content::send(&mut self.wire, Arc::clone(&body), self.config.block_timeout).await;
                    self.after_content(&mut transaction, sent).await
                }
                TransactionStep::SendChunk => {
                    let sent =
                        content::send_chunk(&mut self.wire, Arc::clone(&body), self.config.block_timeout)
                            .await;
                    self.wire.recorder.note(|| format!("{} octets of the message", body.size()).into());
                    self.after_content(&mut transaction, sent).await
                }
            };
            if let Some(failure) = failed {
                transaction.lost(&failure);
            }
        }
    }

    /// What is wrong when the content was not sent whole.
    async fn after_content(
        &mut self,
        transaction: &mut ClientTransaction<'_>,
        sent: Result<(), ContentError>,
    ) -> Option<Failure> {
        match sent {
            Ok(()) => None,
            Err(ContentError::Fatal(failure)) => Some(failure),
            // A server that has seen enough may answer before the end and close.
            Err(ContentError::Lost(failure)) => {
                transaction.spoil();
                match self.wire.receive(DialogueStep::EndOfData, LAST_WORDS).await {
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
    fn limit(&self, command: DialogueStep) -> Duration {
        match command {
            DialogueStep::Data => self.config.data_timeout,
            DialogueStep::EndOfData => self.config.final_timeout,
            _ => self.config.command_timeout,
        }
    }

    /// QUIT, politely but not for long.
    pub async fn quit(mut self) {
        let farewell = async {
            let _ = self.wire.ask(b"QUIT\r\n", DialogueStep::Mail, LAST_WORDS).await;
            let _ = self.wire.stream.shutdown().await;
        };
        // Nothing depends on the answer.
        let _ = timeout(LAST_WORDS, farewell).await;
    }
}
