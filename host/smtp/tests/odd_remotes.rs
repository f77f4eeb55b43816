//! The client against remotes that misbehave, each a script for one connection.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Raw, client, envelope, target, trusting_nobody};
use relevo_mailkit::reply::EnhancedCode;
use relevo_smtp::client::{
    Auth, AuthSecret, ClientConfig, Connection, DialogueStep, Failure, RecipientOutcome, TlsFailure,
    TlsPolicy, TokenSource, TransactionResult,
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
                } else if let Some(prefix) = line.strip_prefix("C:").map(str::trim_start) {
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
        "S: 421 too many connections\nclose",
    ];
    for policy in [TlsPolicy::Opportunistic, TlsPolicy::Required] {
        let failure = open_with(SCRIPT, policy, client(), None).await.unwrap_err();
        assert_host(&failure, DialogueStep::Handshake);
        assert_eq!(failure.tls, Some(TlsFailure::Handshake));
    }
}

#[tokio::test]
async fn a_stalled_handshake_ends_in_time() {
    static ONE: &str = "S: 220 hi\nC: EHLO\nS: 250-odd\\r\\n250 STARTTLS\nC: STARTTLS\nS: 220 go\nwait";
    static SCRIPT: &[&str] = &[ONE, ONE];
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
    let auth = Auth::password("u", "p");
    assert!(open_with(SCRIPT, TlsPolicy::None, client(), Some(&auth)).await.is_ok());
    static OTHER: &[&str] = &["S: 220 hi\nC: EHLO\nS: 250-odd\\r\\n250 AUTH CRAM-MD5\nwait"];
    let failure = open_with(OTHER, TlsPolicy::None, client(), Some(&auth)).await.unwrap_err();
    assert_eq!((failure.command, failure.status), (DialogueStep::Auth, (4, 7, 4).into()));
}

/// Reads `BDAT n LAST` and the content, and answers with `reply`; then reads what else comes.
async fn chunk_server(reply: &'static str) -> (SocketAddr, tokio::task::JoinHandle<(Vec<u8>, Vec<String>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut raw = Raw::over(listener.accept().await.unwrap().0);
        raw.send("220 hi\r\n").await;
        raw.line().await;
        raw.send("250-odd\r\n250-PIPELINING\r\n250 CHUNKING\r\n").await;
        let mut lines = Vec::new();
        for _ in 0..2 {
            lines.push(raw.line().await);
            raw.send("250 ok\r\n").await;
        }
        let command = raw.line().await;
        let octets = command.strip_prefix("BDAT ").and_then(|c| c.strip_suffix(" LAST"));
        let octets = octets.unwrap_or_else(|| panic!("{command}")).parse().unwrap();
        let content = raw.octets(octets).await;
        raw.send(format!("{reply}\r\n")).await;
        loop {
            let line = raw.line().await;
            if line.is_empty() {
                return (content, lines);
            }
            lines.push(line);
            raw.send("250 ok\r\n").await;
        }
    });
    (addr, task)
}

#[tokio::test]
async fn content_goes_as_one_chunk_without_dots_added() {
    let large = ".a line of text that begins with a dot\r\n".repeat(30_000);
    let open_end = format!("{large}and no end");
    for (content, expected) in [
        (".\r\n..\r\nhi\r\n".to_owned(), ".\r\n..\r\nhi\r\n".to_owned()),
        ("hi".to_owned(), "hi\r\n".to_owned()),
        (String::new(), String::new()),
        (large.clone(), large.clone()),
        (open_end.clone(), format!("{open_end}\r\n")),
    ] {
        let (addr, server) = chunk_server("250 2.0.0 queued").await;
        let mut connection =
            Connection::open(&target(addr, TlsPolicy::None), &client(), None, &trusting_nobody())
                .await
                .unwrap();
        let body = Arc::new(content.into_bytes());
        let result = connection.transact(&envelope(&["x@b.test"], 5), body).await;
        assert!(matches!(result.outcomes[0].1, RecipientOutcome::Delivered(_)), "{result:?}");
        assert!(result.reusable);
        connection.quit().await;
        let (got, lines) = server.await.unwrap();
        assert!(got == expected.as_bytes(), "{} octets, not {}", got.len(), expected.len());
        assert_eq!(lines.last().map(String::as_str), Some("QUIT"));
    }
}

