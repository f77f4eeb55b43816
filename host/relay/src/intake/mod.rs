//! SMTP intake: what a session may do, and the hand-over to the pipeline. The dialogue itself is `relevo_smtp`'s.

use std::io;

use async_trait::async_trait;
use relevo_mailkit::address::Address;
use relevo_smtp::server::{Credentials, ListenerKind, MailFrom, Peer, RcptTo, Reply, Service, SessionInfo};
use tracing::info;

mod auth;
mod metrics;
mod rates;
mod session;
mod writer;

pub use metrics::IntakeMetrics;
pub use session::Session;
pub use writer::SpoolWriter;

use self::auth::{Authenticator, Verdict};
use self::rates::Rates;
use self::session::{Transaction, User};
use crate::pipeline::{Envelope, ForwardPath, Origin, Pipeline, Submission, not_stored, reverse_path};
use crate::settings::{Settings, SettingsHandle, any_contains};

/// The relay as an SMTP service.
pub struct Intake {
    pipeline: Pipeline,
    settings: SettingsHandle,
    authenticator: Authenticator,
    rates: Rates,
    metrics: IntakeMetrics,
}

impl Intake {
    /// Sessions keep the settings of their MAIL until the final dot.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn new(pipeline: Pipeline, settings: SettingsHandle, metrics: IntakeMetrics) -> io::Result<Self> {
        let mut key = [0; 64];
        getrandom::fill(&mut key).map_err(|e| io::Error::other(e.to_string()))?;
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        let authenticator = Authenticator::new(at_once, key);
        Ok(Self { pipeline, settings, authenticator, rates: Rates::default(), metrics })
    }

    fn admit(&self, peer: &Peer) -> Result<(), Reply> {
        let trusted = || any_contains(&self.settings.get().intake.trusted_networks, peer.remote.ip());
        if peer.listener == ListenerKind::Relay && !trusted() {
            info!(peer = %peer.remote, "not in a trusted network");
            return Err(Reply::new(554, (5, 7, 1), "this port is for trusted networks only"));
        }
        Ok(())
    }

    fn origin(&self, settings: &Settings, session: &Session, info: &SessionInfo) -> Result<Origin, Reply> {
        if session.peer.listener == ListenerKind::Relay {
            return Ok(Origin::Relay(session.peer.remote.ip()));
        }
        // A reload may have withdrawn the credential.
        let valid =
            |u: &&User| settings.tenants.by_username.get(&u.name).is_some_and(|c| c.tenant == u.tenant);
        let user = session.user(info).filter(valid);
        let user = user.ok_or_else(|| Reply::new(530, (5, 7, 0), "authentication required"))?;
        Ok(Origin::Tenant(user.tenant.clone()))
    }

    fn open(&self, session: &Session, info: &SessionInfo, from: &MailFrom) -> Result<Transaction, Reply> {
        if session.transaction.is_some() {
            return Err(Reply::new(503, (5, 5, 1), "a transaction is under way"));
        }
        let settings = self.settings.get();
        let origin = self.origin(&settings, session, info)?;
        if from.size > settings.intake.max_message_size {
            return Err(too_large(settings.intake.max_message_size));
        }
        self.pipeline.queue.ready().map_err(|e| not_stored(&e).reply)?;
        let mut sender = String::new();
        if !from.address.is_empty() {
            needs_no_smtputf8(&from.address, from.smtputf8)?;
            let address = Address::parse(&from.address)
                .map_err(|e| Reply::new(501, (5, 1, 7), format!("reverse-path: {e}")))?;
            reverse_path(&settings, &origin, &address.domain).map_err(|r| r.reply)?;
            // As submitted; only U-labels are written as A-labels, which every hop can take.
            sender = if from.address.is_ascii() { from.address.clone() } else { address.to_string() };
        }
        let envelope = Envelope {
            sender,
            recipients: Vec::new(),
            smtputf8: from.smtputf8,
            parameters: from.parameters.clone(),
        };
        Ok(Transaction { settings, origin, envelope })
    }

    fn add(&self, session: &mut Session, info: &SessionInfo, to: &RcptTo) -> Result<(), Reply> {
        let user = session.user(info).map(|u| u.name.clone());
        let Some(transaction) = &mut session.transaction else {
            return Err(Reply::new(503, (5, 5, 1), "MAIL first"));
        };
        let settings = &transaction.settings;
        let envelope = &mut transaction.envelope;
        if envelope.recipients.len() >= settings.intake.max_recipients {
            return Err(Reply::new(452, (4, 5, 3), "too many recipients"));
        }
        let path = forward_path(settings, &to.address, envelope.smtputf8)?;
        if envelope.recipients.contains(&path) {
            return Ok(());
        }
        if let Some(user) = user {
            let per_hour = settings.intake.recipients_per_hour;
            if !self.rates.take(&user, per_hour, self.pipeline.clock.monotonic()) {
                info!(user, per_hour, "over its recipients per hour");
                return Err(Reply::new(451, (4, 7, 1), "too many recipients in an hour, try again later"));
            }
        }
        envelope.recipients.push(path);
        Ok(())
    }
}

