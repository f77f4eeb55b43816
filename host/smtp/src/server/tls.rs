//! Certificates of listeners.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::NoServerSessionStorage;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not PEM, or nothing useful in it.
    #[error("{what}: {source}")]
    Pem {
        /// `certificate` or `key`.
        what: &'static str,
        /// What the parser says.
        source: rustls_pki_types::pem::Error,
    },
    /// The certificate file holds none.
    #[error("certificate: no certificate found")]
    NoCertificate,
    /// The key does not fit the certificate, or is of an unsupported kind.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// A certificate chain and its key, ready to be served. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerTls {
    key: Arc<rustls::sign::CertifiedKey>,
}

impl ServerTls {
    /// From PEM: the chain with the leaf first, and a PKCS #8, PKCS #1 or SEC1 key.
    ///
    /// # Errors
    /// When either cannot be read, or they do not belong together.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| TlsError::Pem { what: "certificate", source })?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|source| TlsError::Pem { what: "key", source })?;
        let key = rustls::sign::CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?;
        Ok(Self { key: Arc::new(key) })
    }

    /// The leaf certificate (DER), for its expiry.
    #[must_use]
    pub fn leaf(&self) -> &[u8] {
        self.key.cert.first().map_or(&[], |c| c.as_ref())
    }

    /// For one listener. No tickets and no session cache: nothing that one listener gave out can be
    /// used at another.
    pub(crate) fn config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let resolver = rustls::sign::SingleCertAndKey::from(Arc::clone(&self.key));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}
