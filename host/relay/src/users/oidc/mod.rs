//! Signing in with an OpenID provider: code flow with PKCE (RFC 7636), state and nonce.
//!
//! The provider vouches for a subject and a verified address. A user with the subject signs in. A user
//! with the address signs in and is bound to the subject from then on. Otherwise a rule of the
//! configuration may make a user.

mod id_token;
mod user;

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use relevo_fetch::{FetchRequest, Fetcher, Method};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tracing::{error, warn};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::session::Client;
use super::{NewSession, SignInRefusal, UserRole, Users, UsersError, token};
use crate::clock::Clock;
use crate::issuer::{Issuer, IssuerMetadata, IssuerUnavailable};
use id_token::{Claims, Expected};

/// Octets of a code that the provider gives.
const MAX_CODE: usize = 4_096;

/// `[panel.oidc]`
#[derive(Clone, PartialEq, Eq)]
pub struct OidcConfig {
    /// Its URL, without `/.well-known/openid-configuration`.
    pub issuer: String,
    /// What the provider calls this relay.
    pub client_id: String,
    /// None: a public client.
    pub client_secret: Option<String>,
    /// Name on the button.
    pub name: String,
    /// Who becomes a user at the first sign-in. The first rule that fits counts.
    pub roles: Vec<OidcRole>,
}

impl std::fmt::Debug for OidcConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OidcConfig").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// A rule that makes users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcRole {
    /// Name of a claim of the ID token, such as `groups` or `realm_access.roles`.
    pub claim: String,
    /// The text that the claim is, or one of its texts.
    pub value: String,
    /// Id of the tenant. None for operators.
    pub tenant: Option<String>,
    /// What the user may do.
    pub role: UserRole,
}

/// A sign-in that begins. All but the URL must be kept for [`Oidc::finish`], where the browser cannot change
/// it and no other browser has it: in a cookie.
#[derive(Clone, PartialEq, Eq)]
pub struct OidcBegin {
    /// The browser goes there.
    pub url: String,
    /// Comes back with the browser.
    pub state: String,
    /// Proves to the provider that the same relay asks.
    pub verifier: String,
    /// Comes back in the ID token.
    pub nonce: String,
}

impl std::fmt::Debug for OidcBegin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OidcBegin").finish_non_exhaustive()
    }
}

/// What the browser came back with, and what was kept.
#[derive(Clone, Copy)]
pub struct OidcFinish<'a> {
    /// `code` of the query.
    pub code: &'a str,
    /// `state` of the query.
    pub state: &'a str,
    /// `iss` of the query (RFC 9207), if there is one.
    pub issuer: Option<&'a str>,
    /// [`OidcBegin::state`].
    pub expected_state: &'a str,
    /// [`OidcBegin::verifier`].
    pub verifier: &'a str,
    /// [`OidcBegin::nonce`].
    pub nonce: &'a str,
    /// The one of [`Oidc::begin`].
    pub redirect_uri: &'a str,
    /// Address of the client.
    pub client: Option<IpAddr>,
    /// What the client says of itself.
    pub user_agent: &'a str,
}

/// Why nobody is signed in. The log has the details.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OidcRefusal {
    /// The sign-in was begun by another browser, or the answer is not of the provider.
    #[error("this sign-in was not begun here: begin again")]
    State,
    /// The provider did not accept the code, or its ID token is not good.
    #[error("the identity provider's answer is not good: {0}")]
    Token(String),
    /// The provider does not say that the address is the person's.
    #[error("the identity provider has not verified your email address")]
    Unverified,
    /// There is no such user, and no rule makes one.
    #[error("there is no user with your email address: ask for an invitation")]
    NoUser,
    /// The user is disabled, or bound to another subject of the provider.
    #[error("this user may not sign in")]
    Refused,
    /// The provider or the store cannot be reached.
    #[error("nobody can sign in with the identity provider now, try again later")]
    Unavailable,
}

impl From<UsersError> for OidcRefusal {
    fn from(error: UsersError) -> Self {
        match error {
            UsersError::NotFound => Self::NoUser,
            UsersError::Conflict(reason) => {
                warn!(reason, "a person cannot sign in with the OpenID provider");
                Self::Refused
            }
            _ => Self::Unavailable,
        }
    }
}

impl From<IssuerUnavailable> for OidcRefusal {
    fn from(_: IssuerUnavailable) -> Self {
        Self::Unavailable
    }
}

impl From<SignInRefusal> for OidcRefusal {
    fn from(_: SignInRefusal) -> Self {
        Self::Refused
    }
}

/// Signs in with an OpenID provider.
pub struct Oidc {
    config: OidcConfig,
    issuer: Issuer,
    users: Arc<Users>,
    clock: Arc<dyn Clock>,
}

