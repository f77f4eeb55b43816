//! The session: its events, and everything but the commands.

use relevo_mailkit::envelope::Recipient;

use super::bearer::{BearerMechanism, BearerToken};
use super::buffer::Buffer;
use super::chunks::{ChunkedMessage, DiscardedChunk, IncomingChunk};
use super::config::SessionConfig;
use super::content::{BareNewlines, Content, Normalizer};
use super::replies::{self, Fixed};
use super::sasl::Exchange;
use super::scram::ClientFirst;
use super::types::{Credentials, MailFrom, SessionInfo, TlsFacts};
use super::xclient::ProxiedClient;
use crate::{Reply, encode};

/// What a session asks its owner to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Send the output, then receive. Everything received so far has been dealt with.
    NeedInput,
    /// Send the 220, do the handshake, then call [`ServerSession::tls_started`]. Answer nothing.
    /// Everything learnt from the client is forgotten (RFC 3207 section 4.2), and the product must
    /// forget it too.
    StartTls,
    /// Answer with [`ServerSession::decide`].
    Authenticate(Credentials),
    /// OAUTHBEARER or XOAUTH2. Answer with [`ServerSession::authenticated`].
    Token(BearerToken),
    /// EXTERNAL: the client's certificate ([`SessionInfo::client_certificate`]) is to log in, as this
    /// user if one is named. Answer with [`ServerSession::authenticated`].
    External(Option<String>),
    /// SCRAM: this user wants to log in. Answer with [`ServerSession::scram_verifier`].
    ScramUser(String),
    /// SCRAM: the proof of this user was wrong. Answer with [`ServerSession::decide`]: whatever it
    /// says, the login fails.
    ScramFailed(String),
    /// SCRAM: this user has proven the password. Answer with [`ServerSession::decide`]. The client
    /// may still give up the login: it is logged in once [`SessionInfo::username`] says so.
    ScramProven(String),
    /// XCLIENT: this is the client for whom the peer speaks. Everything learnt before is forgotten, and
    /// the product must forget it too. Answer with [`ServerSession::restart`].
    Proxied(ProxiedClient),
    /// Answer with [`ServerSession::decide`].
    Mail(MailFrom),
    /// Answer with [`ServerSession::decide`].
    Rcpt(Recipient),
    /// DATA or the first BDAT, after at least one accepted recipient. Answer with
    /// [`ServerSession::decide`]. A refusal ends the transaction: no [`Event::Reset`] follows.
    Data,
    /// [`ServerSession::content`] has octets of the message. On an error call
    /// [`ServerSession::refuse_content`].
    Content,
    /// The message is complete. Answer with [`ServerSession::finished`].
    Finish,
    /// The transaction is over without a message: forget MAIL, RCPT and what arrived.
    Reset,
    /// Send the output and close. Also the state of a session that failed in any way.
    Close,
}

/// Octets of a command line without CRLF: the 512 of RFC 5321 section 4.5.3.1.4 and what extensions
/// add, rounded up.
pub(super) const MAX_LINE: usize = 2048;
/// Octets of AUTH and its responses: the longest credentials in base64.
pub(super) const MAX_AUTH_LINE: usize = 4096;
/// Receive space outside DATA.
const COMMAND_SPACE: usize = 4096;
/// Receive space within DATA, and the largest chunk of content.
const CONTENT_SPACE: usize = 64 * 1024;

/// The table's states.
#[derive(Debug)]
pub(super) enum SessionState {
    /// Nobody may speak before the greeting.
    Greeting,
    Command,
    /// In a line that has been answered already; the flag: the last octet was a CR.
    Skip(bool),
    Sasl(Exchange),
    /// An event is out.
    Deciding(Question),
    Content(IncomingContent),
    /// In a chunk of BDAT.
    Chunk(IncomingChunk),
    /// In a chunk that has been refused already.
    Discard(DiscardedChunk),
    /// The final dot was read and the product decides.
    Finishing,
    Handshake,
    Closed,
}

/// What a look at the input came to.
pub(super) enum PollStep {
    Event(Event),
    Again,
    NeedInput,
}

/// What [`ServerSession::decide`] answers.
#[derive(Debug)]
pub(super) enum Question {
    Auth(String),
    Token(BearerMechanism),
    External,
    ScramUser(Box<ClientFirst>),
    ScramFailed,
    ScramProven { username: String, signature: String },
    Proxied(Box<ProxiedClient>),
    Mail { smtputf8: bool, binary: bool },
    Rcpt,
    Data,
    Chunk { size: u64, last: bool },
}

/// A message on its way in.
#[derive(Debug)]
pub(super) struct IncomingContent {
    content: Content,
    normalizer: Normalizer,
    size: u64,
    ended: bool,
    /// Read to the end, then say this.
    refusal: Option<Reply>,
}

/// Recipients of the transaction under way.
#[derive(Debug, Default)]
pub(super) struct TransactionCounts {
    pub(super) smtputf8: bool,
    /// BODY=BINARYMIME.
    pub(super) binary: bool,
    /// Between two chunks.
    pub(super) chunked: Option<ChunkedMessage>,
    pub(super) accepted: u32,
    pub(super) refused: u32,
}

