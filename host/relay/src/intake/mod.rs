//! SMTP intake: what a session may do, and the hand-over to the pipeline. The dialogue itself is
//! `relevo_smtp`'s.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use relevo_mailkit::address::Address;
use relevo_mailkit::envelope::{Envelope, Parameter, Recipient};
use relevo_mailkit::reply::Reply;
use relevo_queue::Millis;
use relevo_smtp::server::{
    BearerToken, Credentials, Hold, ListenerKind, MailFrom, ScramVerifier, Service, SessionInfo, SmtpPeer,
};
use tracing::info;

mod auth;
mod logins;
mod metrics;
mod oauth;
mod returned;
mod session;
mod writer;

pub use metrics::IntakeMetrics;
pub use oauth::{AccessTokens, OauthConfig};
pub use session::IntakeSession;
pub use writer::SpoolWriter;

use self::auth::Authenticator;
use self::session::{LoginMethod, OpenTransaction};
use crate::pipeline::{Origin, Pipeline, Submission, SubmissionOptions, not_stored};
use crate::returns::Returns;
use crate::settings::{Settings, SettingsHandle, any_contains};
use crate::suppressions::Suppressions;
use crate::token_buckets::TokenBuckets;

const HOUR: Duration = Duration::from_secs(3_600);
/// Credentials whose recipients per hour are counted apart; they exist, so their number is the
/// operator's.
const MAX_CREDENTIALS: usize = 1_000_000;

/// The relay as an SMTP service.
pub struct Intake {
    pipeline: Pipeline,
    suppressions: Arc<Suppressions>,
    settings: SettingsHandle,
    authenticator: Authenticator,
    /// Recipients of each credential.
    recipient_rates: TokenBuckets<String>,
    metrics: IntakeMetrics,
    /// Takes mail that comes back; none: nothing does.
    returns: Option<Arc<Returns>>,
    /// Verifies access tokens; none: they are refused.
    tokens: Option<AccessTokens>,
}

impl Intake {
    /// Sessions keep the settings of their MAIL until the final dot.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn new(
        pipeline: Pipeline,
        suppressions: Arc<Suppressions>,
        settings: SettingsHandle,
        metrics: IntakeMetrics,
    ) -> io::Result<Self> {
        let mut key = [0; 64];
        getrandom::fill(&mut key).map_err(|e| io::Error::other(e.to_string()))?;
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        let authenticator = Authenticator::new(at_once, key);
        let recipient_rates = TokenBuckets::new(HOUR, MAX_CREDENTIALS);
        Ok(Self {
            pipeline,
            suppressions,
            settings,
            authenticator,
            recipient_rates,
            metrics,
            returns: None,
            tokens: None,
        })
    }

    /// Takes mail that comes back, too.
    #[must_use]
    pub fn with_returns(self, returns: Arc<Returns>) -> Self {
        Self { returns: Some(returns), ..self }
    }

    /// Takes access tokens, too.
    #[must_use]
    pub fn with_tokens(self, tokens: AccessTokens) -> Self {
        Self { tokens: Some(tokens), ..self }
    }

    fn admit(&self, peer: &SmtpPeer) -> Result<IntakeSession, Reply> {
        let settings = self.settings.get();
        let is_trusted = any_contains(&settings.intake.trusted_networks, peer.remote.ip());
        let user = Self::proxied_user(&settings, peer);
        if peer.listener != ListenerKind::Relay || is_trusted || user.is_some() {
            return Ok(IntakeSession::new(peer.clone(), None).with_user(user));
        }
        let Some(returns) = self.returns_of(&settings) else {
            info!(peer = %peer.remote, "not in a trusted network");
            return Err(Reply::new(554, (5, 7, 1), "this port is for trusted networks only"));
        };
        let connection = returns.connect(&settings).ok_or_else(|| {
            info!(peer = %peer.remote, "too many connections of peers that bring mail back");
            Reply::new(421, (4, 7, 0), "too many connections, try again later")
        })?;
        Ok(IntakeSession::new(peer.clone(), Some(connection)))
    }

    fn origin(
        &self,
        settings: &Settings,
        session: &IntakeSession,
        info: &SessionInfo,
    ) -> Result<Origin, Reply> {
        if let Some(user) = session.user(info).filter(|user| user.is_valid(settings)) {
            return Ok(Origin::Tenant(user.tenant.clone()));
        }
        // On the relay port only a proxy names a user, whose address may be in no trusted network.
        match session.peer.listener == ListenerKind::Relay && session.user.is_none() {
            true => Ok(Origin::Relay(session.peer.remote.ip())),
            false => Err(Reply::new(530, (5, 7, 0), "authentication required")),
        }
    }

    fn open(
        &self,
        session: &IntakeSession,
        info: &SessionInfo,
        from: &MailFrom,
    ) -> Result<OpenTransaction, Reply> {
        let settings = self.settings.get();
        let origin = self.origin(&settings, session, info)?;
        self.pipeline.queue.ready().map_err(|e| not_stored(&e).reply)?;
        let relaying = self.may_relay(&settings, session, &origin, from)?;
        let envelope = Envelope {
            sender: from.address.clone(),
            sender_domain: from.domain.clone(),
            parameters: parameters(&settings, &origin, &from.parameters),
            recipients: Vec::new(),
        };
        let send_at = from.hold.and_then(|hold| released_at(hold, self.pipeline.clock.now()));
        let options = SubmissionOptions { send_at, ..SubmissionOptions::default() };
        Ok(OpenTransaction { settings, origin, envelope, options, relaying, returned: None })
    }

    /// Puts a recipient at the end of the envelope. Returns false if it is there already.
    fn add(&self, session: &mut IntakeSession, info: &SessionInfo, to: &Recipient) -> Result<bool, Reply> {
        if let Some(answer) = self.add_returned(session, to) {
            return answer.map(|()| false);
        }
        let user = session.user(info).map(|u| u.name.clone());
        let Some(transaction) = &mut session.transaction else {
            return Err(no_transaction());
        };
        transaction.relaying.clone()?;
        let settings = &transaction.settings;
        let envelope = &mut transaction.envelope;
        if envelope.recipients.len() >= settings.intake.max_recipients {
            return Err(Reply::new(452, (4, 5, 3), "too many recipients"));
        }
        let mut to = forward_path(settings, to, envelope.has_smtputf8())?;
        to.parameters = parameters(settings, &transaction.origin, &to.parameters);
        // Who is named twice gets one copy: what was asked for first counts.
        if envelope.recipients.iter().any(|known| known.address == to.address) {
            return Ok(false);
        }
        if let Some(user) = user {
            let per_hour = settings.intake.recipients_per_hour;
            #[expect(clippy::cast_precision_loss, reason = "nobody sends 2^52 messages an hour")]
            let capacity = per_hour as f64;
            if !self.recipient_rates.take(&user, capacity, self.pipeline.clock.monotonic()) {
                info!(user, per_hour, "over its recipients per hour");
                return Err(Reply::new(451, (4, 7, 1), "too many recipients in an hour, try again later"));
            }
        }
        envelope.recipients.push(to);
        Ok(true)
    }
}

