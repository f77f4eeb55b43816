//! The authority that a request names.

use std::net::IpAddr;

use axum::http::{HeaderMap, Uri, header};

/// The authority that a request names: `name` or `name:port` as the client wrote it, empty when
/// there is none. That of the request target counts before the Host field (RFC 9112 section 3.2.2);
/// HTTP/2 has only the former.
#[derive(Debug, Clone)]
pub(crate) struct Authority(pub(crate) String);

impl Authority {
    pub(crate) fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        let field = || headers.get(header::HOST).and_then(|v| v.to_str().ok());
        Self(uri.authority().map(|a| a.as_str()).or_else(field).unwrap_or_default().to_owned())
    }

    /// `localhost` or a loopback address, with any port: not a name that somebody else's DNS can
    /// point here.
    pub(crate) fn is_loopback(&self) -> bool {
        let name = match self.0.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => self.0.as_str(),
        };
        let address = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
        name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn authority(uri: &'static str, host: Option<&'static str>) -> String {
        let host = host.map(|h| (header::HOST, HeaderValue::from_static(h)));
        Authority::of(&Uri::from_static(uri), &host.into_iter().collect()).0
    }

    #[test]
    fn loopback_is_known_by_name_and_address() {
        for name in ["localhost", "LOCALHOST:8025", "127.0.0.1:8025", "127.9.9.9", "[::1]:8025", "[::1]"] {
            assert!(Authority(name.to_owned()).is_loopback(), "{name}");
        }
        for name in ["", "evil.test:8025", "127.0.0.1.evil.test", "192.0.2.1:8025", "localhost.evil.test"] {
            assert!(!Authority(name.to_owned()).is_loopback(), "{name}");
        }
    }

    #[test]
    fn the_request_target_counts_before_the_field() {
        assert_eq!(authority("/c/x", Some("t.example.com")), "t.example.com");
        assert_eq!(authority("http://t.example.com:80/c/x", Some("other.example")), "t.example.com:80");
        assert_eq!(authority("https://t.example.com/c/x", None), "t.example.com");
        assert_eq!(authority("/c/x", None), "");
    }
}
