//! The client side: connections to next hops, and what became of each recipient.

mod connection;
mod content;
mod key_exchange;
mod login;
mod open;
mod recorder;
mod tls;
mod tlsa;
mod types;
mod wire;

pub use connection::Connection;
pub use recorder::Recorder;
pub use relevo_proto::client::{Abilities, ServerLimits};
pub use tls::{Tls, root_certificates};
pub use tlsa::TlsaRecord;
pub use types::{
    Auth, AuthSecret, ClientConfig, DialogueStep, Envelope, EnvelopeRecipient, Failure, RecipientOutcome,
    RemoteReply, Target, TlsFailure, TlsPolicy, TlsReason, TlsRequirement, TlsState, TokenSource,
    TransactionResult,
};
