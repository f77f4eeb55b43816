//! Host to connection.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use relevo_resolve::reach::is_inner;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::{Host, Url};

use crate::{FetchError, Fetcher};

/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 4;
/// Time for one address: one that is silent must not use up the time of those behind it.
const CONNECT_TIME: Duration = Duration::from_secs(10);

pub(crate) enum Connection {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

pub(crate) async fn connect(fetcher: &Fetcher, url: &Url) -> Result<Connection, FetchError> {
    let host = url.host().ok_or_else(|| FetchError::Url("it names no host".to_owned()))?;
    let name = host.to_string();
    let port = url.port_or_known_default().ok_or_else(|| FetchError::Url("it has no port".to_owned()))?;
    let addresses = match &host {
        Host::Ipv4(ip) => vec![IpAddr::V4(*ip)],
        Host::Ipv6(ip) => vec![IpAddr::V6(*ip)],
        Host::Domain(domain) => fetcher.resolve.addresses(domain.trim_end_matches('.')).await?.addresses,
    };
    let allowed = addresses.iter().copied().filter(|ip| is_allowed(fetcher, *ip));
    let outer: Vec<IpAddr> = allowed.take(MAX_ADDRESSES).collect();
    if let (true, Some(address)) = (outer.is_empty(), addresses.first()) {
        return Err(FetchError::Inner { host: name, address: *address });
    }
    let stream = first_of(&outer, port, &name).await?;
    // Requests are written whole: nothing is to be waited for.
    let _ = stream.set_nodelay(true);
    if url.scheme() == "http" {
        return Ok(Connection::Clear(stream));
    }
    let server = match host {
        Host::Domain(domain) => ServerName::try_from(domain.trim_end_matches('.').to_owned())
            .map_err(|_| FetchError::Url(format!("{domain} is not a host name")))?,
        Host::Ipv4(ip) => ServerName::from(IpAddr::V4(ip)),
        Host::Ipv6(ip) => ServerName::from(IpAddr::V6(ip)),
    };
    let connector = TlsConnector::from(std::sync::Arc::clone(&fetcher.tls));
    match connector.connect(server, stream).await {
        Ok(stream) => Ok(Connection::Tls(Box::new(stream))),
        Err(error) => Err(FetchError::Tls { host: name, detail: error.to_string() }),
    }
}

/// Refuses a URL with an inner address in it.
pub(crate) fn check(fetcher: &Fetcher, url: &Url) -> Result<(), FetchError> {
    let address = match url.host() {
        None => return Err(FetchError::Url("it names no host".to_owned())),
        Some(Host::Domain(_)) => return Ok(()),
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
    };
    match is_allowed(fetcher, address) {
        true => Ok(()),
        false => {
            Err(FetchError::Inner { host: url.host().map(|h| h.to_string()).unwrap_or_default(), address })
        }
    }
}

fn is_allowed(fetcher: &Fetcher, ip: IpAddr) -> bool {
    !is_inner(ip) || fetcher.allowed.iter().any(|network| network.contains(&ip.to_canonical()))
}

async fn first_of(addresses: &[IpAddr], port: u16, host: &str) -> Result<TcpStream, FetchError> {
    let mut detail = "it has no address".to_owned();
    for address in addresses {
        let connecting = TcpStream::connect(SocketAddr::new(*address, port));
        match tokio::time::timeout(CONNECT_TIME, connecting).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => detail = format!("{address} port {port}: {error}"),
            Err(_) => detail = format!("{address} port {port}: no answer within {CONNECT_TIME:?}"),
        }
    }
    Err(FetchError::Connect { host: host.to_owned(), detail })
}
