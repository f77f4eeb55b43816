//! A service that keeps mail in memory, a raw client, certificates.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test binary uses its part"
)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relevo_smtp::client::{ClientConfig, Envelope, Target, Tls, TlsPolicy, TlsReason, TlsRequirement};
use relevo_smtp::server::{
    AuthThrottle, BearerToken, BodyWriter, Credentials, ListenerConfig, ListenerKind, ListenerLimits,
    MailFrom, Recipient, Reply, ScramVerifier, Server, ServerTls, Service, SessionInfo, SmtpPeer,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub from: String,
    pub to: Vec<String>,
    pub body: Vec<u8>,
    pub username: Option<String>,
    pub tls: bool,
}

#[derive(Default)]
pub struct Memory {
    pub received: Mutex<Vec<Received>>,
    pub resets: Mutex<usize>,
    pub largest_chunk: Mutex<usize>,
    pub peers: Mutex<Vec<SmtpPeer>>,
}

#[derive(Default)]
pub struct State {
    from: String,
    to: Vec<String>,
}

pub struct Writer {
    body: Vec<u8>,
    largest: usize,
    fail: bool,
}

impl BodyWriter for Writer {
    async fn write(&mut self, chunk: &[u8]) -> Result<(), Reply> {
        if self.fail {
            return Err(Reply::new(452, (4, 3, 1), "Disk full"));
        }
        self.largest = self.largest.max(chunk.len());
        self.body.extend_from_slice(chunk);
        Ok(())
    }
}

impl Service for Memory {
    type Session = State;
    type Writer = Writer;

    async fn connect(&self, peer: &SmtpPeer) -> Result<State, Reply> {
        self.peers.lock().unwrap().push(peer.clone());
        Ok(State::default())
    }

    fn knows_login(&self, _: &State) -> bool {
        true
    }

    async fn authenticate(&self, _: &mut State, _: &SessionInfo, c: Credentials) -> Result<(), Reply> {
        if c.password == "secret" { Ok(()) } else { Err(Reply::new(535, (5, 7, 8), "Bad credentials")) }
    }

    async fn authenticate_token(
        &self,
        _: &mut State,
        _: &SessionInfo,
        token: BearerToken,
    ) -> Result<String, Reply> {
        if token.token == "good" { Ok("u".to_owned()) } else { Err(Reply::new(535, (5, 7, 8), "Bad token")) }
    }

    async fn authenticate_certificate(
        &self,
        _: &mut State,
        info: &SessionInfo,
        identity: Option<String>,
    ) -> Result<String, Reply> {
        assert!(info.client_certificate.is_some());
        Ok(identity.unwrap_or_else(|| "holder".to_owned()))
    }

    async fn scram_verifier(
        &self,
        _: &mut State,
        _: &SessionInfo,
        username: &str,
    ) -> Result<Option<ScramVerifier>, Reply> {
        Ok((username == "u").then(|| ScramVerifier::derive("secret", vec![1; 16], 1).unwrap()))
    }

    async fn authenticate_scram(&self, _: &mut State, _: &SessionInfo, username: &str) -> Result<(), Reply> {
        assert_eq!(username, "u");
        Ok(())
    }

    async fn mail(&self, state: &mut State, _: &SessionInfo, from: &MailFrom) -> Result<(), Reply> {
        state.from.clone_from(&from.address);
        Ok(())
    }

    async fn rcpt(&self, state: &mut State, _: &SessionInfo, to: &Recipient) -> Result<(), Reply> {
        match to.address.split('@').next() {
            Some("refuse") => return Err(Reply::new(550, (5, 1, 1), "No such user")),
            Some("full") => return Err(Reply::new(552, (5, 2, 2), "Mailbox full")),
            Some("panic") => panic!("the service broke"),
            Some("slow") => tokio::time::sleep(Duration::from_millis(300)).await,
            _ if state.to.len() >= 10 => return Err(Reply::new(452, (4, 5, 3), "Too many recipients")),
            _ => {}
        }
        state.to.push(to.address.clone());
        Ok(())
    }

    async fn data(&self, state: &mut State, _: &SessionInfo) -> Result<Writer, Reply> {
        Ok(Writer { body: Vec::new(), largest: 0, fail: state.from.starts_with("disk") })
    }

    async fn finish(&self, state: &mut State, info: &SessionInfo, writer: Writer) -> Reply {
        let State { from, to } = std::mem::take(state);
        let largest = &mut *self.largest_chunk.lock().unwrap();
        *largest = writer.largest.max(*largest);
        if from.starts_with("spam") {
            return Reply::new(550, (5, 7, 1), "No");
        }
        let (username, tls) = (info.username.clone(), info.tls.is_some());
        self.received.lock().unwrap().push(Received { from, to, body: writer.body, username, tls });
        Reply::new(250, (2, 0, 0), "Queued")
    }

