//! The sending side: replies, capabilities, dot-stuffing, and the state of one mail transaction.

mod abilities;
mod failure;
mod reply;
mod stuffer;
mod transaction;
mod types;

pub use abilities::Abilities;
pub use reply::{MalformedReply, ReplyParser};
pub use stuffer::{BareLineEnd, Stuffer};
pub use transaction::{Action, Transaction};
pub use types::{
    Command, Envelope, Failure, Outcome, RecipientOutcome, RemoteReply, TlsFailure, TransactionResult,
};
