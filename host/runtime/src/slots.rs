//! The instances that a guest thread keeps, and how it gets one.

use wasmtime::{Engine, Store};

use crate::Stage;
use crate::bindings::{dkim, template, track, validate};
use crate::load::Prepared;
use crate::state::{self, Bounds, Moment, State};

/// An instance between two calls.
pub(crate) struct Warm<G> {
    pub(crate) store: Store<State>,
    pub(crate) guest: G,
    /// Calls that it served.
    pub(crate) calls: u32,
}

/// A guest thread's instances. Empty unless instances serve several calls.
#[derive(Default)]
pub(crate) struct Slots {
    validate: Option<Warm<validate::ValidateStage>>,
    track: Option<Warm<track::TrackStage>>,
    dkim: Option<Warm<dkim::DkimStage>>,
    template: Option<Warm<template::TemplateStage>>,
}

/// An instance of a first-party component.
pub(crate) trait Guest: Sized {
    const STAGE: Stage;
    fn slot(slots: &mut Slots) -> &mut Option<Warm<Self>>;
    fn instantiate(prepared: &Prepared, store: &mut Store<State>) -> wasmtime::Result<Self>;
}

macro_rules! guest {
    ($type:ty, $stage:ident, $field:ident) => {
        impl Guest for $type {
            const STAGE: Stage = Stage::$stage;

            fn slot(slots: &mut Slots) -> &mut Option<Warm<Self>> {
                &mut slots.$field
            }

            fn instantiate(prepared: &Prepared, store: &mut Store<State>) -> wasmtime::Result<Self> {
                prepared.$field.instantiate(store)
            }
        }
    };
}

guest!(validate::ValidateStage, Validate, validate);
guest!(track::TrackStage, Track, track);
guest!(dkim::DkimStage, Dkim, dkim);
guest!(template::TemplateStage, Template, template);

/// A store with the limits armed and nothing in it.
pub(crate) fn new_store(engine: &Engine, bounds: Bounds, began: Moment) -> Store<State> {
    let mut store = Store::new(engine, State::new(bounds, began));
    state::guard(&mut store);
    store
}
