//! Digests of components, and their names in hex.

pub(crate) use relevo_mailkit::hex::{decode_array as parse_digest, encode as hex};
use relevo_runtime::policy::Digest;

/// SHA-256.
pub(crate) fn digest_of(content: &[u8]) -> Digest {
    use sha2::Digest as _;
    sha2::Sha256::digest(content).into()
}
