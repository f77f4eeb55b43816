//! Signs for DKIM (RFC 6376, RFC 8463) where no native host does: at the edge. `README.md` says how
//! the keys are given, and what is weaker than on the native host.
//!
//! * [`Keyring`]: the keys of the variable `RELEVO_DKIM_KEYS`, and the only thing that signs.
//!
//! Nothing is signed that [`relevo_mailkit::recheck::to_sign`] refuses: the rules of the native host,
//! as far as they need no message.

mod key;
mod keyring;
mod random;

#[cfg(target_family = "wasm")]
mod guest;

pub use keyring::{Keyring, KeyringError, SignError};
