use std::net::SocketAddr;

use rustls::RootCertStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::testing::{NoNames, ScriptedStages};

const MESSAGE: &[u8] = b"Subject: x\r\n\r\nx\r\n";

/// A server that reads a request until `end` and answers with `answer`.
async fn server(end: &'static str, answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let (mut read, mut chunk) = (Vec::new(), [0; 4096]);
        while !String::from_utf8_lossy(&read).ends_with(end) {
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(octets) => read.extend_from_slice(&chunk[..octets]),
            }
        }
        let _ = stream.write_all(answer.as_bytes()).await;
    });
    addr
}

fn inspection(filters: SpamFilters) -> ContentInspection {
    let allowed = vec!["127.0.0.0/8".parse().expect("a network")];
    let fetcher = Fetcher::new(Arc::new(NoNames), RootCertStore::empty(), allowed).expect("a fetcher");
    let sandbox = Sandbox::new(Arc::new(ScriptedStages::default()));
    ContentInspection::new(sandbox).with_spam_filters(filters, fetcher)
}

async fn inspect(filters: SpamFilters) -> Inspection {
    inspection(filters).inspect("acme", MESSAGE.to_vec(), ContentOptions::default()).await.expect("an answer")
}

#[tokio::test]
async fn both_filters_are_asked() {
    let spamd = server("\r\n\r\nx\r\n", "SPAMD/1.1 0 EX_OK\r\nSpam: True ; 6.1 / 5.0\r\n\r\nA,B\r\n").await;
    let body = "{\"score\":8,\"required_score\":15,\"symbols\":{\"C\":{\"score\":8}}}";
    let http = "HTTP/1.1 200 OK\r\nContent-Length: 59\r\nConnection: close\r\n\r\n";
    assert_eq!(body.len(), 59);
    let answer: &'static str = Box::leak(format!("{http}{body}").into_boxed_str());
    let rspamd = server("\r\n\r\nx\r\n", answer).await;
    let found = inspect(SpamFilters {
        spamassassin: Some(spamd.to_string()),
        rspamd: Some(format!("http://{rspamd}")),
    })
    .await;
    assert_eq!(found.unanswered, []);
    assert_eq!(
        found.scores.iter().map(|s| (s.filter, s.score)).collect::<Vec<_>>(),
        [("spamassassin", 6.1), ("rspamd", 8.0)]
    );
    let severities: Vec<_> = found.findings.iter().map(|f| (f.severity, f.message.as_str())).collect();
    assert_eq!(
        severities,
        [
            (
                Severity::Error,
                "spamassassin gives 6.1 points, and 5.0 make spam. Change what its rules found: A, B."
            ),
            (
                Severity::Warning,
                "rspamd gives 8.0 points, and 15.0 make spam. Change what its rules found: C."
            ),
        ]
    );
}

#[tokio::test]
async fn a_filter_that_is_away_is_named_and_nothing_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closed = listener.local_addr().expect("an address");
    drop(listener);
    let strange = server("\r\n\r\nx\r\n", "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n").await;
    let found = inspect(SpamFilters {
        spamassassin: Some(closed.to_string()),
        rspamd: Some(format!("http://{strange}")),
    })
    .await;
    assert_eq!((found.findings.len(), found.scores.len()), (0, 0));
    assert_eq!(
        found.unanswered.iter().map(|(filter, _)| *filter).collect::<Vec<_>>(),
        ["spamassassin", "rspamd"]
    );
    assert!(found.unanswered[1].1.ends_with("answers 500"), "{:?}", found.unanswered);
}

/// A server that takes what comes and sends `answer`, then nothing more.
async fn silent(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        let (mut read, mut write) = stream.into_split();
        let _ = write.write_all(&answer).await;
        let _ = tokio::io::copy(&mut read, &mut tokio::io::sink()).await;
        std::future::pending::<()>().await;
    });
    addr
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_is_slow_is_given_up() {
    let (spamd, rspamd) = (silent(Vec::new()).await, silent(b"HTTP/1.1 200 OK\r\n".to_vec()).await);
    let found = inspect(SpamFilters {
        spamassassin: Some(spamd.to_string()),
        rspamd: Some(format!("http://{rspamd}")),
    })
    .await;
    assert_eq!(found.scores, []);
    assert_eq!(found.unanswered.len(), 2);
    assert_eq!(found.unanswered[0].1, "it did not answer in 15 seconds");
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let endless = vec![b'x'; 8 << 20];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", endless.len());
    let http = [head.as_bytes(), &endless].concat();
    let found = inspect(SpamFilters {
        spamassassin: Some(silent(endless).await.to_string()),
        rspamd: Some(format!("http://{}", silent(http).await)),
    })
    .await;
    let reasons: Vec<&str> = found.unanswered.iter().map(|(_, reason)| reason.as_str()).collect();
    assert!(reasons[0].starts_with("not an answer of spamd: xxx"), "{reasons:?}");
    assert!(reasons[0].len() < 200 && reasons[1].len() < 200, "{reasons:?}");
}

#[tokio::test]
async fn large_mail_is_not_scored() {
    let filters = SpamFilters { spamassassin: Some("127.0.0.1:1".to_owned()), rspamd: None };
    let message = vec![b'x'; MAX_SCORED + 1];
    let found = inspection(filters).inspect("acme", message, ContentOptions::default()).await;
    let unanswered = found.expect("an answer").unanswered;
    assert_eq!(unanswered, [("spamassassin", "the message has more than 2097152 octets".to_owned())]);
}

#[test]
fn a_score_that_makes_no_sense_is_not_believed() {
    let scored = |score, threshold| {
        believed(SpamScore { filter: "rspamd", score, threshold, rules: Vec::new() }).is_ok()
    };
    assert!(scored(-3.0, 15.0) && scored(1000.0, 5.0));
    for (score, threshold) in [(0.0, 0.0), (-3.0, -5.0), (1e308, 5.0), (1.0, f64::INFINITY), (f64::NAN, 5.0)]
    {
        assert!(!scored(score, threshold), "{score} of {threshold}");
    }
}
