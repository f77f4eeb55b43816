//! One call of a stage on a guest thread: an instance, the calls, and whose fault it was when there is no answer.

use std::io;

use relevo_mailkit::source::{Source, for_each_chunk};
use wasmtime::component::ResourceAny;
use wasmtime::{Engine, Store, Trap};

use crate::config::Limits;
use crate::imports::ImportTrap;
use crate::load::Prepared;
use crate::slots::{Guest, Slots, Warm, new_store};
use crate::state::{Moment, Refused, State, enter};
use crate::{Blame, Fault, FaultKind, Stage};

/// What a guest thread needs to run a stage.
pub(crate) struct Sandbox {
    pub(crate) engine: Engine,
    pub(crate) prepared: Prepared,
    pub(crate) limits: Limits,
    pub(crate) calls_per_instance: u32,
}

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

impl Sandbox {
    /// Runs `calls` with an instance of `G`. An instance is kept only after an answer, and only while it may serve more.
    pub(crate) fn run<G: Guest, T>(
        &self,
        slots: &mut Slots,
        now: i64,
        seed: u64,
        calls: impl FnOnce(&mut Store<State>, &G) -> Result<T, Broken>,
    ) -> Result<T, Fault> {
        let began = Moment::now();
        let kept = G::slot(slots).take();
        let (mut store, guest, served) = match kept {
            Some(mut warm) => {
                warm.store.data_mut().begin(milliseconds(now), seed, began);
                (warm.store, Ok(warm.guest), warm.calls)
            }
            None => {
                let mut store = new_store(&self.engine, (&self.limits).into(), began);
                store.data_mut().begin(milliseconds(now), seed, began);
                let guest = G::instantiate(&self.prepared, &mut store).map_err(Broken::Engine);
                (store, guest, 0)
            }
        };
        let result = guest.and_then(|guest| calls(&mut store, &guest).map(|answer| (answer, guest)));
        match result {
            Ok((answer, guest)) => {
                if served + 1 < self.calls_per_instance {
                    *G::slot(slots) = Some(Warm { store, guest, calls: served + 1 });
                }
                Ok(answer)
            }
            Err(broken) => Err(fault(G::STAGE, broken, store.data())),
        }
    }

    /// Gives a handle back. An instance that serves no other call needs no tidying.
    pub(crate) fn forget(&self, store: &mut Store<State>, handle: ResourceAny) -> wasmtime::Result<()> {
        if self.calls_per_instance <= 1 {
            return Ok(());
        }
        enter(store);
        handle.resource_drop(store)
    }
}

/// Pushes `[offset, offset + length)` of `source` in chunks, each an exported call of its own.
pub(crate) fn push(
    store: &mut Store<State>,
    source: &dyn Source,
    offset: u64,
    length: u64,
    mut call: impl FnMut(&mut Store<State>, &[u8]) -> wasmtime::Result<()>,
) -> Result<(), Broken> {
    for_each_chunk(source, offset, length, |chunk| {
        enter(store);
        call(store, chunk).map_err(Broken::Engine)
    })
}

fn fault(stage: Stage, broken: Broken, state: &State) -> Fault {
    let (blame, kind, detail) = explain(broken, state);
    Fault { stage, blame, kind, detail }
}

/// Whose fault it was, what broke, and what it said last.
pub(crate) fn explain(broken: Broken, state: &State) -> (Blame, FaultKind, String) {
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

/// A stage's `now` is in seconds.
fn milliseconds(now: i64) -> u64 {
    u64::try_from(now).unwrap_or(0).saturating_mul(1_000)
}

/// Why the engine ended a guest, or could not read its answer.
fn classify(error: &wasmtime::Error, state: &State) -> (Blame, FaultKind, String) {
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
            Refused::Memory(_) => FaultKind::Memory,
            Refused::Table(_) => FaultKind::Table,
        };
        return (Blame::Guest, kind, format!("wanted {refused}; then: {error:#}"));
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return (Blame::Host, FaultKind::Host, format!("{error:#}"));
    }
    // What comes back from a call without being a trap is a value that cannot be read: text that is not UTF-8, a
    // length beyond the memory, an unknown case.
    let kind = match error.downcast_ref::<ImportTrap>() {
        Some(ImportTrap::Inert(_)) => FaultKind::Denied,
        Some(ImportTrap::Exit) => FaultKind::Trap,
        None if error.is::<Trap>() => FaultKind::Trap,
        None => FaultKind::Answer,
    };
    (Blame::Guest, kind, format!("{error:#}"))
}
