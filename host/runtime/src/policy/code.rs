//! A compiled plugin, linked: shared by all tenants that use the same digest in the same class.

use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};

use super::api::{Digest, Export};
use super::bindings::host::relevo::host::{clock, kv, log};
use super::bindings::policy::exports::relevo::policy::{configure, decide, inspect, observe};
use super::error::PluginError;
use crate::imports;
use crate::state::GuestState;

/// What is the same for everybody who uses a component.
pub(crate) struct Code {
    pub(crate) digest: Digest,
    /// Names of the imports, for the audit.
    pub(crate) imports: Vec<String>,
    pre: InstancePre<GuestState>,
    decide: decide::GuestIndices,
    configure: Option<configure::GuestIndices>,
    inspect: Option<inspect::GuestIndices>,
    observe: Option<observe::GuestIndices>,
}

/// The exports of an instance.
pub(crate) struct Guests {
    pub(crate) decide: decide::Guest,
    pub(crate) configure: Option<configure::Guest>,
    pub(crate) inspect: Option<inspect::Guest>,
    pub(crate) observe: Option<observe::Guest>,
}

impl Code {
    /// Links a component and finds out which exports it has.
    pub(crate) fn link(digest: Digest, component: &Component) -> Result<Self, PluginError> {
        let wrong = |error: wasmtime::Error| PluginError::Type(format!("{error:#}"));
        let pre = prepare(component).map_err(wrong)?;
        let has = |export: Export| {
            export.interface().is_some_and(|name| component.get_export_index(None, &name).is_some())
        };
        let code = Self {
            digest,
            imports: imported(component),
            decide: decide::GuestIndices::new(&pre).map_err(wrong)?,
            configure: optional(has(Export::Configure), || configure::GuestIndices::new(&pre))
                .map_err(wrong)?,
            inspect: optional(has(Export::Inspect), || inspect::GuestIndices::new(&pre)).map_err(wrong)?,
            observe: optional(has(Export::Observe), || observe::GuestIndices::new(&pre)).map_err(wrong)?,
            pre,
        };
        Ok(code)
    }

    pub(crate) fn has(&self, export: Export) -> bool {
        match export {
            Export::Start | Export::Decide => true,
            Export::Configure => self.configure.is_some(),
            Export::Inspect => self.inspect.is_some(),
            Export::Observe => self.observe.is_some(),
        }
    }

    /// Makes an instance. Runs code of the guest where a module has a start function.
    pub(crate) fn instantiate(&self, store: &mut Store<GuestState>) -> wasmtime::Result<Guests> {
        let instance = self.pre.instantiate(&mut *store)?;
        Ok(Guests {
            decide: self.decide.load(&mut *store, &instance)?,
            configure: self.configure.as_ref().map(|it| it.load(&mut *store, &instance)).transpose()?,
            inspect: self.inspect.as_ref().map(|it| it.load(&mut *store, &instance)).transpose()?,
            observe: self.observe.as_ref().map(|it| it.load(&mut *store, &instance)).transpose()?,
        })
    }
}

fn optional<T>(there: bool, find: impl FnOnce() -> wasmtime::Result<T>) -> wasmtime::Result<Option<T>> {
    there.then(find).transpose()
}

fn prepare(component: &Component) -> wasmtime::Result<InstancePre<GuestState>> {
    let engine = component.engine();
    let mut linker = Linker::new(engine);
    // Whether they are granted is looked at for each tenant; a store without the grant is never
    // made.
    log::add_to_linker::<_, HasSelf<GuestState>>(&mut linker, |state| state)?;
    clock::add_to_linker::<_, HasSelf<GuestState>>(&mut linker, |state| state)?;
    kv::add_to_linker::<_, HasSelf<GuestState>>(&mut linker, |state| state)?;
    imports::link(&mut linker, engine, component, |name| name.starts_with("relevo:host/"))?;
    linker.instantiate_pre(component)
}

/// What a component imports but types alone.
fn imported(component: &Component) -> Vec<String> {
    let is_code = |item: &ComponentItem| !matches!(item, ComponentItem::Type(_));
    let ty = component.component_type();
    let imports = ty.imports(component.engine());
    imports.filter(|(_, import)| is_code(&import.ty)).map(|(name, _)| name.to_owned()).collect()
}
