//! Certificates of the listeners.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use relevo_smtp::server::ServerTls;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

/// Octets of a certificate file. A bundle of all public authorities has 250 KiB.
const MAX_CHAIN: u64 = 4 << 20;
/// How long a self-made certificate is valid, and how far back for peers whose clocks are behind.
const VALID: Duration = Duration::from_secs(365 * 86_400);
const BACKDATED: Duration = Duration::from_secs(3_600);

/// Reads all certificates of a PEM file; at least one.
///
/// # Errors
/// Names the file and what is wrong with it.
pub(crate) fn read_chain(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let name = || format!("certificate file {}", path.display());
    let pem = relevo_keys::read_file(path, MAX_CHAIN).with_context(name)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.with_context(name)?;
    if chain.is_empty() {
        bail!("{}: no certificate in it (PEM is expected)", name());
    }
    Ok(chain)
}

/// Loads the configured certificate with its key, and others for the names that are in them.
///
/// # Errors
/// A file cannot be read, is open to others, or the two do not belong together.
pub(crate) fn load(chain: &Path, key: &Path, others: &[(PathBuf, PathBuf)]) -> anyhow::Result<ServerTls> {
    let (pem, private) = read_pair(chain, key)?;
    let mut tls = ServerTls::from_pem(&pem, &private).with_context(|| pair(chain, key))?;
    for (chain, key) in others {
        let (pem, private) = read_pair(chain, key)?;
        tls = tls.with_certificate(&pem, &private).with_context(|| pair(chain, key))?;
    }
    Ok(tls)
}

/// What is in the two files.
fn read_pair(chain: &Path, key: &Path) -> anyhow::Result<(Vec<u8>, Zeroizing<Vec<u8>>)> {
    let pem = relevo_keys::read_file(chain, MAX_CHAIN)
        .with_context(|| format!("certificate file {}", chain.display()))?;
    let (private, _) = relevo_keys::read_secret_file(key)?;
    Ok((pem, private))
}

fn pair(chain: &Path, key: &Path) -> String {
    format!("TLS certificate {} with key {}", chain.display(), key.display())
}

/// Has clients be asked for a certificate of one of these authorities.
///
/// # Errors
/// The file cannot be read, or has no authority.
pub(crate) fn with_client_authorities(tls: ServerTls, authorities: &Path) -> anyhow::Result<ServerTls> {
    let name = || format!("authorities of client certificates {}", authorities.display());
    let pem = relevo_keys::read_file(authorities, MAX_CHAIN).with_context(name)?;
    tls.with_client_authorities(&pem).with_context(name)
}

/// Makes a certificate that is valid for a year, for clients that do not verify.
///
/// # Errors
/// The crypto library's.
pub(crate) fn self_signed(hostname: &str) -> anyhow::Result<ServerTls> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![hostname.to_owned(), "localhost".to_owned()])?;
    let now = date_time_ymd(1970, 1, 1) + SystemTime::now().duration_since(UNIX_EPOCH)?;
    params.not_before = now - BACKDATED;
    params.not_after = now + VALID;
    let certificate = params.self_signed(&key)?;
    Ok(ServerTls::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())?)
}

/// When the first of the certificates ends, in seconds since 1970.
pub(crate) fn first_expiry(tls: &ServerTls) -> Option<i64> {
    tls.leaves().filter_map(expires_at).min()
}

/// When a certificate (DER) ends, in seconds since 1970.
pub(crate) fn expires_at(certificate: &[u8]) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// The DNS names of a certificate (DER), in lower case: those of subjectAltName.
pub(crate) fn names(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(certificate) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let dns = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    dns.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_self_made_certificate_is_valid_for_a_year_from_now() {
        let tls = self_signed("mta1.example.com").unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(tls.leaf()).unwrap();
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let (begins, ends) =
            (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
        assert!((now - 2 * 86_400..=now).contains(&begins), "{begins}");
        assert!((now + 364 * 86_400..now + 367 * 86_400).contains(&ends), "{ends}");
        assert_eq!(expires_at(tls.leaf()), Some(ends));
        assert_eq!(names(tls.leaf()), ["mta1.example.com", "localhost"]);
    }
}
