//! The client against remotes that misbehave, each a script for one connection.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Raw, client, envelope, target, trusting_nobody};
use relevo_mailkit::reply::EnhancedCode;
use relevo_smtp::client::{
    Auth, ClientConfig, Connection, DialogueStep, Failure, RecipientOutcome, TlsFailure, TlsPolicy,
    TransactionResult,
};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

/// Lines of a script: `S: text` is sent with CRLF, `C: prefix` reads a line that must begin so,
/// `close` closes, `wait` keeps silent until the client goes away, `read` takes octets as they
/// come.
async fn remote(scripts: &'static [&'static str]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for script in scripts {
            let (stream, _) = listener.accept().await.unwrap();
            let mut raw = Raw::over(stream);
            for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
                if let Some(text) = line.strip_prefix("S: ") {
                    raw.send(format!("{}\r\n", text.replace("\\r\\n", "\r\n"))).await;
                } else if let Some(prefix) = line.strip_prefix("C: ") {
                    let got = raw.line().await;
                    assert!(got.starts_with(prefix), "{got:?}, not {prefix:?}");
                } else if line == "wait" {
                    while raw.stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {}
                } else if line == "read" {
                    let _ = raw.stream.read(&mut [0; 1024]).await;
                } else {
                    assert_eq!(line, "close");
                }
            }
        }
    });
    addr
}

async fn open_with(
    scripts: &'static [&'static str],
    policy: TlsPolicy,
    config: ClientConfig,
    auth: Option<&Auth>,
) -> Result<Connection, Failure> {
    let target = target(remote(scripts).await, policy);
    Connection::open(&target, &config, auth, &trusting_nobody()).await
}

async fn open(scripts: &'static [&'static str]) -> Result<Connection, Failure> {
    open_with(scripts, TlsPolicy::Opportunistic, client(), None).await
}

async fn deliver(script: &'static [&'static str]) -> TransactionResult {
    let mut connection = open(script).await.unwrap();
    connection.transact(&envelope(&["x@b.test"], 5), Arc::new(b"hi\r\n".to_vec())).await
}

fn failure(result: &TransactionResult) -> &Failure {
    match &result.outcomes[0].1 {
        RecipientOutcome::Failed(failure) => failure,
        other => panic!("{other:?} is no failure"),
    }
}

/// Temporary, and another host may do better.
fn assert_host(failure: &Failure, command: DialogueStep) {
    assert!(!failure.permanent && failure.try_next_host, "{failure:?}");
    assert_eq!(failure.command, command, "{failure:?}");
}

#[tokio::test]
async fn greetings() {
    let failure = open(&["S: 554 5.7.1 not you"]).await.unwrap_err();
    assert_host(&failure, DialogueStep::Greeting);
    assert_eq!((failure.status, failure.reply.unwrap().code), ((4, 7, 1).into(), 554));
    assert_host(&open(&["S: 421 busy"]).await.unwrap_err(), DialogueStep::Greeting);
    assert_host(&open(&["close"]).await.unwrap_err(), DialogueStep::Greeting);
    assert_host(&open(&["S: SSH-2.0-OpenSSH"]).await.unwrap_err(), DialogueStep::Greeting);
    let config = ClientConfig { command_timeout: Duration::from_millis(100), ..client() };
    let failure = open_with(&["wait"], TlsPolicy::None, config, None).await.unwrap_err();
    assert_host(&failure, DialogueStep::Greeting);
    assert_eq!(failure.status, (4, 4, 2));
}

#[tokio::test]
async fn ehlo_refused_helo_taken() {
    let connection =
        open(&["S: 220 hi\nC: EHLO\nS: 502 what\nC: HELO client.test\nS: 250 odd.test"]).await.unwrap();
    assert_eq!(connection.abilities(), relevo_smtp::client::Abilities::default());
    let failure = open(&["S: 220 hi\nC: EHLO\nS: 550 no\nC: HELO\nS: 550 no"]).await.unwrap_err();
    assert_host(&failure, DialogueStep::Ehlo);
    assert_host(&open(&["S: 220 hi\nC: EHLO\nS: 451 later"]).await.unwrap_err(), DialogueStep::Ehlo);
}

