//! The client side: connections to next hops, and what became of each recipient.

mod types;

pub use types::{
    Auth, ClientConfig, Command, Envelope, Failure, Outcome, RecipientOutcome, RemoteReply, Target,
    TlsPolicy, TlsState, TransactionResult,
};
