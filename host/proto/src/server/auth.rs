//! AUTH (RFC 4954): the exchange between client and mechanism, and what it asks the product.

use super::bearer;
use super::config::AuthPolicy;
use super::replies::{self, Fixed};
use super::sasl::{self, Available, Exchange, Next};
use super::scram::ScramVerifier;
use super::session::{Event, MAX_AUTH_LINE, PollStep, Question, ServerSession, SessionState};
use crate::Reply;

/// Octets of AUTH and its responses where tokens are taken (RFC 4954 section 4).
const MAX_TOKEN_LINE: usize = 12288;

impl ServerSession {
    fn available(&self) -> Available<'_> {
        Available {
            mechanisms: &self.config.offers.mechanisms,
            exporter: self.exporter,
            has_certificate: self.info.client_certificate.is_some(),
        }
    }

    /// The line of EHLO.
    pub(super) fn auth_keyword(&self) -> Option<String> {
        let names = self.available().names();
        (self.may_authenticate() && !names.is_empty()).then(|| format!("AUTH {}", names.join(" ")))
    }

    pub(super) fn max_auth_line(&self) -> usize {
        let mechanisms = &self.config.offers.mechanisms;
        if mechanisms.oauthbearer || mechanisms.xoauth2 { MAX_TOKEN_LINE } else { MAX_AUTH_LINE }
    }

    pub(super) fn auth(&mut self, mechanism: &str, initial: Option<&str>) -> PollStep {
        let refusal = if self.config.auth == AuthPolicy::Off {
            Some(replies::NOT_IMPLEMENTED)
        } else if !self.info.extended {
            Some(replies::EHLO_FIRST)
        } else if self.info.username.is_some() {
            Some(replies::ALREADY_AUTHENTICATED)
        } else if self.transaction.is_some() {
            Some(replies::NOT_DURING_MAIL)
        } else if !self.may_authenticate() {
            Some(replies::ENCRYPTION_REQUIRED)
        } else {
            None
        };
        match refusal {
            Some(reply) => self.protocol_error(reply),
            None => self.sasl_next(sasl::start(mechanism, initial, self.available())),
        }
    }

    pub(super) fn sasl_line(&mut self, line: Option<&str>) -> PollStep {
        let SessionState::Sasl(exchange) = std::mem::replace(&mut self.state, SessionState::Command) else {
            return PollStep::Again;
        };
        // The client must wait for the outcome before it says more.
        if !self.input.is_empty() {
            return self.close(replies::UNAUTHORISED_PIPELINING);
        }
        if self.stopping {
            return self.close(replies::SHUTTING_DOWN);
        }
        self.sasl_next(match line {
            Some(line) => sasl::respond(exchange, line, self.available()),
            None => Err(replies::BAD_AUTH_RESPONSE),
        })
    }

    fn sasl_next(&mut self, next: Result<Next, Fixed>) -> PollStep {
        let (question, event) = match next {
            Err(reply) => return self.protocol_error(reply),
            Ok(Next::Challenge(challenge, exchange)) => {
                self.challenge(&challenge, exchange);
                return PollStep::Again;
            }
            Ok(Next::Refused(reply)) => return self.refuse_login(&reply),
            Ok(Next::Password(credentials)) => {
                (Question::Auth(credentials.username.clone()), Event::Authenticate(credentials))
            }
            Ok(Next::Token(mechanism, token)) => (Question::Token(mechanism), Event::Token(token)),
            Ok(Next::External(identity)) => (Question::External, Event::External(identity)),
            Ok(Next::ScramUser(first)) => {
                let username = first.username.clone();
                (Question::ScramUser(first), Event::ScramUser(username))
            }
            Ok(Next::ScramFailed(username)) => (Question::ScramFailed, Event::ScramFailed(username)),
            Ok(Next::ScramProven(username, signature)) => {
                let event = Event::ScramProven(username.clone());
                (Question::ScramProven { username, signature }, event)
            }
            Ok(Next::LoggedIn(username)) => {
                self.info.username = Some(username);
                self.reply_fixed(replies::AUTHENTICATED);
                return PollStep::Again;
            }
        };
        self.state = SessionState::Deciding(question);
        PollStep::Event(event)
    }

    pub(super) fn challenge(&mut self, challenge: &Reply, exchange: Exchange) {
        self.state = SessionState::Sasl(exchange);
        self.reply(challenge);
    }

    /// A failed login counts as an error of the client.
    fn refuse_login(&mut self, reply: &Reply) -> PollStep {
        if self.too_many_errors() {
            return self.close(replies::TOO_MANY_ERRORS);
        }
        self.reply(reply);
        self.close_after_421(reply);
        PollStep::Again
    }

    /// The product's answer to [`Event::Token`] or [`Event::External`]: the user who has logged in.
    /// Without such a question it does nothing.
    pub fn authenticated(&mut self, decision: Result<String, Reply>) {
        let SessionState::Deciding(question @ (Question::Token(_) | Question::External)) = &self.state else {
            return;
        };
        let mechanism = match question {
            Question::Token(mechanism) => Some(*mechanism),
            _ => None,
        };
        self.state = SessionState::Command;
        match (decision, mechanism) {
            (Ok(username), _) => {
                self.info.username = Some(username);
                self.reply_fixed(replies::AUTHENTICATED);
            }
            // RFC 7628 section 3.2.2: the reason goes as a challenge, then the exchange fails.
            (Err(reply), Some(mechanism)) if reply.code == 535 => {
                let error = bearer::error(mechanism, &self.config.offers.mechanisms);
                let challenge = sasl::challenge(&error);
                self.challenge(&challenge, Exchange::TokenRefused(reply));
            }
            (Err(reply), _) => {
                self.refuse_login(&reply);
            }
        }
    }

    /// The answer to [`Event::ScramUser`]. `nonce` is random printable ASCII without commas, new each
    /// time. For an unknown user give [`ScramVerifier::decoy`]; an error is for trouble of our own.
    pub fn scram_verifier(&mut self, verifier: Result<ScramVerifier, Reply>, nonce: &str) {
        let SessionState::Deciding(Question::ScramUser(first)) = &mut self.state else { return };
        let first = (**first).clone();
        self.state = SessionState::Command;
        match verifier {
            Ok(verifier) => {
                let (message, exchange) = first.challenge(verifier, nonce);
                self.challenge(&sasl::challenge(&message), Exchange::ScramFinal(Box::new(exchange)));
            }
            Err(reply) => {
                self.refuse_login(&reply);
            }
        }
    }
}
