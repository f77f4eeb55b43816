//! Observation of requests: the address of the client, the access log, the count.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use relevo_relay::settings::{Network, any_contains};
use tower_http::request_id::RequestId;

use crate::metrics::HttpMetrics;

/// The other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerAddress(pub(crate) SocketAddr);

/// The address of the client. Behind a trusted proxy it is the one that the proxy saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

/// What [`observe`] needs.
#[derive(Debug, Clone)]
pub(crate) struct RequestObserver {
    pub(crate) trusted_proxies: Arc<[Network]>,
    pub(crate) metrics: HttpMetrics,
}

/// Removes what a client says about its own request and connection.
pub(crate) async fn distrust(mut request: Request, next: Next) -> Response {
    request.headers_mut().remove("x-request-id");
    next.run(request).await
}

/// Counts the request and writes one debug line, without tokens or queries.
pub(crate) async fn observe(
    State(observer): State<RequestObserver>,
    route: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request
        .extensions()
        .get::<PeerAddress>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    let client = client(&observer.trusted_proxies, peer, request.headers());
    request.extensions_mut().insert(ClientAddress(client));
    let id = request.extensions().get::<RequestId>().cloned();
    let method = request.method().clone();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("-", MatchedPath::as_str);
    let status = response.status().as_u16();
    observer.metrics.answered(route, status);
    let id = id.as_ref().and_then(|id| id.header_value().to_str().ok());
    tracing::debug!(%client, %method, route, status, request_id = id, "http");
    response
}

/// The address that the nearest proxy of ours saw; the peer's own when it is no trusted proxy.
fn client(trusted: &[Network], peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let mut client = peer;
    let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok());
    let hops: Vec<&str> = forwarded.flat_map(|v| v.split(',')).map(str::trim).collect();
    for hop in hops.iter().rev() {
        if !any_contains(trusted, client) {
            break;
        }
        match hop.parse() {
            Ok(ip) => client = ip,
            Err(_) => break,
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn seen(peer: &str, forwarded: &[&'static str]) -> String {
        let trusted = [Network { addr: "10.0.0.0".parse().unwrap(), prefix: 8 }];
        let name = axum::http::HeaderName::from_static("x-forwarded-for");
        let fields = forwarded.iter().map(|f| (name.clone(), HeaderValue::from_static(f)));
        let mut headers = HeaderMap::new();
        headers.extend(fields.map(|(name, value)| (Some(name), value)));
        client(&trusted, peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        assert_eq!(seen("192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(seen("10.0.0.1", &["203.0.113.9, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(seen("10.0.0.1", &["203.0.113.9", "198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(seen("10.0.0.1", &["203.0.113.9, nonsense"]), "10.0.0.1");
    }
}
