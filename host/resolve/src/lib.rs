//! Where a domain takes its mail: MX lookup through hickory (RFC 5321 section 5.1, RFC 7505).

mod api;

pub use api::{IpFamily, MailHost, ResolveError, Resolve, Route};
