//! Shared limits: a cap that is for all nodes, such as connections to a site from a source address.
//!
//! * **Base shares.** Where a cap is at least four times the nodes, half of it is divided among the
//!   nodes for good. A node uses its part without asking: small traffic waits for nobody, and mail
//!   goes on while an allotter changes hands. No node can tell whether an allotter is gone or it is
//!   itself cut off. So what is used without asking is set aside at all times, or the cap would be
//!   exceeded.
//! * **Slices.** The rest is handed out by allotters ([`allotter`]), by demand, for [`SLICE`]. There
//!   are [`ALLOTTERS`] of them, leased like shards. The [`LimitId`] names the one that is asked. A new
//!   holder grants nothing for [`WAITS`].
//! * **Nodes ask by TCP** ([`crate::tcp`]), with JSON ([`questions`]) that is authenticated by the secret
//!   of the cluster ([`crate::wire`]). Both engines have leases, only one has request and reply. So the engine names the
//!   holder and its address, and nodes ask each other. A connection carries one question, of all
//!   limits of one holder.
//!
//! Connections and rates are the same thing here: at any time the shares of all nodes add up to the
//! cap at most. What has begun is finished: a share bounds what a node begins.

pub mod allotter;
pub mod census;
pub mod holder;
pub mod metrics;
pub mod questions;
pub mod shares;

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A slice may be used for this long after it was asked for, by the clock of the node.
pub const SLICE: Duration = Duration::from_secs(10);
/// A holder counts a slice for this long after it was asked: clocks may run apart by a fifth.
pub const COUNTED: Duration = Duration::from_secs(12);
/// A new holder grants nothing for this long: slices of the one before lapse first.
pub const WAITS: Duration = COUNTED;
/// Allotters in a cluster. Each costs the engine a write every 3 s.
pub const ALLOTTERS: u8 = 16;
/// A node asks this often for what it wants.
pub const ASKS: Duration = Duration::from_secs(1);
/// Limits in one question.
pub const MAX_ASKS: usize = 1024;

/// Names a limit: the upper half of the SHA-256 of its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LimitId(pub [u8; 16]);

impl LimitId {
    /// Of these words, with a length before each.
    #[must_use]
    pub fn of<'w>(words: impl IntoIterator<Item = &'w [u8]>) -> Self {
        use sha2::Digest;
        let mut hash = sha2::Sha256::new();
        for word in words {
            hash.update(u64::try_from(word.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(word);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize()[..16]);
        Self(id)
    }

    /// The number of its allotter.
    #[must_use]
    pub fn allotter(&self) -> u8 {
        self.0[0] % ALLOTTERS
    }
}

impl Serialize for LimitId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for LimitId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let octets = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        let id = octets.try_into().map_err(|_| serde::de::Error::custom("a limit has 16 octets"))?;
        Ok(Self(id))
    }
}

/// What a cap is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// Connections that are open at the same time.
    Connections,
    /// Messages in a minute.
    Rate,
}

/// What a node asks about a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Which.
    pub limit: LimitId,
    /// What it is for.
    pub kind: LimitKind,
    /// Of all nodes.
    pub cap: u32,
    /// What the node could use now, on top of its base share.
    pub wanted: u32,
    /// The most that it uses, or may use by an earlier answer, on top of its base share.
    pub has: u32,
}

/// The part of a cap that is divided among the nodes for good.
#[must_use]
pub fn pool(cap: u32, nodes: u32) -> u32 {
    if nodes > 0 && cap >= nodes.saturating_mul(4) { cap / 2 } else { 0 }
}

/// What each of `nodes` may use of a cap without asking.
#[must_use]
pub fn base_share(cap: u32, nodes: u32) -> u32 {
    pool(cap, nodes).checked_div(nodes).unwrap_or(0)
}
