//! BDAT (RFC 3030): content whose length is announced.
//!
//! Every way in which a chunk fails ends the transaction, and the octets that were announced are
//! read and dropped before the reply: they are never taken for commands.
//!
//! | what happened | reply | afterwards |
//! | --- | --- | --- |
//! | the line cannot be read, its length is unknown | 500, 501 | closed |
//! | very many small chunks | 421 | closed |
//! | HELO, no MAIL, or no RCPT before it | 503 | chunk dropped, no transaction |
//! | all recipients were refused | 554 | chunk dropped, no transaction |
//! | larger than a message may be | 552 | chunk dropped, no transaction |
//! | the product refuses the message or its content | its reply | chunk dropped, no transaction |
//! | a CR or LF stands alone in text | 550 | chunk dropped, no transaction |
//! | a chunk after one that failed | 503 | chunk dropped, no transaction |
//! | DATA between chunks, or for binary content | 503 | no transaction |
//! | MAIL or RCPT between chunks | 503 | the message goes on |
//! | RSET, EHLO, HELO or STARTTLS between chunks | theirs | no transaction |

use super::content::{BareNewlines, Normalizer};
use super::replies;
use super::session::{Event, PollStep, Question, ServerSession, SessionState, TransactionCounts};
use crate::Reply;

/// Chunks below this size, other than the last of a message, are counted against [`super::SessionLimits::small_chunks`].
const SMALL_CHUNK: u64 = 1024;

/// A message that arrives in chunks.
#[derive(Debug)]
pub(super) struct ChunkedMessage {
    /// BODY=BINARYMIME: lines mean nothing.
    binary: bool,
    normalizer: Normalizer,
    /// Octets handed to the product.
    size: u64,
    after_cr: bool,
    /// The last octet was an LF, or there was none yet.
    at_line_start: bool,
    bare_cr: bool,
    bare_lf: bool,
    /// Read the chunk to its end, then say this.
    refusal: Option<Reply>,
}

impl ChunkedMessage {
    pub(super) fn new(binary: bool) -> Self {
        Self {
            binary,
            normalizer: Normalizer::unstuffed(),
            size: 0,
            after_cr: false,
            at_line_start: true,
            bare_cr: false,
            bare_lf: false,
            refusal: None,
        }
    }

    pub(super) fn refuse(&mut self, reply: Reply) {
        self.refusal.get_or_insert(reply);
    }

    /// Notices every CR or LF that stands alone, also where one chunk ends and the next begins.
    fn check(&mut self, octets: &[u8]) {
        for octet in octets {
            match octet {
                b'\n' => {
                    self.bare_lf |= !self.after_cr;
                    self.at_line_start = true;
                    self.after_cr = false;
                }
                b'\r' => {
                    self.bare_cr |= self.after_cr;
                    self.after_cr = true;
                    self.at_line_start = false;
                }
                _ => {
                    self.bare_cr |= self.after_cr;
                    self.after_cr = false;
                    self.at_line_start = false;
                }
            }
        }
    }

    fn add(&mut self, octets: usize, limit: u64) {
        self.size = self.size.saturating_add(octets as u64);
        if self.size > limit {
            self.refuse(replies::TOO_LARGE.into());
        }
    }
}

/// A chunk on its way in.
#[derive(Debug)]
pub(super) struct IncomingChunk {
    message: ChunkedMessage,
    announced: u64,
    left: u64,
    last: bool,
}

/// A chunk that is read and dropped.
#[derive(Debug)]
pub(super) struct DiscardedChunk {
    left: u64,
    reply: Reply,
    /// The reply counts as an error of the client.
    is_error: bool,
}

impl ServerSession {
    /// A message arrives in chunks: one is on its way, or the next is awaited.
    pub(super) fn in_chunks(&self) -> bool {
        matches!(self.state, SessionState::Chunk(_))
            || self.transaction.as_ref().is_some_and(|t| t.chunked.is_some())
    }

    /// BDAT. It ends no group (RFC 3030 section 2 lets it be pipelined).
    pub(super) fn bdat(&mut self, size: u64, last: bool) -> PollStep {
        // Behind a chunk that failed the last one ends nothing, and may come again and again.
        if size < SMALL_CHUNK && (!last || self.chunk_failed) {
            self.small_chunks += 1;
            if self.small_chunks > self.config.limits.small_chunks {
                self.close_with(&replies::TOO_MANY_CHUNKS.into());
                return PollStep::Event(Event::Close);
            }
        }
        if !self.info.extended {
            return self.discard(size, replies::EHLO_FIRST.into(), true);
        }
        // RFC 3030 section 2: chunks that were on their way behind one that failed are accepted and
        // discarded. The client could not know, so they are no errors of its own.
        if self.chunk_failed {
            return self.discard(size, replies::CHUNK_AFTER_FAILURE.into(), false);
        }
        let limit = self.config.limits.message_size;
        match &mut self.transaction {
            None => self.discard(size, replies::MAIL_FIRST.into(), true),
            Some(TransactionCounts { accepted: 0, refused: 0, .. }) => {
                self.discard(size, replies::RCPT_FIRST.into(), true)
            }
            Some(TransactionCounts { accepted: 0, .. }) => {
                self.discard(size, replies::NO_VALID_RECIPIENTS.into(), false)
            }
            Some(transaction) => {
                let sofar = transaction.chunked.as_ref().map_or(0, |message| message.size);
                if sofar.saturating_add(size) > limit {
                    return self.discard(size, replies::TOO_LARGE.into(), false);
                }
                match transaction.chunked.take() {
                    Some(message) => self.begin_chunk(message, size, last),
                    None => {
                        self.state = SessionState::Deciding(Question::Chunk { size, last });
                        return PollStep::Event(Event::Data);
                    }
                }
                PollStep::Again
            }
        }
    }

