//! Tracking tokens: stateless, authenticated by HMAC-SHA256 (decision 9 of the design).

/// A key that mints and verifies tokens.
#[derive(Clone)]
pub struct TokenKey {
    /// As configured; 1 to 16 letters, digits, hyphens.
    pub id: String,
    /// At least 32 octets.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The first mints, all verify.
#[derive(Debug, Clone, Default)]
pub struct TokenKeys(pub Vec<TokenKey>);