    fn reset(&self, state: &mut State) {
        *state = State::default();
        *self.resets.lock().unwrap() += 1;
    }
}

pub struct Authority {
    pub ca: Vec<u8>,
    pub server: ServerTls,
}

/// A certificate for `localhost` that signs itself.
pub fn authority() -> Authority {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let server =
        ServerTls::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes()).unwrap();
    Authority { ca: made.cert.der().to_vec(), server }
}

pub fn trusting(authority: &Authority) -> Tls {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.ca.clone().into()).unwrap();
    Tls::with_roots(roots)
}

pub fn trusting_nobody() -> Tls {
    Tls::with_roots(rustls::RootCertStore::empty())
}

pub fn listener(kind: ListenerKind, tls: Option<ServerTls>) -> ListenerConfig {
    ListenerConfig {
        addr: "127.0.0.1:0".parse().unwrap(),
        kind,
        hostname: "mx.test".to_owned(),
        tls,
        limits: ListenerLimits::default(),
        bare_newlines: relevo_smtp::server::BareNewlines::default(),
        offers: relevo_smtp::server::Offers::default(),
        proxies: relevo_smtp::server::TrustedProxies::default(),
        scram: None,
        throttle: Arc::new(AuthThrottle::default()),
    }
}

pub fn start(config: ListenerConfig) -> (Server, Arc<Memory>) {
    let memory = Arc::new(Memory::default());
    (Server::bind(config, Arc::clone(&memory)).unwrap(), memory)
}

pub fn target(addr: SocketAddr, tls: TlsPolicy) -> Target {
    let tls = TlsRequirement::new(tls, TlsReason::Configured);
    Target { host: "localhost".to_owned(), addr, source: None, tls }
}

pub fn client() -> ClientConfig {
    ClientConfig { ehlo: "client.test".to_owned(), ..ClientConfig::default() }
}

pub fn envelope(to: &[&str], size: usize) -> Envelope {
    Envelope {
        sender: "s@a.test".to_owned(),
        recipients: to.iter().map(|&t| t.into()).collect(),
        size: size as u64,
        ..Envelope::default()
    }
}

/// A client that says what it is told to say.
pub struct Raw<S> {
    pub stream: S,
    buffer: Vec<u8>,
}

pub async fn raw(addr: SocketAddr) -> Raw<TcpStream> {
    Raw { stream: TcpStream::connect(addr).await.unwrap(), buffer: Vec::new() }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub fn over(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub async fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// A whole reply; empty when the server closed.
    pub async fn reply(&mut self) -> String {
        timeout(Duration::from_secs(10), self.read_reply()).await.expect("a reply within ten seconds")
    }

    async fn read_reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            if let Some(n) = self.buffer.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=n).collect();
                reply.push_str(&String::from_utf8(line).unwrap());
                let last = reply.lines().last().unwrap();
                if last.as_bytes().get(3) != Some(&b'-') {
                    return reply;
                }
                continue;
            }
            let mut chunk = [0; 1024];
            match self.stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return reply,
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
            }
        }
    }

    /// One line without its end; empty when the peer closed.
    pub async fn line(&mut self) -> String {
        let read = async {
            loop {
                if let Some(n) = self.buffer.iter().position(|&b| b == b'\n') {
                    let line: Vec<u8> = self.buffer.drain(..=n).collect();
                    return String::from_utf8(line).unwrap().trim_end().to_owned();
                }
                let mut chunk = [0; 1024];
                match self.stream.read(&mut chunk).await {
                    Ok(0) | Err(_) => return String::new(),
                    Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                }
            }
        };
        timeout(Duration::from_secs(10), read).await.expect("a line within ten seconds")
    }

    /// As many octets, whatever they are.
    pub async fn octets(&mut self, count: usize) -> Vec<u8> {
        let read = async {
            while self.buffer.len() < count {
                let mut chunk = [0; 8192];
                let n = self.stream.read(&mut chunk).await.unwrap();
                assert!(n > 0, "closed after {} of {count} octets", self.buffer.len());
                self.buffer.extend_from_slice(&chunk[..n]);
            }
            self.buffer.drain(..count).collect()
        };
        timeout(Duration::from_secs(10), read).await.expect("the octets within ten seconds")
    }

    pub async fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n")).await;
        self.reply().await
    }

    pub async fn expect(&mut self, line: &str, prefix: &str) -> String {
        let reply = self.ask(line).await;
        assert!(reply.starts_with(prefix), "{line}: {reply:?}, not {prefix}");
        reply
    }
}
