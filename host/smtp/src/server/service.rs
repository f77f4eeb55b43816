//! The seam between a session and the product.

use std::net::SocketAddr;

use std::future::Future;

pub use relevo_mailkit::envelope::Recipient;
pub use relevo_mailkit::reply::Reply;
use relevo_proto::server::replies;
pub use relevo_proto::server::{
    BearerToken, BodyType, Credentials, MailFrom, ScramVerifier, ScramVerifierError, SessionInfo,
};

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListenerKind {
    /// RFC 6409 with STARTTLS; AUTH required.
    Submission,
    /// RFC 8314 implicit TLS; AUTH required.
    Submissions,
    /// Trusted networks only, no AUTH.
    Relay,
}

/// Who is connected.
#[derive(Debug, Clone)]
pub struct SmtpPeer {
    /// Remote address; behind a proxy that of its client. 0.0.0.0: the proxy does not know it.
    pub remote: SocketAddr,
    /// The listener's address.
    pub local: SocketAddr,
    /// What the listener is for.
    pub listener: ListenerKind,
    /// The trusted proxy that speaks for the remote address, by PROXY or XCLIENT.
    pub proxy: Option<SocketAddr>,
    /// The remote host's name, as XCLIENT says.
    pub name: Option<String>,
    /// The user who has logged in at the proxy, as XCLIENT says. The dialogue takes it for logged in.
    pub login: Option<String>,
}

impl SmtpPeer {
    /// A peer that speaks for itself.
    #[must_use]
    pub fn new(remote: SocketAddr, local: SocketAddr, listener: ListenerKind) -> Self {
        Self { remote, local, listener, proxy: None, name: None, login: None }
    }
}

/// Takes the bytes of a message as they arrive, dots unstuffed, the final dot removed. Lines end in
/// CRLF, other than with [`BodyType::BinaryMime`], which is handed on as it is. Dropped
/// without `finish` when the message does not end properly.
pub trait BodyWriter: Send {
    /// Appends. An error makes the session read to the end of DATA and then send that reply.
    fn write(&mut self, chunk: &[u8]) -> impl Future<Output = Result<(), Reply>> + Send;
}

/// Decides what a session may do. Called in the order of the dialogue, never concurrently for one
/// session.
///
/// The session state is dropped when the connection ends, however it ends. A positive reply of
/// `finish` means that the message is on disk.
pub trait Service: Send + Sync + 'static {
    /// What the product remembers of a connection.
    type Session: Send;
    /// What it remembers while a message arrives.
    type Writer: BodyWriter + 'static;

    /// A connection, before the greeting; after XCLIENT again, and what the product knew of the session
    /// is dropped. The error (421, 554) is sent instead of the greeting and
    /// the connection closed.
    fn connect(&self, peer: &SmtpPeer) -> impl Future<Output = Result<Self::Session, Reply>> + Send;

    /// Returns true if the user of [`SmtpPeer::login`] is known and logged in. Asked after a connection
    /// by XCLIENT. Where a user is not, nobody is logged in.
    fn knows_login(&self, session: &Self::Session) -> bool;

    /// AUTH by PLAIN or LOGIN. `Ok` is answered with 235. The session sleeps on errors (throttling) itself; it counts
    /// 535 as a failed guess.
    fn authenticate(
        &self,
        session: &mut Self::Session,
        info: &SessionInfo,
        credentials: Credentials,
    ) -> impl Future<Output = Result<(), Reply>> + Send;

    /// AUTH by OAUTHBEARER or XOAUTH2: the user whose token it is. 535 goes to the client with the
    /// error of RFC 7628 before it, and counts as a failed guess. Asked where the listener offers one
    /// of the two.
    fn authenticate_token(
        &self,
        _session: &mut Self::Session,
        _info: &SessionInfo,
        _token: BearerToken,
    ) -> impl Future<Output = Result<String, Reply>> + Send {
        async { Err(replies::BAD_CREDENTIALS.into()) }
    }

    /// AUTH EXTERNAL: the user for whom the certificate in `info` stands, which must be `identity` if
    /// there is one. Asked where the listener offers it and a certificate was verified.
    fn authenticate_certificate(
        &self,
        _session: &mut Self::Session,
        _info: &SessionInfo,
        _identity: Option<String>,
    ) -> impl Future<Output = Result<String, Reply>> + Send {
        async { Err(replies::BAD_CREDENTIALS.into()) }
    }

    /// AUTH by SCRAM: what is stored of the user's password; `None` for an unknown user, who is then
    /// refused after the proof like one with a wrong password. An error (454) ends the exchange.
    fn scram_verifier(
        &self,
        _session: &mut Self::Session,
        _info: &SessionInfo,
        _username: &str,
    ) -> impl Future<Output = Result<Option<ScramVerifier>, Reply>> + Send {
        async { Ok(None) }
    }

    /// AUTH by SCRAM: the user has proven the password. `Ok` is answered with the server's proof, and
    /// with 235 once the client has taken it. Where the client gives up instead, the session is not
    /// logged in, and the service has heard of a right password all the same.
    fn authenticate_scram(
        &self,
        _session: &mut Self::Session,
        _info: &SessionInfo,
        _username: &str,
    ) -> impl Future<Output = Result<(), Reply>> + Send {
        async { Err(replies::BAD_CREDENTIALS.into()) }
    }

    /// AUTH by SCRAM: the proof was wrong, or the user is unknown. The client is answered with 535.
    fn refused_scram(&self, _session: &mut Self::Session, _info: &SessionInfo, _username: &str) {}

    /// MAIL, outside of a transaction. The session has checked the address, SIZE against its own
    /// limit, SMTPUTF8 and that AUTH was done where the listener requires it.
    fn mail(
        &self,
        session: &mut Self::Session,
        info: &SessionInfo,
        from: &MailFrom,
    ) -> impl Future<Output = Result<(), Reply>> + Send;

    /// RCPT, after a MAIL that was accepted. The session has checked the address and SMTPUTF8; it
    /// takes no address literals.
    fn rcpt(
        &self,
        session: &mut Self::Session,
        info: &SessionInfo,
        to: &Recipient,
    ) -> impl Future<Output = Result<(), Reply>> + Send;

    /// DATA or the first BDAT, after at least one RCPT that was accepted.
    fn data(
        &self,
        session: &mut Self::Session,
        info: &SessionInfo,
    ) -> impl Future<Output = Result<Self::Writer, Reply>> + Send;

    /// The final dot, or the end of the last chunk. Whatever it answers, the transaction is over: MAIL state is gone.
    fn finish(
        &self,
        session: &mut Self::Session,
        info: &SessionInfo,
        writer: Self::Writer,
    ) -> impl Future<Output = Reply> + Send;

    /// RSET, a new EHLO, STARTTLS, or a refusal after the final dot: forget MAIL and RCPT. STARTTLS
    /// also forgets everything learnt before it.
    fn reset(&self, session: &mut Self::Session);
}
