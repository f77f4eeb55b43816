//! Certificates of listeners: several by name, and those of clients.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use x509_parser::extensions::GeneralName;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not PEM, or nothing useful in it.
    #[error("{what}: {source}")]
    Pem {
        /// `certificate`, `key` or `client authorities`.
        what: &'static str,
        /// What the parser says.
        source: rustls_pki_types::pem::Error,
    },
    /// The certificate file holds none.
    #[error("certificate: no certificate found")]
    NoCertificate,
    /// A further certificate has no DNS names to be chosen by.
    #[error("certificate: it names no host (subjectAltName), so that no client can ask for it")]
    NoNames,
    /// The authorities of clients cannot be used.
    #[error("client authorities: {0}")]
    ClientAuthorities(VerifierBuilderError),
    /// The key does not fit the certificate, or is of an unsupported kind.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// What a listener shows in handshakes: certificate chains with their keys, and the authorities that
/// vouch for clients. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// The first is shown to clients that ask for no name, or for one that none has.
    keys: Arc<Vec<Arc<CertifiedKey>>>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl ServerTls {
    /// From PEM: the chain with the leaf first, and a PKCS #8, PKCS #1 or SEC1 key.
    ///
    /// # Errors
    /// When either cannot be read, or they do not belong together.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Ok(Self { keys: Arc::new(vec![certified_key(certificate, key)?]), clients: None })
    }

    /// Adds a certificate for clients that ask for one of its names (SNI, RFC 6066 section 3). Of
    /// several with one name a client gets the first whose signatures it understands.
    ///
    /// # Errors
    /// Those of [`Self::from_pem`], and a certificate without DNS names.
    pub fn with_certificate(self, certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let key = certified_key(certificate, key)?;
        if names(&key).is_empty() {
            return Err(TlsError::NoNames);
        }
        let mut keys = self.keys.to_vec();
        keys.push(key);
        Ok(Self { keys: Arc::new(keys), ..self })
    }

    /// Asks clients for a certificate, and believes those that one of the authorities (PEM) has
    /// signed. A client without one, or with another one, is served as if it had none.
    ///
    /// # Errors
    /// When the authorities cannot be read, or there are none.
    pub fn with_client_authorities(self, pem: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(pem) {
            let authority =
                authority.map_err(|source| TlsError::Pem { what: "client authorities", source })?;
            roots.add(authority)?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(TlsError::ClientAuthorities)?;
        Ok(Self { clients: Some(verifier), ..self })
    }

    /// The leaf of the first certificate (DER), for its expiry.
    #[must_use]
    pub fn leaf(&self) -> &[u8] {
        self.leaves().next().unwrap_or_default()
    }

    /// The leaves of all certificates (DER), for their expiry.
    pub fn leaves(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().map(|key| key.cert.first().map_or(&[][..], |c| c.as_ref()))
    }

    /// For one listener. Keys of session tickets (RFC 5077, RFC 8446 section 4.6.1) are made each
    /// time and known to nobody else: a ticket of one listener, or of the time before a reload, is
    /// worth nothing elsewhere (it would carry a client's certificate to where others are trusted).
    pub(crate) fn listener(&self) -> Result<ListenerTls, TlsError> {
        let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = match &self.clients {
            Some(verifier) => builder.with_client_cert_verifier(Arc::new(AnyClient(Arc::clone(verifier)))),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName::new(&self.keys)));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(ListenerTls { config: Arc::new(config), clients: self.clients.clone() })
    }
}

fn certified_key(certificate: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::Pem { what: "certificate", source })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|source| TlsError::Pem { what: "key", source })?;
    Ok(Arc::new(CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?))
}

/// The DNS names of a certificate, in lower case.
fn names(key: &CertifiedKey) -> Vec<String> {
    let Some(leaf) = key.cert.first() else { return Vec::new() };
    let Ok((_, leaf)) = x509_parser::parse_x509_certificate(leaf) else { return Vec::new() };
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return Vec::new() };
    let dns = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    dns.collect()
}

/// What the handshakes of a listener use.
#[derive(Debug, Clone)]
pub(crate) struct ListenerTls {
    pub(crate) config: Arc<ServerConfig>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl ListenerTls {
    /// The client's certificate, if an authority vouches for it now. Also after a resumption.
    pub(crate) fn verified(&self, chain: Option<&[CertificateDer<'_>]>) -> Option<Arc<[u8]>> {
        let (leaf, intermediates) = chain?.split_first()?;
        let verified = self.clients.as_ref()?.verify_client_cert(leaf, intermediates, UnixTime::now());
        match verified {
            Ok(_) => Some(leaf.as_ref().into()),
            Err(error) => {
                tracing::debug!(%error, "client certificate not verified");
                None
            }
        }
    }
}

/// Chooses the certificate by the name that the client asks for.
#[derive(Debug)]
struct ByName {
    default: Option<Arc<CertifiedKey>>,
    /// `*.` begins a name that covers one label.
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl ByName {
    fn new(keys: &[Arc<CertifiedKey>]) -> Self {
        let mut by_name: HashMap<String, Vec<_>> = HashMap::new();
        for key in keys {
            for name in names(key) {
                by_name.entry(name).or_default().push(Arc::clone(key));
            }
        }
        Self { default: keys.first().cloned(), by_name }
    }

    fn find(&self, name: &str, schemes: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let keys = self.by_name.get(&name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        })?;
        keys.iter().find(|key| key.key.choose_scheme(schemes).is_some())
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello.server_name().and_then(|name| self.find(name, hello.signature_schemes()));
        // Many clients of mail ask for a name that is not ours, and verify nothing.
        found.or(self.default.as_ref()).cloned()
    }
}

/// Lets every client through the handshake that has the key of its certificate. Whether somebody
/// vouches for it is asked afterwards: senders show certificates that were made for other purposes.
#[derive(Debug)]
struct AnyClient(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for AnyClient {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