#[tokio::test]
async fn a_421_in_the_middle() {
    let result = deliver(&["S: 220 hi\nC: EHLO\nS: 250-odd\\r\\n250 PIPELINING\nC: MAIL\nC: RCPT\nC: DATA
        S: 250 ok\nS: 421 4.3.2 going down\nclose"])
    .await;
    assert_host(failure(&result), DialogueStep::Rcpt);
    assert!(!result.reusable);
}

#[tokio::test]
async fn gone_after_the_dot() {
    let result = deliver(&[
        "S: 220 hi\nC: EHLO\nS: 250 odd\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go
        C: hi\nC: .\nclose",
    ])
    .await;
    assert_host(failure(&result), DialogueStep::EndOfData);
    assert_eq!(failure(&result).status, (4, 4, 2));
}

#[tokio::test]
async fn silence_after_the_dot() {
    let target = target(
        remote(&["S: 220 hi\nC: EHLO\nS: 250 odd\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go\nwait"]).await,
        TlsPolicy::None,
    );
    let config = ClientConfig { final_timeout: Duration::from_millis(100), ..client() };
    let mut connection = Connection::open(&target, &config, None, &trusting_nobody()).await.unwrap();
    let result = connection.transact(&envelope(&["x@b.test"], 5), Arc::new(b"hi\r\n".to_vec())).await;
    assert_host(failure(&result), DialogueStep::EndOfData);
    assert!(!result.reusable);
}

#[tokio::test]
async fn refused_while_the_content_is_under_way() {
    let mut connection =
        open(&["S: 220 hi\nC: EHLO\nS: 250 odd\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA
        S: 354 go\nread\nS: 552 5.3.4 that is enough\nclose"])
        .await
        .unwrap();
    let body = "a line of text\r\n".repeat(2_000_000).into_bytes();
    let result = connection.transact(&envelope(&["x@b.test"], body.len()), Arc::new(body)).await;
    // The system may drop the reply when it resets the connection; what is left then is a lost
    // connection.
    assert!(!result.reusable);
    match failure(&result) {
        Failure {
            permanent: true,
            status: EnhancedCode { class: 5, subject: 3, detail: 4 },
            command: DialogueStep::EndOfData,
            ..
        } => {}
        lost => assert_host(lost, DialogueStep::Content),
    }
}

#[tokio::test]
async fn not_a_reply() {
    let result = deliver(&["S: 220 hi\nC: EHLO\nS: 250 odd\nC: MAIL\nS: ok\nwait"]).await;
    assert_host(failure(&result), DialogueStep::Mail);
    assert_eq!(failure(&result).status, (4, 5, 0));
}

#[tokio::test]
async fn octets_before_tls_are_an_error() {
    static SCRIPT: &[&str] = &["S: 220 hi\nC: EHLO\nS: 250-odd\\r\\n250 STARTTLS\nC: STARTTLS
        S: 220 go\\r\\n250 injected\nwait"];
    for policy in [TlsPolicy::Opportunistic, TlsPolicy::Required] {
        let failure = open_with(SCRIPT, policy, client(), None).await.unwrap_err();
        assert_host(&failure, DialogueStep::StartTls);
    }
}

#[tokio::test]
async fn a_failed_handshake_is_typed_and_the_caller_decides() {
    static SCRIPT: &[&str] = &[
        "S: 220 hi\nC: EHLO\nS: 250-odd\\r\\n250 STARTTLS\nC: STARTTLS\nS: 220 go\nread\nS: this is not TLS",
    ];
    for policy in [TlsPolicy::Opportunistic, TlsPolicy::Required] {
        let failure = open_with(SCRIPT, policy, client(), None).await.unwrap_err();
        assert_host(&failure, DialogueStep::Handshake);
        assert_eq!(failure.tls, Some(TlsFailure::Handshake));
    }
}

#[tokio::test]
async fn a_stalled_handshake_ends_in_time() {
    static SCRIPT: &[&str] =
        &["S: 220 hi\nC: EHLO\nS: 250-odd\\r\\n250 STARTTLS\nC: STARTTLS\nS: 220 go\nwait"];
    let config = ClientConfig { command_timeout: Duration::from_millis(200), ..client() };
    let begun = Instant::now();
    let failure = open_with(SCRIPT, TlsPolicy::Opportunistic, config, None).await.unwrap_err();
    assert_eq!((failure.tls, failure.command), (Some(TlsFailure::TimedOut), DialogueStep::Handshake));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn starttls_refused() {
    static SCRIPT: &[&str] =
        &["S: 220 hi\nC: EHLO\nS: 250-odd\\r\\n250 STARTTLS\nC: STARTTLS\nS: 454 4.7.0 not now\nwait"];
    for policy in [TlsPolicy::Opportunistic, TlsPolicy::Required] {
        let failure = open_with(SCRIPT, policy, client(), None).await.unwrap_err();
        assert_host(&failure, DialogueStep::StartTls);
        assert_eq!(failure.tls, Some(TlsFailure::Refused));
    }
    static CLOSES: &[&str] =
        &["S: 220 hi\nC: EHLO\nS: 250-odd\\r\\n250 STARTTLS\nC: STARTTLS\nS: 421 4.3.2 bye\nclose"];
    let failure = open_with(CLOSES, TlsPolicy::Opportunistic, client(), None).await.unwrap_err();
    assert_eq!(failure.tls, None, "421 is about the host, not about TLS");
    static NONE: &[&str] = &["S: 220 hi\nC: EHLO\nS: 250 odd\nwait"];
    assert!(open_with(NONE, TlsPolicy::Opportunistic, client(), None).await.is_ok());
    let failure = open_with(NONE, TlsPolicy::Verified, client(), None).await.unwrap_err();
    assert_eq!((failure.tls, failure.status), (Some(TlsFailure::NotOffered), (4, 7, 4).into()));
}

#[tokio::test]
async fn auth_login_to_loopback() {
    static SCRIPT: &[&str] =
        &["S: 220 hi\nC: EHLO\nS: 250-odd\\r\\n250 AUTH LOGIN\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6
        C: dQ==\nS: 334 UGFzc3dvcmQ6\nC: cA==\nS: 235 ok\nwait"];
    let auth = Auth { username: "u".to_owned(), password: "p".to_owned() };
    assert!(open_with(SCRIPT, TlsPolicy::None, client(), Some(&auth)).await.is_ok());
    static OTHER: &[&str] = &["S: 220 hi\nC: EHLO\nS: 250-odd\\r\\n250 AUTH CRAM-MD5\nwait"];
    let failure = open_with(OTHER, TlsPolicy::None, client(), Some(&auth)).await.unwrap_err();
    assert_eq!((failure.command, failure.status), (DialogueStep::Auth, (4, 7, 4).into()));
}
