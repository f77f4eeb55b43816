//! Where a domain takes its mail: MX lookup through hickory (RFC 5321 section 5.1, RFC 7505).

mod api;
mod hickory;
pub mod reach;
mod route;
pub mod secure;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use api::{Addresses, Found, IpFamily, LookUp, MailHost, MailRoute, RecordKind, Resolve, ResolveError};
pub use hickory::{HickoryResolver, ResolverConfig, Tuning};
