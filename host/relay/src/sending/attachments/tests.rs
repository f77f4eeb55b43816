//! URLs of a server of the test's own.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use relevo_api::{Limits, check};
use rustls::RootCertStore;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::testing::NoNames;

/// Answers every request with its path as the body; below `/missing` with 404.
struct Server {
    at: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Server {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let mut seen = Vec::new();
                while !seen.ends_with(b"\r\n\r\n") {
                    seen.push(stream.read_u8().await.expect("a whole request"));
                }
                let seen = String::from_utf8(seen).expect("text");
                let path = seen.split(' ').nth(1).expect("a path");
                let status = if path.starts_with("/missing") { "404 Not Found" } else { "200 OK" };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{path}", path.len());
                // A client that has read enough may be gone.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { at, requests }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn downloads(slots: &FetchSlots, tenant: &str) -> Downloads {
    let allowed = vec![IpAddr::from([127, 0, 0, 1]).into()];
    let fetcher = Fetcher::new(Arc::new(NoNames), RootCertStore::empty(), allowed).expect("TLS");
    Downloads { clear: true, ..Downloads::new(fetcher, slots, tenant) }
}

fn request(urls: &[String]) -> CheckedRequest {
    let attachments: Vec<_> = urls.iter().map(|url| json!({"filename": "a", "path": url})).collect();
    let request = json!({"from": "a@example.com", "to": "b@example.net", "subject": "s", "text": "t",
        "attachments": attachments});
    let request = relevo_api::json::read(request.to_string().as_bytes()).expect("a request");
    check::check(request, &Limits::default(), 0).expect("valid")
}

fn refused(param: &str, message: &str) -> SendRefusal {
    SendRefusal::invalid(param, message)
}

#[tokio::test]
async fn a_url_is_fetched_once_for_all_entries() {
    let server = Server::new().await;
    let mut downloads = downloads(&FetchSlots::default(), "acme");
    let request = request(&[server.url("/one"), server.url("/three"), server.url("/one")]);
    let mut octets = 100;
    let first = downloads.load(&request, &mut octets).await.expect("fetched");
    let found: Vec<&[u8]> = first.iter().flatten().map(|octets| octets.as_slice()).collect();
    assert_eq!(found, [b"/one".as_slice(), b"/three", b"/one"]);
    let again = downloads.load(&request, &mut octets).await.expect("known");
    assert_eq!((again, server.requests(), octets), (first, 2, 90));
}

#[tokio::test]
async fn a_url_that_fails_is_asked_once_and_counts() {
    let server = Server::new().await;
    let mut downloads = downloads(&FetchSlots::default(), "acme");
    let request = request(&[server.url("/one"), server.url("/missing")]);
    let mut octets = 100;
    for _ in 0..2 {
        let refusal = downloads.load(&request, &mut octets).await;
        assert_eq!(refusal, Err(refused("attachments[1].path", "the URL answers 404, not 200")));
    }
    assert_eq!((server.requests(), octets), (2, 88));
}

#[tokio::test]
async fn what_is_fetched_has_the_octets_of_the_request() {
    let server = Server::new().await;
    let mut downloads = downloads(&FetchSlots::default(), "acme");
    let mut octets = 7;
    downloads.load(&request(&[server.url("/one")]), &mut octets).await.expect("4 octets");
    let refusal = downloads.load(&request(&[server.url("/two")]), &mut octets).await;
    let message = "the answer has more than the 3 octets that are left for the request";
    assert_eq!((refusal, octets), (Err(refused("attachments[0].path", message)), 0));
}

#[tokio::test]
async fn given_and_fetched_attachments_share_a_bound() {
    let server = Server::new().await;
    let mut downloads = downloads(&FetchSlots::default(), "acme");
    let mut request = request(&[server.url("/given"), server.url("/one")]);
    request.request.attachments[0].path = None;
    let mut octets = u64::MAX;
    request.attachments[0] = Some(vec![0; MAX_OCTETS - 4]);
    let found = downloads.load(&request, &mut octets).await.expect("just enough");
    assert_eq!(found, [None, Some(Arc::new(b"/one".to_vec()))]);
    request.attachments[0] = Some(vec![0; MAX_OCTETS - 3]);
    let refusal = downloads.load(&request, &mut octets).await;
    let message = "the attachments have more than 40000000 octets in all";
    assert_eq!(refusal, Err(refused("attachments[1].path", message)));
}

#[tokio::test]
async fn no_url_is_asked_after_the_time_of_the_request() {
    let server = Server::new().await;
    let mut downloads = downloads(&FetchSlots::default(), "acme");
    let mut octets = 100;
    downloads.load(&request(&[server.url("/one")]), &mut octets).await.expect("fetched");
    downloads.time = Duration::ZERO;
    let refusal = downloads.load(&request(&[server.url("/two")]), &mut octets).await;
    let message = "the 60 seconds for all URLs of the request are over";
    assert_eq!(refusal, Err(refused("attachments[0].path", message)));
    downloads.load(&request(&[server.url("/one")]), &mut octets).await.expect("known");
    assert_eq!(server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_tenant_wait_for_each_other() {
    let slots = FetchSlots::default();
    let nowhere = request(&["https://nowhere.example/".to_owned()]);
    let mut others = Vec::new();
    for _ in 0..TENANT_SLOTS {
        let mut other = downloads(&slots, "acme");
        let unknown = other.load(&nowhere, &mut 100).await.expect_err("no such name");
        assert!(matches!(unknown, SendRefusal::Invalid(_)), "{unknown:?}");
        others.push(other);
    }
    let late = downloads(&slots, "acme").load(&nowhere, &mut 100).await;
    assert_eq!(late, Err(no_slot()));
    let another = downloads(&slots, "other").load(&nowhere, &mut 100).await;
    assert!(matches!(another, Err(SendRefusal::Invalid(_))), "{another:?}");
    let mut waiting = downloads(&slots, "acme");
    let mut octets = 100;
    let (found, ()) = tokio::join!(waiting.load(&nowhere, &mut octets), async { drop(others.pop()) });
    assert!(matches!(found, Err(SendRefusal::Invalid(_))), "{found:?}");
}

#[test]
fn the_different_urls_of_a_batch_are_counted() {
    let urls = |range: std::ops::Range<usize>| -> Vec<String> {
        range.map(|n| format!("https://example.com/{n}")).collect()
    };
    let mut batch = vec![(request(&urls(0..60)), 0), (request(&urls(20..100)), 1)];
    assert_eq!(count_urls(&batch), Ok(()));
    batch.push((request(&[urls(0..1), urls(100..101)].concat()), 7));
    let message = "the batch names more than 100 different URLs";
    assert_eq!(count_urls(&batch), Err(refused("[7].attachments[1].path", message)));
}
