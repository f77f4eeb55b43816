//! Logins by other proofs than a password: SCRAM, access tokens, certificates, a trusted proxy.

use relevo_mailkit::reply::Reply;
use relevo_smtp::server::{BearerToken, ScramVerifier, SessionInfo, SmtpPeer};
use sha2::{Digest as _, Sha256};
use tracing::info;

use super::auth::Verdict;
use super::session::{IntakeSession, LoginMethod, User};
use super::{Intake, denied};
use crate::directory::Credential;
use crate::settings::Settings;

impl LoginMethod {
    /// Returns true if the credential still has what the user has logged in with.
    pub(super) fn is_allowed_by(&self, credential: &Credential) -> bool {
        match self {
            Self::Password => credential.password_hash.is_some(),
            Self::Scram => credential.scram.is_some(),
            Self::Token => credential.oauth,
            Self::Certificate(digest) => credential.certificates.contains(digest),
            Self::Proxy => true,
        }
    }
}

impl User {
    /// The user of a credential, who has logged in by `method`.
    fn of(name: &str, credential: &Credential, method: LoginMethod) -> Self {
        Self { name: name.to_owned(), tenant: credential.tenant.clone(), method }
    }

    /// Returns true if a reload has not withdrawn what gave the user the right to send.
    pub(super) fn is_valid(&self, settings: &Settings) -> bool {
        let credential = settings.directory.credential(&self.name);
        credential.is_some_and(|c| c.tenant == self.tenant && self.method.is_allowed_by(c))
    }
}

impl Intake {
    /// The user whom a trusted proxy names by XCLIENT LOGIN.
    pub(super) fn proxied_user(settings: &Settings, peer: &SmtpPeer) -> Option<User> {
        let name = peer.login.as_deref()?;
        let credential = settings.directory.credential(name);
        if credential.is_none() {
            let user = relevo_mailkit::text::escaped(name, 255);
            info!(peer = %peer.remote, user, "a proxy names a user who is not configured");
        }
        Some(User::of(name, credential?, LoginMethod::Proxy))
    }

    /// Counts a login and answers it.
    pub(super) fn conclude(
        &self,
        session: &mut IntakeSession,
        name: &str,
        method: LoginMethod,
        verdict: Verdict,
    ) -> Result<(), Reply> {
        let (result, answer) = match verdict {
            Verdict::Granted(tenant) => {
                session.user = Some(User { name: name.to_owned(), tenant, method });
                ("granted", Ok(()))
            }
            Verdict::Denied => {
                let user = relevo_mailkit::text::escaped(name, 255);
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

    /// What is stored of the user's password for SCRAM.
    pub(super) fn stored_verifier(&self, username: &str) -> Option<ScramVerifier> {
        self.settings.get().directory.credential(username)?.scram.clone()
    }

    /// The verdict on a user who is known by `name` and has proven it by `method`.
    pub(super) fn verdict(&self, name: &str, method: &LoginMethod) -> Verdict {
        let settings = self.settings.get();
        let credential = settings.directory.credential(name).filter(|c| method.is_allowed_by(c));
        credential.map_or(Verdict::Denied, |credential| Verdict::Granted(credential.tenant.clone()))
    }

    /// Logs in the user whose access token it is.
    pub(super) async fn log_in_by_token(
        &self,
        session: &mut IntakeSession,
        token: &BearerToken,
    ) -> Result<String, Reply> {
        let method = LoginMethod::Token;
        let found = match &self.tokens {
            Some(tokens) => tokens.username(&session.peer, token).await,
            None => Ok(None),
        };
        let (name, verdict) = match found {
            Ok(Some(name)) => {
                let verdict = self.verdict(&name, &method);
                (name, verdict)
            }
            Ok(None) => (token.username.clone().unwrap_or_default(), Verdict::Denied),
            Err(_) => (String::new(), Verdict::Busy),
        };
        self.conclude(session, &name, method, verdict).map(|()| name)
    }

    /// Logs in the user for whom the client's certificate stands, which must be `identity` if there
    /// is one (RFC 4422 appendix A).
    pub(super) fn log_in_by_certificate(
        &self,
        session: &mut IntakeSession,
        info: &SessionInfo,
        identity: Option<&str>,
    ) -> Result<String, Reply> {
        let certificate = info.client_certificate.as_ref().ok_or_else(denied)?;
        let digest: [u8; 32] = Sha256::digest(certificate).into();
        let settings = self.settings.get();
        let found = settings.directory.certificate(&digest);
        let found = found.filter(|(name, _)| identity.is_none_or(|identity| identity == *name));
        let (name, verdict) = match found {
            Some((name, credential)) => (name, Verdict::Granted(credential.tenant.clone())),
            None => (identity.unwrap_or_default(), Verdict::Denied),
        };
        self.conclude(session, name, LoginMethod::Certificate(digest), verdict).map(|()| name.to_owned())
    }
}

#[cfg(test)]
mod tests;
