//! TLS reports (RFC 8460): counts of a day, told to the domains that want to know.

mod json;
mod mail;
mod places;
mod record;
mod sender;
mod tally;

pub use json::{Report, ReportSpan, compressed};
pub use mail::{ReportMail, file_name};
pub use record::{ReportTargets, ReportUri, find_targets};
pub use sender::{ReportCarrier, Reporter, ReporterName};
pub use tally::{
    DomainTally, FailureDetail, PolicyKind, PolicyTally, SessionOutcome, Tallies, TallyPolicy, day_of,
    report_delay,
};
