//! Names as every other program on this machine knows them, `/etc/hosts` included.

use std::time::Duration;

use async_trait::async_trait;
use relevo_resolve::{Addresses, MailRoute, Resolve, ResolveError};

/// The resolver of the system's C library. It knows addresses alone.
pub(super) struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn route(&self, domain: &str) -> Result<MailRoute, ResolveError> {
        Err(ResolveError::NoMailHost(domain.to_owned()))
    }

    async fn addresses(&self, host: &str) -> Result<Addresses, ResolveError> {
        let found = tokio::net::lookup_host((host, 0))
            .await
            .map_err(|error| ResolveError::Temporary { name: host.to_owned(), detail: error.to_string() })?;
        let addresses: Vec<_> = found.map(|addr| addr.ip()).collect();
        match addresses.is_empty() {
            true => Err(ResolveError::NoMailHost(host.to_owned())),
            false => Ok(Addresses { addresses, ttl: Duration::ZERO }),
        }
    }

    async fn txt(&self, name: &str) -> Result<Vec<String>, ResolveError> {
        Err(ResolveError::NoSuchDomain(name.to_owned()))
    }
}
