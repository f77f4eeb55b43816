//! Logins: what the service is asked, and the time that failures cost.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use relevo_proto::Reply;
use relevo_proto::server::{Event, ScramVerifier, replies};
use rustls::crypto::aws_lc_rs;
use tokio::time::sleep;

use super::service::Service;
use super::session::Driver;

/// Octets of randomness in the nonce of SCRAM.
const NONCE: usize = 18;

/// How unknown users of SCRAM look.
#[derive(Clone)]
pub struct ScramDecoys {
    /// Kept from start to start, so that an unknown user's salt does not change.
    pub secret: [u8; 32],
    /// Those of the known users.
    pub iterations: u32,
}

impl std::fmt::Debug for ScramDecoys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScramDecoys").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl<S: Service> Driver<'_, S> {
    /// The events of AUTH.
    pub(super) async fn login(&mut self, event: Event) {
        // Where the end of an exchange has come, the beginning has waited.
        let ends = matches!(event, Event::ScramFailed(_) | Event::ScramProven(_));
        if !ends && let Err(reply) = self.wait_out_failures().await {
            return self.turn_down(&event, reply);
        }
        let (service, product) = (&self.shared.service, &mut self.product);
        let info = self.session.info();
        match event {
            Event::Authenticate(credentials) => {
                let username = credentials.username.clone();
                let decision = service.authenticate(product, info, credentials).await;
                self.count(&username, &decision).await;
                self.session.decide(decision);
            }
            Event::Token(token) => {
                let username = token.username.clone().unwrap_or_default();
                let decision = service.authenticate_token(product, info, token).await;
                self.count(&username, &decision).await;
                self.session.authenticated(decision);
            }
            Event::External(identity) => {
                let username = identity.clone().unwrap_or_default();
                let decision = service.authenticate_certificate(product, info, identity).await;
                self.count(&username, &decision).await;
                self.session.authenticated(decision);
            }
            Event::ScramUser(username) => {
                let found = service.scram_verifier(product, info, &username).await;
                match found.and_then(|found| Ok((self.verifier(found, &username)?, nonce()?))) {
                    Ok((verifier, nonce)) => self.session.scram_verifier(Ok(verifier), &nonce),
                    Err(reply) => self.session.scram_verifier(Err(reply), ""),
                }
            }
            Event::ScramFailed(username) => {
                service.refused_scram(product, info, &username);
                let decision = Err(replies::BAD_CREDENTIALS.into());
                self.count(&username, &decision).await;
                self.session.decide(decision);
            }
            Event::ScramProven(username) => {
                let decision = service.authenticate_scram(product, info, &username).await;
                self.count(&username, &decision).await;
                self.session.decide(decision);
            }
            _ => {}
        }
    }

    /// Answers without asking the service.
    fn turn_down(&mut self, event: &Event, reply: Reply) {
        match event {
            Event::ScramUser(_) => self.session.scram_verifier(Err(reply), ""),
            Event::Token(_) | Event::External(_) => self.session.authenticated(Err(reply)),
            _ => self.session.decide(Err(reply)),
        }
    }

    /// What is stored of the user, or what looks like it (RFC 5802 section 9).
    fn verifier(&self, found: Option<ScramVerifier>, username: &str) -> Result<ScramVerifier, Reply> {
        match (found, &self.shared.scram) {
            (Some(verifier), _) => Ok(verifier),
            (None, Some(decoys)) => Ok(ScramVerifier::decoy(&decoys.secret, username, decoys.iterations)),
            (None, None) => Err(replies::INTERNAL_ERROR.into()),
        }
    }

    /// Waits as long as earlier failures of this peer have it wait.
    async fn wait_out_failures(&mut self) -> Result<(), Reply> {
        match self.shared.throttle.wait(self.peer.remote.ip(), std::time::Instant::now()) {
            Some(wait) => {
                sleep(wait).await;
                Ok(())
            }
            None => Err(replies::AUTH_BUSY.into()),
        }
    }

    /// Keeps the answer to a failed guess back.
    async fn count<T: Sync>(&mut self, username: &str, decision: &Result<T, Reply>) {
        let (throttle, ip) = (&self.shared.throttle, self.peer.remote.ip());
        match decision {
            Ok(_) => throttle.succeeded(ip),
            // Only a wrong password is a guess: 454 is our own trouble.
            Err(reply) if reply.code == 535 => {
                tracing::info!(remote = %self.peer.remote, username = %username.escape_default(), "login failed");
                sleep(throttle.failed(ip, std::time::Instant::now())).await;
            }
            Err(_) => {}
        }
    }
}

fn nonce() -> Result<String, Reply> {
    let mut octets = [0; NONCE];
    let filled = aws_lc_rs::default_provider().secure_random.fill(&mut octets);
    filled.map(|()| STANDARD_NO_PAD.encode(octets)).map_err(|_| replies::INTERNAL_ERROR.into())
}
