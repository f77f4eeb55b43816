//! The only crate that reads private keys. It signs what the DKIM component prepared, after
//! checking that it is what was granted; it makes keys and the DNS records for them.

mod api;
mod file;
mod pem;
mod secret;
mod signing;

pub use api::{Grant, KeyError};
pub use file::{read_file, read_secret_file};
pub use secret::{load_or_create_secret, load_or_renew_secret, load_password, load_secret};
pub use signing::SigningKey;
