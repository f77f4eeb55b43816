//! The first-party components, embedded by the build script.

use crate::Stage;

/// A component as it was built.
#[derive(Clone, Copy)]
pub(crate) struct Embedded {
    pub(crate) wasm: &'static [u8],
    /// Taken at build time: at start no page of `wasm` is touched unless it must be compiled.
    pub(crate) sha256: [u8; 32],
}

include!(concat!(env!("OUT_DIR"), "/components.rs"));

/// The component of `stage`, unless the build had none.
pub(crate) fn embedded(stage: Stage) -> Option<Embedded> {
    match stage {
        Stage::Validate => VALIDATE,
        Stage::Track => TRACK,
        Stage::Dkim => DKIM,
        Stage::Template => TEMPLATE,
        Stage::Reports => REPORTS,
        Stage::Classify => CLASSIFY,
        Stage::Content => CONTENT,
    }
}

/// A component's bytes, for tests that run it another way.
///
/// `None` when the build had no components.
#[must_use]
pub fn component(stage: Stage) -> Option<&'static [u8]> {
    embedded(stage).map(|e| e.wasm)
}

/// Whether the embedded components were built from older sources than those that this crate was
/// built beside.
#[must_use]
pub fn components_are_stale() -> bool {
    STALE
}
