//! Certificates by name, those of clients, and tickets.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;

use common::{Raw, listener, start};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use relevo_smtp::server::{ListenerConfig, ListenerKind, Server, ServerTls};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A client that believes everything: what it is shown is looked at by the tests.
#[derive(Debug)]
struct Believer;

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client(identity: Option<Identity>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Believer));
    Arc::new(match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    })
}

/// Connects and reads the greeting, and with it the tickets.
async fn connect(server: &Server, client: &Arc<ClientConfig>, name: &str) -> Raw<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut raw = Raw::over(TlsConnector::from(Arc::clone(client)).connect(name, stream).await.unwrap());
    assert!(raw.reply().await.starts_with("220 "));
    raw
}

fn made(name: &str) -> (String, String, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem(), made.cert.der().to_vec())
}

fn shown(raw: &Raw<TlsStream<TcpStream>>) -> Vec<u8> {
    raw.stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn kind(raw: &Raw<TlsStream<TcpStream>>) -> HandshakeKind {
    raw.stream.get_ref().1.handshake_kind().unwrap()
}

#[tokio::test]
async fn certificates_are_chosen_by_name() {
    let (first, second, wild) = (made("one.test"), made("two.test"), made("*.three.test"));
    let tls = ServerTls::from_pem(first.0.as_bytes(), first.1.as_bytes())
        .unwrap()
        .with_certificate(second.0.as_bytes(), second.1.as_bytes())
        .unwrap()
        .with_certificate(wild.0.as_bytes(), wild.1.as_bytes())
        .unwrap();
    assert_eq!(tls.leaf(), first.2);
    assert_eq!(tls.leaves().count(), 3);
    let (server, _memory) = start(listener(ListenerKind::Submissions, Some(tls)));
    for (name, der) in [
        ("one.test", &first.2),
        ("TWO.test", &second.2),
        ("a.three.test", &wild.2),
        ("a.b.three.test", &first.2),
        ("three.test", &first.2),
        ("unknown.test", &first.2),
        ("127.0.0.1", &first.2),
    ] {
        assert_eq!(&shown(&connect(&server, &client(None), name).await), der, "{name}");
    }
    let nameless = rcgen::generate_simple_self_signed(vec!["192.0.2.1".to_owned()]).unwrap();
    let tls = ServerTls::from_pem(first.0.as_bytes(), first.1.as_bytes()).unwrap();
    let key = nameless.signing_key.serialize_pem();
    assert!(tls.with_certificate(nameless.cert.pem().as_bytes(), key.as_bytes()).is_err());
}

#[tokio::test]
async fn tickets_are_of_one_listener() {
    let (pem, key, _) = made("one.test");
    let tls = ServerTls::from_pem(pem.as_bytes(), key.as_bytes()).unwrap();
    let (one, _memory) = start(listener(ListenerKind::Submissions, Some(tls.clone())));
    let (other, _memory) = start(listener(ListenerKind::Submissions, Some(tls.clone())));
    let client = client(None);
    assert_eq!(kind(&connect(&one, &client, "one.test").await), HandshakeKind::Full);
    assert_eq!(kind(&connect(&one, &client, "one.test").await), HandshakeKind::Resumed);
    assert_eq!(kind(&connect(&other, &client, "one.test").await), HandshakeKind::Full, "not ours");
    // The ticket is now of the other.
    assert_eq!(kind(&connect(&other, &client, "one.test").await), HandshakeKind::Resumed);
    other.set_tls(&tls).unwrap();
    assert_eq!(kind(&connect(&other, &client, "one.test").await), HandshakeKind::Full, "before a reload");
}

/// An authority (PEM) and an identity that it has signed.
fn signed() -> (String, Identity) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = params.signed_by(&key, &issuer).unwrap();
    (authority, (vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap()))
}

fn external(tls: ServerTls) -> ListenerConfig {
    let mut config = listener(ListenerKind::Submissions, Some(tls));
    config.offers.mechanisms.external = true;
    config
}

#[tokio::test]
async fn clients_log_in_with_certificates() {
    let (pem, key, _) = made("one.test");
    let (authority, identity) = signed();
    let tls = ServerTls::from_pem(pem.as_bytes(), key.as_bytes()).unwrap();
    assert!(tls.clone().with_client_authorities(b"").is_err());
    let (server, memory) =
        start(external(tls.clone().with_client_authorities(authority.as_bytes()).unwrap()));
    let trusted = client(Some((identity.0.clone(), identity.1.clone_key())));
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut raw = connect(&server, &trusted, "one.test").await;
        assert_eq!(kind(&raw), expected);
        assert!(raw.ask("EHLO me.test").await.contains("AUTH EXTERNAL PLAIN LOGIN"));
        raw.expect("AUTH EXTERNAL =", "235").await;
        raw.expect("MAIL FROM:<a@a.test>", "250").await;
        raw.expect("RCPT TO:<b@b.test>", "250").await;
        raw.expect("DATA", "354").await;
        raw.expect("x\r\n.", "250").await;
    }
    assert_eq!(memory.received.lock().unwrap()[0].username.as_deref(), Some("holder"));
    // Others are served as if they had none.
    for stranger in [client(None), client(Some(signed().1))] {
        let mut raw = connect(&server, &stranger, "one.test").await;
        assert!(!raw.ask("EHLO me.test").await.contains("EXTERNAL"));
        raw.expect("AUTH EXTERNAL =", "504").await;
    }
    // Where clients are not asked, there is nothing to log in with.
    let (server, _memory) = start(external(tls));
    assert!(!connect(&server, &trusted, "one.test").await.ask("EHLO me.test").await.contains("EXTERNAL"));
}
