//! The server side: listeners and sessions.

mod connection;
mod listener;
mod login;
mod peers;
mod proxy;
mod service;
mod session;
mod throttle;
mod tls;

pub use listener::{ListenerConfig, ListenerLimits, Server};
pub use login::ScramDecoys;
pub use proxy::TrustedProxies;
pub use relevo_proto::server::{
    BareNewlines, FutureRelease, Hold, Mechanisms, Offers, TlsFacts, sasl_prepared,
};
pub use service::{
    BearerToken, BodyType, BodyWriter, Credentials, ListenerKind, MailFrom, Recipient, Reply, ScramVerifier,
    ScramVerifierError, Service, SessionInfo, SmtpPeer,
};
pub use throttle::AuthThrottle;
pub use tls::{ServerTls, TlsError};
