//! The server over loopback, with a client that does as it likes.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Raw, authority, listener, raw, start};
use relevo_smtp::server::{AuthThrottle, ListenerConfig, ListenerKind, ListenerLimits, Server};
use rustls_pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

fn limited(kind: ListenerKind, limits: ListenerLimits) -> ListenerConfig {
    ListenerConfig { limits, ..listener(kind, None) }
}

async fn wrap(stream: TcpStream, authority: &common::Authority) -> Raw<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.ca.clone().into()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    Raw::over(TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap())
}

#[tokio::test]
async fn a_message_in_one_group_after_another() {
    let (server, memory) = start(listener(ListenerKind::Relay, None));
    let mut client = raw(server.local_addr()).await;
    assert_eq!(client.reply().await, "220 mx.test ESMTP Relevo\r\n");
    let ehlo = client.expect("EHLO me.test", "250-mx.test\r\n").await;
    assert!(ehlo.contains("250-PIPELINING\r\n") && ehlo.contains("250-SIZE 52428800\r\n"), "{ehlo}");
    assert!(!ehlo.contains("AUTH") && !ehlo.contains("STARTTLS"), "{ehlo}");
    client.send("MAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\nRCPT TO:<refuse@b.test>\r\nDATA\r\n").await;
    for prefix in ["250 2.1.0", "250 2.1.5", "550 5.1.1", "354 "] {
        assert!(client.reply().await.starts_with(prefix));
    }
    // RFC 2920: MAIL may follow the final dot.
    client.send("Subject: x\r\n\r\n..dot\r\n.\r\nMAIL FROM:<c@a.test>\r\nRSET\r\n").await;
    for prefix in ["250 2.0.0 Queued", "250 2.1.0", "250 2.0.0"] {
        assert!(client.reply().await.starts_with(prefix));
    }
    client.expect("QUIT", "221 2.0.0").await;
    assert_eq!(client.reply().await, "");
    let received = memory.received.lock().unwrap().clone();
    assert_eq!(received.len(), 1);
    assert_eq!(
        (received[0].from.as_str(), received[0].to.as_slice()),
        ("a@a.test", &["b@b.test".to_owned()][..])
    );
    assert_eq!(received[0].body, b"Subject: x\r\n\r\n.dot\r\n");
}

#[tokio::test]
async fn submission_with_starttls_and_auth() {
    let authority = authority();
    let (server, memory) = start(listener(ListenerKind::Submission, Some(authority.server.clone())));
    let mut clear = raw(server.local_addr()).await;
    clear.reply().await;
    let ehlo = clear.expect("EHLO me.test", "250").await;
    // The peer is loopback.
    assert!(ehlo.contains("STARTTLS") && ehlo.contains("AUTH PLAIN LOGIN"), "{ehlo}");
    clear.expect("MAIL FROM:<a@a.test>", "530 5.7.0").await;
    clear.expect("STARTTLS", "220 2.0.0").await;
    let mut client = wrap(clear.stream, &authority).await;
    client.expect("MAIL FROM:<a@a.test>", "503 5.5.1").await;
    let ehlo = client.expect("EHLO me.test", "250").await;
    assert!(!ehlo.contains("STARTTLS") && ehlo.contains("AUTH"), "{ehlo}");
    client.expect("AUTH LOGIN", "334 VXNlcm5hbWU6").await;
    client.expect("dQ==", "334 UGFzc3dvcmQ6").await;
    client.expect("c2VjcmV0", "235 2.7.0").await;
    client.expect("AUTH PLAIN AHUAc2VjcmV0", "503 5.5.1").await;
    client.expect("MAIL FROM:<a@a.test>", "250").await;
    client.expect("RCPT TO:<b@b.test>", "250").await;
    client.expect("DATA", "354").await;
    client.expect("x\r\n.", "250").await;
    let received = memory.received.lock().unwrap().clone();
    assert_eq!((received[0].username.as_deref(), received[0].tls), (Some("u"), true));
}

#[tokio::test]
async fn commands_injected_before_the_handshake_are_not_run() {
    let authority = authority();
    let (server, memory) = start(listener(ListenerKind::Submission, Some(authority.server.clone())));
    let mut client = raw(server.local_addr()).await;
    client.reply().await;
    client.expect("EHLO me.test", "250").await;
    client.send("STARTTLS\r\nRSET\r\nMAIL FROM:<evil@a.test>\r\n").await;
    assert!(client.reply().await.starts_with("554 5.5.1"));
    assert_eq!(client.reply().await, "", "closed");
    assert!(memory.received.lock().unwrap().is_empty());
}

