//! What a plugin may ask of its host. Each module is a capability that must be granted; a plugin
//! imports those that it uses and no others, because the linker drops the rest.
//!
//! Natively, in tests, the [test kit](crate::testkit) answers.

#[cfg(target_arch = "wasm32")]
use crate::bindings::capabilities as real;
#[cfg(not(target_arch = "wasm32"))]
use crate::testkit::fakes as real;

/// Lines for the tenant's log: 20 for each call and 1,024 octets for each line, unless the operator
/// set otherwise. What is over is cut or dropped. Do not log what is in messages.
pub mod log {
    pub use crate::bindings::capabilities::log::Level;

    /// For development.
    pub fn debug(line: impl AsRef<str>) {
        super::real::log::log(Level::Debug, line.as_ref());
    }

    /// What happened.
    pub fn info(line: impl AsRef<str>) {
        super::real::log::log(Level::Info, line.as_ref());
    }

    /// What should be looked at.
    pub fn warn(line: impl AsRef<str>) {
        super::real::log::log(Level::Warn, line.as_ref());
    }

    /// What does not work.
    pub fn error(line: impl AsRef<str>) {
        super::real::log::log(Level::Error, line.as_ref());
    }
}

/// The time.
pub mod clock {
    /// Milliseconds since 1970 when the call began. It stands still during a call; in
    /// [`decide`](crate::Policy::decide) it is [`Message::now`](crate::Message::now).
    #[must_use]
    pub fn now() -> u64 {
        super::real::clock::now()
    }
}

/// The plugin's data, read-only: what `relevo plugin kv import` put there. For each call 10,000
/// keys and 1 MiB of values.
pub mod kv {
    pub use crate::bindings::capabilities::kv::{Entry, Error};

    /// The value of a key; none when there is no such key.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
        super::real::kv::get(key)
    }

    /// The values of at most 100 keys, in the order asked. Cheaper than a call for each.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn get_many(keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        super::real::kv::get_many(keys)
    }

    /// At most `limit` (and at most 100) entries whose keys begin with `prefix` and come after
    /// `after`, in the order of their keys. An empty list is the end.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn scan(prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<Entry>, Error> {
        super::real::kv::scan(prefix, after, limit)
    }
}
