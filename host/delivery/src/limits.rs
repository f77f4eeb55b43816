//! The seam of limits that several nodes share: how much of a cap this node may use.
//!
//! Without an answer of somebody ([`crate::PreparedDelivery::sharing`]), a node has each cap for
//! itself, and nobody is asked.

use std::fmt;

use crate::shaping::{PathKey, Sources};

/// A limit that nodes share which send from the same addresses.
#[derive(Debug, Clone, Copy)]
pub enum SharedLimit<'a> {
    /// Connections of a pool to a provider.
    Provider(&'a PathKey, &'a Sources<'a>),
    /// Messages in a minute of a pool to a provider.
    Rate(&'a PathKey, &'a Sources<'a>),
    /// Connections to a site, by its name.
    Site(&'a str, &'a Sources<'a>),
}

/// What this node does with a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitUse {
    /// Connections that are open or being opened; 0 for a rate.
    pub in_use: u32,
    /// As much could be used; 0: this is not known, as something ended.
    pub wanted: u32,
}

/// Divides caps among nodes.
pub trait LimitShares: Send + Sync + fmt::Debug {
    /// How much of `cap` this node may use now. It is asked again before each connection and each
    /// message, under a lock: it answers from memory. What has begun is finished, whatever it
    /// answers.
    fn share(&self, limit: &SharedLimit<'_>, cap: u32, of: LimitUse) -> u32;
}
