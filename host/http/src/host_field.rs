//! The Host field of HTTP/1.1 (RFC 9112 section 3.2).

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::RequestError;

/// Answers 400 to a request without a Host field, with two, or with one that is not an authority.
/// Other requests get their [`Authority`](crate::authority::Authority) as an extension.
pub(crate) async fn require(mut request: Request, next: Next) -> Response {
    match check(request.version(), request.headers()) {
        Ok(()) => {
            let authority = crate::authority::Authority::of(request.uri(), request.headers());
            request.extensions_mut().insert(authority);
            next.run(request).await
        }
        Err(message) => RequestError::Malformed(message.to_owned()).into_response(),
    }
}

fn check(version: Version, headers: &HeaderMap) -> Result<(), &'static str> {
    let mut fields = headers.get_all(header::HOST).iter();
    match (fields.next(), fields.next()) {
        (None, _) if version < Version::HTTP_11 => Ok(()),
        (None, _) => Err("the request has no Host field"),
        (Some(_), Some(_)) => Err("the request has more than one Host field"),
        (Some(value), None) => {
            // An empty value is that of a target without an authority.
            let valid = value.is_empty()
                || Authority::try_from(value.as_bytes()).is_ok_and(|host| !host.as_str().contains('@'));
            valid.then_some(()).ok_or("the Host field is not a host with an optional port")
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn checked(version: Version, hosts: &[&str]) -> bool {
        let fields = hosts.iter().map(|host| (header::HOST, HeaderValue::from_str(host).unwrap()));
        check(version, &fields.collect()).is_ok()
    }

    #[test]
    fn one_host_field_is_required() {
        for good in ["example.com", "example.com:8025", "[::1]:8025", "192.0.2.1", ""] {
            assert!(checked(Version::HTTP_11, &[good]), "{good}");
        }
        for bad in ["a b", "user@example.com", "example.com/x", "[::1"] {
            assert!(!checked(Version::HTTP_11, &[bad]), "{bad}");
        }
        assert!(!checked(Version::HTTP_11, &[]));
        assert!(!checked(Version::HTTP_11, &["a.test", "a.test"]));
        assert!(checked(Version::HTTP_10, &[]));
        assert!(!checked(Version::HTTP_10, &["a.test", "b.test"]));
    }
}
