//! The server side: listeners and sessions.

mod service;

pub use service::{
    BodyType, BodyWriter, Credentials, ListenerKind, MailFrom, Peer, RcptTo, Reply, Service, SessionInfo,
};