#[tokio::test]
async fn implicit_tls_and_a_new_certificate() {
    let (old, new) = (authority(), authority());
    let (server, _memory) = start(listener(ListenerKind::Submissions, Some(old.server.clone())));
    let mut client = wrap(TcpStream::connect(server.local_addr()).await.unwrap(), &old).await;
    assert!(client.reply().await.starts_with("220 "));
    server.set_tls(&new.server).unwrap();
    let mut second = wrap(TcpStream::connect(server.local_addr()).await.unwrap(), &new).await;
    assert!(second.reply().await.starts_with("220 "));
    client.expect("NOOP", "250").await;
    assert!(
        Server::bind(listener(ListenerKind::Submissions, None), Arc::new(common::Memory::default())).is_err()
    );
}

#[tokio::test]
async fn early_talkers_are_turned_away() {
    let (server, _memory) = start(listener(ListenerKind::Relay, None));
    let mut refused = 0;
    for _ in 0..20 {
        let stream = std::net::TcpStream::connect(server.local_addr()).unwrap();
        std::io::Write::write_all(&mut &stream, b"EHLO me.test\r\n").unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut client = Raw::over(TcpStream::from_std(stream).unwrap());
        refused += u32::from(client.reply().await.starts_with("554 5.5.1"));
    }
    // The server runs on this very thread, so it cannot have greeted before the words were written.
    assert_eq!(refused, 20);
}

#[tokio::test]
async fn a_smuggled_message_is_refused_and_the_connection_closed() {
    let (server, memory) = start(listener(ListenerKind::Relay, None));
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n"] {
        let mut client = raw(server.local_addr()).await;
        client.reply().await;
        client.expect("EHLO me.test", "250").await;
        client.expect("MAIL FROM:<a@a.test>", "250").await;
        client.expect("RCPT TO:<b@b.test>", "250").await;
        client.expect("DATA", "354").await;
        let smuggled = "MAIL FROM:<x@a.test>\r\nRCPT TO:<y@b.test>\r\nDATA\r\nsecond\r\n.\r\n";
        for part in ["Subject: first\r\n\r\nx", end, smuggled] {
            client.send(part).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(client.reply().await.starts_with("550 5.5.2"), "{end:?}");
        assert_eq!(client.reply().await, "", "{end:?}: closed");
    }
    assert!(memory.received.lock().unwrap().is_empty());
}

#[tokio::test]
async fn large_messages_come_in_bounded_chunks() {
    let (server, memory) = start(listener(ListenerKind::Relay, None));
    let mut client = raw(server.local_addr()).await;
    client.reply().await;
    client.expect("EHLO me.test", "250").await;
    client.expect("MAIL FROM:<a@a.test> SIZE=99999999", "552 5.3.4").await;
    client.expect("MAIL FROM:<a@a.test>", "250").await;
    client.expect("RCPT TO:<b@b.test>", "250").await;
    client.expect("DATA", "354").await;
    let line = format!("{}\r\n", "x".repeat(998));
    let body = line.repeat(5000);
    client.send(&body).await;
    client.expect(".", "250").await;
    assert_eq!(memory.received.lock().unwrap()[0].body, body.as_bytes());
    assert!(*memory.largest_chunk.lock().unwrap() <= 64 * 1024);
}

#[tokio::test]
async fn too_large_by_octets_and_store_errors_leave_a_usable_session() {
    let limits = ListenerLimits::default();
    let session = relevo_proto::server::SessionLimits { message_size: 100, ..limits.session };
    let (server, memory) = start(limited(ListenerKind::Relay, ListenerLimits { session, ..limits }));
    let mut client = raw(server.local_addr()).await;
    client.reply().await;
    client.expect("EHLO me.test", "250").await;
    for (from, body, reply) in [
        ("a@a.test", "x".repeat(101), "552 5.3.4"),
        ("disk@a.test", "x".to_owned(), "452 4.3.1"),
        ("spam@a.test", "x".to_owned(), "550 5.7.1"),
        ("a@a.test", "x".to_owned(), "250 2.0.0"),
    ] {
        client.expect(&format!("MAIL FROM:<{from}>"), "250").await;
        client.expect("RCPT TO:<b@b.test>", "250").await;
        client.expect("DATA", "354").await;
        client.expect(&format!("{body}\r\n."), reply).await;
        client.expect("RCPT TO:<b@b.test>", "503 5.5.1").await;
        client.expect("DATA", "503 5.5.1").await;
    }
    let received = memory.received.lock().unwrap();
    assert_eq!(
        (received.len(), received[0].to.len()),
        (1, 1),
        "no recipients left over from refused messages"
    );
}

