//! The seam between a session and the product.

use std::net::SocketAddr;

use async_trait::async_trait;

/// Code, enhanced status code (RFC 3463), text. What the peer reads is bland; what the log reads is specific.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Three digits.
    pub code: u16,
    /// Such as `5.7.1`; none where RFC 2034 has none.
    pub enhanced: Option<(u8, u8, u8)>,
    /// Printable ASCII, one or more lines without CR and LF.
    pub lines: Vec<String>,
}

impl Reply {
    /// A reply of one line with an enhanced status code.
    #[must_use]
    pub fn new(code: u16, enhanced: (u8, u8, u8), text: impl Into<String>) -> Self {
        Self { code, enhanced: Some(enhanced), lines: vec![text.into()] }
    }
}

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
pub struct Peer {
    /// Remote address.
    pub remote: SocketAddr,
    /// The listener's address.
    pub local: SocketAddr,
    /// What the listener is for.
    pub listener: ListenerKind,
}

/// What the session learnt from the dialogue so far.
#[derive(Debug, Clone, Default)]
pub struct SessionInfo {
    /// The argument of EHLO or HELO.
    pub helo: String,
    /// EHLO rather than HELO.
    pub extended: bool,
    /// Protocol version and cipher suite, when under TLS.
    pub tls: Option<String>,
    /// The authenticated username.
    pub username: Option<String>,
}

/// From AUTH PLAIN or LOGIN (RFC 4954).
#[derive(Clone)]
pub struct Credentials {
    /// authcid, at most 255 octets.
    pub username: String,
    /// At most 1 KiB.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// BODY= of MAIL (RFC 6152).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyType {
    /// 7BIT, or no BODY parameter.
    #[default]
    SevenBit,
    /// 8BITMIME.
    EightBitMime,
}

/// MAIL, syntactically correct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailFrom {
    /// Without angle brackets and source route; empty for the null reverse-path.
    pub address: String,
    /// SIZE= (RFC 1870); 0 when absent.
    pub size: u64,
    /// BODY=
    pub body: BodyType,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
}

/// RCPT, syntactically correct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RcptTo {
    /// Without angle brackets and source route. `postmaster` without a domain is allowed (RFC 5321 section 4.5.1).
    pub address: String,
}

/// Takes the bytes of a message as they arrive, dots unstuffed, the final dot removed. Dropped without `finish` when the
/// message does not end properly.
#[async_trait]
pub trait BodyWriter: Send {
    /// Appends. An error makes the session read to the end of DATA and then send that reply.
    async fn write(&mut self, chunk: &[u8]) -> Result<(), Reply>;
}

/// Decides what a session may do. Called in the order of the dialogue, never concurrently for one session.
///
/// The session state is dropped when the connection ends, however it ends. A positive reply of `finish` means that the
/// message is on disk.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// What the product remembers of a connection.
    type Session: Send;
    /// What it remembers while a message arrives.
    type Writer: BodyWriter + 'static;

    /// A connection, before the greeting. The error (421, 554) is sent instead of the greeting and the connection closed.
    async fn connect(&self, peer: &Peer) -> Result<Self::Session, Reply>;

    /// AUTH. `Ok` is answered with 235. The session sleeps on errors (throttling) itself.
    async fn authenticate(
        &self,
        session: &mut Self::Session,
        info: &SessionInfo,
        credentials: Credentials,
    ) -> Result<(), Reply>;

    /// MAIL. The session has checked SIZE against its own limit and that AUTH was done where the listener requires it.
    async fn mail(&self, session: &mut Self::Session, info: &SessionInfo, from: &MailFrom) -> Result<(), Reply>;

    /// RCPT, after a MAIL that was accepted.
    async fn rcpt(&self, session: &mut Self::Session, info: &SessionInfo, to: &RcptTo) -> Result<(), Reply>;

    /// DATA, after at least one RCPT that was accepted.
    async fn data(&self, session: &mut Self::Session, info: &SessionInfo) -> Result<Self::Writer, Reply>;

    /// The final dot. Whatever it answers, the transaction is over: MAIL state is gone.
    async fn finish(&self, session: &mut Self::Session, info: &SessionInfo, writer: Self::Writer) -> Reply;

    /// RSET, a new EHLO, STARTTLS, or a refusal after the final dot: forget MAIL and RCPT. STARTTLS also forgets everything
    /// learnt before it.
    fn reset(&self, session: &mut Self::Session);
}
