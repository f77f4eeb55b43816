//! For tests: a resolver that knows no name, and a name server on loopback, in the process, whose
//! zones are set from Rust. It fails on request.

pub mod signed;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CAA, CNAME, MX, PTR, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use crate::{Addresses, Found, LookUp, MailRoute, RecordKind, Resolve, ResolveError};

/// A resolver that knows no name.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNames;

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

#[async_trait]
impl LookUp for NoNames {
    async fn look_up(&self, _: RecordKind, _: &str) -> Found {
        Found::Nothing
    }
}

/// How a name misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// SERVFAIL.
    ServFail,
    /// No answer at all.
    Silence,
    /// Over UDP nothing but the truncation bit; the answer comes over TCP.
    Truncated,
}

/// Answers on UDP and TCP until it is dropped. It is authoritative for everything: names without
/// records do not exist.
#[derive(Debug)]
pub struct TestDns {
    addr: SocketAddr,
    zones: Arc<Mutex<Zones>>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Zones {
    /// By name in lower case without a final dot.
    records: HashMap<String, Vec<RData>>,
    /// By name, and by type where it is for one type only.
    troubles: HashMap<(String, Option<RecordType>), Trouble>,
    ttl: u32,
    queries: Vec<String>,
}

impl TestDns {
    /// On a free port of 127.0.0.1.
    ///
    /// # Errors
    /// There is none.
    pub async fn start() -> io::Result<Self> {
        let (tcp, udp) = bind().await?;
        let addr = udp.local_addr()?;
        let zones = Arc::new(Mutex::new(Zones { ttl: 60, ..Zones::default() }));
        let mut tasks = JoinSet::new();
        let asked = Arc::clone(&zones);
        serve(&mut tasks, tcp, udp, Arc::new(move |query, udp| answer(&asked, query, udp)));
        Ok(Self { addr, zones, _tasks: tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Adds MX records; `.` or an empty name is the null MX.
    pub fn mx(&self, domain: &str, hosts: &[(u16, &str)]) -> &Self {
        self.add(domain, hosts.iter().map(|(preference, host)| RData::MX(MX::new(*preference, fqdn(host)))))
    }

    /// Adds A and AAAA records.
    pub fn address(&self, host: &str, addresses: &[IpAddr]) -> &Self {
        self.add(
            host,
            addresses.iter().map(|ip| match ip {
                IpAddr::V4(v4) => RData::A(A(*v4)),
                IpAddr::V6(v6) => RData::AAAA(AAAA(*v6)),
            }),
        )
    }

    /// Adds a CNAME record.
    pub fn cname(&self, alias: &str, target: &str) -> &Self {
        self.add(alias, [RData::CNAME(CNAME(fqdn(target)))])
    }

    /// Adds one TXT record of these strings.
    pub fn txt(&self, name: &str, strings: &[&str]) -> &Self {
        self.add(name, [RData::TXT(TXT::new(strings.iter().map(|s| (*s).to_owned()).collect()))])
    }

    /// Adds a PTR record.
    pub fn ptr(&self, name: &str, target: &str) -> &Self {
        self.add(name, [RData::PTR(PTR(fqdn(target)))])
    }

    /// Adds a CAA record with this tag and value.
    pub fn caa(&self, name: &str, is_critical: bool, tag: &str, value: &str) -> &Self {
        let mut caa = CAA::new_issue(is_critical, None, Vec::new());
        (caa.tag, caa.value) = (tag.to_owned(), value.as_bytes().to_vec());
        self.add(name, [RData::CAA(caa)])
    }

    /// Removes the records of a name that are of one type, such as `TXT`.
    pub fn remove_type(&self, name: &str, kind: &str) -> &Self {
        let kind: Option<RecordType> = kind.parse().ok();
        let mut zones = self.lock();
        if let Some(records) = zones.records.get_mut(&plain(name)) {
            records.retain(|data| Some(data.record_type()) != kind);
            if records.is_empty() {
                zones.records.remove(&plain(name));
            }
        }
        drop(zones);
        self
    }

    /// Removes a name.
    pub fn remove(&self, name: &str) -> &Self {
        self.lock().records.remove(&plain(name));
        self
    }

    /// From now on questions for this name get into trouble; with a type (`"A"`, `"MX"`, ...) only
    /// those.
    pub fn trouble(&self, name: &str, only: Option<&str>, trouble: Trouble) -> &Self {
        let only = only.and_then(|t| t.parse().ok());
        self.lock().troubles.insert((plain(name), only), trouble);
        self
    }

    /// The TTL of answers from now on; 60 at first.
    pub fn ttl(&self, seconds: u32) -> &Self {
        self.lock().ttl = seconds;
        self
    }

    /// What was asked so far, such as `MX example.com`.
    #[must_use]
    pub fn queries(&self) -> Vec<String> {
        self.lock().queries.clone()
    }

    fn add(&self, name: &str, records: impl IntoIterator<Item = RData>) -> &Self {
        self.lock().records.entry(plain(name)).or_default().extend(records);
        self
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Zones> {
        self.zones.lock()
    }
}

/// Both on the same port.
async fn bind() -> io::Result<(TcpListener, UdpSocket)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..20 {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        match UdpSocket::bind(tcp.local_addr()?).await {
            Ok(udp) => return Ok((tcp, udp)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Makes an answer to a query, over UDP or not; none: silence.
type Answerer = Arc<dyn Fn(&[u8], bool) -> Option<Vec<u8>> + Send + Sync>;

fn serve(tasks: &mut JoinSet<()>, tcp: TcpListener, udp: UdpSocket, answer: Answerer) {
    tasks.spawn(serve_udp(udp, Arc::clone(&answer)));
    tasks.spawn(serve_tcp(tcp, answer));
}

async fn serve_udp(socket: UdpSocket, answer: Answerer) {
    let mut buf = vec![0; 4096];
    while let Ok((n, peer)) = socket.recv_from(&mut buf).await {
        if let Some(reply) = answer(&buf[..n], true) {
            let _ = socket.send_to(&reply, peer).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, answer: Answerer) {
    let mut sessions = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        sessions.spawn(serve_stream(stream, Arc::clone(&answer)));
    }
}

async fn serve_stream(mut stream: TcpStream, answer: Answerer) {
    while let Ok(length) = stream.read_u16().await {
        let mut query = vec![0; usize::from(length)];
        if stream.read_exact(&mut query).await.is_err() {
            return;
        }
        let Some(reply) = answer(&query, false) else { continue };
        let Ok(length) = u16::try_from(reply.len()) else { return };
        if stream.write_u16(length).await.is_err() || stream.write_all(&reply).await.is_err() {
            return;
        }
    }
}

fn answer(zones: &Mutex<Zones>, query: &[u8], udp: bool) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    let question = query.queries.first()?.clone();
    let (name, kind) = (plain(&question.name().to_ascii()), question.query_type());
    let mut zones = zones.lock();
    zones.queries.push(format!("{kind} {name}"));
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.add_query(question);
    reply.metadata.authoritative = true;
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    let trouble =
        zones.troubles.get(&(name.clone(), Some(kind))).or_else(|| zones.troubles.get(&(name.clone(), None)));
    match trouble {
        Some(Trouble::Silence) => return None,
        Some(Trouble::ServFail) => reply.metadata.response_code = ResponseCode::ServFail,
        Some(Trouble::Truncated) if udp => reply.metadata.truncation = true,
        _ => fill(&zones, &name, kind, &mut reply),
    }
    reply.to_vec().ok()
}

/// The records of the type, behind any number of aliases; or what says that there are none.
fn fill(zones: &Zones, name: &str, kind: RecordType, reply: &mut Message) {
    let mut name = name.to_owned();
    for _ in 0..10 {
        let Some(records) = zones.records.get(&name) else {
            let below = format!(".{name}");
            let is_there = name.is_empty() || zones.records.keys().any(|n| n.ends_with(&below));
            if !is_there {
                reply.metadata.response_code = ResponseCode::NXDomain;
            }
            break;
        };
        let mut alias = None;
        for data in records {
            match data {
                RData::CNAME(target) => alias = Some(plain(&target.0.to_ascii())),
                _ if data.record_type() != kind => continue,
                _ => {}
            }
            reply.add_answer(Record::from_rdata(fqdn(&name), zones.ttl, data.clone()));
        }
        match alias {
            Some(target) => name = target,
            None => break,
        }
    }
    if !reply.answers.iter().any(|r| r.record_type() == kind) {
        let soa = SOA::new(fqdn("ns.test"), fqdn("admin.test"), 1, 60, 60, 60, 1);
        reply.add_authority(Record::from_rdata(Name::root(), 1, RData::SOA(soa)));
    }
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Names in tests are well formed; what is not becomes the root.
fn fqdn(name: &str) -> Name {
    let mut name = Name::from_ascii(name).unwrap_or_else(|_| Name::root());
    name.set_fqdn(true);
    name
}