#[tokio::test]
async fn a_refused_chunk_is_followed_by_rset() {
    let (addr, server) = chunk_server("554 5.7.1 spam").await;
    let mut connection =
        Connection::open(&target(addr, TlsPolicy::None), &client(), None, &trusting_nobody()).await.unwrap();
    let result = connection.transact(&envelope(&["x@b.test"], 5), Arc::new(b"hi\r\n".to_vec())).await;
    assert_eq!((failure(&result).permanent, failure(&result).status), (true, (5, 7, 1).into()));
    assert!(result.reusable, "all octets that were announced were sent");
    connection.quit().await;
    assert_eq!(server.await.unwrap().1[2..], ["RSET", "QUIT"]);
}

#[tokio::test]
async fn a_bare_line_end_does_not_leave_in_a_chunk() {
    let long = format!("{}\n.\r\nx", "line\r\n".repeat(100_000));
    for content in ["a\n.\r\nMAIL FROM:<x@y>\r\n", "a\r", long.as_str()] {
        let mut connection = open(&["S: 220 hi\nC: EHLO\nS: 250-odd\\r\\n250 CHUNKING\nC: MAIL\nS: 250 ok
            C: RCPT\nS: 250 ok\nwait"])
        .await
        .unwrap();
        let body = Arc::new(content.as_bytes().to_vec());
        let result = connection.transact(&envelope(&["x@b.test"], 5), body).await;
        assert_eq!((failure(&result).permanent, failure(&result).status), (true, (5, 6, 0).into()));
        assert!(!result.reusable, "the chunk is not whole");
    }
}

#[tokio::test]
async fn refused_while_a_chunk_is_under_way() {
    let mut connection = open(&["S: 220 hi\nC: EHLO\nS: 250-odd\\r\\n250 CHUNKING\nC: MAIL\nS: 250 ok
        C: RCPT\nS: 250 ok\nread\nS: 552 5.3.4 that is enough\nclose"])
    .await
    .unwrap();
    let body = "a line of text\r\n".repeat(2_000_000).into_bytes();
    let result = connection.transact(&envelope(&["x@b.test"], body.len()), Arc::new(body)).await;
    assert!(!result.reusable);
    match failure(&result) {
        Failure { permanent: true, command: DialogueStep::EndOfData, .. } => {}
        lost => assert_host(lost, DialogueStep::Content),
    }
}

#[tokio::test]
async fn a_host_that_never_takes_mail() {
    let failure = open(&["S: 521 5.3.2 no mail here\nclose"]).await.unwrap_err();
    assert_eq!((failure.permanent, failure.try_next_host), (true, true));
    assert_eq!((failure.command, failure.status), (DialogueStep::Greeting, (5, 3, 2).into()));
}

struct Token(Result<&'static str, &'static str>);

impl TokenSource for Token {
    fn token(&self) -> Result<String, String> {
        self.0.map(str::to_owned).map_err(str::to_owned)
    }
}

fn token(token: Result<&'static str, &'static str>) -> Auth {
    Auth { username: "u".to_owned(), secret: AuthSecret::Token(Arc::new(Token(token))) }
}

#[tokio::test]
async fn tokens_of_a_smarthost() {
    // `n,a=u,^Ahost=localhost^Aport=...`, of which the port differs.
    static BEARER: &[&str] = &["S: 220 hi\nC: EHLO\nS: 250-odd\\r\\n250 AUTH PLAIN XOAUTH2 OAUTHBEARER
        C: AUTH OAUTHBEARER bixhPXUsAWhvc3Q9bG9jYWxob3N0AX\nS: 235 ok\nwait"];
    let auth = token(Ok("tok"));
    open_with(BEARER, TlsPolicy::None, client(), Some(&auth)).await.unwrap();
    static REFUSED: &[&str] = &["S: 220 hi\nC: EHLO\nS: 250-odd\\r\\n250 AUTH XOAUTH2
        C: AUTH XOAUTH2 dXNlcj11AWF1dGg9QmVhcmVyIHRvawEB\nS: 334 eyJzdGF0dXMiOiI0MDEifQ==\nC: \nS: 535 5.7.8 no\nwait"];
    let failure = open_with(REFUSED, TlsPolicy::None, client(), Some(&auth)).await.unwrap_err();
    assert_eq!(
        (failure.command, failure.status, failure.permanent),
        (DialogueStep::Auth, (4, 7, 8).into(), false)
    );
    static PASSWORDS: &[&str] = &["S: 220 hi\nC: EHLO\nS: 250-odd\\r\\n250 AUTH PLAIN SCRAM-SHA-256\nwait"];
    let failure = open_with(PASSWORDS, TlsPolicy::None, client(), Some(&auth)).await.unwrap_err();
    assert_eq!(failure.status, (4, 7, 4));
    assert!(failure.detail.contains("OAUTHBEARER"), "{}", failure.detail);
    for (unusable, why) in
        [(Err("token: no such file"), "no such file"), (Ok("a b"), "printable"), (Ok(""), "printable")]
    {
        let auth = token(unusable);
        let failure = open_with(PASSWORDS, TlsPolicy::None, client(), Some(&auth)).await.unwrap_err();
        assert_eq!((failure.command, failure.permanent), (DialogueStep::Auth, false));
        assert!(failure.detail.contains(why), "{}", failure.detail);
    }
}

/// What the server says is base64 of `r=x...`, and of a nonce that is not ours.
#[tokio::test]
async fn a_server_that_is_not_believed_by_scram_gets_no_mail() {
    let auth = Auth::password("u", "p");
    static FORGED: &[&str] = &["S: 220 hi\nC: EHLO\nS: 250-odd\\r\\n250 AUTH LOGIN PLAIN SCRAM-SHA-256
        C: AUTH SCRAM-SHA-256 \nS: 334 cj14LHM9QUFBQSxpPTQwOTY=\nC: *\nS: 501 cancelled\nwait"];
    let failure = open_with(FORGED, TlsPolicy::None, client(), Some(&auth)).await.unwrap_err();
    assert_eq!((failure.command, failure.status), (DialogueStep::Auth, (4, 7, 8).into()));
    assert!(failure.detail.contains("another nonce"), "{}", failure.detail);
    static UNPROVED: &[&str] = &["S: 220 hi\nC: EHLO\nS: 250-odd\\r\\n250 AUTH SCRAM-SHA-256
        C: AUTH SCRAM-SHA-256 \nS: 235 come in\nwait"];
    let failure = open_with(UNPROVED, TlsPolicy::None, client(), Some(&auth)).await.unwrap_err();
    assert!(failure.detail.contains("did not prove"), "{}", failure.detail);
}

/// The login is bound to the connection: the server's side of TLS derives the same octets.
#[tokio::test]
async fn scram_plus_binds_the_connection() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let tcp = listener.accept().await.unwrap().0;
        let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(tcp).await.unwrap();
        let exported =
            tls.get_ref().1.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""));
        let mut raw = Raw::over(tls);
        raw.send("220 hi\r\n").await;
        raw.line().await;
        raw.send("250-odd\r\n250 AUTH PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS\r\n").await;
        let decoded = |line: &str| {
            let octets = STANDARD.decode(line.rsplit(' ').next().unwrap()).unwrap();
            String::from_utf8(octets).unwrap()
        };
        let first = raw.line().await;
        assert!(first.starts_with("AUTH SCRAM-SHA-256-PLUS "), "{first}");
        let nonce = decoded(&first).rsplit_once("r=").unwrap().1.to_owned();
        assert!(decoded(&first).starts_with("p=tls-exporter,,n=u,r="));
        let challenge = STANDARD.encode(format!("r={nonce}server,s=c2FsdA==,i=4096"));
        raw.send(format!("334 {challenge}\r\n")).await;
        let proof = decoded(&raw.line().await);
        let bound = proof.split(',').next().unwrap().strip_prefix("c=").unwrap();
        raw.send("535 5.7.8 no\r\n").await;
        (STANDARD.decode(bound).unwrap(), exported.unwrap())
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let tls = relevo_smtp::client::Tls::with_roots(roots);
    let auth = Auth::password("u", "p");
    let failure =
        Connection::open(&target(addr, TlsPolicy::Implicit), &client(), Some(&auth), &tls).await.unwrap_err();
    assert_eq!((failure.command, failure.status), (DialogueStep::Auth, (4, 7, 8).into()));
    let (bound, exported) = server.await.unwrap();
    assert_eq!(bound, [&b"p=tls-exporter,,"[..], &exported].concat());
}
