//! One session: drives the state machine and asks the service.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use relevo_proto::server::{
    AuthPolicy, Event, FutureRelease, Offers, ProxiedClient, ProxiedLogin, ProxiedSource, ServerSession,
    SessionConfig, TlsFacts, replies,
};
use rustls::ProtocolVersion;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsStream};
use tracing::Instrument as _;

use super::connection::ServerConnection;
use super::listener::{ListenerContext, turn_away};
use super::peers::{PeerKey, Place};
use super::proxy;
use super::service::{BodyWriter as _, ListenerKind, Service, SmtpPeer};
use super::tls::ListenerTls;
use crate::stream::{Stream, describe};

/// Serves one connection to its end.
pub(super) async fn run<S: Service>(
    shared: Arc<ListenerContext<S>>,
    mut tcp: TcpStream,
    remote: SocketAddr,
    mut place: Place,
) {
    let result = async {
        tcp.set_nodelay(true)?;
        let Some(peer) = identify(&shared, &mut tcp, remote, &mut place).await? else { return Ok(()) };
        let (stream, tls) = if shared.kind == ListenerKind::Submissions {
            let (stream, facts) = handshake(&shared, tcp).await?;
            (stream, Some(facts))
        } else {
            (Stream::Plain(tcp), None)
        };
        serve(&shared, stream, peer, tls, place).await
    };
    let span = tracing::info_span!("session", %remote, client = tracing::field::Empty);
    match result.instrument(span).await {
        Ok(()) => tracing::debug!(%remote, "session ended"),
        Err(error) => tracing::debug!(%remote, %error, "session lost"),
    }
}

/// Who is connected, as far as a proxy says. `None`: turned away.
async fn identify<S: Service>(
    shared: &ListenerContext<S>,
    tcp: &mut TcpStream,
    remote: SocketAddr,
    place: &mut Place,
) -> io::Result<Option<SmtpPeer>> {
    let peer = SmtpPeer::new(remote, tcp.local_addr()?, shared.kind);
    if !shared.proxies.proxy_protocol {
        return Ok(Some(peer));
    }
    let source = proxy::read_header(tcp, shared.limits.handshake).await.inspect_err(|error| {
        tracing::info!(%remote, %error, "no PROXY header");
    })?;
    let client = match source {
        ProxiedSource::Proxy => remote,
        ProxiedSource::Unknown => SocketAddr::new(proxy::UNKNOWN, 0),
        ProxiedSource::Client(client) => client,
    };
    if !place.identify(PeerKey::of(client.ip())) {
        turn_away(tcp, client, shared.kind);
        return Ok(None);
    }
    tracing::Span::current().record("client", tracing::field::display(client));
    Ok(Some(SmtpPeer { remote: client, proxy: (source != ProxiedSource::Proxy).then_some(remote), ..peer }))
}

async fn handshake<S: Service>(
    shared: &ListenerContext<S>,
    tcp: TcpStream,
) -> io::Result<(Stream, TlsFacts)> {
    let tls = shared.tls.get().ok_or(io::ErrorKind::NotConnected)?;
    let accept = TlsAcceptor::from(Arc::clone(&tls.config)).accept(tcp);
    let stream = timeout(shared.limits.handshake, accept).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let facts = facts(&tls, stream.get_ref().1);
    Ok((Stream::Tls(Box::new(TlsStream::from(stream))), facts))
}

fn facts(tls: &ListenerTls, connection: &rustls::ServerConnection) -> TlsFacts {
    // RFC 9266 sections 2 and 4.2: a label and no context, and TLS 1.3 alone.
    let exporter = (connection.protocol_version() == Some(ProtocolVersion::TLSv1_3))
        .then(|| connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None).ok());
    TlsFacts {
        description: describe(connection),
        exporter: exporter.flatten(),
        client_certificate: tls.verified(connection.peer_certificates()),
    }
}

async fn serve<S: Service>(
    shared: &Arc<ListenerContext<S>>,
    stream: Stream,
    peer: SmtpPeer,
    tls: Option<TlsFacts>,
    place: Place,
) -> io::Result<()> {
    let mut session = ServerSession::new(session_config(shared, &peer), tls);
    let connected = shared.service.connect(&peer).await;
    if let Stream::Plain(tcp) = &stream {
        session.receive(&early_octets(tcp));
    }
    let (product, decision) = match connected {
        Ok(product) => (Some(product), Ok(())),
        Err(reply) => (None, Err(reply)),
    };
    session.greet(decision);
    let mut wire = ServerConnection::new(stream, shared.stop.clone());
    match product {
        Some(product) => Driver { shared, peer, session, product, writer: None, wire, place }.drive().await,
        None => wire.close(shared, &mut session).await,
    }
}

fn session_config<S: Service>(shared: &ListenerContext<S>, peer: &SmtpPeer) -> SessionConfig {
    let submission = shared.kind != ListenerKind::Relay;
    let auth = match shared.kind {
        ListenerKind::Relay => AuthPolicy::Off,
        ListenerKind::Submission if peer.remote.ip().to_canonical().is_loopback() => AuthPolicy::Always,
        ListenerKind::Submission | ListenerKind::Submissions => AuthPolicy::AfterTls,
    };
    SessionConfig {
        hostname: shared.hostname.clone(),
        starttls: shared.tls.get().is_some(),
        auth,
        auth_required: submission,
        bare_newlines: shared.bare_newlines,
        offers: offers(shared, peer),
        limits: shared.limits.session,
    }
}

