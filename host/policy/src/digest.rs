//! Components are named by the SHA-256 of their octets, in hex.

use relevo_runtime::policy::Digest;

/// SHA-256.
pub(crate) fn digest_of(content: &[u8]) -> Digest {
    use sha2::Digest as _;
    sha2::Sha256::digest(content).into()
}

/// In lower case hex.
pub(crate) fn hex(digest: &Digest) -> String {
    relevo_mailkit::hex::encode(digest)
}

/// 64 hex digits.
pub(crate) fn parse_digest(text: &str) -> Option<Digest> {
    relevo_mailkit::hex::decode_array(text)
}
