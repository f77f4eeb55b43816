//! The next hop: takes what its behaviour says, counts it, keeps nothing. On a thread of its own.

mod behaviour;
mod latency;
mod replies;
mod session;
mod wire;

use std::net::{Ipv4Addr, SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::net::TcpListener;

pub use self::behaviour::{Behaviour, Domain, State};
pub use self::latency::Latency;
use self::session::{Session, Shared};

/// Who is told what arrives. Called from the sink's only thread, before the reply is written.
pub trait Observer: Send + Sync {
    /// Octets of content that [`Observer::message`] is given; of the rest only the count.
    fn keep(&self) -> usize;
    /// An address in RCPT, without brackets; whether it is taken is decided next.
    fn recipient(&self, address: &str);
    /// All of a message; it is acknowledged next.
    fn message(&self, arrival: &Arrival<'_>);
    /// A recipient was refused, at RCPT or after the final dot.
    fn refused(&self, _address: &str, _permanent: bool) {}
    /// A connection began.
    fn connected(&self) {}
    /// One is over, and all that came on it was told.
    fn disconnected(&self) {}
}

/// A message with its envelope.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Of MAIL, without brackets; empty for the null reverse-path.
    pub sender: &'a str,
    /// Of each RCPT that was accepted.
    pub recipients: &'a [String],
    /// The first octets of the content as on the wire (dots are stuffed), at most what was to be
    /// kept.
    pub head: &'a [u8],
    /// All octets of the content, without the final dot.
    pub octets: u64,
}

/// Starts one that takes everything at once; it lives as long as the process.
///
/// # Errors
/// No port, no thread.
pub fn start(observer: Arc<dyn Observer>) -> Result<SocketAddr> {
    let (listener, address) = bind(Ipv4Addr::LOCALHOST, 0)?;
    serve(vec![(listener, None)], Shared { observer, behaviour: None })?;
    Ok(address)
}

/// One that behaves like many receivers.
#[derive(Debug)]
pub struct Sites {
    /// Takes mail for every domain, as a smarthost does; limits on connections do not apply to it.
    pub smarthost: SocketAddr,
    /// Where each site listens, on the address that [`Behaviour::site`] names.
    pub port: u16,
    /// They keep the queues of black holes full.
    _held: Vec<(std::net::TcpListener, Vec<StdStream>)>,
}

impl Sites {
    /// Starts it. Sessions live as long as the process, black holes as long as the value.
    ///
    /// # Errors
    /// No port, no thread.
    pub fn start(behaviour: Arc<Behaviour>, observer: Arc<dyn Observer>) -> Result<Self> {
        let (listener, smarthost) = bind(Ipv4Addr::LOCALHOST, 0)?;
        let port = smarthost.port();
        let (mut listeners, mut held) = (vec![(listener, None)], Vec::new());
        for domain in behaviour.domains() {
            let site = behaviour.site(&domain.name).context("more domains than addresses")?;
            match domain.state {
                State::Up => listeners.push((bind(site, port)?.0, Some(domain.name.clone()))),
                State::Refuses => {}
                State::Blackhole => held.push(black_hole(site, port)?),
            }
        }
        serve(listeners, Shared { observer, behaviour: Some(behaviour) })?;
        Ok(Self { smarthost, port, _held: held })
    }
}

fn bind(ip: Ipv4Addr, port: u16) -> Result<(std::net::TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind((ip, port))
        .with_context(|| format!("no port {ip}:{port} for the sink"))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// A listener that accepts nothing and whose queue is full: the kernel drops every further SYN
/// (`listen(2)`).
fn black_hole(ip: Ipv4Addr, port: u16) -> Result<(std::net::TcpListener, Vec<StdStream>)> {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
    let address = SocketAddr::from((ip, port));
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &address)?;
    listen(&socket, 0)?;
    let mut held = Vec::new();
    // The queue holds one more than was asked for; the first that is not answered shows that it is
    // full.
    while let Ok(stream) = StdStream::connect_timeout(&address, Duration::from_millis(200)) {
        held.push(stream);
    }
    Ok((socket.into(), held))
}

/// Sessions of every listener; the name is the domain whose site it is.
fn serve(listeners: Vec<(std::net::TcpListener, Option<String>)>, shared: Shared) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("sink".to_owned()).spawn(move || {
        let sessions = Arc::new(AtomicU64::new(0));
        runtime.block_on(async move {
            for (listener, domain) in listeners {
                tokio::spawn(accept(listener, domain, shared.clone(), Arc::clone(&sessions)));
            }
            std::future::pending::<()>().await;
        });
    })?;
    Ok(())
}

async fn accept(
    listener: std::net::TcpListener,
    site: Option<String>,
    shared: Shared,
    sessions: Arc<AtomicU64>,
) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let seed = shared.behaviour.as_ref().map_or(0, |b| b.seed);
    let open = Arc::new(AtomicUsize::new(0));
    while let Ok((stream, peer)) = listener.accept().await {
        let number = sessions.fetch_add(1, Ordering::Relaxed);
        let rng = StdRng::seed_from_u64(seed.wrapping_add(number));
        let session = Session::new(stream, peer.ip(), shared.clone(), rng);
        let domain = shared.behaviour.as_ref().and_then(|b| b.named(site.as_deref()?));
        let full = domain.filter(|d| d.connections.is_some_and(|most| open.load(Ordering::Relaxed) >= most));
        let refusal = full.map(Domain::too_many);
        let held = Held::new(&open);
        let observer = Arc::clone(&shared.observer);
        observer.connected();
        tokio::spawn(async move {
            let _held = held;
            // The relay closes connections as it likes; an error here is the end of one.
            match refusal {
                Some(reply) => session.refuse(&reply).await,
                None => session.run().await,
            }
            .ok();
            observer.disconnected();
        });
    }
}

/// Counts a connection for as long as it is open.
struct Held(Arc<AtomicUsize>);

impl Held {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
