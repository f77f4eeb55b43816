//! The commands: which may come when, what they answer, and what they ask the product.

use relevo_mailkit::envelope::Recipient;

use super::buffer::Line;
use super::chunks::ChunkedMessage;
use super::command::{self, ParsedCommand, Verb};
use super::config::AuthPolicy;
use super::params::Announced;
use super::replies::{self, Fixed};
use super::sasl::{self, Exchange};
use super::session::{Event, MAX_LINE, PollStep, Question, ServerSession, SessionState, TransactionCounts};
use super::types::{BodyType, MailFrom, SessionInfo};
use crate::Reply;

impl ServerSession {
    /// Takes one line from the input, when there is one.
    pub(super) fn poll_line(&mut self) -> PollStep {
        let sasl = matches!(self.state, SessionState::Sasl(_));
        let auth = sasl || self.input.unread().get(..5).is_some_and(|w| w.eq_ignore_ascii_case(b"AUTH "));
        // Octets follow a line that wants to be BDAT: without its length nobody knows how many, and
        // they must not be read as commands.
        let chunk = self.input.unread().get(..4).is_some_and(|w| w.eq_ignore_ascii_case(b"BDAT"));
        let chunk = chunk && !sasl && self.config.offers.chunking;
        let (line, cr) = self.input.find_line(if auth { self.max_auth_line() } else { MAX_LINE });
        match line {
            Line::Partial => PollStep::NeedInput,
            Line::TooLong if chunk => self.close(replies::LINE_TOO_LONG),
            Line::Bare if chunk => self.close(replies::BARE_LINE_END),
            Line::Complete { length } => self.take_line(length),
            Line::TooLong => {
                self.state = SessionState::Skip(cr);
                self.protocol_error(if auth { replies::AUTH_LINE_TOO_LONG } else { replies::LINE_TOO_LONG })
            }
            // Not a line, whatever it looks like. What follows up to the CRLF belongs to it.
            Line::Bare => {
                self.state = SessionState::Skip(false);
                self.protocol_error(replies::BARE_LINE_END)
            }
        }
    }