#[async_trait]
impl Service for Intake {
    type Session = Session;
    type Writer = SpoolWriter;

    async fn connect(&self, peer: &Peer) -> Result<Session, Reply> {
        self.metrics.count("connect", self.admit(peer))?;
        Ok(Session::new(peer.clone()))
    }

    async fn authenticate(
        &self,
        session: &mut Session,
        _info: &SessionInfo,
        credentials: Credentials,
    ) -> Result<(), Reply> {
        let name = credentials.username.clone();
        let (generation, settings) = self.settings.snapshot();
        let verdict = self.authenticator.verify(generation, &settings, credentials).await;
        let (result, answer) = match verdict {
            Verdict::Granted(tenant) => {
                session.user = Some(User { name, tenant });
                ("granted", Ok(()))
            }
            Verdict::Denied => {
                let user = relevo_mailkit::text::escaped(&name, 255);
                info!(peer = %session.peer.remote, user, "authentication failed");
                ("denied", Err(denied()))
            }
            Verdict::Busy => {
                ("busy", Err(Reply::new(454, (4, 7, 0), "too busy to authenticate, try again later")))
            }
        };
        self.metrics.login(result);
        answer
    }

    async fn mail(&self, session: &mut Session, info: &SessionInfo, from: &MailFrom) -> Result<(), Reply> {
        let transaction = self.metrics.count("mail", self.open(session, info, from))?;
        session.transaction = Some(transaction);
        Ok(())
    }

    async fn rcpt(&self, session: &mut Session, info: &SessionInfo, to: &RcptTo) -> Result<(), Reply> {
        self.metrics.count("rcpt", self.add(session, info, to))
    }

    async fn data(&self, session: &mut Session, _info: &SessionInfo) -> Result<SpoolWriter, Reply> {
        let max = match &session.transaction {
            Some(t) if !t.envelope.recipients.is_empty() => t.settings.intake.max_message_size,
            _ => return self.metrics.count("data", Err(Reply::new(503, (5, 5, 1), "MAIL and RCPT first"))),
        };
        let spool = self.pipeline.queue.spool().await.map_err(|e| not_stored(&e).reply);
        Ok(SpoolWriter::new(self.metrics.count("data", spool)?, max))
    }

    async fn finish(&self, session: &mut Session, info: &SessionInfo, writer: SpoolWriter) -> Reply {
        let Some(transaction) = session.transaction.take() else {
            return Reply::new(503, (5, 5, 1), "MAIL first");
        };
        let body = match writer.finish().await {
            Ok(body) => body,
            Err(rejection) => return rejection.reply,
        };
        let submission = Submission {
            settings: transaction.settings,
            origin: transaction.origin,
            envelope: transaction.envelope,
            via: session.via(info),
            body,
        };
        match self.pipeline.submit(submission).await {
            Ok(accepted) => Reply::new(250, (2, 0, 0), format!("queued as {}", accepted.id)),
            Err(rejection) => rejection.reply,
        }
    }

    fn reset(&self, session: &mut Session) {
        session.transaction = None;
    }
}

/// RFC 5321 sections 4.1.1.3 and 4.5.1, RFC 6531 section 3.4.
fn forward_path(settings: &Settings, text: &str, smtputf8: bool) -> Result<ForwardPath, Reply> {
    let text = if text.eq_ignore_ascii_case("postmaster") { settings.postmaster.as_str() } else { text };
    needs_no_smtputf8(text, smtputf8)?;
    let address =
        Address::parse(text).map_err(|e| Reply::new(501, (5, 1, 3), format!("forward-path: {e}")))?;
    if address.is_literal() {
        return Err(Reply::new(550, (5, 1, 3), "mail to address literals is not accepted"));
    }
    Ok(ForwardPath::from(&address))
}

fn needs_no_smtputf8(address: &str, smtputf8: bool) -> Result<(), Reply> {
    if address.is_ascii() || smtputf8 {
        return Ok(());
    }
    Err(Reply::new(553, (5, 6, 7), "an internationalised address needs the SMTPUTF8 parameter of MAIL"))
}

fn denied() -> Reply {
    Reply::new(535, (5, 7, 8), "authentication failed")
}

fn too_large(max: u64) -> Reply {
    Reply::new(552, (5, 3, 4), format!("the message is larger than {max} octets"))
}

#[cfg(test)]
mod tests;