/// One connection as a state machine.
#[derive(Debug)]
pub struct ServerSession {
    pub(super) config: SessionConfig,
    pub(super) state: SessionState,
    pub(super) info: SessionInfo,
    /// `tls-exporter` (RFC 9266).
    pub(super) exporter: Option<[u8; 32]>,
    pub(super) transaction: Option<TransactionCounts>,
    pub(super) input: Buffer,
    output: Vec<u8>,
    /// How far back the octets of the last [`Event::Content`] are, and how many they are. `None`:
    /// they are in `normalized`.
    pub(super) chunk: Option<(usize, usize)>,
    /// Content that is not in the input as it is handed out.
    pub(super) normalized: Vec<u8>,
    /// Small chunks of this transaction.
    pub(super) small_chunks: u32,
    /// A chunk failed, and no other command has come since.
    pub(super) chunk_failed: bool,
    pub(super) errors: u32,
    pub(super) idle_commands: u32,
    pub(super) refusals: u32,
    /// MAIL commands that were accepted.
    pub(super) mails: u32,
    pub(super) stopping: bool,
}

impl ServerSession {
    /// A connection before its greeting. `tls` describes TLS that came first (RFC 8314).
    #[must_use]
    pub fn new(config: SessionConfig, tls: Option<TlsFacts>) -> Self {
        let exporter = tls.as_ref().and_then(|tls| tls.exporter);
        Self {
            config,
            state: SessionState::Greeting,
            info: tls.map_or_else(SessionInfo::default, SessionInfo::under),
            exporter,
            transaction: None,
            input: Buffer::default(),
            output: Vec::new(),
            chunk: None,
            normalized: Vec::new(),
            small_chunks: 0,
            chunk_failed: false,
            errors: 0,
            idle_commands: 0,
            refusals: 0,
            mails: 0,
            stopping: false,
        }
    }

    /// What the dialogue has told so far.
    #[must_use]
    pub fn info(&self) -> &SessionInfo {
        &self.info
    }

    /// A transaction is under way: MAIL was accepted, or a message is arriving.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// A message is arriving, or what is left of one that was refused.
    #[must_use]
    pub fn in_content(&self) -> bool {
        matches!(self.state, SessionState::Content(_) | SessionState::Discard(_)) || self.in_chunks()
    }

    /// Where to receive into; then call [`Self::received`]. Bounded: 4 KiB, within a message 64 KiB.
    pub fn space(&mut self) -> &mut [u8] {
        if self.in_content() {
            self.input.space(CONTENT_SPACE)
        } else {
            self.input.shrink(COMMAND_SPACE);
            self.input.space(COMMAND_SPACE)
        }
    }

    /// The first `n` octets of [`Self::space`] have been received.
    pub fn received(&mut self, n: usize) {
        self.input.filled(n);
    }

