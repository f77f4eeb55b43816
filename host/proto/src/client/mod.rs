//! The sending side: replies, capabilities, dot-stuffing, and the state of one mail transaction.

mod abilities;
mod failure;
mod reply;
mod sasl;
mod stuffer;
mod transaction;
mod types;

pub use abilities::{Abilities, AuthMechanism, AuthMechanisms, ServerLimits};
pub use reply::{MalformedReply, ReplyParser};
pub use sasl::{MAX_ITERATIONS, MIN_ITERATIONS, NONCE, SaslError, SaslExchange, SaslIdentity, SaslSecret};
pub use stuffer::{BareLineEnd, LineEnds, Stuffer};
pub use transaction::{ClientTransaction, TransactionStep};
pub use types::{
    DialogueStep, Envelope, EnvelopeRecipient, Failure, RecipientOutcome, RemoteReply, TlsFailure,
    TransactionResult,
};
