//! Requests that came to nothing.

use std::net::IpAddr;
use std::time::Duration;

use relevo_resolve::ResolveError;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL cannot be used.
    #[error("the URL cannot be used: {0}")]
    Url(String),
    /// A header field cannot be sent.
    #[error("the header field {0} cannot be sent")]
    Header(String),
    /// Every address of the host lies inside.
    #[error("{host} is at {address}, which is not a public address")]
    Inner {
        /// As the URL names it.
        host: String,
        /// One of its addresses.
        address: IpAddr,
    },
    /// DNS.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// No connection to any address.
    #[error("no connection to {host}: {detail}")]
    Connect {
        /// As the URL names it.
        host: String,
        /// The last address's error.
        detail: String,
    },
    /// TLS failed, or the certificate is not valid for the host.
    #[error("no TLS with {host}: {detail}")]
    Tls {
        /// As the URL names it.
        host: String,
        /// What is wrong.
        detail: String,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("no answer: {0}")]
    Broken(String),
    /// The body of the answer is larger than allowed.
    #[error("the answer has more than {0} octets")]
    TooLarge(usize),
    /// The time was over.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl FetchError {
    /// Returns true if the same request can never succeed: the URL or a field is at fault.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Url(_) | Self::Header(_))
    }
}
