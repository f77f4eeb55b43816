//! A client of implicit TLS that speaks SMTP by hand, and the certificates that it and the relay
//! show.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

/// An authority that both sides trust.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

/// A certificate with its key.
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    key: KeyPair,
    pem: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let (pem, certificate) = (certificate.pem(), certificate.der().clone());
        Self { issuer: Issuer::new(params, key), certificate, pem }
    }

    pub fn issue(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { pem: certificate.pem(), certificate: certificate.der().clone(), key }
    }

    /// Writes `ca.pem`, `cert.pem` and `key.pem`.
    pub fn write(&self, server: &Identity, folder: &Path) {
        fs::write(folder.join("ca.pem"), &self.pem).unwrap();
        fs::write(folder.join("cert.pem"), &server.pem).unwrap();
        let key = folder.join("key.pem");
        fs::write(&key, server.key.serialize_pem()).unwrap();
        fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    }

    /// Connects, and greets. `client`: the certificate to show.
    pub fn connect(&self, addr: SocketAddr, name: &str, client: Option<&Identity>) -> TlsClient {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_root_certificates(roots);
        let config = match client {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
                config.with_client_auth_cert(vec![identity.certificate.clone()], key).unwrap()
            }
        };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut client =
            TlsClient { stream: BufReader::new(StreamOwned::new(tls, stream)), hello: String::new() };
        assert!(client.reply().starts_with("220 "));
        client.hello = client.command("EHLO client.test");
        client
    }
}

/// A session.
pub struct TlsClient {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    /// The reply to EHLO.
    pub hello: String,
}

impl TlsClient {
    fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let start = reply.len();
            assert!(self.stream.read_line(&mut reply).unwrap() > 0, "closed after {reply}");
            if reply.as_bytes().get(start + 3) != Some(&b'-') {
                return reply;
            }
        }
    }

    pub fn command(&mut self, line: &str) -> String {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
        self.reply()
    }

    /// Sends a line in base64.
    pub fn respond(&mut self, text: &str) -> String {
        self.command(&STANDARD.encode(text))
    }

    /// `tls-exporter` (RFC 9266).
    pub fn exporter(&self) -> [u8; 32] {
        let tls = &self.stream.get_ref().conn;
        tls.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[])).unwrap()
    }
}
