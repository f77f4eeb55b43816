//! TLSA records.

/// A TLSA record (RFC 6698 section 2.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tlsa {
    /// Certificate usage: 2 (DANE-TA) and 3 (DANE-EE) are used with SMTP.
    pub usage: u8,
    /// Selector: 0 for the whole certificate, 1 for its public key.
    pub selector: u8,
    /// Matching type: 0 for the octets themselves, 1 for SHA-256, 2 for SHA-512.
    pub matching_type: u8,
    /// The octets to compare with.
    pub data: Vec<u8>,
}

impl Tlsa {
    /// Reads the data of a record (RFC 6698 section 2.1). None: too short.
    #[must_use]
    pub fn parse(octets: &[u8]) -> Option<Self> {
        let [usage, selector, matching_type, data @ ..] = octets else { return None };
        Some(Self { usage: *usage, selector: *selector, matching_type: *matching_type, data: data.to_vec() })
    }

    /// Returns true if some certificate can match the record. PKIX-TA and PKIX-EE are not used with
    /// SMTP (RFC 7672 section 3.1.3), and a digest has the length of its kind.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let has_data = match self.matching_type {
            0 => !self.data.is_empty(),
            1 => self.data.len() == 32,
            2 => self.data.len() == 64,
            _ => false,
        };
        has_data && self.selector <= 1 && matches!(self.usage, 2 | 3)
    }
}
