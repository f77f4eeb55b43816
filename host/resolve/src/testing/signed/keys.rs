//! Keys that sign zones.

use std::io;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use hickory_proto::dnssec::crypto::{EcdsaSigningKey, RsaSigningKey};
use hickory_proto::dnssec::{Algorithm, DnsSecResult, PublicKey as _, PublicKeyBuf, SigningKey, TBS};
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::signature::{SignatureEncoding as _, Signer as _};

/// A new key of DNSSEC algorithm 7, 8 or 13.
pub(super) fn signing_key(algorithm: u8) -> io::Result<Box<dyn SigningKey>> {
    match algorithm {
        7 => {
            let key = rsa_key()?;
            let der = pkcs8(&key)?;
            let public = RsaSigningKey::from_pkcs8(&der.as_ref().into(), Algorithm::RSASHA256);
            let public = public.and_then(|key| key.to_public_key()).map_err(io::Error::other)?;
            let private = rsa::RsaPrivateKey::from_pkcs8_der(der.as_ref()).map_err(io::Error::other)?;
            Ok(Box::new(Sha1Key { private, public: public.public_bytes().to_vec() }))
        }
        8 => {
            let der = pkcs8(&rsa_key()?)?;
            let key = RsaSigningKey::from_pkcs8(&der.as_ref().into(), Algorithm::RSASHA256);
            Ok(Box::new(key.map_err(io::Error::other)?))
        }
        13 => {
            let algorithm = Algorithm::ECDSAP256SHA256;
            let key = EcdsaSigningKey::generate_pkcs8(algorithm)
                .and_then(|der| EcdsaSigningKey::from_pkcs8(&der, algorithm));
            Ok(Box::new(key.map_err(io::Error::other)?))
        }
        other => Err(io::Error::other(format!("algorithm {other} cannot sign"))),
    }
}

fn rsa_key() -> io::Result<aws_lc_rs::rsa::KeyPair> {
    aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).map_err(io::Error::other)
}

fn pkcs8(key: &aws_lc_rs::rsa::KeyPair) -> io::Result<Pkcs8V1Der<'static>> {
    key.as_der().map_err(io::Error::other)
}

/// RSA with SHA-1, which no library of the relay signs with.
struct Sha1Key {
    private: rsa::RsaPrivateKey,
    public: Vec<u8>,
}

impl SigningKey for Sha1Key {
    fn sign(&self, octets: &TBS) -> DnsSecResult<Vec<u8>> {
        let key = rsa::pkcs1v15::SigningKey::<sha1::Sha1>::new(self.private.clone());
        Ok(key.sign(octets.as_ref()).to_vec())
    }

    fn to_public_key(&self) -> DnsSecResult<PublicKeyBuf> {
        Ok(PublicKeyBuf::new(self.public.clone(), self.algorithm()))
    }

    #[allow(deprecated, reason = "zones that are signed with it must validate")]
    fn algorithm(&self) -> Algorithm {
        Algorithm::RSASHA1NSEC3SHA1
    }
}
