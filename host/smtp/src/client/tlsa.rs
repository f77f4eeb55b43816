//! TLSA records: which certificates a mail host may show (RFC 6698, for SMTP RFC 7672).

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier as _};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256, Sha512};

/// DANE-TA: the record names an authority that issued the certificate of the host.
const TRUST_ANCHOR: u8 = 2;
/// DANE-EE: the record names the certificate of the host itself.
const END_ENTITY: u8 = 3;

/// A TLSA record as it is in the DNS (RFC 6698 section 2.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TlsaRecord {
    /// Certificate usage: 2 (DANE-TA) or 3 (DANE-EE). Others match nothing (RFC 7672 section
    /// 3.1.3).
    pub usage: u8,
    /// Selector: 0 for the whole certificate, 1 for its public key.
    pub selector: u8,
    /// Matching type: 0 for the octets themselves, 1 for their SHA-256, 2 for their SHA-512.
    pub matching_type: u8,
    /// The octets to compare with.
    pub data: Vec<u8>,
}

impl TlsaRecord {
    /// Returns true if some certificate can match the record: its fields are known, and the data are
    /// as long as a digest.
    pub(super) fn is_usable(&self) -> bool {
        let has_data = match self.matching_type {
            0 => !self.data.is_empty(),
            1 => self.data.len() == 32,
            2 => self.data.len() == 64,
            _ => false,
        };
        has_data && self.selector <= 1 && matches!(self.usage, TRUST_ANCHOR | END_ENTITY)
    }

    /// Returns true if the record describes this certificate.
    fn matches(&self, certificate: &CertificateDer<'_>) -> bool {
        let key;
        let selected = match self.selector {
            0 => certificate.as_ref(),
            1 => match ParsedCertificate::try_from(certificate) {
                Ok(parsed) => {
                    key = parsed.subject_public_key_info();
                    key.as_ref()
                }
                Err(_) => return false,
            },
            _ => return false,
        };
        match self.matching_type {
            0 => selected == self.data,
            1 => Sha256::digest(selected).as_slice() == self.data,
            2 => Sha512::digest(selected).as_slice() == self.data,
            _ => false,
        }
    }
}

/// What a server shows in a handshake.
pub(super) struct Shown<'a> {
    pub(super) end_entity: &'a CertificateDer<'a>,
    pub(super) intermediates: &'a [CertificateDer<'a>],
    /// Names that the certificate may be for.
    pub(super) names: &'a [ServerName<'a>],
    pub(super) now: UnixTime,
}

/// Verifies a certificate by TLSA records: one of them must match. Of DANE-EE the name and the
/// dates mean nothing (RFC 7672 section 3.1.1). Of DANE-TA the chain must lead to the certificate
/// that the record names, and the certificate of the host must be for one of the names (section
/// 3.1.2).
pub(super) fn verify(
    records: &[TlsaRecord],
    shown: &Shown<'_>,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerCertVerified, rustls::Error> {
    let of_usage = |usage: u8| records.iter().filter(move |record| record.usage == usage);
    if of_usage(END_ENTITY).any(|record| record.matches(shown.end_entity)) {
        return Ok(ServerCertVerified::assertion());
    }
    let mut result = Err(CertificateError::ApplicationVerificationFailure.into());
    for anchor in shown.intermediates {
        if of_usage(TRUST_ANCHOR).any(|record| record.matches(anchor)) {
            result = verify_below(anchor, shown, provider);
            if result.is_ok() {
                break;
            }
        }
    }
    result
}

/// Verifies the chain as if `anchor` were the only root.
fn verify_below(
    anchor: &CertificateDer<'_>,
    shown: &Shown<'_>,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerCertVerified, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(anchor.clone().into_owned())?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut result = Err(CertificateError::NotValidForName.into());
    for name in shown.names {
        result = verifier.verify_server_cert(shown.end_entity, shown.intermediates, name, &[], shown.now);
        if result.is_ok() {
            break;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::crypto::aws_lc_rs;

    use super::*;

    /// An authority and a certificate for `mx.example` that it issued, with its public key.
    struct Chain {
        authority: CertificateDer<'static>,
        host: CertificateDer<'static>,
        host_key: Vec<u8>,
    }

    fn chain() -> Chain {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["mx.example".to_owned()]).unwrap();
        let host = params.signed_by(&key, &issuer).unwrap();
        Chain {
            authority: issuer.der().clone(),
            host: host.der().clone(),
            host_key: rcgen::PublicKeyData::subject_public_key_info(&key),
        }
    }

    fn record(usage: u8, selector: u8, matching_type: u8, octets: &[u8]) -> TlsaRecord {
        let data = match matching_type {
            1 => Sha256::digest(octets).to_vec(),
            2 => Sha512::digest(octets).to_vec(),
            _ => octets.to_vec(),
        };
        TlsaRecord { usage, selector, matching_type, data }
    }

    fn verified(records: &[TlsaRecord], chain: &Chain, name: &str) -> Result<(), rustls::Error> {
        let shown = Shown {
            end_entity: &chain.host,
            intermediates: std::slice::from_ref(&chain.authority),
            names: &[ServerName::try_from(name.to_owned()).unwrap()],
            now: UnixTime::now(),
        };
        verify(records, &shown, &Arc::new(aws_lc_rs::default_provider())).map(drop)
    }

    #[test]
    fn the_certificate_of_the_host_is_believed_under_any_name() {
        let chain = chain();
        for (selector, octets) in [(0, chain.host.as_ref()), (1, chain.host_key.as_slice())] {
            for matching_type in 0..=2 {
                let good = record(3, selector, matching_type, octets);
                verified(std::slice::from_ref(&good), &chain, "other.example").unwrap();
                let other = TlsaRecord { data: vec![1; good.data.len()], ..good.clone() };
                verified(std::slice::from_ref(&other), &chain, "mx.example").unwrap_err();
                verified(&[other, good], &chain, "mx.example").unwrap();
            }
        }
    }

    #[test]
    fn an_authority_is_believed_for_the_name_of_the_host() {
        let (chain, stranger) = (chain(), chain());
        let good = [record(2, 0, 1, &chain.authority)];
        verified(&good, &chain, "mx.example").unwrap();
        let name = verified(&good, &chain, "other.example").unwrap_err();
        assert!(matches!(
            name,
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
            )
        ));
        // An authority that is shown and did not issue the certificate of the host.
        let mixed = Chain { authority: stranger.authority.clone(), ..chain };
        verified(&[record(2, 0, 1, &stranger.authority)], &mixed, "mx.example").unwrap_err();
    }

    #[test]
    fn records_of_other_usages_and_unknown_types_match_nothing() {
        let chain = chain();
        for bad in [
            record(0, 0, 1, &chain.host),
            record(1, 0, 1, &chain.host),
            record(3, 2, 0, &chain.host),
            record(3, 0, 3, &chain.host),
            record(2, 0, 1, &chain.host),
        ] {
            verified(std::slice::from_ref(&bad), &chain, "mx.example").unwrap_err();
        }
        verified(&[], &chain, "mx.example").unwrap_err();
    }
}
