//! Pushing a message into a guest, and the blame when there is no answer.

use std::io;

use relevo_mailkit::source::{Source, for_each_chunk};
use wasmtime::{Store, Trap};

use crate::imports::ImportTrap;
use crate::state::{GuestState, RefusedGrowth, enter};
use crate::{Blame, FaultKind};

/// Why a stage gave no answer, before blame is found.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The engine ended the guest, or could not read its answer.
    Engine(wasmtime::Error),
    /// The answer breaks the contract.
    Answer(String),
    /// The guest says that it cannot answer.
    Error(String),
    /// The message could not be read.
    Source(io::Error),
}

impl From<wasmtime::Error> for Broken {
    fn from(error: wasmtime::Error) -> Self {
        Self::Engine(error)
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Source(error)
    }
}

/// Pushes `[offset, offset + length)` of `source` in chunks, each an exported call of its own.
pub(crate) fn push(
    store: &mut Store<GuestState>,
    source: &dyn Source,
    offset: u64,
    length: u64,
    mut call: impl FnMut(&mut Store<GuestState>, &[u8]) -> wasmtime::Result<()>,
) -> Result<(), Broken> {
    for_each_chunk(source, offset, length, |chunk| {
        enter(store);
        call(store, chunk).map_err(Broken::Engine)
    })
}

/// Whose fault it was, what broke, and what it said last.
pub(crate) fn explain(broken: Broken, state: &GuestState) -> (Blame, FaultKind, String) {
    let (blame, kind, mut detail) = match broken {
        Broken::Source(error) => (Blame::Host, FaultKind::Host, format!("reading the message: {error}")),
        Broken::Answer(detail) => (Blame::Guest, FaultKind::Answer, detail),
        Broken::Error(detail) => (Blame::Guest, FaultKind::Error, detail),
        Broken::Engine(error) => classify(&error, state),
    };
    if !state.output.is_empty() {
        detail.push_str("; it printed: ");
        detail.extend(String::from_utf8_lossy(&state.output).escape_debug());
    }
    (blame, kind, detail)
}

/// Why the engine ended a guest, or could not read its answer.
fn classify(error: &wasmtime::Error, state: &GuestState) -> (Blame, FaultKind, String) {
    if let Some((blame, exceeded)) = &state.budget.exceeded {
        let wanted = state.refused.as_ref().map_or(String::new(), |refused| format!("; it wanted {refused}"));
        return (*blame, FaultKind::Deadline, format!("{exceeded}{wanted}"));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => return (Blame::Guest, FaultKind::Stack, format!("{error:#}")),
        // A deadline that was not ours to notice.
        Some(Trap::Interrupt) => return (Blame::Guest, FaultKind::Deadline, format!("{error:#}")),
        _ => {}
    }
    if let Some(refused) = &state.refused {
        let kind = match refused {
            RefusedGrowth::Memory(_) => FaultKind::Memory,
            RefusedGrowth::Table(_) => FaultKind::Table,
        };
        return (Blame::Guest, kind, format!("wanted {refused}; then: {error:#}"));
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return (Blame::Host, FaultKind::Host, format!("{error:#}"));
    }
    // What comes back from a call without being a trap is a value that cannot be read: text that is
    // not UTF-8, a length beyond the memory, an unknown case.
    let kind = match error.downcast_ref::<ImportTrap>() {
        Some(ImportTrap::Inert(_)) => FaultKind::Denied,
        Some(ImportTrap::Exit) => FaultKind::Trap,
        None if error.is::<Trap>() => FaultKind::Trap,
        None => FaultKind::Answer,
    };
    (Blame::Guest, kind, format!("{error:#}"))
}
