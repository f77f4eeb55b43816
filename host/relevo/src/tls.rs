//! Certificates of the listeners.

use std::path::Path;

use anyhow::{Context, bail};
use rcgen::{CertificateParams, KeyPair};
use relevo_smtp::server::ServerTls;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// All certificates of a PEM file; at least one.
///
/// # Errors
/// Names the file and what is wrong with it.
pub(crate) fn read_chain(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let name = || format!("certificate file {}", path.display());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).with_context(name)?.collect();
    let chain = chain.with_context(name)?;
    if chain.is_empty() {
        bail!("{}: no certificate in it (PEM is expected)", name());
    }
    Ok(chain)
}

/// The configured certificate with its key.
///
/// # Errors
/// A file cannot be read, is open to others, or the two do not belong together.
pub(crate) fn load(chain: &Path, key: &Path) -> anyhow::Result<ServerTls> {
    relevo_keys::check_permissions(key)?;
    let read =
        |path: &Path| std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()));
    ServerTls::from_pem(&read(chain)?, &read(key)?)
        .with_context(|| format!("TLS certificate {} with key {}", chain.display(), key.display()))
}

/// A new one, for clients that do not verify.
///
/// # Errors
/// The crypto library's.
pub(crate) fn self_signed(hostname: &str) -> anyhow::Result<ServerTls> {
    let key = KeyPair::generate()?;
    let certificate =
        CertificateParams::new(vec![hostname.to_owned(), "localhost".to_owned()])?.self_signed(&key)?;
    Ok(ServerTls::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())?)
}

/// When a certificate (DER) ends, in seconds since 1970.
pub(crate) fn expires_at(certificate: &[u8]) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}
