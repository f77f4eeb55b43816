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
pub use transaction::{ClientTransaction, TransactionStep};
pub use types::{
    DialogueStep, Envelope, Failure, RecipientOutcome, RemoteReply, TlsFailure, TransactionResult,
};
