//! Shaping: what a provider allows, what its refusals lead to, and how much a new address may send.
//!
//! Pure: no clock, no IO. [`ShapingRules`] are data; [`Shaping`] is the state that the table of
//! sites asks before each connection and each message, and tells what came of it. Times are of the
//! clock that never goes back, but for what outlives a restart: suspensions and days of warm-up
//! are by the time of day, which [`Shaping::set_time_of_day`] relates to the other one.
//!
//! A simulation drives it like the table does: [`Shaping::may_connect`] and [`Shaping::opened`] for
//! a connection, [`Shaping::admit`] and [`Shaping::take`] for a message, [`Shaping::reserve`] for its
//! recipients, [`Shaping::learned`] for the outcome, [`Shaping::end_suspensions`] as time goes on, and
//! [`Shaping::unstored`] with [`Shaping::wrote`] for what the store has to know.

mod announced;
mod file;
mod pace;
mod report;
mod rules;
mod state;
mod suspension;
mod values;
mod warmup;

pub use announced::{LONGEST, announced_delay};
pub use file::RulesFile;
pub use pace::{Pace, SlowDown};
pub use report::{PathReport, ProviderReport, ShapingReport, SlowDownReport, SuspensionReport, WarmupReport};
pub use rules::{Limits, Provider, ReplyAction, ReplyRule, RulesMistake, ShapingRules, WarmupRules};
pub use state::{
    ChosenSources, Outcome, PathKey, Refusal, Shaping, ShapingChange, ShapingHold, Sources, WarmupKey,
    WarmupSpan,
};
pub use suspension::{Suspended, SuspendedBy, Suspension};
pub use values::{Span, is_provider_name};
pub use warmup::{Day, Warmup, WarmupClaim, WarmupCount, WarmupHold};
