//! AUTH beyond passwords in clear, over loopback.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{authority, listener, raw, start};
use hmac::{Hmac, Mac as _};
use relevo_smtp::server::{ListenerConfig, ListenerKind, ScramDecoys, ServerTls};
use rustls_pki_types::ServerName;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(data).finalize().into_bytes().into()
}

fn offering(kind: ListenerKind, tls: Option<ServerTls>) -> ListenerConfig {
    let mut config = listener(kind, tls);
    config.scram = Some(ScramDecoys { secret: [3; 32], iterations: 1 });
    config.offers.mechanisms.scram_sha_256 = true;
    config.offers.mechanisms.oauthbearer = true;
    config
}

/// client-final-message for a verifier of one iteration.
fn proof(header: &[u8], bare: &str, challenge: &str, password: &str) -> String {
    let server_first = STANDARD.decode(challenge.trim().strip_prefix("334 ").unwrap()).unwrap();
    let server_first = String::from_utf8(server_first).unwrap();
    let fields: Vec<&str> = server_first.split(',').collect();
    let salt = STANDARD.decode(fields[1].strip_prefix("s=").unwrap()).unwrap();
    assert_eq!((salt.len(), fields[2]), (16, "i=1"));
    let salted = hmac(password.as_bytes(), &[&salt[..], &[0, 0, 0, 1]].concat());
    let client_key = hmac(&salted, b"Client Key");
    let without = format!("c={},{}", STANDARD.encode(header), fields[0]);
    let message = format!("{bare},{server_first},{without}");
    let signature = hmac(&Sha256::digest(client_key), message.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    STANDARD.encode(format!("{without},p={}", STANDARD.encode(proof)))
}

#[tokio::test]
async fn scram_bound_to_the_connection() {
    let authority = authority();
    let (server, memory) = start(offering(ListenerKind::Submissions, Some(authority.server.clone())));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.ca.clone().into()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let config = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let connector = TlsConnector::from(Arc::new(config.with_no_client_auth()));
    let tcp = TcpStream::connect(server.local_addr()).await.unwrap();
    let stream = connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
    let exporter =
        stream.get_ref().1.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None).unwrap();
    let mut client = common::Raw::over(stream);
    client.reply().await;
    let ehlo = client.ask("EHLO me.test").await;
    assert!(ehlo.contains("AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 OAUTHBEARER PLAIN LOGIN"), "{ehlo}");
    let (gs2, bare) = ("p=tls-exporter,,", "n=u,r=abc");
    let first = STANDARD.encode(format!("{gs2}{bare}"));
    for (binding, answer) in [([0; 32], "535 5.7.8"), (exporter, "334 ")] {
        let challenge = client.ask(&format!("AUTH SCRAM-SHA-256-PLUS {first}")).await;
        let header = [gs2.as_bytes(), &binding].concat();
        client.expect(&proof(&header, bare, &challenge, "secret"), answer).await;
    }
    client.expect("", "235 2.7.0").await;
    client.expect("MAIL FROM:<a@a.test>", "250").await;
    client.expect("RCPT TO:<b@b.test>", "250").await;
    client.expect("DATA", "354").await;
    client.expect("x\r\n.", "250").await;
    assert_eq!(memory.received.lock().unwrap()[0].username.as_deref(), Some("u"));
}

#[tokio::test]
async fn wrong_proofs_and_tokens_cost_time() {
    let (server, _memory) = start(offering(ListenerKind::Submission, None));
    let mut client = raw(server.local_addr()).await;
    client.reply().await;
    let ehlo = client.ask("EHLO me.test").await;
    assert!(ehlo.contains("AUTH SCRAM-SHA-256 OAUTHBEARER PLAIN LOGIN"), "{ehlo}");
    // A known user and one who is unknown, who looks the same until the end and each time.
    let mut salts = Vec::new();
    for (user, password) in [("u", "wrong"), ("nobody", "secret"), ("nobody", "secret")] {
        let bare = format!("n={user},r=abc");
        let first = STANDARD.encode(format!("n,,{bare}"));
        let challenge = client.ask(&format!("AUTH SCRAM-SHA-256 {first}")).await;
        let text = STANDARD.decode(challenge.trim().strip_prefix("334 ").unwrap()).unwrap();
        salts.push(String::from_utf8(text).unwrap().split(",s=").nth(1).unwrap().to_owned());
        let begun = Instant::now();
        client.expect(&proof(b"n,,", &bare, &challenge, password), "535 5.7.8").await;
        assert!(begun.elapsed() >= Duration::from_millis(240), "{user}");
    }
    assert_ne!(salts[0], salts[1]);
    assert_eq!(salts[1], salts[2]);
    let token = |token: &str| STANDARD.encode(format!("n,,\x01auth=Bearer {token}\x01\x01"));
    let begun = Instant::now();
    client.expect(&format!("AUTH OAUTHBEARER {}", token("stolen")), "334 eyJ").await;
    assert!(begun.elapsed() >= Duration::from_millis(240));
    client.expect("AQ==", "535 5.7.8").await;
    client.expect(&format!("AUTH OAUTHBEARER {}", token("good")), "235").await;
}

#[tokio::test]
async fn scram_is_not_offered_without_decoys() {
    let (server, _memory) = start(ListenerConfig { scram: None, ..offering(ListenerKind::Submission, None) });
    let mut client = raw(server.local_addr()).await;
    client.reply().await;
    assert!(!client.ask("EHLO me.test").await.contains("SCRAM"));
}
