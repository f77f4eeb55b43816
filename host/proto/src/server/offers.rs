//! What EHLO announces beyond the extensions that are always there.

/// The extensions of a listener that are offered by its configuration. All are off by default: what
/// the product cannot carry out is not announced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offers {
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// BINARYMIME (RFC 3030 section 3). Without `chunking` it is not offered.
    pub binarymime: bool,
}

impl Offers {
    /// Returns true if `BODY=BINARYMIME` may be asked for.
    #[must_use]
    pub fn has_binarymime(&self) -> bool {
        // RFC 3030 section 3: only together with CHUNKING.
        self.chunking && self.binarymime
    }

    /// The lines of EHLO.
    pub(super) fn keywords(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.chunking {
            lines.push("CHUNKING".to_owned());
        }
        if self.has_binarymime() {
            lines.push("BINARYMIME".to_owned());
        }
        lines
    }
}
