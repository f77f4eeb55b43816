//! Sans-IO SMTP (RFC 5321): bytes in, replies and events out. No sockets, no clock, no randomness.
//!
//! * [`server::ServerSession`] is the receiving side: the table of states, the command parser, AUTH,
//!   and the end of a message by DATA or BDAT. [`server::ProxyHeader`] comes before it.
//! * [`client`] has the pieces of the sending side: replies, capabilities, dot-stuffing and the
//!   state of a transaction.
//!
//! Whoever owns the socket moves octets and answers the questions that the events ask; see
//! `relevo-smtp`.

pub mod client;
pub mod server;

mod reply;

pub use relevo_mailkit::reply::{EnhancedCode, Reply};
pub use reply::encode;
