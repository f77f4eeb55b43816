//! Doubles for this crate's own tests: a store in memory that can be told to fail, stages that answer what they are told, a
//! clock that is set by hand.

mod memory;
mod stages;
mod world;

pub(crate) use memory::{Memory, Stored};
pub(crate) use stages::{ScriptedStages, read};
pub(crate) use world::{World, credentials, forward, hash, key, settings, submission};