    fn take_line(&mut self, length: usize) -> PollStep {
        let line = self.input.line(length).to_vec();
        self.input.consume(length + 2);
        let text = std::str::from_utf8(&line).ok().filter(|t| !t.chars().any(char::is_control));
        if matches!(self.state, SessionState::Sasl(_)) {
            return self.sasl_line(text);
        }
        let Some(text) = text else {
            let chunk = line.get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"BDAT"));
            return if chunk && self.config.offers.chunking {
                self.close(replies::BAD_OCTET)
            } else {
                self.protocol_error(replies::BAD_OCTET)
            };
        };
        self.command_line(text)
    }

    fn command_line(&mut self, line: &str) -> PollStep {
        let (verb, rest) = command::verb(line);
        self.chunk_failed &= verb == Verb::Bdat;
        let finishing = verb == Verb::Bdat && (self.in_chunks() || self.chunk_failed);
        if self.stopping && verb != Verb::Quit && !finishing {
            self.close_with(&replies::SHUTTING_DOWN.into());
            return PollStep::Event(Event::Close);
        }
        // RFC 2920 section 3.1. A client that does not wait here is broken, or somebody put words
        // into its mouth.
        if verb.ends_group() && !self.input.is_empty() {
            self.close_with(&replies::UNAUTHORISED_PIPELINING.into());
            return PollStep::Event(Event::Close);
        }
        if verb.is_idle() && verb != Verb::Unknown {
            self.idle_commands += 1;
            if self.idle_commands > self.config.limits.idle_commands {
                self.close_with(&replies::TOO_MANY_COMMANDS.into());
                return PollStep::Event(Event::Close);
            }
        }
        let announced = Announced { offers: &self.config.offers, is_tls: self.info.tls.is_some() };
        match command::parse(verb, rest, announced) {
            Ok(command) => self.command(command),
            Err(reply) if verb == Verb::Bdat => self.close(reply),
            Err(reply) => self.protocol_error(reply),
        }
    }

    fn command(&mut self, command: ParsedCommand<'_>) -> PollStep {
        match command {
            ParsedCommand::Ehlo(name) => self.hello(name, true),
            ParsedCommand::Helo(name) => self.hello(name, false),
            ParsedCommand::Mail(from) => self.mail(from),
            ParsedCommand::Rcpt { to, utf8, extended } => self.rcpt(to, utf8, extended),
            ParsedCommand::Data => self.data(),
            ParsedCommand::Chunk(size, last) => self.bdat(size, last),
            ParsedCommand::Rset => {
                self.transaction = None;
                self.reply_fixed(replies::OK);
                PollStep::Event(Event::Reset)
            }
            ParsedCommand::Noop => self.say(replies::OK),
            ParsedCommand::Vrfy => self.say(replies::VRFY),
            ParsedCommand::Help => self.say(replies::HELP),
            ParsedCommand::Refused(reply) => self.protocol_error(reply),
            ParsedCommand::Proxied(client) => self.xclient(client),
            ParsedCommand::StartTls => self.start_tls(),
            ParsedCommand::Auth { mechanism, initial } => self.auth(mechanism, initial),
            ParsedCommand::Quit => self.close(replies::BYE),
            ParsedCommand::OtherProtocol => self.close(replies::OTHER_PROTOCOL),
        }
    }

    fn say(&mut self, reply: Fixed) -> PollStep {
        self.reply_fixed(reply);
        PollStep::Again
    }

    pub(super) fn close(&mut self, reply: Fixed) -> PollStep {
        self.close_with(&reply.into());
        PollStep::Event(Event::Close)
    }

    /// A reply that counts against the client. The last one of too many is 421 instead.
    pub(super) fn protocol_error(&mut self, reply: Fixed) -> PollStep {
        if self.too_many_errors() {
            return self.close(replies::TOO_MANY_ERRORS);
        }
        self.say(reply)
    }

    pub(super) fn too_many_errors(&mut self) -> bool {
        self.errors += 1;
        self.errors > self.config.limits.errors
    }

    /// RFC 5321 section 4.1.1.1: also resets.
    fn hello(&mut self, name: &str, extended: bool) -> PollStep {
        name.clone_into(&mut self.info.helo);
        self.info.extended = extended;
        self.transaction = None;
        let lines = if extended { self.extensions() } else { vec![self.config.hostname.clone()] };
        self.reply(&Reply::of_lines(250, &lines));
        PollStep::Event(Event::Reset)
    }

    fn extensions(&self) -> Vec<String> {
        let mut lines = vec![
            self.config.hostname.clone(),
            "PIPELINING".to_owned(),
            format!("SIZE {}", self.config.limits.message_size),
            "8BITMIME".to_owned(),
            "SMTPUTF8".to_owned(),
            "ENHANCEDSTATUSCODES".to_owned(),
        ];
        if self.config.starttls && self.info.tls.is_none() {
            lines.push("STARTTLS".to_owned());
        }
        lines.extend(self.config.offers.keywords(self.info.tls.is_some()));
        lines.extend(self.auth_keyword());
        lines
    }

    pub(super) fn may_authenticate(&self) -> bool {
        match self.config.auth {
            AuthPolicy::Off => false,
            AuthPolicy::AfterTls => self.info.tls.is_some(),
            AuthPolicy::Always => true,
        }
    }

    fn mail(&mut self, from: MailFrom) -> PollStep {
        let extended = !from.parameters.is_empty();
        let refusal = if self.info.helo.is_empty() {
            Some(replies::HELLO_FIRST)
        } else if self.transaction.is_some() {
            Some(replies::NESTED_MAIL)
        } else if self.config.auth_required && self.info.username.is_none() {
            Some(if self.may_authenticate() { replies::AUTH_REQUIRED } else { replies::TLS_REQUIRED })
        } else if extended && !self.info.extended {
            // HELO: no extension was announced.
            Some(replies::UNKNOWN_PARAMETER)
        } else {
            None
        };
        if let Some(reply) = refusal {
            return self.protocol_error(reply);
        }
        // RFC 9422: the client was told, or may know by 421 that it is to connect again.
        if self.config.offers.mail_max.is_some_and(|max| self.mails >= max) {
            return self.close(replies::TOO_MANY_MESSAGES);
        }
        if from.size > self.config.limits.message_size {
            return self.say(replies::TOO_LARGE);
        }
        let binary = from.body == BodyType::BinaryMime;
        self.state = SessionState::Deciding(Question::Mail { smtputf8: from.smtputf8, binary });
        PollStep::Event(Event::Mail(from))
    }

    fn rcpt(&mut self, to: Recipient, utf8: bool, extended: bool) -> PollStep {
        let Some(transaction) = &self.transaction else { return self.protocol_error(replies::MAIL_FIRST) };
        if transaction.chunked.is_some() {
            return self.protocol_error(replies::RCPT_AFTER_BDAT);
        }
        // An original recipient in UTF-8 needs it too (RFC 6533 section 3).
        let utf8 = utf8 || to.parameters.iter().any(|parameter| !parameter.value.is_ascii());
        if utf8 && !transaction.smtputf8 {
            return self.protocol_error(replies::NEEDS_SMTPUTF8);
        }
        if extended && !self.info.extended {
            return self.protocol_error(replies::UNKNOWN_PARAMETER);
        }
        if self.config.offers.rcpt_max.is_some_and(|max| transaction.accepted >= max) {
            self.refusals += 1;
            let is_flood = self.refusals > self.config.limits.refusals;
            return if is_flood {
                self.close(replies::TOO_MANY_ERRORS)
            } else {
                self.say(replies::TOO_MANY_RECIPIENTS)
            };
        }
        self.state = SessionState::Deciding(Question::Rcpt);
        PollStep::Event(Event::Rcpt(to))
    }

    fn data(&mut self) -> PollStep {
        match &self.transaction {
            None => self.protocol_error(replies::MAIL_FIRST),
            // RFC 3030 sections 2 and 3: the state after these is indeterminate. Ours is known: the
            // transaction is over.
            Some(TransactionCounts { chunked: Some(_), .. }) => {
                self.end_transaction(replies::DATA_AFTER_BDAT)
            }
            Some(TransactionCounts { binary: true, .. }) => self.end_transaction(replies::DATA_FOR_BINARY),
            Some(TransactionCounts { accepted: 0, refused: 0, .. }) => {
                self.protocol_error(replies::RCPT_FIRST)
            }
            Some(TransactionCounts { accepted: 0, .. }) => self.say(replies::NO_VALID_RECIPIENTS),
            Some(_) => {
                self.state = SessionState::Deciding(Question::Data);
                PollStep::Event(Event::Data)
            }
        }
    }

    /// Refuses a command that ends the transaction.
    fn end_transaction(&mut self, reply: Fixed) -> PollStep {
        self.transaction = None;
        match self.protocol_error(reply) {
            PollStep::Again => PollStep::Event(Event::Reset),
            step => step,
        }
    }

    fn start_tls(&mut self) -> PollStep {
        if self.info.tls.is_some() {
            return self.protocol_error(replies::ALREADY_TLS);
        }
        if !self.config.starttls {
            return self.protocol_error(replies::NOT_IMPLEMENTED);
        }
        if !self.info.extended {
            return self.protocol_error(replies::EHLO_FIRST);
        }
        self.reply_fixed(replies::READY_FOR_TLS);
        self.info = SessionInfo::default();
        self.transaction = None;
        self.state = SessionState::Handshake;
        PollStep::Event(Event::StartTls)
    }

    /// The product's answer to [`Event::Authenticate`], [`Event::ScramProven`],
    /// [`Event::ScramFailed`], [`Event::Mail`], [`Event::Rcpt`] or [`Event::Data`]. Without such a
    /// question it does nothing.
    pub fn decide(&mut self, decision: Result<(), Reply>) {
        let SessionState::Deciding(question) = &mut self.state else { return };
        // Those have answers of their own.
        let other = matches!(
            question,
            Question::Token(_) | Question::External | Question::ScramUser(_) | Question::Proxied(_)
        );
        if other {
            return;
        }
        let question = std::mem::replace(question, Question::Data);
        self.state = SessionState::Command;
        match decision {
            Ok(()) => self.accepted(question),
            Err(reply) => self.refused(&question, &reply),
        }
    }

    fn accepted(&mut self, question: Question) {
        match question {
            Question::Auth(username) => {
                self.info.username = Some(username);
                self.reply_fixed(replies::AUTHENTICATED);
            }
            Question::ScramProven { username, signature } => {
                self.challenge(&sasl::challenge(&signature), Exchange::ScramEnd(username));
            }
            Question::Mail { smtputf8, binary } => {
                self.small_chunks = 0;
                self.mails = self.mails.saturating_add(1);
                self.transaction =
                    Some(TransactionCounts { smtputf8, binary, ..TransactionCounts::default() });
                self.reply_fixed(replies::SENDER_OK);
            }
            Question::Rcpt => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.accepted += 1;
                }
                self.reply_fixed(replies::RECIPIENT_OK);
            }
            Question::Data => self.begin_content(),
            // A proof that was wrong stays wrong.
            Question::ScramFailed
            | Question::Token(_)
            | Question::External
            | Question::ScramUser(_)
            | Question::Proxied(_) => {
                self.refused(&question, &replies::BAD_CREDENTIALS.into());
            }
            Question::Chunk { size, last } => {
                let binary = self.transaction.as_ref().is_some_and(|t| t.binary);
                self.begin_chunk(ChunkedMessage::new(binary), size, last);
            }
        }
    }

    fn refused(&mut self, question: &Question, reply: &Reply) {
        let too_many = match question {
            Question::Auth(_)
            | Question::ScramFailed
            | Question::ScramProven { .. }
            | Question::Token(_)
            | Question::External
            | Question::ScramUser(_)
            | Question::Proxied(_) => self.too_many_errors(),
            Question::Mail { .. } | Question::Rcpt => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.refused += 1;
                }
                self.refusals += 1;
                self.refusals > self.config.limits.refusals
            }
            // A refusal leaves nothing behind that a second DATA could use.
            Question::Data => {
                self.transaction = None;
                false
            }
            Question::Chunk { size, .. } => {
                // 421 closes at once; else the chunk is read first.
                let size = if reply.code == 421 { 0 } else { *size };
                self.discard(size, reply.clone(), false);
                return;
            }
        };
        if too_many {
            self.close(replies::TOO_MANY_ERRORS);
        } else {
            self.reply(reply);
            self.close_after_421(reply);
        }
    }
}
