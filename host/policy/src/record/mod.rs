//! Recorded inputs: the last messages that a place was asked about, to be replayed against any version.
//!
//! What is kept, and what is redacted in it, is in `DESIGN.md` beside this crate. Writing happens on a thread of its own: a message
//! never waits for it, and what it cannot keep up with is dropped and counted.

mod entry;
mod fields;
mod names;
mod pseudonyms;
mod reads;
mod recorder;
mod redact;
mod segments;
mod waiting;
mod words;

pub(crate) use entry::{Answer, KeptBody, Recording, difference, fingerprint};
pub(crate) use reads::{Noted, Recalled};
pub(crate) use recorder::{Recorder, Tap, directory_name};
pub(crate) use segments::{Frame, find};
