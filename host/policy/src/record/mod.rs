//! Recorded inputs: the last messages that a plugin was asked about, to be replayed against any
//! version.
//!
//! `DESIGN.md` beside this crate says what is kept and what is redacted. A thread of its own
//! writes. A message never waits for it: what it cannot keep up with is dropped and counted.

mod entry;
mod log;
mod pseudonyms;
mod reads;
mod recorder;

pub(crate) use entry::{KeptBody, RecordedAnswer, Recording, difference, fingerprint};
pub(crate) use log::{StoredRecording, read_recordings};
pub(crate) use reads::{RecordedReads, ReplayReads};
pub(crate) use recorder::{Recorder, RecordingHandle, directory_name};
