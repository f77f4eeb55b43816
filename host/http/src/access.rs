//! The access log: one debug line per request, without tokens or queries.

use std::net::{IpAddr, SocketAddr};

use axum::Extension;
use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use relevo_relay::settings::any_contains;

use crate::state::HttpState;

/// The other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

pub(crate) async fn log(
    State(state): State<HttpState>,
    Extension(Peer(peer)): Extension<Peer>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let client = client(&state, peer.ip(), request.headers());
    let method = request.method().clone();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("-", MatchedPath::as_str);
    tracing::debug!(%client, %method, route, status = response.status().as_u16(), "http");
    response
}

/// The address that the nearest proxy of ours saw; the peer's own when it is no trusted proxy.
fn client(state: &HttpState, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let mut client = peer;
    let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok());
    let hops: Vec<&str> = forwarded.flat_map(|v| v.split(',')).map(str::trim).collect();
    for hop in hops.iter().rev() {
        if !any_contains(&state.trusted_proxies, client) {
            break;
        }
        match hop.parse() {
            Ok(ip) => client = ip,
            Err(_) => break,
        }
    }
    client
}
