//! Accepts connections and bounds what they cost: their number, their time and their memory.
//!
//! A connection either waits for its client (for a request header, or for the client to take an
//! answer) or is in a handler. Waiting has a deadline. When there are too many connections, the one
//! that has waited longest is closed.

mod connection;
mod connections;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::server::graceful::GracefulShutdown;
use relevo_relay::settings::Network;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::metrics::ListenerMetrics;
use crate::observe::PeerAddress;
use connections::Connections;

/// Bounds of one listener.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Simultaneous connections.
    pub total: usize,
    /// Simultaneous connections of one client: an IPv4 address or an IPv6 /64.
    pub per_client: usize,
    /// The longest time for a whole request header from accept or from the last answer on, and for
    /// taking an answer.
    pub client_timeout: Duration,
    /// Reverse proxies, to which `per_client` does not apply.
    pub trusted_proxies: Vec<Network>,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            total: 1_000,
            per_client: 100,
            client_timeout: Duration::from_secs(30),
            trusted_proxies: Vec::new(),
        }
    }
}

/// The longest time for requests under way when stopping.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// Waited after a failed accept: descriptors may be free again by then.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Serves until `stop` turns true, then finishes the requests under way. It returns at once when
/// the socket listens no more.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    metrics: ListenerMetrics,
    mut stop: watch::Receiver<bool>,
) {
    let connections = Arc::new(Connections::new(limits, metrics));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                tracing::error!(%error, "http accept: the socket listens no more");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "http accept");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Some(admitted) = connections.admit(peer.ip()) else { continue };
        tokio::spawn(connection::serve(
            stream,
            PeerAddress(peer),
            router.clone(),
            admitted,
            graceful.watcher(),
        ));
    }
    let _ = tokio::time::timeout(STOP_TIMEOUT, graceful.shutdown()).await;
}
