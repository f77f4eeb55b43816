//! The seam between the product and private keys.

use relevo_mailkit::model::Algorithm;

/// What may be signed with a key: the host's side of law 3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant<'a> {
    /// d= that the tenant owns.
    pub domain: &'a str,
    /// s= that this key is published under.
    pub selector: &'a str,
    /// a=
    pub algorithm: Algorithm,
    /// The From field of this message, unfolded, as the validator reported it (or as the host wrote
    /// it).
    pub from_field: &'a [u8],
}

/// Why a key cannot be used or a signature is refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file: missing, open to others, writable by its group.
    #[error("key file {path}: {problem}")]
    File {
        /// As configured.
        path: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// What the component returned is not what was granted.
    #[error("the signing component returned something that was not granted: {0}")]
    NotGranted(&'static str),
    /// The crypto library refused.
    #[error("signing failed: {0}")]
    Crypto(String),
}