    pub(super) fn begin_chunk(&mut self, message: ChunkedMessage, size: u64, last: bool) {
        self.state = SessionState::Chunk(IncomingChunk { message, announced: size, left: size, last });
    }

    /// Ends the transaction. The chunk is read and dropped, then answered.
    pub(super) fn discard(&mut self, size: u64, reply: Reply, is_error: bool) -> PollStep {
        self.chunk_failed = true;
        let had_transaction = self.transaction.take().is_some();
        self.state = SessionState::Discard(DiscardedChunk { left: size, reply, is_error });
        if had_transaction { PollStep::Event(Event::Reset) } else { PollStep::Again }
    }

    pub(super) fn poll_discard(&mut self) -> PollStep {
        let SessionState::Discard(chunk) = &mut self.state else { return PollStep::Again };
        let n = up_to(self.input.unread().len(), chunk.left);
        self.input.consume(n);
        chunk.left -= n as u64;
        if chunk.left > 0 {
            return PollStep::NeedInput;
        }
        let SessionState::Discard(chunk) = std::mem::replace(&mut self.state, SessionState::Command) else {
            return PollStep::Again;
        };
        if chunk.is_error && self.too_many_errors() {
            self.close_with(&replies::TOO_MANY_ERRORS.into());
            return PollStep::Event(Event::Close);
        }
        self.reply(&chunk.reply);
        self.close_after_421(&chunk.reply);
        PollStep::Again
    }

    pub(super) fn poll_chunk(&mut self) -> PollStep {
        let SessionState::Chunk(chunk) = &mut self.state else { return PollStep::Again };
        if chunk.left == 0 {
            return self.end_of_chunk();
        }
        let n = up_to(self.input.unread().len(), chunk.left);
        if n == 0 {
            return PollStep::NeedInput;
        }
        chunk.left -= n as u64;
        let message = &mut chunk.message;
        self.chunk = Some((n, n));
        let mut octets = n;
        if !message.binary {
            let newlines = self.config.bare_newlines;
            message.check(&self.input.unread()[..n]);
            if message.bare_cr || (message.bare_lf && newlines == BareNewlines::Refuse) {
                // The announced length says where the content ends, whatever it holds: nothing can
                // be smuggled behind it, and the connection goes on. The message is refused all the
                // same, because next hops get it by DATA.
                message.refuse(replies::BARE_CR_OR_LF.into());
            }
            if newlines == BareNewlines::Normalize {
                self.normalized.clear();
                message.normalizer.push(&self.input.unread()[..n], &mut self.normalized);
                octets = self.normalized.len();
                self.chunk = None;
            }
        }
        self.input.consume(n);
        message.add(octets, self.config.limits.message_size);
        if message.refusal.is_none() && octets > 0 {
            PollStep::Event(Event::Content)
        } else {
            PollStep::Again
        }
    }

    fn end_of_chunk(&mut self) -> PollStep {
        let SessionState::Chunk(mut chunk) = std::mem::replace(&mut self.state, SessionState::Command) else {
            return PollStep::Again;
        };
        if chunk.last && !chunk.message.binary {
            if chunk.message.after_cr {
                chunk.message.refuse(replies::BARE_CR_OR_LF.into());
            }
            // Text ends in CRLF, as it does after DATA: whoever passes it on by DATA has to add it.
            if !chunk.message.at_line_start && chunk.message.refusal.is_none() {
                chunk.message.at_line_start = true;
                self.chunk = None;
                self.normalized.clear();
                self.normalized.extend_from_slice(b"\r\n");
                chunk.message.add(2, self.config.limits.message_size);
                let fits = chunk.message.refusal.is_none();
                self.state = SessionState::Chunk(chunk);
                return if fits { PollStep::Event(Event::Content) } else { PollStep::Again };
            }
        }
        if let Some(reply) = chunk.message.refusal {
            self.transaction = None;
            self.chunk_failed = true;
            self.reply(&reply);
            self.close_after_421(&reply);
            return PollStep::Event(Event::Reset);
        }
        if chunk.last {
            self.transaction = None;
            self.state = SessionState::Finishing;
            return PollStep::Event(Event::Finish);
        }
        // RFC 3030 section 2: every chunk has its 250.
        self.reply(&Reply::new(250, (2, 0, 0), format!("{} octets received", chunk.announced)));
        if let Some(transaction) = &mut self.transaction {
            transaction.chunked = Some(chunk.message);
        }
        PollStep::Again
    }

    pub(super) fn refuse_chunk(&mut self, reply: Reply) {
        if let SessionState::Chunk(chunk) = &mut self.state {
            chunk.message.refuse(reply);
        }
    }
}

/// The smaller of the two.
fn up_to(buffered: usize, left: u64) -> usize {
    usize::try_from(left).map_or(buffered, |left| left.min(buffered))
}
