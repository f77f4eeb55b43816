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

    /// The time of the id, in milliseconds since 1970: when the message was accepted.
    #[must_use]
    pub fn millis(self) -> i64 {
        let mut millis = [0; 8];
        millis[2..].copy_from_slice(&self.0[..6]);
        i64::from_be_bytes(millis)
    }

    /// The shard of a cluster that the message belongs to: the first 16 random bits. Any number
    /// without a cluster.
    #[must_use]
    pub fn shard(self) -> u16 {
        u16::from_be_bytes([self.0[6], self.0[7]])
    }

    /// The same id in this shard.
    #[must_use]
    pub fn in_shard(mut self, shard: u16) -> Self {
        self.0[6..8].copy_from_slice(&shard.to_be_bytes());
        self
    }

    /// The id right before this one, for reading from this one on.
    #[must_use]
    pub fn before(self) -> Self {
        Self(u128::from_be_bytes(self.0).saturating_sub(1).to_be_bytes())
    }

    /// The `n`th id after this one: messages of one request have ids in a row. The time stays.
    #[must_use]
    pub fn nth(self, n: u32) -> Self {
        const RANDOM: u128 = (1 << 80) - 1;
        let id = u128::from_be_bytes(self.0);
        Self(((id & !RANDOM) | (id.wrapping_add(u128::from(n)) & RANDOM)).to_be_bytes())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_a_row_have_the_same_time() {
        let id = ItemId::new(7, [0xff; 10]);
        assert_eq!(id.nth(0), id);
        assert_eq!(id.nth(2), ItemId::new(7, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
        let (first, third) = (ItemId::new(7, [1; 10]), ItemId::new(7, [1; 10]).nth(2));
        assert_eq!(first.nth(1).nth(1), third);
        assert!(first < third);
    }
}
