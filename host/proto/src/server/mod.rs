//! The receiving side: a table of states. Octets go in with any segmentation, events and replies
//! come out.
//!
//! The owner of the socket loops: [`ServerSession::poll`]; carry out the [`Event`] and answer it;
//! on [`Event::NeedInput`] send what [`ServerSession::take_output`] has, then receive more. Nothing
//! here waits or knows the time.

mod auth;
mod bearer;
mod buffer;
mod chunks;
mod command;
mod config;
mod content;
mod dialogue;
mod offers;
mod params;
mod path;
mod proxy;
pub mod replies;
mod sasl;
mod scram;
mod session;
mod types;
mod xclient;

pub use bearer::BearerToken;
pub use config::{AuthPolicy, SessionConfig, SessionLimits};
pub use content::BareNewlines;
pub use offers::{FutureRelease, Mechanisms, Offers};
pub use proxy::{ProxiedSource, ProxyError, ProxyHeader};
pub use sasl::sasl_prepared;
pub use scram::{ScramVerifier, ScramVerifierError};
pub use session::{Event, ServerSession};
pub use types::{BodyType, Credentials, Hold, MailFrom, SessionInfo, TlsFacts};
pub use xclient::{ProxiedClient, ProxiedLogin, Said};

/// The content of a whole DATA, and the octets after its end.
#[cfg(test)]
pub(crate) fn unstuff(wire: &[u8]) -> (Vec<u8>, usize) {
    let mut buf = wire.to_vec();
    let scan = content::Content::new().scan(&mut buf);
    assert!(scan.ended);
    buf.truncate(scan.content);
    (buf, wire.len() - scan.consumed)
}