#[tokio::test]
async fn failed_logins_wait_longer_each_time() {
    let throttle = Arc::new(AuthThrottle::default());
    let (server, _memory) = start(ListenerConfig { throttle, ..listener(ListenerKind::Submission, None) });
    let mut client = raw(server.local_addr()).await;
    client.reply().await;
    client.expect("EHLO me.test", "250").await;
    let mut times = Vec::new();
    for _ in 0..6 {
        let begun = Instant::now();
        client.expect("AUTH PLAIN AHUAd3Jvbmc=", "535 5.7.8").await;
        times.push(begun.elapsed());
    }
    assert!(times[0] >= Duration::from_millis(240) && times[5] >= Duration::from_millis(990), "{times:?}");
    client.expect("AUTH PLAIN AHUAc2VjcmV0", "235").await;
}

#[tokio::test]
async fn connection_limits() {
    let limits = ListenerLimits { connections_per_peer: 2, ..ListenerLimits::default() };
    let (server, _memory) = start(limited(ListenerKind::Relay, limits));
    let mut first = raw(server.local_addr()).await;
    let mut second = raw(server.local_addr()).await;
    assert!(first.reply().await.starts_with("220") && second.reply().await.starts_with("220"));
    let mut third = raw(server.local_addr()).await;
    assert!(third.reply().await.starts_with("421 4.7.0"));
    assert_eq!(third.reply().await, "");
    first.expect("QUIT", "221").await;
    drop(first);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(raw(server.local_addr()).await.reply().await.starts_with("220"));
}

