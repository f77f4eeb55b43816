//! MTA-STS (RFC 8461).

mod fetch;
mod policies;
mod policy;
mod record;
#[cfg(test)]
mod tests;

pub use fetch::{HttpsSource, PolicySource};
pub use policies::{StsAnswer, StsFailure, StsPolicies, StsSettings};
pub use policy::{MAX_POLICY, PolicyError, StsMode, StsPolicy};
pub use record::{StsRecord, find_record};
