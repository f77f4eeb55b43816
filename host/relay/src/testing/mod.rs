//! Doubles for this crate's own tests: stages that answer what they are told, a clock that is set
//! by hand. The queue is the embedded store on a disk in memory.

pub(crate) mod issuer;
mod stages;
mod suppressions;
mod world;

pub(crate) use relevo_resolve::testing::NoNames;
pub(crate) use stages::{ScriptedStages, read, report};
pub(crate) use suppressions::{FixedSuppressions, TENANT, no_suppressions, open_suppressions, suppressed};
pub(crate) use world::{NOW, SetClock, World, credentials, forward, hash, key, settings, submission};