impl Oidc {
    /// `fetcher` must reach the provider, which may be inside.
    #[must_use]
    pub fn new(config: OidcConfig, fetcher: Fetcher, users: Arc<Users>, clock: Arc<dyn Clock>) -> Self {
        let issuer = Issuer::new(config.issuer.clone(), fetcher, clock.clone());
        Self { config, issuer, users, clock }
    }

    /// Name on the button.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Begins a sign-in. `redirect_uri` is registered at the provider.
    ///
    /// # Errors
    /// [`OidcRefusal::Unavailable`].
    pub async fn begin(&self, redirect_uri: &str) -> Result<OidcBegin, OidcRefusal> {
        let provider = self.issuer.metadata().await?;
        let random = || {
            token::new().map_err(|error| {
                error!(%error, "a sign-in cannot begin");
                OidcRefusal::Unavailable
            })
        };
        let (state, verifier, nonce) = (random()?, random()?, random()?);
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        let endpoint = provider.authorization_endpoint.as_deref().unwrap_or_default();
        let mut url = Url::parse(endpoint).map_err(|error| {
            error!(%error, "the OpenID provider has no authorization endpoint that can be used");
            OidcRefusal::Unavailable
        })?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", "openid email profile")
            .append_pair("state", &state)
            .append_pair("nonce", &nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(OidcBegin { url: url.into(), state, verifier, nonce })
    }

    /// Ends a sign-in.
    ///
    /// # Errors
    /// See [`OidcRefusal`].
    pub async fn finish(&self, given: OidcFinish<'_>) -> Result<NewSession, OidcRefusal> {
        let is_ours = bool::from(given.state.as_bytes().ct_eq(given.expected_state.as_bytes()));
        let other_issuer = given.issuer.is_some_and(|issuer| issuer != self.config.issuer);
        if !is_ours || given.expected_state.is_empty() || other_issuer || given.code.len() > MAX_CODE {
            return Err(OidcRefusal::State);
        }
        let provider = self.issuer.metadata().await?;
        let id_token = self.exchange(&provider, &given).await?;
        let claims = self.verify(&id_token, given.nonce).await?;
        let client = Client { address: given.client, user_agent: given.user_agent };
        self.users.sign_in_vouched(&self.config, &claims, client).await
    }

    /// The header fields and the body of the request that changes the code (RFC 6749 section 4.1.3).
    fn token_request(
        &self,
        provider: &IssuerMetadata,
        given: &OidcFinish<'_>,
    ) -> (Vec<(String, String)>, Vec<u8>) {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", given.code)
            .append_pair("redirect_uri", given.redirect_uri)
            .append_pair("code_verifier", given.verifier);
        let mut headers = vec![
            ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
            ("accept".to_owned(), "application/json".to_owned()),
        ];
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        match &self.config.client_secret {
            // RFC 6749 section 2.3.1.
            Some(secret) if provider.takes_basic => {
                let pair = format!("{}:{}", encoded(&self.config.client_id), encoded(secret));
                headers.push(("authorization".to_owned(), format!("Basic {}", STANDARD.encode(pair))));
            }
            secret => {
                form.append_pair("client_id", &self.config.client_id);
                if let Some(secret) = secret {
                    form.append_pair("client_secret", secret);
                }
            }
        }
        (headers, form.finish().into_bytes())
    }

    /// Changes the code into an ID token.
    async fn exchange(
        &self,
        provider: &IssuerMetadata,
        given: &OidcFinish<'_>,
    ) -> Result<String, OidcRefusal> {
        #[derive(Deserialize)]
        struct Answer {
            id_token: Option<String>,
            error: Option<String>,
        }
        let (headers, body) = self.token_request(provider, given);
        let Some(url) = provider.token_endpoint.clone() else {
            error!("the OpenID provider names no token endpoint");
            return Err(OidcRefusal::Unavailable);
        };
        let response = self.issuer.send(FetchRequest { method: Method::Post, url, headers, body }).await?;
        let answer: Option<Answer> = serde_json::from_slice(&response.1).ok();
        match answer {
            Some(Answer { id_token: Some(token), .. }) if response.0 == 200 => Ok(token),
            answer => {
                let error = answer.and_then(|answer| answer.error).unwrap_or_default();
                warn!(status = response.0, ?error, "the OpenID provider does not accept a code");
                Err(OidcRefusal::Token("it does not accept the code".to_owned()))
            }
        }
    }

    async fn verify(&self, id_token: &str, nonce: &str) -> Result<Claims, OidcRefusal> {
        let expected = Expected {
            issuer: &self.config.issuer,
            client_id: &self.config.client_id,
            nonce,
            now: self.clock.now().div_euclid(1_000),
        };
        let verified = self.issuer.verify(|keys| id_token::verify(id_token, keys, &expected)).await?;
        verified.map_err(|fault| {
            warn!(%fault, "an ID token of the OpenID provider is not good");
            OidcRefusal::Token(format!("its ID token {fault}"))
        })
    }
}

#[cfg(test)]
mod tests;
