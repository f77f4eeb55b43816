//! The only crate that reads private keys. It signs what the DKIM component prepared, after checking that it is what was
//! granted; it makes keys and the DNS records for them.

mod api;
mod signing;

pub use api::{Grant, KeyError};
pub use signing::SigningKey;
