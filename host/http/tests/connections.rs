//! Hostile and slow clients on real sockets.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use relevo_http::{ConnectionLimits, HttpMetrics, Listener, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(60);
const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a.test\r\n\r\n";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct Served {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

async fn start(limits: ConnectionLimits) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let slow = async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        "slow\n"
    };
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/slow", get(slow))
        .route("/large", get(async || vec![b'x'; 64 << 20]));
    let metrics = HttpMetrics::default().of(Listener::Api);
    Served { address, stop, task: tokio::spawn(serve(listener, router, limits, metrics, stopped)) }
}

async fn connect(served: &Served, sent: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(sent).await.unwrap();
    stream
}

/// Everything until the server closes.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    // A reset is an end too.
    let _ = timeout(LONG, stream.read_to_end(&mut all)).await.expect("the server closes");
    all
}

/// The status of one answer with a small body.
async fn status(stream: &mut TcpStream) -> u16 {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\n") || !seen.windows(4).any(|w| w == b"\r\n\r\n") || seen.ends_with(b"\r\n\r\n")
    {
        let mut piece = [0; 1024];
        match timeout(LONG, stream.read(&mut piece)).await.expect("an answer") {
            Ok(0) | Err(_) => break,
            Ok(n) => seen.extend_from_slice(&piece[..n]),
        }
    }
    let text = String::from_utf8_lossy(&seen);
    text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

fn hostile() -> [(&'static str, Vec<u8>); 5] {
    let settings = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    [
        ("nothing", Vec::new()),
        ("half of a preface", PREFACE[..12].to_vec()),
        ("a preface and SETTINGS", settings),
        ("half of a header", GET[..30].to_vec()),
        ("a whole request", GET.to_vec()),
    ]
}

#[tokio::test]
async fn idle_connections_keep_nobody_out() {
    for (name, sent) in hostile() {
        let served = start(ConnectionLimits { total: 8, per_client: 8, ..ConnectionLimits::default() }).await;
        let mut held = Vec::new();
        for _ in 0..20 {
            held.push(connect(&served, &sent).await);
        }
        let mut client = connect(&served, GET).await;
        assert_eq!(status(&mut client).await, 200, "{name}");
    }
}

#[tokio::test]
async fn waiting_for_a_client_has_an_end() {
    let client_timeout = Duration::from_millis(200);
    let served = start(ConnectionLimits { client_timeout, ..ConnectionLimits::default() }).await;
    for (name, sent) in hostile() {
        let mut client = connect(&served, &sent).await;
        let answered = rest(&mut client).await;
        assert_eq!(answered.starts_with(b"HTTP/1.1 200"), name == "a whole request", "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_taken_has_an_end() {
    let client_timeout = Duration::from_millis(200);
    let served = start(ConnectionLimits { client_timeout, ..ConnectionLimits::default() }).await;
    let mut client = connect(&served, b"GET /large HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    tokio::time::sleep(4 * client_timeout).await;
    let taken = rest(&mut client).await;
    assert!(taken.len() < 64 << 20, "{}", taken.len());
}

#[tokio::test]
async fn a_handler_may_take_longer_than_the_client() {
    let client_timeout = Duration::from_millis(50);
    let served = start(ConnectionLimits { client_timeout, ..ConnectionLimits::default() }).await;
    let mut client = connect(&served, b"GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(status(&mut client).await, 200);
}

#[tokio::test]
async fn a_header_is_bounded() {
    let served = start(ConnectionLimits::default()).await;
    let header = |octets: usize| {
        let field = "x".repeat(octets);
        format!("GET /healthz HTTP/1.1\r\nHost: a.test\r\nX: {field}\r\n\r\n").into_bytes()
    };
    let mut client = connect(&served, &header(16 << 10)).await;
    assert_eq!(status(&mut client).await, 200);
    let mut client = TcpStream::connect(served.address).await.unwrap();
    // The server may close before all is written.
    let _ = client.write_all(&header(40 << 10)).await;
    let answer = rest(&mut client).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
    // Without an end, so that nothing is left unread when it answers.
    let mut client = TcpStream::connect(served.address).await.unwrap();
    client.write_all(&header(40 << 10)[..32 << 10]).await.unwrap();
    assert!(rest(&mut client).await.starts_with(b"HTTP/1.1 431"));
}

#[tokio::test]
async fn stopping_finishes_what_is_under_way() {
    let served = start(ConnectionLimits::default()).await;
    let mut idle = connect(&served, GET).await;
    assert_eq!(status(&mut idle).await, 200);
    let mut client = connect(&served, b"GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    // The second answer shows that the first connection is being served.
    let mut other = connect(&served, GET).await;
    assert_eq!(status(&mut other).await, 200);
    served.stop.send_replace(true);
    assert!(rest(&mut client).await.starts_with(b"HTTP/1.1 200"));
    timeout(LONG, served.task).await.expect("it stops").unwrap();
    assert!(rest(&mut idle).await.is_empty());
    assert!(TcpStream::connect(served.address).await.is_err());
}
