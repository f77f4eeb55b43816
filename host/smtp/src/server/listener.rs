//! Listening, admitting, reloading, stopping.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use relevo_proto::server::{BareNewlines, Offers, SessionLimits, replies};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::Instant;

use super::login::ScramDecoys;
use super::peers::{PeerKey, Peers, Place};
use super::proxy::TrustedProxies;
use super::service::{ListenerKind, Service};
use super::session;
use super::throttle::AuthThrottle;
use super::tls::{ListenerTls, ServerTls, TlsError};

/// Connections waiting to be accepted.
const BACKLOG: i32 = 1024;

/// Bounds of a listener and its sessions.
#[derive(Debug, Clone)]
pub struct ListenerLimits {
    /// Of one session, in commands and octets.
    pub session: SessionLimits,
    /// Connections in all.
    pub connections: usize,
    /// Connections of one IPv4 address or IPv6 /64.
    pub connections_per_peer: usize,
    /// Silence (RFC 5321 section 4.5.3.2.7: at least 5 minutes).
    pub idle: Duration,
    /// Age of a connection.
    pub total: Duration,
    /// For the TLS handshake, and for the PROXY header before it.
    pub handshake: Duration,
    /// Octets a second that a message must arrive with, on average, after `slow_grace` of waiting.
    pub min_rate: u64,
    /// See `min_rate`.
    pub slow_grace: Duration,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            session: SessionLimits::default(),
            connections: 1000,
            connections_per_peer: 200,
            idle: Duration::from_secs(300),
            total: Duration::from_secs(2 * 3600),
            handshake: Duration::from_secs(30),
            min_rate: 256,
            slow_grace: Duration::from_secs(60),
        }
    }
}

/// A listener to be opened.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// Where; port 0 takes a free one. An IPv6 address takes IPv6 only.
    pub addr: SocketAddr,
    /// What for.
    pub kind: ListenerKind,
    /// For the greeting and EHLO.
    pub hostname: String,
    /// Required for [`ListenerKind::Submissions`]; elsewhere STARTTLS is offered when it is there.
    pub tls: Option<ServerTls>,
    /// Bounds.
    pub limits: ListenerLimits,
    /// What becomes of lines of a message that end in LF alone.
    pub bare_newlines: BareNewlines,
    /// Extensions of its sessions that are not always there.
    pub offers: Offers,
    /// Proxies that speak for others.
    pub proxies: TrustedProxies,
    /// For users of SCRAM who are unknown. Without it SCRAM is not offered.
    pub scram: Option<ScramDecoys>,
    /// Memory of failed logins; one for all listeners.
    pub throttle: Arc<AuthThrottle>,
}

/// What all sessions of a listener share.
pub(super) struct ListenerContext<S> {
    pub(super) service: Arc<S>,
    pub(super) kind: ListenerKind,
    pub(super) hostname: String,
    pub(super) limits: ListenerLimits,
    pub(super) bare_newlines: BareNewlines,
    pub(super) offers: Offers,
    pub(super) proxies: TrustedProxies,
    pub(super) scram: Option<ScramDecoys>,
    pub(super) throttle: Arc<AuthThrottle>,
    pub(super) tls: Arc<TlsSlot>,
    /// The time by which sessions must have ended, once the server is stopping.
    pub(super) stop: watch::Receiver<Option<Instant>>,
}

/// The certificate in use; sessions that began with another keep theirs.
#[derive(Debug, Default)]
pub(super) struct TlsSlot(RwLock<Option<ListenerTls>>);

impl TlsSlot {
    pub(super) fn get(&self) -> Option<ListenerTls> {
        self.0.read().clone()
    }

    fn set(&self, tls: ListenerTls) {
        *self.0.write() = Some(tls);
    }
}

/// An open listener. Dropping it stops accepting and cuts its sessions; [`Server::stop`] lets them
/// finish.
#[derive(Debug)]
pub struct Server {
    local: SocketAddr,
    kind: ListenerKind,
    tls: Arc<TlsSlot>,
    stop: watch::Sender<Option<Instant>>,
    /// Closed when nothing is accepted any more.
    ended: watch::Receiver<()>,
    task: JoinHandle<()>,
}