/// What the listener offers to a session that begins now.
fn offers<S: Service>(shared: &ListenerContext<S>, peer: &SmtpPeer) -> Offers {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let mut offers = shared.offers.clone();
    offers.mechanisms.scram_sha_256 &= shared.scram.is_some();
    // Behind a PROXY header everything is said by the client.
    offers.xclient =
        shared.proxies.xclient && peer.proxy.is_none() && shared.proxies.contains(peer.remote.ip());
    // RFC 4865: for submission only.
    offers.future_release = offers
        .future_release
        .filter(|_| shared.kind != ListenerKind::Relay)
        .map(|release| FutureRelease { now, ..release });
    offers
}

/// What the peer sent before it was greeted. Asks the system rather than the runtime, which has not
/// polled the new socket yet and would say that there is nothing.
fn early_octets(tcp: &TcpStream) -> Vec<u8> {
    let mut buf = [MaybeUninit::<u8>::uninit(); 1];
    match SockRef::from(tcp).peek(&mut buf) {
        Ok(n) => vec![b'?'; n],
        Err(_) => Vec::new(),
    }
}

/// A session and everything it needs.
pub(super) struct Driver<'a, S: Service> {
    pub(super) shared: &'a Arc<ListenerContext<S>>,
    pub(super) peer: SmtpPeer,
    pub(super) session: ServerSession,
    pub(super) product: S::Session,
    writer: Option<S::Writer>,
    wire: ServerConnection,
    /// Counts the connection for its peer.
    place: Place,
}

impl<S: Service> Driver<'_, S> {
    async fn drive(mut self) -> io::Result<()> {
        loop {
            let event = self.session.poll();
            match event {
                Event::NeedInput => {
                    self.wire.flush(self.shared, &mut self.session).await?;
                    self.wire.receive(self.shared, &mut self.session).await?;
                }
                Event::Close => return self.wire.close(self.shared, &mut self.session).await,
                Event::StartTls => self.start_tls().await?,
                Event::Reset => self.reset(),
                event => self.decide(event).await?,
            }
        }
    }

    /// The events that the service answers.
    async fn decide(&mut self, event: Event) -> io::Result<()> {
        let service = &self.shared.service;
        let (session, product) = (&mut self.session, &mut self.product);
        match event {
            event @ (Event::Authenticate(_)
            | Event::Token(_)
            | Event::External(_)
            | Event::ScramUser(_)
            | Event::ScramFailed(_)
            | Event::ScramProven(_)) => self.login(event).await,
            Event::Mail(from) => {
                let decision = service.mail(product, session.info(), &from).await;
                session.decide(decision);
            }
            Event::Rcpt(to) => {
                let decision = service.rcpt(product, session.info(), &to).await;
                session.decide(decision);
            }
            Event::Data => {
                let decision = service.data(product, session.info()).await;
                let is_refused = decision.is_err();
                session.decide(decision.map(|writer| self.writer = Some(writer)));
                if is_refused {
                    self.reset();
                }
            }
            Event::Content => self.content().await,
            Event::Proxied(client) => self.restart(client).await,
            Event::Finish => self.finish().await?,
            Event::NeedInput | Event::Close | Event::StartTls | Event::Reset => {}
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.writer = None;
        self.shared.service.reset(&mut self.product);
    }

    async fn content(&mut self) {
        let Some(writer) = &mut self.writer else { return };
        if let Err(reply) = writer.write(self.session.content()).await {
            self.writer = None;
            self.session.refuse_content(reply);
        }
    }

    /// The reply goes out at once, also when more commands have arrived already: the message is on
    /// disk, and a client that does not hear it sends it again.
    async fn finish(&mut self) -> io::Result<()> {
        let reply = match self.writer.take() {
            Some(writer) => self.shared.service.finish(&mut self.product, self.session.info(), writer).await,
            None => replies::INTERNAL_ERROR.into(),
        };
        if !reply.is_positive() {
            self.reset();
        }
        self.session.finished(&reply);
        self.wire.flush(self.shared, &mut self.session).await
    }

    /// XCLIENT: as if its client had connected now.
    async fn restart(&mut self, client: ProxiedClient) {
        self.reset();
        let peer = proxy::described(&self.peer, client);
        if !self.place.identify(PeerKey::of(peer.remote.ip())) {
            return self.session.restart(Err(replies::TOO_MANY_CONNECTIONS.into()));
        }
        tracing::Span::current().record("client", tracing::field::display(peer.remote));
        let service = &self.shared.service;
        let decision = service.connect(&peer).await.map(|product| {
            self.product = product;
            match service.knows_login(&self.product) {
                true => ProxiedLogin::Known,
                false => ProxiedLogin::Unknown,
            }
        });
        self.peer = peer;
        self.session.restart(decision);
    }

    async fn start_tls(&mut self) -> io::Result<()> {
        self.reset();
        self.wire.flush(self.shared, &mut self.session).await?;
        let Some(Stream::Plain(tcp)) = self.wire.stream.take() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let (stream, facts) = handshake(self.shared, tcp).await?;
        self.wire.stream = Some(stream);
        self.session.tls_started(facts);
        Ok(())
    }
}
