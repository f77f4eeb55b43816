//! What can be said of a mail address before anything is sent to it: pure, without DNS and without
//! a store.
//!
//! The caller finds out about the domain ([`DomainFinding`]) and about earlier mail to the address
//! ([`History`]). [`Candidate::judge`] brings both together with syntax, the lists of disposable
//! domains, free providers and roles, and with mistakes of typing.
//!
//! A judgement never changes an address. A mistake of typing is answered with a suggestion, and
//! somebody has to decide.

mod candidate;
mod judgement;
mod lists;
mod repair;
mod typing;

pub use candidate::{BouncedBefore, Candidate, DomainFinding, History, SuppressedBefore};
pub use judgement::{Deliverability, Judgement, Reason};
pub use lists::{is_disposable, is_free, is_role};
pub use repair::repaired;
pub use typing::suggested_domain;
