//! Certificates of next hops.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::tlsa::{self, Shown, TlsaRecord};
use super::types::TlsRequirement;

/// Who is believed when a certificate must be valid. Cheap to clone; made once.
#[derive(Debug, Clone)]
pub struct Tls {
    pub(super) provider: Arc<CryptoProvider>,
    /// None: no root is known, so nothing verifies.
    verifier: Option<Arc<WebPkiServerVerifier>>,
}

/// The system's root certificates, and those in the PEM file `extra`.
///
/// # Errors
/// `extra` cannot be read or holds no certificate. Roots of the system that cannot be read are
/// logged and left out.
pub fn root_certificates(extra: Option<&Path>) -> io::Result<RootCertStore> {
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "cannot read a root certificate of the system");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(native.certs);
    if let Some(path) = extra {
        let invalid = |e: &dyn std::fmt::Display| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {e}", path.display()))
        };
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|e| invalid(&e))?;
        if certificates.is_empty() {
            return Err(invalid(&"no certificate found"));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|e| invalid(&e))?;
        }
    }
    Ok(roots)
}

impl Tls {
    /// The system's roots, and those in the PEM file `extra`.
    ///
    /// # Errors
    /// `extra` cannot be read or holds no certificate. Roots of the system that cannot be read are
    /// logged and left out.
    pub fn load(extra: Option<&Path>) -> io::Result<Self> {
        Ok(Self::with_roots(root_certificates(extra)?))
    }

    /// Exactly these roots.
    #[must_use]
    pub fn with_roots(roots: RootCertStore) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().ok();
        Self { provider, verifier }
    }

    /// Settings for one handshake, and where it notes whether the certificate was valid. `strict`:
    /// it must be. By the TLSA records of `needed` if it has some, or else by our roots; for one of
    /// its names, or for the name that the handshake asks for if it has none. A name that no
    /// certificate can be for stays unmet.
    ///
    /// Sessions are not resumed: a resumed one would not show its certificate, and one that was
    /// opened for mail that needs no verification must not carry mail that does.
    pub(super) fn config(
        &self,
        strict: bool,
        needed: &TlsRequirement,
    ) -> Result<(Arc<ClientConfig>, Arc<Judge>), rustls::Error> {
        let parsed = |name: &String| ServerName::try_from(name.clone()).ok();
        let judge = Arc::new(Judge {
            provider: Arc::clone(&self.provider),
            verifier: self.verifier.clone(),
            strict,
            names: (!needed.names.is_empty()).then(|| needed.names.iter().filter_map(parsed).collect()),
            tlsa: needed.tlsa.clone(),
            valid: AtomicBool::new(false),
        });
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&judge) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok((Arc::new(config), judge))
    }
}

/// Verifies like everybody, but where any certificate will do (RFC 7435) only takes note.
#[derive(Debug)]
pub(super) struct Judge {
    provider: Arc<CryptoProvider>,
    verifier: Option<Arc<WebPkiServerVerifier>>,
    strict: bool,
    /// None: the name that the handshake asks for.
    names: Option<Vec<ServerName<'static>>>,
    tlsa: Vec<TlsaRecord>,
    valid: AtomicBool,
}

impl Judge {
    pub(super) fn was_valid(&self) -> bool {
        self.valid.load(Ordering::Acquire)
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let own_name = [server_name.to_owned()];
        let names = self.names.as_deref().unwrap_or(&own_name);
        let result = match &self.verifier {
            _ if !self.tlsa.is_empty() => {
                let shown = Shown { end_entity, intermediates, names, now };
                tlsa::verify(&self.tlsa, &shown, &self.provider)
            }
            Some(verifier) => {
                let verify = |name: &ServerName<'_>| {
                    verifier.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
                };
                let no_name = Err(CertificateError::NotValidForName.into());
                names.iter().fold(no_name, |result, name| result.or_else(|_| verify(name)))
            }
            None => Err(rustls::Error::General("no root certificates are known".to_owned())),
        };
        match result {
            Ok(verified) => {
                self.valid.store(true, Ordering::Release);
                Ok(verified)
            }
            Err(error) if self.strict => Err(error),
            Err(_) => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;
    use crate::client::types::{TlsPolicy, TlsReason};

    /// Returns what is found of a certificate for `mx.example` when one of `names` is needed.
    fn verified(names: &[&str]) -> Result<(), rustls::Error> {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let params = CertificateParams::new(vec!["mx.example".to_owned()]).unwrap();
        let host = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).unwrap();

        let names = names.iter().map(|&name| name.to_owned()).collect();
        let needed =
            TlsRequirement { names, ..TlsRequirement::new(TlsPolicy::Verified, TlsReason::Configured) };
        let (_, judge) = Tls::with_roots(roots).config(true, &needed).unwrap();
        let asked = ServerName::try_from("mx.example").unwrap();
        judge.verify_server_cert(host.der(), &[], &asked, &[], UnixTime::now()).map(drop)
    }

    #[test]
    fn the_names_that_are_needed_count_and_no_others() {
        verified(&[]).unwrap();
        verified(&["mx.example"]).unwrap();
        verified(&["other.example", "not a name", "mx.example"]).unwrap();
        verified(&["other.example"]).unwrap_err();
        let none = verified(&["not a name"]).unwrap_err();
        assert_eq!(none, rustls::Error::InvalidCertificate(CertificateError::NotValidForName));
    }
}
