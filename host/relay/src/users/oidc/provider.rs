//! What the provider says of itself (OpenID Connect Discovery 1.0), and its keys (RFC 7517), cached.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use relevo_fetch::{FetchRequest, Method};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;
use tracing::error;

use super::{Oidc, OidcRefusal};

/// What was read counts for this time.
const FRESH: Duration = Duration::from_secs(3_600);
/// It is not read more often than this, whatever keys tokens name.
const PAUSE: Duration = Duration::from_secs(30);
/// Keys that are looked at.
const MAX_KEYS: usize = 50;

/// The provider, as it was at a time.
pub(super) struct Provider {
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    /// The token endpoint takes the secret in `Authorization`.
    pub(super) takes_basic: bool,
    pub(super) keys: Vec<Jwk>,
    /// Monotonic.
    pub(super) read_at: Duration,
}

/// Remembers the provider. One request reads it at a time.
#[derive(Default)]
pub(super) struct Providers {
    remembered: Mutex<Remembered>,
}

#[derive(Default)]
struct Remembered {
    provider: Option<Arc<Provider>>,
    tried_at: Option<Duration>,
}

impl Providers {
    /// The provider. `older_than`: one that was read at this time is of no use.
    pub(super) async fn get(
        &self,
        oidc: &Oidc,
        older_than: Option<Duration>,
    ) -> Result<Arc<Provider>, OidcRefusal> {
        let mut remembered = self.remembered.lock().await;
        let now = oidc.clock.monotonic();
        let known = remembered.provider.clone();
        let is_fresh = known.as_ref().is_some_and(|provider| {
            now < provider.read_at + FRESH && older_than.is_none_or(|at| provider.read_at > at)
        });
        let may_try = remembered.tried_at.is_none_or(|at| now >= at + PAUSE);
        if is_fresh || !may_try {
            return known.ok_or(OidcRefusal::Unavailable);
        }
        remembered.tried_at = Some(now);
        match read(oidc, now).await {
            Ok(provider) => {
                let provider = Arc::new(provider);
                remembered.provider = Some(provider.clone());
                Ok(provider)
            }
            // What was known is better than nothing.
            Err(refusal) => known.ok_or(refusal),
        }
    }
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<Value>,
}

async fn read(oidc: &Oidc, now: Duration) -> Result<Provider, OidcRefusal> {
    let issuer = &oidc.config.issuer;
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let found: Metadata = get(oidc, url).await?;
    if found.issuer != *issuer {
        error!(named = found.issuer, configured = issuer, "the OpenID provider names another issuer");
        return Err(OidcRefusal::Unavailable);
    }
    let allows_http = issuer.starts_with("http://");
    let endpoint = &found.authorization_endpoint;
    if !endpoint.starts_with("https://") && !(allows_http && endpoint.starts_with("http://")) {
        error!(endpoint, "the OpenID provider's authorization endpoint is not https");
        return Err(OidcRefusal::Unavailable);
    }
    let keys: Keys = get(oidc, found.jwks_uri).await?;
    // Keys of kinds that are not known are none of ours.
    let keys = keys.keys.into_iter().take(MAX_KEYS).filter_map(|key| serde_json::from_value(key).ok());
    Ok(Provider {
        authorization_endpoint: found.authorization_endpoint,
        token_endpoint: found.token_endpoint,
        takes_basic: found
            .token_endpoint_auth_methods_supported
            .is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic")),
        keys: keys.collect(),
        read_at: now,
    })
}

async fn get<T: DeserializeOwned>(oidc: &Oidc, url: String) -> Result<T, OidcRefusal> {
    let headers = vec![("accept".to_owned(), "application/json".to_owned())];
    let request = FetchRequest { method: Method::Get, url: url.clone(), headers, body: Vec::new() };
    let (status, body) = oidc.send(request).await?;
    if status != 200 {
        error!(status, url, "the OpenID provider has no answer");
        return Err(OidcRefusal::Unavailable);
    }
    serde_json::from_slice(&body).map_err(|error| {
        error!(%error, url, "the OpenID provider's answer cannot be read");
        OidcRefusal::Unavailable
    })
}