impl Server {
    /// Opens the listener and serves it on the current runtime.
    ///
    /// # Errors
    /// The address cannot be used; implicit TLS without a certificate, or a certificate that cannot
    /// be used (`InvalidInput`).
    pub fn bind<S: Service>(config: ListenerConfig, service: Arc<S>) -> io::Result<Self> {
        if config.kind == ListenerKind::Submissions && config.tls.is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "implicit TLS needs a certificate"));
        }
        let tls = Arc::new(TlsSlot::default());
        if let Some(certificate) = &config.tls {
            tls.set(certificate.listener().map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?);
        }
        let listener = listen(config.addr)?;
        let local = listener.local_addr()?;
        let (stop, stopped) = watch::channel(None);
        let peers = Arc::new(Peers::new(config.limits.connections, config.limits.connections_per_peer));
        let shared = Arc::new(ListenerContext {
            service,
            kind: config.kind,
            hostname: config.hostname,
            limits: config.limits,
            bare_newlines: config.bare_newlines,
            offers: config.offers,
            proxies: config.proxies,
            scram: config.scram,
            throttle: config.throttle,
            tls: Arc::clone(&tls),
            stop: stopped,
        });
        let (alive, ended) = watch::channel(());
        let task = tokio::spawn(serve(listener, shared, peers, alive));
        Ok(Self { local, kind: config.kind, tls, stop, ended, task })
    }

    /// The address with the port in use.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> ListenerKind {
        self.kind
    }

    /// Waits until the listener accepts nothing more: it was stopped, its socket listens no more, or
    /// its task panicked. Sessions go on until [`Server::stop`].
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut ended = self.ended.clone();
        async move { while ended.changed().await.is_ok() {} }
    }

    /// Serves `certificate` from the next handshake on.
    ///
    /// # Errors
    /// When it cannot be used; the old one stays.
    pub fn set_tls(&self, certificate: &ServerTls) -> Result<(), TlsError> {
        self.tls.set(certificate.listener()?);
        Ok(())
    }

    /// Stops in two phases: accepts nothing more, and answers the next command of each session with
    /// 421 4.3.2 while messages that are arriving are still taken; after `drain` what is left is
    /// cut.
    pub async fn stop(mut self, drain: Duration) {
        self.stop.send_replace(Some(Instant::now() + drain));
        if let Err(error) = (&mut self.task).await {
            tracing::error!(listener = %self.local, %error, "listener task ended badly");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        // So that `[::]:25` and `0.0.0.0:25` can be configured side by side.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn serve<S: Service>(
    listener: TcpListener,
    shared: Arc<ListenerContext<S>>,
    peers: Arc<Peers>,
    alive: watch::Sender<()>,
) {
    let mut stop = shared.stop.clone();
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            Some(ended) = sessions.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((_, remote)) if !may_connect(&shared.proxies, remote) => {
                    tracing::info!(%remote, "not a trusted proxy");
                }
                Ok((stream, remote)) => match admit(&peers, &shared.proxies, remote) {
                    Some(place) => {
                        sessions.spawn(session::run(Arc::clone(&shared), stream, remote, place));
                    }
                    None => turn_away(&stream, remote, shared.kind),
                },
                Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
                    tracing::error!(%error, "cannot accept: the socket listens no more");
                    break;
                }
                // Out of descriptors, usually: what holds them needs a moment.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop((listener, alive));
    // Without a stop it was the socket that failed: what sessions have begun they may finish.
    let stopped = stop.wait_for(Option::is_some).await.map(|deadline| *deadline);
    let deadline = stopped.ok().flatten().unwrap_or_else(Instant::now);
    let drained = tokio::time::timeout_at(deadline, async {
        while let Some(ended) = sessions.join_next().await {
            report(ended);
        }
    });
    if drained.await.is_err() {
        tracing::warn!(sessions = sessions.len(), "sessions cut at the end of the drain time");
        sessions.shutdown().await;
    }
}

/// Where every connection comes through a proxy, others are closed at once.
fn may_connect(proxies: &TrustedProxies, remote: SocketAddr) -> bool {
    !proxies.proxy_protocol || proxies.contains(remote.ip())
}

/// A proxy says later for whom it counts.
fn admit(peers: &Arc<Peers>, proxies: &TrustedProxies, remote: SocketAddr) -> Option<Place> {
    if proxies.proxy_protocol { peers.admit_unknown() } else { peers.admit(PeerKey::of(remote.ip())) }
}

/// A session that panicked took only itself down.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "session task panicked");
    }
}

pub(super) fn turn_away(stream: &TcpStream, remote: SocketAddr, kind: ListenerKind) {
    tracing::info!(%remote, "too many connections");
    if kind != ListenerKind::Submissions {
        let mut out = Vec::new();
        relevo_proto::encode(&replies::TOO_MANY_CONNECTIONS.into(), &mut out);
        // Written to an empty socket buffer, or not at all: nothing is owed to this peer. The
        // runtime does not know yet whether the socket is writable, so the call goes past it.
        let _ = socket2::SockRef::from(stream).send(&out);
    }
}
