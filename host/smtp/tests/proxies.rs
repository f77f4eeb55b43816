//! Proxies that speak for others, by PROXY and by XCLIENT.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use common::{Authority, Raw, authority, listener, raw, start};
use relevo_smtp::server::{ListenerConfig, ListenerKind, TrustedProxies};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

fn behind(kind: ListenerKind, networks: &str, proxy_protocol: bool) -> ListenerConfig {
    let networks = vec![networks.parse().unwrap()];
    ListenerConfig {
        proxies: TrustedProxies { networks, proxy_protocol, xclient: !proxy_protocol },
        ..listener(kind, None)
    }
}

async fn through(addr: SocketAddr, header: &[u8]) -> Raw<TcpStream> {
    let mut client = raw(addr).await;
    client.send(header).await;
    client
}

/// Version 2, TCP over IPv4 from 192.0.2.7:4000.
fn version_2() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    header.extend_from_slice(&[192, 0, 2, 7, 198, 51, 100, 1, 15, 160, 0, 25]);
    header
}

#[tokio::test]
async fn the_header_says_who_is_there() {
    let (server, memory) = start(behind(ListenerKind::Relay, "127.0.0.0/8", true));
    let addr = server.local_addr();
    for (header, remote) in [
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 4000 25\r\n".to_vec(), Some("192.0.2.1:4000")),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 4000 25\r\n".to_vec(), Some("[2001:db8::1]:4000")),
        (version_2(), Some("192.0.2.7:4000")),
        // Nobody we know, and not the proxy with its rights.
        (b"PROXY UNKNOWN\r\n".to_vec(), Some("0.0.0.0:0")),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x00\x00\x00".to_vec(), Some("0.0.0.0:0")),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00".to_vec(), None),
    ] {
        let mut client = through(addr, &header).await;
        assert!(client.reply().await.starts_with("220 "));
        client.expect("EHLO me.test", "250").await;
        let peer = memory.peers.lock().unwrap().pop().unwrap();
        match remote {
            Some(remote) => {
                assert_eq!(peer.remote, remote.parse().unwrap());
                assert!(peer.proxy.unwrap().ip().is_loopback());
            }
            None => assert!(peer.remote.ip().is_loopback() && peer.proxy.is_none()),
        }
    }
}

