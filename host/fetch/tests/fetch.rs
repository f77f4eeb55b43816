//! Requests to servers of the test's own, and to places that they must never reach.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use relevo_fetch::{FetchError, FetchLimits, FetchRequest, Fetcher, Method};
use relevo_resolve::{Addresses, MailRoute, Resolve, ResolveError};
use rustls::RootCertStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers every name with the same addresses.
struct Fixed(Vec<IpAddr>);

#[async_trait]
impl Resolve for Fixed {
    async fn route(&self, domain: &str) -> Result<MailRoute, ResolveError> {
        Err(ResolveError::NoMailHost(domain.to_owned()))
    }

    async fn addresses(&self, _: &str) -> Result<Addresses, ResolveError> {
        Ok(Addresses { addresses: self.0.clone(), ttl: Duration::from_secs(60) })
    }

    async fn txt(&self, _: &str) -> Result<Vec<String>, ResolveError> {
        Ok(Vec::new())
    }
}

const LIMITS: FetchLimits =
    FetchLimits { time: Duration::from_secs(20), body: 1_000, cut: false, clear: true };

fn fetcher(addresses: &[&str], allowed: &[&str], roots: RootCertStore) -> Fetcher {
    let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
    let allowed = allowed.iter().map(|n| n.parse().unwrap()).collect();
    Fetcher::new(Arc::new(Fixed(addresses)), roots, allowed).unwrap()
}

fn get(url: String) -> FetchRequest {
    FetchRequest { method: Method::Get, url, headers: Vec::new(), body: Vec::new() }
}

/// Answers every connection with `answer` and counts them. Returns what the first one sent.
async fn server(answer: &'static str) -> (SocketAddr, Arc<AtomicUsize>, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let first = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        counter.fetch_add(1, Ordering::SeqCst);
        let mut seen = Vec::new();
        while !seen.windows(4).any(|w| w == b"\r\n\r\n") {
            let mut buffer = [0; 1024];
            let read = stream.read(&mut buffer).await.unwrap();
            seen.extend_from_slice(&buffer[..read]);
            if read == 0 {
                break;
            }
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        String::from_utf8(seen).unwrap()
    });
    (address, count, first)
}

