//! What an issuer says of itself (OpenID Connect Discovery 1.0), and its keys (RFC 7517), cached.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use relevo_fetch::{FetchRequest, Method};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;
use tracing::error;

use super::{Issuer, IssuerUnavailable};

/// What was read counts for this time.
const FRESH: Duration = Duration::from_secs(3_600);
/// It is not read more often than this, whatever keys tokens name.
const PAUSE: Duration = Duration::from_secs(30);
/// Keys that are looked at.
const MAX_KEYS: usize = 50;

/// The issuer, as it was at a time.
pub(crate) struct IssuerMetadata {
    /// None: nobody can sign in there.
    pub(crate) authorization_endpoint: Option<String>,
    /// None: nobody can sign in there.
    pub(crate) token_endpoint: Option<String>,
    /// The token endpoint takes the secret in `Authorization`.
    pub(crate) takes_basic: bool,
    pub(crate) keys: Vec<Jwk>,
    /// Monotonic.
    pub(super) read_at: Duration,
}

/// Remembers the metadata. One request reads it at a time.
#[derive(Default)]
pub(super) struct RememberedMetadata {
    state: Mutex<RememberedState>,
}

#[derive(Default)]
struct RememberedState {
    metadata: Option<Arc<IssuerMetadata>>,
    tried_at: Option<Duration>,
}

impl RememberedMetadata {
    /// The metadata. `older_than`: one that was read at this time is of no use.
    pub(super) async fn get(
        &self,
        issuer: &Issuer,
        older_than: Option<Duration>,
    ) -> Result<Arc<IssuerMetadata>, IssuerUnavailable> {
        let mut remembered = self.state.lock().await;
        let now = issuer.clock.monotonic();
        let known = remembered.metadata.clone();
        let is_fresh = known.as_ref().is_some_and(|known| {
            now < known.read_at + FRESH && older_than.is_none_or(|at| known.read_at > at)
        });
        let may_try = remembered.tried_at.is_none_or(|at| now >= at + PAUSE);
        if is_fresh || !may_try {
            return known.ok_or(IssuerUnavailable);
        }
        remembered.tried_at = Some(now);
        match read(issuer, now).await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                remembered.metadata = Some(metadata.clone());
                Ok(metadata)
            }
            // What was known is better than nothing.
            Err(refusal) => known.ok_or(refusal),
        }
    }
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<Value>,
}

async fn read(issuer: &Issuer, now: Duration) -> Result<IssuerMetadata, IssuerUnavailable> {
    let configured = &issuer.url;
    let url = format!("{}/.well-known/openid-configuration", configured.trim_end_matches('/'));
    let found: Metadata = get(issuer, url).await?;
    if found.issuer != *configured {
        error!(named = found.issuer, configured, "the OpenID provider names another issuer");
        return Err(IssuerUnavailable);
    }
    let allows_http = configured.starts_with("http://");
    let is_safe = |url: &String| url.starts_with("https://") || (allows_http && url.starts_with("http://"));
    let authorization_endpoint = found.authorization_endpoint;
    if let Some(endpoint) = authorization_endpoint.as_ref().filter(|endpoint| !is_safe(endpoint)) {
        error!(endpoint, "the OpenID provider's authorization endpoint is not https");
    }
    let keys: Keys = get(issuer, found.jwks_uri).await?;
    // Keys of kinds that are not known are none of ours.
    let keys = keys.keys.into_iter().take(MAX_KEYS).filter_map(|key| serde_json::from_value(key).ok());
    Ok(IssuerMetadata {
        authorization_endpoint: authorization_endpoint.filter(is_safe),
        token_endpoint: found.token_endpoint,
        takes_basic: found
            .token_endpoint_auth_methods_supported
            .is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic")),
        keys: keys.collect(),
        read_at: now,
    })
}

async fn get<T: DeserializeOwned>(issuer: &Issuer, url: String) -> Result<T, IssuerUnavailable> {
    let headers = vec![("accept".to_owned(), "application/json".to_owned())];
    let request = FetchRequest { method: Method::Get, url: url.clone(), headers, body: Vec::new() };
    let (status, body) = issuer.send(request).await?;
    if status != 200 {
        error!(status, url, "the OpenID provider has no answer");
        return Err(IssuerUnavailable);
    }
    serde_json::from_slice(&body).map_err(|error| {
        error!(%error, url, "the OpenID provider's answer cannot be read");
        IssuerUnavailable
    })
}
