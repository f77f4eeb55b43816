//! Outgoing HTTP that cannot be turned inwards: for webhooks and policies at URLs that strangers choose.
//!
//! * Only `https`, and `http` where the caller allows it. No user or password in the URL.
//! * The address that is connected to is judged, not the name. A name whose DNS answer points inwards is refused.
//!   So is an address in the URL, however it is written.
//! * Redirects are answers like others: they are never followed.
//! * Time, header and body are bounded. One connection serves one request: HTTP/1.1, certificate verified.

mod connect;
mod error;
mod request;

pub use error::FetchError;
pub use request::{FetchLimits, FetchRequest, FetchResponse, Method};

use std::sync::Arc;

use ipnet::IpNet;
use relevo_resolve::Resolve;
use rustls::{ClientConfig, RootCertStore};

/// Sends requests. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    resolve: Arc<dyn Resolve>,
    tls: Arc<ClientConfig>,
    allowed: Arc<[IpNet]>,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl Fetcher {
    /// `roots` verify certificates; `allowed` are the inner networks that may be connected to.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(
        resolve: Arc<dyn Resolve>,
        roots: RootCertStore,
        allowed: Vec<IpNet>,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { resolve, tls: Arc::new(tls), allowed: allowed.into() })
    }

    /// Checks what can be known of a URL before its name is looked up. `clear`: `http` is allowed.
    ///
    /// # Errors
    /// [`FetchError::Url`], or [`FetchError::Inner`] for an inner address in the URL.
    pub fn check(&self, url: &str, clear: bool) -> Result<(), FetchError> {
        connect::check(self, &request::usable(url, clear)?)
    }

    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// Nothing was sent, or no whole answer came; [`FetchError::is_permanent`] tells whether it can
    /// ever succeed.
    pub async fn send(
        &self,
        request: FetchRequest,
        limits: FetchLimits,
    ) -> Result<FetchResponse, FetchError> {
        let time = limits.time;
        tokio::time::timeout(time, request::send(self, request, limits))
            .await
            .unwrap_or(Err(FetchError::Timeout(time)))
    }
}
