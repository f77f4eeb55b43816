//! Key exchange and sessions of TLS, against a server that tells what it sees.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;

use common::{Raw, authority, client, listener, start, target, trusting, trusting_nobody};
use relevo_smtp::client::{Connection, DialogueStep, Tls, TlsFailure, TlsPolicy};
use relevo_smtp::server::ListenerKind;
use rustls::{HandshakeKind, NamedGroup};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// What a server saw of a handshake.
#[derive(Debug, PartialEq)]
struct Seen {
    kind: HandshakeKind,
    group: NamedGroup,
}

/// Serves TLS from the first octet, with sessions that could be resumed. One that is `old` hangs up
/// on a first message that does not fit into one packet. Returns whom to trust, too.
async fn server(old: bool) -> (SocketAddr, Tls, mpsc::UnboundedReceiver<Option<Seen>>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let tcp = listener.accept().await.unwrap().0;
            let mut head = [0; 5];
            while tcp.peek(&mut head).await.unwrap() < head.len() {}
            // With its five octets the record does not fit into a segment of Ethernet.
            if old && u16::from_be_bytes([head[3], head[4]]) > 1455 {
                tell.send(None).unwrap();
                continue;
            }
            let Ok(tls) = acceptor.accept(tcp).await else { continue };
            let state = tls.get_ref().1;
            let kind = state.handshake_kind().unwrap();
            let group = state.negotiated_key_exchange_group().unwrap().name();
            let mut raw = Raw::over(tls);
            raw.send("220 hi\r\n").await;
            raw.line().await;
            raw.send("250 odd\r\n").await;
            tell.send(Some(Seen { kind, group })).unwrap();
            tokio::spawn(async move { raw.line().await });
        }
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    (addr, Tls::with_roots(roots), told)
}

#[tokio::test]
async fn our_client_and_server_use_the_hybrid() {
    let ours = authority();
    let (server, _memory) = start(listener(ListenerKind::Relay, Some(ours.server.clone())));
    let target = target(server.local_addr(), TlsPolicy::Verified);
    let connection = Connection::open(&target, &client(), None, &trusting(&ours)).await.unwrap();
    assert_eq!(connection.key_exchange().as_deref(), Some("X25519MLKEM768"));
}

#[tokio::test]
async fn a_receiver_that_reads_no_large_message_has_a_smaller_one() {
    let (addr, tls, mut told) = server(true).await;
    let connection =
        Connection::open(&target(addr, TlsPolicy::Implicit), &client(), None, &tls).await.unwrap();
    assert_eq!(told.recv().await.unwrap(), None, "the hybrid was tried");
    let seen = told.recv().await.unwrap().unwrap();
    assert_eq!((seen.group, connection.key_exchange().as_deref()), (NamedGroup::X25519, Some("X25519")));
    assert!(connection.tls().verified);
}

#[tokio::test]
async fn a_certificate_is_not_asked_for_twice() {
    let (addr, _, mut told) = server(false).await;
    let opened =
        Connection::open(&target(addr, TlsPolicy::Implicit), &client(), None, &trusting_nobody()).await;
    let failure = opened.unwrap_err();
    assert_eq!(
        (failure.command, failure.tls),
        (DialogueStep::Handshake, Some(TlsFailure::CertificateUntrusted))
    );
    assert!(told.try_recv().is_err());
}

/// A session that was opened without verification would carry mail that needs it.
#[tokio::test]
async fn sessions_are_not_resumed() {
    let (addr, tls, mut told) = server(false).await;
    for round in 0..3 {
        let mut connection =
            Connection::open(&target(addr, TlsPolicy::Implicit), &client(), None, &tls).await.unwrap();
        // The tickets are read with what the server says next.
        assert!(connection.is_alive().await, "{round}");
        let seen = told.recv().await.unwrap().unwrap();
        assert_ne!(seen.kind, HandshakeKind::Resumed, "{round}");
        connection.quit().await;
    }
}
