//! What Spin has beyond WASI: key-value stores and variables.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::component::{HasSelf, Linker, Resource};

#[allow(missing_docs, reason = "generated")]
mod bindings {
    // As Spin 2.0 and all later ones have them.
    wasmtime::component::bindgen!({
        inline: "
            package fermyon:spin@2.0.0;

            interface key-value {
                resource store {
                    open: static func(label: string) -> result<store, error>;
                    get: func(key: string) -> result<option<list<u8>>, error>;
                    set: func(key: string, value: list<u8>) -> result<_, error>;
                    delete: func(key: string) -> result<_, error>;
                    exists: func(key: string) -> result<bool, error>;
                    get-keys: func() -> result<list<string>, error>;
                }

                variant error { store-table-full, no-such-store, access-denied, other(string) }
            }

            interface variables {
                get: func(name: string) -> result<string, error>;

                variant error {
                    invalid-name(string),
                    undefined(string),
                    provider(string),
                    other(string),
                }
            }

            world platform {
                import key-value;
                import variables;
            }
        ",
        with: { "fermyon:spin/key-value.store": super::OpenStore },
    });
}

use bindings::Platform;
use bindings::fermyon::spin::{key_value, variables};

/// The values of a store by their keys.
pub type Values = BTreeMap<String, Vec<u8>>;

/// A store that a guest has opened. There is one.
#[derive(Debug)]
pub struct OpenStore;

/// Spin with one store, `default`. Copies share it.
#[derive(Debug, Clone, Default)]
pub struct SpinHost {
    /// The store; none: it is out of order.
    pub store: Arc<Mutex<Option<Values>>>,
    /// The variables of the component.
    pub variables: BTreeMap<String, String>,
}

impl SpinHost {
    /// Spin with an empty store and these variables.
    #[must_use]
    pub fn new(variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { store: Arc::new(Mutex::new(Some(BTreeMap::new()))), variables: variables.collect() }
    }

    /// Adds what Spin has to a linker.
    ///
    /// # Errors
    /// It is there already.
    pub fn add_to_linker<T: Send + 'static>(
        linker: &mut Linker<T>,
        host: fn(&mut T) -> &mut Self,
    ) -> wasmtime::Result<()> {
        Platform::add_to_linker::<_, HasSelf<Self>>(linker, host)
    }

    fn with<R>(&self, work: impl FnOnce(&mut Values) -> R) -> Result<R, key_value::Error> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.as_mut().map(work).ok_or_else(|| key_value::Error::Other("out of order".to_owned()))
    }
}

impl key_value::Host for SpinHost {}

impl key_value::HostStore for SpinHost {
    fn open(&mut self, label: String) -> Result<Resource<OpenStore>, key_value::Error> {
        match label.as_str() {
            "default" => Ok(Resource::new_own(0)),
            _ => Err(key_value::Error::AccessDenied),
        }
    }

    fn get(&mut self, _: Resource<OpenStore>, key: String) -> Result<Option<Vec<u8>>, key_value::Error> {
        self.with(|store| store.get(&key).cloned())
    }

    fn set(&mut self, _: Resource<OpenStore>, key: String, value: Vec<u8>) -> Result<(), key_value::Error> {
        // What Spin's own store takes.
        if key.len() > 255 || value.len() > 1_000_000 {
            return Err(key_value::Error::Other("too large".to_owned()));
        }
        self.with(|store| drop(store.insert(key, value)))
    }

    fn delete(&mut self, _: Resource<OpenStore>, key: String) -> Result<(), key_value::Error> {
        self.with(|store| drop(store.remove(&key)))
    }

    fn exists(&mut self, _: Resource<OpenStore>, key: String) -> Result<bool, key_value::Error> {
        self.with(|store| store.contains_key(&key))
    }

    fn get_keys(&mut self, _: Resource<OpenStore>) -> Result<Vec<String>, key_value::Error> {
        self.with(|store| store.keys().cloned().collect())
    }

    fn drop(&mut self, _: Resource<OpenStore>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl variables::Host for SpinHost {
    fn get(&mut self, name: String) -> Result<String, variables::Error> {
        self.variables.get(&name).cloned().ok_or(variables::Error::Undefined(name))
    }
}
