//! The id of a message in queue, events and tokens.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The id of a message (a ULID): 48 bits of milliseconds, then 80 random bits; as text 26
/// characters of Crockford base32. The writer makes it, so several writers need no coordination.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ItemId(pub [u8; 16]);

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl ItemId {
    /// An id for `now`, in milliseconds since 1970, with these 10 random octets.
    #[must_use]
    pub fn new(now: i64, random: [u8; 10]) -> Self {
        let mut id = [0; 16];
        id[..6].copy_from_slice(&now.to_be_bytes()[2..]);
        id[6..].copy_from_slice(&random);
        Self(id)
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = u128::from_be_bytes(self.0);
        for i in (0..26).rev() {
            let digit = usize::try_from((n >> (i * 5)) & 31).unwrap_or(0);
            write!(f, "{}", char::from(CROCKFORD[digit]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The error of parsing an [`ItemId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidItemId;

impl fmt::Display for InvalidItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a queue id has 26 characters of 0-9 and A-Z without I, L, O and U")
    }
}

impl std::error::Error for InvalidItemId {}

impl FromStr for ItemId {
    type Err = InvalidItemId;

    fn from_str(s: &str) -> Result<Self, InvalidItemId> {
        if s.len() != 26 {
            return Err(InvalidItemId);
        }
        let mut n: u128 = 0;
        for (i, c) in s.bytes().enumerate() {
            let digit = CROCKFORD.iter().position(|d| *d == c.to_ascii_uppercase()).ok_or(InvalidItemId)?;
            if i == 0 && digit > 7 {
                return Err(InvalidItemId);
            }
            n = (n << 5) | digit as u128;
        }
        Ok(Self(n.to_be_bytes()))
    }
}
