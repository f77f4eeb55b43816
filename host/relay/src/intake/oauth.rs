//! Access tokens of AUTH OAUTHBEARER and XOAUTH2 (RFC 7628): signed JWTs of one issuer.

use std::sync::Arc;

use jsonwebtoken::jwk::Jwk;
use relevo_fetch::Fetcher;
use relevo_smtp::server::{BearerToken, SmtpPeer};
use serde::Deserialize;
use serde_json::{Map, Value};
use tracing::info;

use crate::clock::Clock;
use crate::issuer::{Issuer, IssuerUnavailable, LEEWAY, TokenFault, claim, verify_signature};

/// Ports of submission (RFC 6409, RFC 8314). A client behind a translation of ports names these.
const WELL_KNOWN: [u16; 2] = [587, 465];
/// Octets of a user name, as for the other mechanisms.
const MAX_USERNAME: usize = 255;

/// `[smtp.oauth]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OauthConfig {
    /// URL of the issuer, without `/.well-known/openid-configuration`.
    pub issuer: String,
    /// One of the audiences of a token.
    pub audience: String,
    /// Claim that names the user. Dots lead into objects.
    pub username_claim: String,
    /// Told to clients whose token is refused. It is not checked.
    pub scope: Option<String>,
    /// Names of this host, in lower case. A token that is meant for another host is refused.
    pub hosts: Vec<String>,
}

/// Verifies access tokens.
pub struct AccessTokens {
    config: OauthConfig,
    issuer: Issuer,
    clock: Arc<dyn Clock>,
}

/// The claims of a token.
#[derive(Clone, Deserialize)]
struct AccessClaims {
    exp: f64,
    nbf: Option<f64>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl AccessTokens {
    /// `fetcher` must reach the issuer, which may be inside.
    #[must_use]
    pub fn new(config: OauthConfig, fetcher: Fetcher, clock: Arc<dyn Clock>) -> Self {
        let issuer = Issuer::new(config.issuer.clone(), fetcher, clock.clone());
        Self { config, issuer, clock }
    }

    /// The user for whom a token stands. None: the token is refused.
    pub(super) async fn username(
        &self,
        peer: &SmtpPeer,
        token: &BearerToken,
    ) -> Result<Option<String>, IssuerUnavailable> {
        if !self.is_meant_for(peer, token) {
            info!(peer = %peer.remote, "an access token is refused: it is meant for another host");
            return Ok(None);
        }
        let now = self.clock.now().div_euclid(1_000);
        let verified = self.issuer.verify(|keys| self.verify(token, keys, now)).await?;
        if let Err(fault) = &verified {
            info!(peer = %peer.remote, "an access token is refused: it {fault}");
        }
        Ok(verified.ok())
    }

    /// RFC 7628 section 3.1: the host and the port that the client believes to be connected with.
    /// Another host has received the token, and passes it on.
    fn is_meant_for(&self, peer: &SmtpPeer, token: &BearerToken) -> bool {
        let is_own = |host: &String| {
            let host = host.trim_end_matches('.');
            let own = self.config.hosts.iter().any(|own| own.eq_ignore_ascii_case(host));
            own || host.parse() == Ok(peer.local.ip())
        };
        let is_port = |port: u16| port == peer.local.port() || WELL_KNOWN.contains(&port);
        token.host.as_ref().is_none_or(is_own) && token.port.is_none_or(is_port)
    }

    fn verify(&self, token: &BearerToken, keys: &[Jwk], now: i64) -> Result<String, TokenFault> {
        let (config, required) = (&self.config, ["iss", "aud", "exp"]);
        let parties = (config.issuer.as_str(), config.audience.as_str());
        let claims: AccessClaims = verify_signature(&token.token, keys, parties, &required)?;
        // Seconds of this age are exact.
        let (earliest, latest) = ((now - LEEWAY) as f64, (now + LEEWAY) as f64);
        if claims.exp.is_nan() || claims.exp <= earliest {
            return Err(TokenFault::wrong("it has expired"));
        }
        if claims.nbf.is_some_and(|begins| begins.is_nan() || begins > latest) {
            return Err(TokenFault::wrong("its time has not begun"));
        }
        let name = claim(&claims.others, &config.username_claim).and_then(Value::as_str);
        let name = name.filter(|name| (1..=MAX_USERNAME).contains(&name.len()));
        let name = name.ok_or_else(|| TokenFault::wrong("it names no user"))?;
        if config.username_claim == "email" && !may_be_verified(&claims.others) {
            return Err(TokenFault::wrong("its issuer has not verified the address"));
        }
        match token.username.as_deref().is_none_or(|given| given == name) {
            true => Ok(name.to_owned()),
            false => Err(TokenFault::wrong("it is of another user than the client says")),
        }
    }
}

/// Access tokens seldom say so; one that says the contrary is not believed.
fn may_be_verified(claims: &Map<String, Value>) -> bool {
    match claims.get("email_verified") {
        None => true,
        Some(Value::Bool(verified)) => *verified,
        // Some issuers write it as a string.
        Some(verified) => verified.as_str() == Some("true"),
    }
}

#[cfg(test)]
mod tests;
