//! Where policies come from: DNS and HTTPS.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use relevo_fetch::{FetchError, FetchLimits, FetchRequest, Fetcher, Method};
use relevo_resolve::Resolve;

use super::policies::StsFailure;
use super::policy::MAX_POLICY;

/// Time for one policy (RFC 8461 section 3.3).
const TIME: Duration = Duration::from_secs(60);

/// Asks for records and policies. Called at most once for a domain at a time.
#[async_trait]
pub trait PolicySource: Send + Sync {
    /// TXT records of a name; empty when there are none.
    ///
    /// # Errors
    /// DNS did not answer, in words.
    async fn txt(&self, name: &str) -> Result<Vec<String>, String>;

    /// The policy file of a domain.
    ///
    /// # Errors
    /// There is none, or it cannot be had.
    async fn policy(&self, domain: &str) -> Result<Vec<u8>, StsFailure>;
}

/// DNS and HTTPS. Redirects are not followed, and the certificate must be valid for the host.
#[derive(Clone)]
pub struct HttpsSource {
    resolve: Arc<dyn Resolve>,
    fetcher: Fetcher,
}

impl HttpsSource {
    /// With the resolver and the fetcher of the relay.
    #[must_use]
    pub fn new(resolve: Arc<dyn Resolve>, fetcher: Fetcher) -> Self {
        Self { resolve, fetcher }
    }
}

#[async_trait]
impl PolicySource for HttpsSource {
    async fn txt(&self, name: &str) -> Result<Vec<String>, String> {
        self.resolve.txt(name).await.map_err(|error| error.to_string())
    }

    async fn policy(&self, domain: &str) -> Result<Vec<u8>, StsFailure> {
        let request = FetchRequest {
            method: Method::Get,
            url: format!("https://mta-sts.{domain}/.well-known/mta-sts.txt"),
            headers: vec![("Accept".to_owned(), "text/plain".to_owned())],
            body: Vec::new(),
        };
        let limits = FetchLimits { time: TIME, body: MAX_POLICY, cut: false, clear: false };
        let answer = self.fetcher.send(request, limits).await.map_err(|error| match error {
            FetchError::Tls { .. } => StsFailure::Certificate(error.to_string()),
            error => StsFailure::Fetch(error.to_string()),
        })?;
        if answer.status != 200 {
            return Err(StsFailure::Fetch(format!("the policy host answered {}", answer.status)));
        }
        let kind = answer.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("text/plain") {
            return Err(StsFailure::Fetch("the policy is not text/plain".to_owned()));
        }
        Ok(answer.body)
    }
}
