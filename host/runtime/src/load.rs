//! Compiles, audits and links the components.

use std::sync::OnceLock;
use std::thread;

use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Engine, Store};

use crate::Stage;
use crate::bindings::{classify, content, dkim, reports, template, track, validate};
use crate::cache::{Cache, load_compiled};
use crate::components::Embedded;
use crate::config::{LoadError, RuntimeConfig, StageLimits};
use crate::state::{self, Bounds, GuestState, Moment};
use crate::{engine, imports};

/// The stages, ready to be instantiated.
pub(crate) struct Prepared {
    pub(crate) validate: validate::ValidateStagePre<GuestState>,
    pub(crate) track: track::TrackStagePre<GuestState>,
    pub(crate) dkim: dkim::DkimStagePre<GuestState>,
    pub(crate) template: template::TemplateStagePre<GuestState>,
    pub(crate) reports: reports::ReportsStagePre<GuestState>,
    pub(crate) content: content::ContentStagePre<GuestState>,
}

/// An instance of a first-party component.
pub(crate) trait Guest: Sized {
    const STAGE: Stage;
    fn instantiate(prepared: &Prepared, store: &mut Store<GuestState>) -> wasmtime::Result<Self>;
}

macro_rules! guest {
    ($type:ty, $stage:ident, $field:ident) => {
        impl Guest for $type {
            const STAGE: Stage = Stage::$stage;

            fn instantiate(prepared: &Prepared, store: &mut Store<GuestState>) -> wasmtime::Result<Self> {
                prepared.$field.instantiate(store)
            }
        }
    };
}

guest!(validate::ValidateStage, Validate, validate);
guest!(track::TrackStage, Track, track);
guest!(dkim::DkimStage, Dkim, dkim);
guest!(template::TemplateStage, Template, template);
guest!(reports::ReportsStage, Reports, reports);
guest!(content::ContentStage, Content, content);

/// A store with the limits armed and nothing in it.
pub(crate) fn new_store(engine: &Engine, bounds: Bounds, began: Moment) -> Store<GuestState> {
    let mut store = Store::new(engine, GuestState::new(bounds, began));
    state::guard(&mut store);
    store
}

impl Prepared {
    pub(crate) fn load(
        engine: &Engine,
        config: &RuntimeConfig,
        component: impl Fn(Stage) -> Option<Embedded> + Sync,
    ) -> Result<Self, LoadError> {
        let cache = open_cache(config);
        let (cache, component) = (cache.as_ref(), &component);
        let compiler = Compiler::new(config.limits);
        let (validate, track, dkim, template, reports, content) = thread::scope(|scope| {
            let compiler = &compiler;
            let start =
                |stage| scope.spawn(move || prepare(engine, compiler, cache, stage, component(stage)));
            let [validate, track, dkim, template, reports, content] = Stage::ALL.map(start);
            (join(validate), join(track), join(dkim), join(template), join(reports), join(content))
        });
        drop(compiler);
        let wrong = |stage| {
            move |error: wasmtime::Error| LoadError::Component { stage, detail: format!("{error:#}") }
        };
        let prepared = Self {
            validate: validate::ValidateStagePre::new(validate?).map_err(wrong(Stage::Validate))?,
            track: track::TrackStagePre::new(track?).map_err(wrong(Stage::Track))?,
            dkim: dkim::DkimStagePre::new(dkim?).map_err(wrong(Stage::Dkim))?,
            template: template::TemplateStagePre::new(template?).map_err(wrong(Stage::Template))?,
            reports: reports::ReportsStagePre::new(reports?).map_err(wrong(Stage::Reports))?,
            content: content::ContentStagePre::new(content?).map_err(wrong(Stage::Content))?,
        };
        // The types of exports are compared when an instance is made: better now than with the
        // first message.
        let store = || new_store(engine, (&config.limits).into(), Moment::now());
        prepared.validate.instantiate(store()).map_err(wrong(Stage::Validate))?;
        prepared.track.instantiate(store()).map_err(wrong(Stage::Track))?;
        prepared.dkim.instantiate(store()).map_err(wrong(Stage::Dkim))?;
        prepared.template.instantiate(store()).map_err(wrong(Stage::Template))?;
        prepared.reports.instantiate(store()).map_err(wrong(Stage::Reports))?;
        prepared.content.instantiate(store()).map_err(wrong(Stage::Content))?;
        Ok(prepared)
    }
}

/// The component of [`Stage::Classify`], ready to be instantiated.
pub(crate) fn load_classify(
    engine: &Engine,
    config: &RuntimeConfig,
    component: Option<Embedded>,
) -> Result<classify::ClassifyStagePre<GuestState>, LoadError> {
    let (cache, stage) = (open_cache(config), Stage::Classify);
    let compiler = Compiler::new(config.limits);
    let pre = prepare(engine, &compiler, cache.as_ref(), stage, component)?;
    classify::ClassifyStagePre::new(pre)
        .map_err(|error| LoadError::Component { stage, detail: format!("{error:#}") })
}

fn open_cache(config: &RuntimeConfig) -> Option<Cache> {
    let directory = config.cache_dir.as_deref()?;
    Cache::open(directory)
        .inspect_err(|reason| {
            tracing::warn!(directory = %directory.display(), %reason, "no cache of compiled components");
        })
        .ok()
}

type Pre = Result<InstancePre<GuestState>, LoadError>;

fn join(thread: thread::ScopedJoinHandle<'_, Pre>) -> Pre {
    thread.join().unwrap_or_else(|_| Err(LoadError::Engine("the compiler panicked".into())))
}

/// An engine that only compiles, made when something must be compiled. It is dropped after loading:
/// an engine keeps what its compiler has once needed, which is more than a hundred megabytes.
struct Compiler {
    limits: StageLimits,
    engine: OnceLock<Result<Engine, String>>,
}

impl Compiler {
    fn new(limits: StageLimits) -> Self {
        Self { limits, engine: OnceLock::new() }
    }

    fn compile(&self, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
        let engine =
            self.engine.get_or_init(|| engine::lean(&self.limits, 1).map_err(|error| error.to_string()));
        match engine {
            Ok(engine) => engine.precompile_component(wasm),
            Err(error) => Err(wasmtime::Error::msg(error.clone())),
        }
    }
}

fn prepare(
    engine: &Engine,
    compiler: &Compiler,
    cache: Option<&Cache>,
    stage: Stage,
    component: Option<Embedded>,
) -> Pre {
    let Embedded { wasm, sha256 } = component.ok_or(LoadError::Missing(stage))?;
    let compile = || compiler.compile(wasm);
    let component = match cache {
        Some(cache) => cache.load(engine, stage.name(), &sha256, compile),
        None => compile().and_then(|code| load_compiled(engine, &code)),
    };
    let component =
        component.map_err(|error| LoadError::Component { stage, detail: format!("{error:#}") })?;
    link(engine, stage, &component)
}

/// Audits the imports and defines them.
pub(crate) fn link(engine: &Engine, stage: Stage, component: &Component) -> Pre {
    imports::audit(engine, stage, component)?;
    let mut linker = Linker::new(engine);
    imports::link(&mut linker, engine, component, |_| false)
        .and_then(|()| linker.instantiate_pre(component))
        .map_err(|error| LoadError::Component { stage, detail: format!("{error:#}") })
}
