//! Compiles, audits and links the four components.

use std::thread;

use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

use crate::Stage;
use crate::bindings::{dkim, template, track, validate};
use crate::cache::Cache;
use crate::components::Embedded;
use crate::config::{LoadError, RuntimeConfig};
use crate::imports;
use crate::slots::new_store;
use crate::state::State;

/// The stages, ready to be instantiated.
pub(crate) struct Prepared {
    pub(crate) validate: validate::ValidateStagePre<State>,
    pub(crate) track: track::TrackStagePre<State>,
    pub(crate) dkim: dkim::DkimStagePre<State>,
    pub(crate) template: template::TemplateStagePre<State>,
}

impl Prepared {
    pub(crate) fn load(
        engine: &Engine,
        config: &RuntimeConfig,
        component: impl Fn(Stage) -> Option<Embedded> + Sync,
    ) -> Result<Self, LoadError> {
        let cache = config.cache_dir.as_deref().and_then(|directory| {
            Cache::open(directory)
                .inspect_err(|reason| {
                    tracing::warn!(directory = %directory.display(), %reason, "no cache of compiled components");
                })
                .ok()
        });
        let (cache, component) = (cache.as_ref(), &component);
        let (validate, track, dkim, template) = thread::scope(|scope| {
            let start = |stage| scope.spawn(move || prepare(engine, cache, stage, component(stage)));
            let [validate, track, dkim, template] =
                [Stage::Validate, Stage::Track, Stage::Dkim, Stage::Template].map(start);
            (join(validate), join(track), join(dkim), join(template))
        });
        let wrong = |stage| {
            move |error: wasmtime::Error| LoadError::Component { stage, detail: format!("{error:#}") }
        };
        let prepared = Self {
            validate: validate::ValidateStagePre::new(validate?).map_err(wrong(Stage::Validate))?,
            track: track::TrackStagePre::new(track?).map_err(wrong(Stage::Track))?,
            dkim: dkim::DkimStagePre::new(dkim?).map_err(wrong(Stage::Dkim))?,
            template: template::TemplateStagePre::new(template?).map_err(wrong(Stage::Template))?,
        };
        // The types of exports are compared when an instance is made: better now than with the first message.
        let store = || new_store(engine, config.limits);
        prepared.validate.instantiate(store()).map_err(wrong(Stage::Validate))?;
        prepared.track.instantiate(store()).map_err(wrong(Stage::Track))?;
        prepared.dkim.instantiate(store()).map_err(wrong(Stage::Dkim))?;
        prepared.template.instantiate(store()).map_err(wrong(Stage::Template))?;
        Ok(prepared)
    }
}

type Pre = Result<InstancePre<State>, LoadError>;

fn join(thread: thread::ScopedJoinHandle<'_, Pre>) -> Pre {
    thread.join().unwrap_or_else(|_| Err(LoadError::Engine("the compiler panicked".into())))
}

fn prepare(engine: &Engine, cache: Option<&Cache>, stage: Stage, component: Option<Embedded>) -> Pre {
    let Embedded { wasm, sha256 } = component.ok_or(LoadError::Missing(stage))?;
    let component = match cache {
        Some(cache) => cache.load(engine, stage.name(), wasm, &sha256),
        None => Component::from_binary(engine, wasm),
    };
    let component =
        component.map_err(|error| LoadError::Component { stage, detail: format!("{error:#}") })?;
    link(engine, stage, &component)
}

/// Audits the imports and defines them.
pub(crate) fn link(engine: &Engine, stage: Stage, component: &Component) -> Pre {
    imports::audit(engine, stage, component)?;
    let mut linker = Linker::new(engine);
    imports::link(&mut linker, engine, component)
        .and_then(|()| linker.instantiate_pre(component))
        .map_err(|error| LoadError::Component { stage, detail: format!("{error:#}") })
}