#[tokio::test]
async fn without_a_header_nothing_is_said() {
    let (server, memory) = start(behind(ListenerKind::Relay, "127.0.0.0/8", true));
    let addr = server.local_addr();
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
    for header in
        ["EHLO me.test\r\n", "PROXY TCP4 a b c d\r\n", long.as_str(), "\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0"]
    {
        assert_eq!(through(addr, header.as_bytes()).await.reply().await, "", "{header:?}");
    }
    // Words that come with the header come before the greeting.
    let mut client = through(addr, b"PROXY UNKNOWN\r\nEHLO me.test\r\n").await;
    assert!(client.reply().await.starts_with("554 5.5.1"));
    let (server, elsewhere) = start(behind(ListenerKind::Relay, "192.0.2.0/24", true));
    let mut client = raw(server.local_addr()).await;
    assert_eq!(client.reply().await, "", "not a trusted proxy");
    assert!(elsewhere.peers.lock().unwrap().is_empty());
    assert_eq!(memory.peers.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_silent_proxy_is_cut_off_when_the_server_stops() {
    let (server, _memory) = start(behind(ListenerKind::Relay, "127.0.0.0/8", true));
    let mut silent = through(server.local_addr(), b"PROXY").await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    server.stop(Duration::from_millis(50)).await;
    assert_eq!(silent.reply().await, "");
}

#[tokio::test]
async fn the_header_must_come_soon() {
    let mut config = behind(ListenerKind::Relay, "127.0.0.0/8", true);
    config.limits.handshake = Duration::from_millis(100);
    let (server, memory) = start(config);
    let begun = Instant::now();
    let mut slow = through(server.local_addr(), b"PROXY TCP4 ").await;
    assert_eq!(slow.reply().await, "");
    assert!(begun.elapsed() >= Duration::from_millis(90));
    assert!(memory.peers.lock().unwrap().is_empty());
}

#[tokio::test]
async fn connections_count_for_the_client() {
    let mut config = behind(ListenerKind::Relay, "127.0.0.0/8", true);
    config.limits.connections_per_peer = 1;
    let (server, _memory) = start(config);
    let header = |n: u8| format!("PROXY TCP4 192.0.2.{n} 198.51.100.1 4000 25\r\n").into_bytes();
    let mut first = through(server.local_addr(), &header(1)).await;
    assert!(first.reply().await.starts_with("220 "));
    let mut second = through(server.local_addr(), &header(1)).await;
    assert!(second.reply().await.starts_with("421 4.7.0"));
    assert!(through(server.local_addr(), &header(2)).await.reply().await.starts_with("220 "));
    first.expect("QUIT", "221").await;
    drop(first);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(through(server.local_addr(), &header(1)).await.reply().await.starts_with("220 "));
}

async fn over_tls(client: Raw<TcpStream>, authority: &Authority) -> Raw<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.ca.clone().into()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    Raw::over(connector.connect(name, client.stream).await.unwrap())
}

#[tokio::test]
async fn the_header_comes_before_the_handshake() {
    let authority = authority();
    let mut config = behind(ListenerKind::Submissions, "127.0.0.0/8", true);
    config.tls = Some(authority.server.clone());
    let (server, memory) = start(config);
    let client = through(server.local_addr(), &version_2()).await;
    let mut client = over_tls(client, &authority).await;
    assert!(client.reply().await.starts_with("220 "));
    assert_eq!(memory.peers.lock().unwrap()[0].remote, "192.0.2.7:4000".parse().unwrap());
}

#[tokio::test]
async fn xclient_says_who_is_there() {
    let mut config = behind(ListenerKind::Submission, "127.0.0.0/8", false);
    config.limits.connections_per_peer = 2;
    let (server, memory) = start(config);
    let mut client = raw(server.local_addr()).await;
    client.reply().await;
    assert!(client.ask("EHLO proxy.test").await.contains("250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN\r\n"));
    client.expect("XCLIENT NAME=c.test ADDR=192.0.2.1 PORT=4000 LOGIN=u", "220 mx.test").await;
    let peer = memory.peers.lock().unwrap().pop().unwrap();
    assert_eq!(peer.remote, "192.0.2.1:4000".parse().unwrap());
    assert_eq!((peer.name.as_deref(), peer.login.as_deref()), (Some("c.test"), Some("u")));
    assert!(peer.proxy.unwrap().ip().is_loopback());
    client.expect("EHLO c.test", "250").await;
    client.expect("MAIL FROM:<a@a.test>", "250").await;
    client.expect("RCPT TO:<b@b.test>", "250").await;
    client.expect("DATA", "354").await;
    client.expect("x\r\n.", "250").await;
    assert_eq!(memory.received.lock().unwrap()[0].username.as_deref(), Some("u"));
    // What follows may be the client's: it names nobody else, and has no passwords in clear for being
    // behind a proxy on loopback.
    client.expect("XCLIENT ADDR=192.0.2.9 LOGIN=v", "502").await;
    let mut client = raw(server.local_addr()).await;
    client.reply().await;
    client.expect("XCLIENT ADDR=[UNAVAILABLE] LOGIN=[UNAVAILABLE]", "220").await;
    assert_eq!(memory.peers.lock().unwrap().pop().unwrap().remote.ip(), IpAddr::from([0, 0, 0, 0]));
    client.expect("EHLO c.test", "250").await;
    client.expect("AUTH PLAIN AHUAd3Jvbmc=", "538 5.7.11").await;
}

#[tokio::test]
async fn xclient_counts_for_the_client_and_is_for_proxies() {
    let mut config = behind(ListenerKind::Relay, "127.0.0.0/8", false);
    config.limits.connections_per_peer = 1;
    let (server, _memory) = start(config);
    let mut first = raw(server.local_addr()).await;
    first.reply().await;
    first.expect("XCLIENT ADDR=192.0.2.1", "220").await;
    // The place of the proxy is free again, that of the client is not.
    let mut second = raw(server.local_addr()).await;
    assert!(second.reply().await.starts_with("220"));
    second.expect("XCLIENT ADDR=192.0.2.1", "421 4.7.0").await;
    assert_eq!(second.reply().await, "");
    let (server, _memory) = start(behind(ListenerKind::Relay, "192.0.2.0/24", false));
    let mut stranger = raw(server.local_addr()).await;
    stranger.reply().await;
    assert!(!stranger.ask("EHLO me.test").await.contains("XCLIENT"));
    stranger.expect("XCLIENT ADDR=192.0.2.1", "502 5.5.1").await;
}

/// How long it takes until wrong passwords of these clients, all at once, are refused.
async fn guesses(addr: SocketAddr, authority: &Authority, clients: [u8; 3]) -> Duration {
    let mut sessions = Vec::new();
    for client in clients {
        let mut session = over_tls(raw(addr).await, authority).await;
        assert!(session.reply().await.starts_with("220 "));
        session.expect(&format!("XCLIENT ADDR=192.0.2.{client} LOGIN=[UNAVAILABLE]"), "220").await;
        session.expect("EHLO c.test", "250").await;
        sessions.push(session);
    }
    let begun = Instant::now();
    let mut guesses = JoinSet::new();
    for mut session in sessions {
        guesses.spawn(async move { session.expect("AUTH PLAIN AHUAd3Jvbmc=", "535 5.7.8").await });
    }
    assert_eq!(guesses.join_all().await.len(), 3);
    begun.elapsed()
}

#[tokio::test]
async fn failed_logins_under_tls_count_for_the_client_that_xclient_names() {
    let authority = authority();
    let mut config = behind(ListenerKind::Submissions, "127.0.0.0/8", false);
    config.tls = Some(authority.server.clone());
    let (server, _memory) = start(config);
    let addr = server.local_addr();
    // 250 ms for each failure of the same client, one after the other.
    let same = guesses(addr, &authority, [1, 1, 1]).await;
    let others = guesses(addr, &authority, [2, 3, 4]).await;
    assert!(same >= Duration::from_millis(740), "{same:?}");
    assert!(others < same, "clients do not wait for each other: {others:?}, {same:?}");
}
