//! DNS of `relevo dev`: every domain leads to the capture inbox; nobody is asked.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use async_trait::async_trait;
use relevo_resolve::{Addresses, Found, LookUp, MailHost, MailRoute, RecordKind, Resolve, ResolveError};

/// Leads everything to one host.
pub(crate) struct ToInbox;

#[async_trait]
impl Resolve for ToInbox {
    async fn route(&self, _domain: &str) -> Result<MailRoute, ResolveError> {
        let host = MailHost {
            name: "inbox.localhost".to_owned(),
            preference: 0,
            addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            temporary: false,
        };
        Ok(MailRoute {
            hosts: vec![host],
            site: "inbox".to_owned(),
            ttl: Duration::from_secs(3_600),
            implicit: false,
        })
    }

    async fn addresses(&self, _host: &str) -> Result<Addresses, ResolveError> {
        Ok(Addresses { addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], ttl: Duration::from_secs(3_600) })
    }

    async fn txt(&self, _name: &str) -> Result<Vec<String>, ResolveError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl LookUp for ToInbox {
    async fn look_up(&self, _kind: RecordKind, _name: &str) -> Found {
        Found::Failed("`relevo dev` asks nobody".to_owned())
    }
}