    /// Receives octets from elsewhere.
    pub fn receive(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let space = self.space();
            let n = space.len().min(octets.len());
            space[..n].copy_from_slice(&octets[..n]);
            self.received(n);
            octets = &octets[n..];
        }
    }

    /// Takes what is to be sent.
    #[must_use]
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// There is something to be sent.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// The greeting, or the product's refusal of the connection.
    pub fn greet(&mut self, decision: Result<(), Reply>) {
        match decision {
            Err(reply) => self.close_with(&reply),
            // RFC 5321 section 3.1: the client waits for the greeting. One that does not is no mail
            // client.
            Ok(()) if !self.input.is_empty() => self.close_with(&replies::UNAUTHORISED_PIPELINING.into()),
            Ok(()) => {
                let text = format!("{} ESMTP Relevo", self.config.hostname);
                encode(&Reply::of_lines(220, &[text]), &mut self.output);
                self.state = SessionState::Command;
            }
        }
    }

    /// The next thing to do. Until an event is answered there is none.
    pub fn poll(&mut self) -> Event {
        loop {
            let step = match &mut self.state {
                SessionState::Closed => return Event::Close,
                SessionState::Greeting
                | SessionState::Deciding(_)
                | SessionState::Finishing
                | SessionState::Handshake => PollStep::NeedInput,
                SessionState::Skip(cr) => {
                    if self.input.skip_line(cr) {
                        self.state = SessionState::Command;
                        PollStep::Again
                    } else {
                        PollStep::NeedInput
                    }
                }
                SessionState::Command | SessionState::Sasl(_) => self.poll_line(),
                SessionState::Content(_) => self.poll_content(),
                SessionState::Chunk(_) => self.poll_chunk(),
                SessionState::Discard(_) => self.poll_discard(),
            };
            match step {
                PollStep::Event(event) => return event,
                PollStep::NeedInput => return Event::NeedInput,
                PollStep::Again => {}
            }
        }
    }

    /// Scans what has arrived of the message.
    fn poll_content(&mut self) -> PollStep {
        let SessionState::Content(incoming) = &mut self.state else { return PollStep::Again };
        if incoming.ended {
            return self.end_of_data();
        }
        let scan = incoming.content.scan(self.input.unread());
        self.input.consume(scan.consumed);
        self.chunk = Some((scan.consumed, scan.content));
        incoming.ended = scan.ended;
        let newlines = self.config.bare_newlines;
        let mut octets = scan.content;
        if newlines == BareNewlines::Normalize {
            self.normalized.clear();
            incoming.normalizer.push(self.input.consumed(scan.consumed, scan.content), &mut self.normalized);
            octets = self.normalized.len();
            self.chunk = None;
        }
        incoming.size = incoming.size.saturating_add(octets as u64);
        if incoming.size > self.config.limits.message_size {
            incoming.refusal.get_or_insert_with(|| replies::TOO_LARGE.into());
        }
        let wanted = incoming.refusal.is_none() && !incoming.content.is_ambiguous(newlines);
        if wanted && octets > 0 {
            PollStep::Event(Event::Content)
        } else if scan.ended {
            PollStep::Again
        } else {
            PollStep::NeedInput
        }
    }

    /// The octets of the last [`Event::Content`]: dots removed, the final dot not among them. Valid
    /// until the next call of [`Self::poll`] or [`Self::space`].
    #[must_use]
    pub fn content(&self) -> &[u8] {
        match self.chunk {
            Some((ago, length)) => self.input.consumed(ago, length),
            None => &self.normalized,
        }
    }

    /// The product cannot take the message. It is read to its end and then answered so.
    pub fn refuse_content(&mut self, reply: Reply) {
        if let SessionState::Content(incoming) = &mut self.state {
            incoming.refusal.get_or_insert(reply);
        } else {
            self.refuse_chunk(reply);
        }
    }

    fn end_of_data(&mut self) -> PollStep {
        let SessionState::Content(incoming) = std::mem::replace(&mut self.state, SessionState::Command)
        else {
            return PollStep::Again;
        };
        self.transaction = None;
        // Somebody before us may have seen the end of the message elsewhere, and what follows may
        // be a message smuggled in: nothing more is read from this connection.
        if incoming.content.is_ambiguous(self.config.bare_newlines) {
            self.close_with(&replies::BARE_CR_OR_LF.into());
            return PollStep::Event(Event::Reset);
        }
        if let Some(reply) = incoming.refusal {
            self.reply(&reply);
            self.close_after_421(&reply);
            return PollStep::Event(Event::Reset);
        }
        self.state = SessionState::Finishing;
        PollStep::Event(Event::Finish)
    }

    /// The answer to [`Event::Finish`].
    pub fn finished(&mut self, reply: &Reply) {
        if matches!(self.state, SessionState::Finishing) {
            if reply.is_positive() {
                self.idle_commands = 0;
            }
            self.reply(reply);
            self.state = SessionState::Command;
            self.close_after_421(reply);
        }
    }

    pub(super) fn begin_content(&mut self) {
        self.reply_fixed(replies::START_MAIL_INPUT);
        self.state = SessionState::Content(IncomingContent {
            content: Content::new(),
            normalizer: Normalizer::default(),
            size: 0,
            ended: false,
            refusal: None,
        });
    }

    /// The handshake is done. Whatever the client sent in clear after STARTTLS is gone
    /// (CVE-2011-0411).
    pub fn tls_started(&mut self, tls: impl Into<TlsFacts>) {
        let tls = tls.into();
        self.input.clear();
        self.exporter = tls.exporter;
        self.info = SessionInfo::under(tls);
        self.transaction = None;
        self.state = SessionState::Command;
    }

    /// Nothing came for too long.
    pub fn time_out(&mut self) {
        self.close_with(&replies::TIMEOUT.into());
    }

    /// The server is stopping: the next command is answered with 421 (RFC 5321 section 3.8). A
    /// message that is arriving is taken first. With nothing under way the session ends at once.
    pub fn stop(&mut self) {
        self.stopping = true;
        if matches!(self.state, SessionState::Command) && self.transaction.is_none() && self.input.is_empty()
        {
            self.close_with(&replies::SHUTTING_DOWN.into());
        }
    }

    /// Ends the session with `reply`, whatever it is doing.
    pub fn close_with(&mut self, reply: &Reply) {
        if matches!(self.state, SessionState::Closed) {
            return;
        }
        self.reply(reply);
        self.input.clear();
        self.transaction = None;
        self.state = SessionState::Closed;
    }

    pub(super) fn reply(&mut self, reply: &Reply) {
        encode(reply, &mut self.output);
    }

    pub(super) fn reply_fixed(&mut self, reply: Fixed) {
        self.reply(&reply.into());
    }

    /// RFC 5321 section 3.8: after 421 the server closes.
    pub(super) fn close_after_421(&mut self, reply: &Reply) {
        if reply.code == 421 {
            self.input.clear();
            self.state = SessionState::Closed;
        }
    }
}