#[tokio::test]
async fn idle_slow_and_old_sessions_end() {
    let limits = ListenerLimits { idle: Duration::from_millis(100), ..ListenerLimits::default() };
    let (server, _memory) = start(limited(ListenerKind::Relay, limits));
    let mut client = raw(server.local_addr()).await;
    client.reply().await;
    assert!(client.reply().await.starts_with("421 4.4.2"));
    assert_eq!(client.reply().await, "");

    let limits = ListenerLimits { total: Duration::from_millis(200), ..ListenerLimits::default() };
    let (server, _memory) = start(limited(ListenerKind::Relay, limits));
    let mut client = raw(server.local_addr()).await;
    client.reply().await;
    tokio::time::sleep(Duration::from_millis(120)).await;
    client.expect("NOOP", "250").await;
    assert!(client.reply().await.starts_with("421 4.4.2"));

    let grace = Duration::from_millis(1100);
    let limits = ListenerLimits { slow_grace: grace, min_rate: 1000, ..ListenerLimits::default() };
    let (server, memory) = start(limited(ListenerKind::Relay, limits));
    let mut client = raw(server.local_addr()).await;
    client.reply().await;
    client.expect("EHLO me.test", "250").await;
    client.expect("MAIL FROM:<a@a.test>", "250").await;
    client.expect("RCPT TO:<b@b.test>", "250").await;
    client.expect("DATA", "354").await;
    for _ in 0..14 {
        // The server may have closed by the last one.
        let _ = client.stream.write_all(b"drip\r\n").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(client.reply().await.starts_with("421 4.4.2"));
    assert!(memory.received.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_panic_takes_down_one_session() {
    let (server, memory) = start(listener(ListenerKind::Relay, None));
    let mut other = raw(server.local_addr()).await;
    other.reply().await;
    let mut client = raw(server.local_addr()).await;
    client.reply().await;
    client.expect("EHLO me.test", "250").await;
    client.expect("MAIL FROM:<a@a.test>", "250").await;
    assert_eq!(client.ask("RCPT TO:<panic@b.test>").await, "");
    other.expect("EHLO me.test", "250").await;
    other.expect("MAIL FROM:<a@a.test>", "250").await;
    assert!(raw(server.local_addr()).await.reply().await.starts_with("220"));
    assert!(memory.received.lock().unwrap().is_empty());
}

#[tokio::test]
async fn stopping_lets_messages_finish() {
    let (server, memory) = start(listener(ListenerKind::Relay, None));
    let addr = server.local_addr();
    let mut idle = raw(addr).await;
    idle.reply().await;
    let mut busy = raw(addr).await;
    busy.reply().await;
    busy.expect("EHLO me.test", "250").await;
    busy.expect("MAIL FROM:<a@a.test>", "250").await;
    busy.expect("RCPT TO:<b@b.test>", "250").await;
    let mut waiting = raw(addr).await;
    waiting.reply().await;
    waiting.expect("EHLO me.test", "250").await;
    waiting.expect("MAIL FROM:<a@a.test>", "250").await;
    busy.expect("DATA", "354").await;
    busy.send("half a ").await;
    let stopping = tokio::spawn(server.stop(Duration::from_secs(20)));
    assert!(idle.reply().await.starts_with("421 4.3.2"));
    waiting.expect("RCPT TO:<b@b.test>", "421 4.3.2").await;
    busy.expect("message\r\n.", "250").await;
    assert!(busy.reply().await.starts_with("421 4.3.2"));
    assert_eq!(busy.reply().await, "");
    drop((idle, busy, waiting));
    stopping.await.unwrap();
    assert!(TcpStream::connect(addr).await.is_err());
    assert_eq!(memory.received.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn draining_has_an_end() {
    let (server, _memory) = start(listener(ListenerKind::Relay, None));
    let mut client = raw(server.local_addr()).await;
    client.reply().await;
    client.expect("EHLO me.test", "250").await;
    client.expect("MAIL FROM:<a@a.test>", "250").await;
    let begun = Instant::now();
    let ended = server.ended();
    server.stop(Duration::from_millis(200)).await;
    ended.await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(client.reply().await, "");
}

#[tokio::test]
async fn errors_and_idle_commands_add_up() {
    let (server, _memory) = start(listener(ListenerKind::Relay, None));
    let mut client = raw(server.local_addr()).await;
    client.reply().await;
    for _ in 0..20 {
        client.expect("XYZZY", "500 5.5.1").await;
    }
    client.expect("XYZZY", "421 4.7.0").await;
    assert_eq!(client.reply().await, "");
    let mut client = raw(server.local_addr()).await;
    client.reply().await;
    for _ in 0..100 {
        client.expect("NOOP", "250").await;
    }
    client.expect("NOOP", "421 4.7.0").await;
    assert_eq!(client.reply().await, "");
}

#[tokio::test]
async fn a_message_in_chunks() {
    let mut config = listener(ListenerKind::Relay, None);
    config.offers.chunking = true;
    config.offers.binarymime = true;
    config.limits.session.message_size = 200_000;
    let (server, memory) = start(config);
    let mut client = raw(server.local_addr()).await;
    client.reply().await;
    assert!(client.ask("EHLO me.test").await.contains("CHUNKING\r\n250 BINARYMIME"));
    let body = vec![b'\n'; 150_000];
    client.send("MAIL FROM:<a@a.test> BODY=BINARYMIME\r\nRCPT TO:<b@b.test>\r\n").await;
    for part in body.chunks(100_000) {
        client.send(format!("BDAT {}\r\n", part.len())).await;
        client.send(part).await;
    }
    client.send("BDAT 0 LAST\r\n").await;
    for prefix in ["250 2.1.0", "250 2.1.5", "250 2.0.0 100000 octets", "250 2.0.0 50000", "250 2.0.0 Queued"]
    {
        assert!(client.reply().await.starts_with(prefix), "{prefix}");
    }
    assert_eq!(memory.received.lock().unwrap().pop().unwrap().body, body);
    assert!(*memory.largest_chunk.lock().unwrap() <= 64 * 1024);
    // A refusal leaves nothing behind, and the session goes on.
    client
        .send("MAIL FROM:<disk@a.test>\r\nRCPT TO:<b@b.test>\r\nBDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\n")
        .await;
    for prefix in ["250 2.1.0", "250 2.1.5", "452 4.3.1", "503 5.5.1"] {
        assert!(client.reply().await.starts_with(prefix), "{prefix}");
    }
    client.expect("RCPT TO:<b@b.test>", "503 5.5.1").await;
    client.send("MAIL FROM:<a@a.test>\r\nRCPT TO:<c@b.test>\r\nBDAT 3 LAST\r\nx\r\n").await;
    for prefix in ["250 2.1.0", "250 2.1.5", "250 2.0.0 Queued"] {
        assert!(client.reply().await.starts_with(prefix), "{prefix}");
    }
    let received = memory.received.lock().unwrap().pop().unwrap();
    assert_eq!((received.to, received.body), (vec!["c@b.test".to_owned()], b"x\r\n".to_vec()));
}
