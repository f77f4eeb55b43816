//! The name server of a sink: every domain has one MX host, whose address is the site's.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::thread;

use anyhow::{Context, Result};
use relevo_resolve::testing::TestDns;

use crate::sink::Behaviour;

/// Longer than a run.
const TTL: u32 = 86_400;

/// Starts it on a thread of its own; it lives as long as the process.
pub(crate) fn start(behaviour: Arc<Behaviour>) -> Result<SocketAddr> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (tell, told) = mpsc::channel();
    thread::Builder::new().name("dns".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let server = TestDns::start().await;
            if let Ok(server) = &server {
                publish(server, &behaviour);
            }
            // Nobody listens any more when the run is being given up.
            let _ = tell.send(server.as_ref().map(TestDns::addr).map_err(|e| e.to_string()));
            if server.is_ok() {
                std::future::pending::<()>().await;
            }
        });
    })?;
    told.recv().context("the name server ended")?.map_err(anyhow::Error::msg)
}

fn publish(server: &TestDns, behaviour: &Behaviour) {
    server.ttl(TTL);
    for domain in behaviour.domains() {
        let host = format!("mx.{}", domain.name);
        if let Some(site) = behaviour.site(&domain.name) {
            server.mx(&domain.name, &[(10, &host)]).address(&host, &[IpAddr::V4(site)]);
        }
    }
}
