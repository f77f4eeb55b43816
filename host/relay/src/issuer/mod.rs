//! Issuers of tokens, such as OpenID providers: their metadata, their keys, and tokens that they
//! have signed.

mod metadata;
mod token;

pub(crate) use metadata::IssuerMetadata;
pub(crate) use token::{LEEWAY, TokenFault, claim, verify_signature};

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use relevo_fetch::{FetchLimits, FetchRequest, Fetcher};
use tracing::error;

use crate::clock::Clock;
use metadata::RememberedMetadata;

/// Time of one request to the issuer.
const TIME: Duration = Duration::from_secs(10);
/// Octets of one of its answers.
const MAX_ANSWER: usize = 1 << 20;

/// The issuer cannot be asked, or its answer is of no use. The log has the details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the issuer of tokens cannot be asked")]
pub(crate) struct IssuerUnavailable;

/// An issuer that the operator trusts.
pub(crate) struct Issuer {
    url: String,
    fetcher: Fetcher,
    clock: Arc<dyn Clock>,
    remembered: RememberedMetadata,
}

impl Issuer {
    /// `url` is without `/.well-known/openid-configuration`. `fetcher` must reach it.
    pub(crate) fn new(url: String, fetcher: Fetcher, clock: Arc<dyn Clock>) -> Self {
        Self { url, fetcher, clock, remembered: RememberedMetadata::default() }
    }

    /// What the issuer says of itself. It is read once an hour.
    pub(crate) async fn metadata(&self) -> Result<Arc<IssuerMetadata>, IssuerUnavailable> {
        self.remembered.get(self, None).await
    }

    /// Has `verify` check a token with the issuer's keys. The keys are read again if the token's key
    /// is not among them. If they may not be read again yet, nobody knows whether the key is new.
    pub(crate) async fn verify<T>(
        &self,
        verify: impl Fn(&[Jwk]) -> Result<T, TokenFault> + Send,
    ) -> Result<Result<T, TokenFault>, IssuerUnavailable> {
        let asked_at = self.clock.monotonic();
        let metadata = self.metadata().await?;
        match verify(&metadata.keys) {
            Err(TokenFault::UnknownKey) if metadata.read_at < asked_at => {
                let again = self.remembered.get(self, Some(metadata.read_at)).await?;
                if again.read_at == metadata.read_at {
                    return Err(IssuerUnavailable);
                }
                Ok(verify(&again.keys))
            }
            verified => Ok(verified),
        }
    }

    /// Sends a request to the issuer, and returns the status and the body.
    pub(crate) async fn send(&self, request: FetchRequest) -> Result<(u16, Vec<u8>), IssuerUnavailable> {
        let clear = self.url.starts_with("http://");
        let limits = FetchLimits { time: TIME, body: MAX_ANSWER, cut: false, clear };
        let url = request.url.clone();
        match self.fetcher.send(request, limits).await {
            Ok(response) => Ok((response.status, response.body)),
            Err(error) => {
                error!(%error, url, "the OpenID provider cannot be asked");
                Err(IssuerUnavailable)
            }
        }
    }
}
