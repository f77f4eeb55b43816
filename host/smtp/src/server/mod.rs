//! The server side: listeners and sessions.

mod listener;
mod peers;
mod service;
mod session;
mod throttle;
mod tls;

pub use listener::{ListenerConfig, ListenerLimits, Server};
pub use relevo_mailkit::dsn::{DsnMail, Notify, Orcpt, Ret};
pub use relevo_proto::server::{BareNewlines, DeliverBy, DeliverByMode, FutureRelease, Hold, Offers};
pub use service::{
    BodyType, BodyWriter, Credentials, ListenerKind, MailFrom, Recipient, Reply, Service, SessionInfo,
    SmtpPeer,
};
pub use throttle::AuthThrottle;
pub use tls::{ServerTls, TlsError};
