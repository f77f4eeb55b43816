//! A private key and what it signs.

use relevo_mailkit::model::{Algorithm, Unsigned};

use crate::api::{Grant, KeyError};

/// A DKIM private key. Its secret never leaves this crate.
pub struct SigningKey {
    algorithm: Algorithm,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// What it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Checks `unsigned` against `grant` and signs it. Returns the whole DKIM-Signature field with its final CRLF.
    ///
    /// # Errors
    /// [`KeyError::NotGranted`] when it is not exactly what was granted.
    pub fn sign(&self, grant: &Grant<'_>, unsigned: &Unsigned) -> Result<Vec<u8>, KeyError> {
        let _ = (grant, unsigned);
        Err(KeyError::NotGranted("signing is not built yet"))
    }
}