#[tokio::test]
async fn an_answer_comes_back_whole() {
    let (at, _, seen) = server("HTTP/1.1 202 Accepted\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello").await;
    let fetcher = fetcher(&["127.0.0.1"], &["127.0.0.0/8"], RootCertStore::empty());
    let request = FetchRequest {
        method: Method::Post,
        url: format!("http://hooks.example.com:{}/a/b?c=d", at.port()),
        headers: vec![("webhook-id".to_owned(), "msg_1".to_owned())],
        body: b"{}".to_vec(),
    };
    let response = fetcher.send(request, LIMITS).await.unwrap();
    assert_eq!(
        (response.status, response.header("x-a"), &response.body[..]),
        (202, Some("b"), &b"hello"[..])
    );
    let seen = seen.await.unwrap();
    let port = at.port();
    assert!(seen.starts_with("POST /a/b?c=d HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains(&format!("host: hooks.example.com:{port}\r\n")), "{seen}");
    assert!(seen.contains("webhook-id: msg_1\r\n") && seen.contains("content-length: 2\r\n"), "{seen}");
}

#[tokio::test]
async fn no_form_of_an_inner_address_is_connected_to() {
    let (at, count, _seen) = server("HTTP/1.1 200 OK\r\n\r\n").await;
    let fetcher = fetcher(&["8.8.8.8"], &[], RootCertStore::empty());
    let port = at.port();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
        "169.254.169.254",
        "[fd00::1]",
        "10.0.0.1",
        "１２７.0.0.1",
    ] {
        let result = fetcher.send(get(format!("http://{host}:{port}/")), LIMITS).await;
        assert!(matches!(result, Err(FetchError::Inner { .. })), "{host}: {result:?}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_name_that_points_inwards_is_refused() {
    let (at, count, _seen) = server("HTTP/1.1 200 OK\r\n\r\n").await;
    for addresses in [["127.0.0.1", "10.0.0.1"], ["::1", "::ffff:127.0.0.1"]] {
        let fetcher = fetcher(&addresses, &["10.1.0.0/16"], RootCertStore::empty());
        let result = fetcher.send(get(format!("http://rebound.example.com:{}/", at.port())), LIMITS).await;
        assert!(matches!(result, Err(FetchError::Inner { .. })), "{result:?}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let (inner, inner_count, _inner_seen) = server("HTTP/1.1 200 OK\r\n\r\n").await;
    let answer = format!(
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{}/\r\nContent-Length: 0\r\n\r\n",
        inner.port()
    );
    let (at, _, _seen) = server(Box::leak(answer.into_boxed_str())).await;
    let fetcher = fetcher(&["127.0.0.1"], &["127.0.0.0/8"], RootCertStore::empty());
    let response = fetcher.send(get(format!("http://a.example.com:{}/", at.port())), LIMITS).await.unwrap();
    assert_eq!(response.status, 302);
    assert_eq!(inner_count.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_body_has_a_limit_however_it_is_framed() {
    let long = "x".repeat(1_001);
    let answers = [
        format!("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n{long}"),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n{long}\r\n0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{long}"),
    ];
    for answer in answers {
        let (at, _, _seen) = server(Box::leak(answer.into_boxed_str())).await;
        let fetcher = fetcher(&["127.0.0.1"], &["127.0.0.0/8"], RootCertStore::empty());
        let result = fetcher.send(get(format!("http://a.example.com:{}/", at.port())), LIMITS).await;
        assert!(matches!(result, Err(FetchError::TooLarge(1_000))), "{result:?}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_costs_no_more_than_the_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let fetcher = fetcher(&["127.0.0.1"], &["127.0.0.0/8"], RootCertStore::empty());
    let limits = FetchLimits { time: Duration::from_millis(50), ..LIMITS };
    let result = fetcher.send(get(format!("http://a.example.com:{port}/")), limits).await;
    assert!(matches!(result, Err(FetchError::Timeout(_))), "{result:?}");
    drop(listener);
}

#[tokio::test]
async fn urls_and_fields_that_cannot_be_sent_are_permanent_errors() {
    let fetcher = fetcher(&["127.0.0.1"], &["127.0.0.0/8"], RootCertStore::empty());
    let https = FetchLimits { clear: false, ..LIMITS };
    for url in [
        "",
        "hooks",
        "ftp://a.example.com/",
        "file:///etc/passwd",
        "http://a.example.com/",
        "https://u:p@a.example.com/",
    ] {
        let error = fetcher.send(get(url.to_owned()), https).await.unwrap_err();
        assert!(error.is_permanent(), "{url}: {error}");
    }
    for (name, value) in
        [("x\r\ny", "1"), ("x", "1\r\ny: 2"), ("Host", "b"), ("Content-Length", "9"), ("", "1")]
    {
        let headers = vec![(name.to_owned(), value.to_owned())];
        let request = FetchRequest { headers, ..get("https://a.example.com/".to_owned()) };
        let error = fetcher.send(request, https).await.unwrap_err();
        assert!(matches!(error, FetchError::Header(_)), "{name:?}: {error}");
    }
}

#[tokio::test]
async fn the_certificate_is_verified_for_the_host() {
    let key = rcgen::generate_simple_self_signed(vec!["hooks.example.com".to_owned()]).unwrap();
    let certificate = key.cert.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let private = rustls_pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], private)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = tokio::spawn(async move {
        for _ in 0..3 {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            let _ = stream.shutdown().await;
        }
    });
    let known = fetcher(&["127.0.0.1"], &["127.0.0.0/8"], roots);
    let good = known.send(get(format!("https://hooks.example.com:{port}/")), LIMITS).await;
    assert_eq!(good.unwrap().status, 204);
    let other = known.send(get(format!("https://other.example.com:{port}/")), LIMITS).await;
    assert!(matches!(other, Err(FetchError::Tls { .. })), "{other:?}");
    let unknown = fetcher(&["127.0.0.1"], &["127.0.0.0/8"], RootCertStore::empty());
    let unknown = unknown.send(get(format!("https://hooks.example.com:{port}/")), LIMITS).await;
    assert!(matches!(unknown, Err(FetchError::Tls { .. })), "{unknown:?}");
    serve.await.unwrap();
}