impl Service for Intake {
    type Session = IntakeSession;
    type Writer = SpoolWriter;

    async fn connect(&self, peer: &SmtpPeer) -> Result<IntakeSession, Reply> {
        self.metrics.count("connect", self.admit(peer))
    }

    fn knows_login(&self, session: &IntakeSession) -> bool {
        session.user.is_some()
    }

    async fn authenticate(
        &self,
        session: &mut IntakeSession,
        _info: &SessionInfo,
        credentials: Credentials,
    ) -> Result<(), Reply> {
        let name = credentials.username.clone();
        let (generation, settings) = self.settings.snapshot();
        let verdict = self.authenticator.verify(generation, &settings, credentials).await;
        self.conclude(session, &name, LoginMethod::Password, verdict)
    }

    async fn authenticate_token(
        &self,
        session: &mut IntakeSession,
        _info: &SessionInfo,
        token: BearerToken,
    ) -> Result<String, Reply> {
        self.log_in_by_token(session, &token).await
    }

    async fn authenticate_certificate(
        &self,
        session: &mut IntakeSession,
        info: &SessionInfo,
        identity: Option<String>,
    ) -> Result<String, Reply> {
        self.log_in_by_certificate(session, info, identity.as_deref())
    }

    async fn scram_verifier(
        &self,
        _session: &mut IntakeSession,
        _info: &SessionInfo,
        username: &str,
    ) -> Result<Option<ScramVerifier>, Reply> {
        Ok(self.stored_verifier(username))
    }

    async fn authenticate_scram(
        &self,
        session: &mut IntakeSession,
        _info: &SessionInfo,
        username: &str,
    ) -> Result<(), Reply> {
        // A reload may have withdrawn the verifier since the exchange began.
        let verdict = self.verdict(username, &LoginMethod::Scram);
        self.conclude(session, username, LoginMethod::Scram, verdict)
    }

    fn refused_scram(&self, _session: &mut IntakeSession, _info: &SessionInfo, _username: &str) {
        self.metrics.login("denied");
    }

    async fn mail(
        &self,
        session: &mut IntakeSession,
        info: &SessionInfo,
        from: &MailFrom,
    ) -> Result<(), Reply> {
        let transaction = self.metrics.count("mail", self.open(session, info, from))?;
        session.transaction = Some(transaction);
        Ok(())
    }

