//! A resolver for tests that look up nothing.

use async_trait::async_trait;
use relevo_resolve::{Addresses, MailRoute, Resolve, ResolveError};

/// Knows no name.
pub(crate) struct NoNames;

#[async_trait]
impl Resolve for NoNames {
    async fn route(&self, domain: &str) -> Result<MailRoute, ResolveError> {
        Err(ResolveError::NoSuchDomain(domain.to_owned()))
    }

    async fn addresses(&self, host: &str) -> Result<Addresses, ResolveError> {
        Err(ResolveError::NoSuchDomain(host.to_owned()))
    }

    async fn txt(&self, _: &str) -> Result<Vec<String>, ResolveError> {
        Ok(Vec::new())
    }
}