    async fn rcpt(
        &self,
        session: &mut IntakeSession,
        info: &SessionInfo,
        to: &Recipient,
    ) -> Result<(), Reply> {
        let added = self.add(session, info, to);
        let Some(transaction) = &mut session.transaction else {
            return self.metrics.count("rcpt", added.map(|_| ()));
        };
        // The store is asked last: what costs little is refused first.
        let answer = match (added, &transaction.origin) {
            (Ok(true), Origin::Tenant(tenant)) => self.suppressions.refuse(tenant, &to.address).await,
            (added, _) => return self.metrics.count("rcpt", added.map(|_| ())),
        };
        if answer.is_err() {
            transaction.envelope.recipients.pop();
        }
        self.metrics.count("rcpt", answer)
    }

    async fn data(&self, session: &mut IntakeSession, _info: &SessionInfo) -> Result<SpoolWriter, Reply> {
        let Some(transaction) = &session.transaction else {
            return self.metrics.count("data", Err(no_transaction()));
        };
        let settings = &transaction.settings;
        let max = match transaction.returned {
            Some(_) => settings.returns.max_size,
            None => settings.intake.max_message_size,
        };
        let spool = self.pipeline.queue.spool().await.map_err(|e| not_stored(&e).reply);
        Ok(SpoolWriter::new(self.metrics.count("data", spool)?, max))
    }

    async fn finish(&self, session: &mut IntakeSession, info: &SessionInfo, writer: SpoolWriter) -> Reply {
        let Some(transaction) = session.transaction.take() else {
            return no_transaction();
        };
        let body = match writer.finish().await {
            Ok(body) => body,
            Err(rejection) => return rejection.reply,
        };
        if let Some(to) = transaction.returned {
            return self.take_returned(session, info, transaction, to, body).await;
        }
        let submission = Submission {
            settings: transaction.settings,
            origin: transaction.origin,
            envelope: transaction.envelope,
            via: session.via(info),
            body,
            options: transaction.options,
            id: None,
            authors_within: None,
        };
        match self.pipeline.submit(submission).await {
            Ok(accepted) => Reply::new(250, (2, 0, 0), format!("queued as {}", accepted.id)),
            Err(rejection) => rejection.reply,
        }
    }

    fn reset(&self, session: &mut IntakeSession) {
        session.transaction = None;
    }
}

/// What counts of the parameters of MAIL or RCPT: without those of DSN where the tenant has it turned
/// off. EHLO announces it before anybody has logged in, so they are taken and come to nothing.
fn parameters(settings: &Settings, origin: &Origin, all: &[Parameter]) -> Vec<Parameter> {
    const OF_DSN: [&str; 4] = ["RET", "ENVID", "NOTIFY", "ORCPT"];
    let is_off = match origin {
        Origin::Tenant(tenant) => settings.directory.tenant(tenant).is_some_and(|tenant| !tenant.dsn),
        Origin::Relay(_) => false,
    };
    let counts = |parameter: &&Parameter| !(is_off && OF_DSN.contains(&parameter.keyword.as_str()));
    all.iter().filter(counts).cloned().collect()
}

/// When a message that is held back (RFC 4865) is sent. None: at once, since that time has passed.
fn released_at(hold: Hold, now: Millis) -> Option<Millis> {
    let at = match hold {
        Hold::For(seconds) => now.saturating_add(i64::from(seconds).saturating_mul(1_000)),
        Hold::Until(time) => time.saturating_mul(1_000),
    };
    (at > now).then_some(at)
}

/// The recipient; `postmaster` without a domain is the configured one (RFC 5321 section 4.5.1).
fn forward_path(settings: &Settings, to: &Recipient, smtputf8: bool) -> Result<Recipient, Reply> {
    if !to.domain.is_empty() {
        return Ok(to.clone());
    }
    let address = Address::parse(&settings.postmaster)
        .map_err(|e| Reply::new(501, (5, 1, 3), format!("forward-path: {e}")))?;
    if address.needs_smtputf8() && !smtputf8 {
        return Err(Reply::new(
            553,
            (5, 6, 7),
            "the postmaster's address needs the SMTPUTF8 parameter of MAIL",
        ));
    }
    Ok(Recipient { parameters: to.parameters.clone(), ..Recipient::from(address) })
}

/// The dialogue calls in order: never without MAIL.
fn no_transaction() -> Reply {
    Reply::new(451, (4, 3, 0), "no transaction is under way")
}

fn denied() -> Reply {
    Reply::new(535, (5, 7, 8), "authentication failed")
}

fn too_large(max: u64) -> Reply {
    Reply::new(552, (5, 3, 4), format!("the message is larger than {max} octets"))
}

#[cfg(test)]
mod tests;
