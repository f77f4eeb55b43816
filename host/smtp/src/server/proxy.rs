//! Proxies that speak for others: whom we believe, and the PROXY header.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use relevo_proto::server::{ProxiedClient, ProxiedSource, ProxyHeader, Said};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::service::SmtpPeer;

/// The address of a client whom a proxy does not name. Not the proxy's, which may be trusted with more
/// than a client nobody knows.
pub(super) const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The proxies of a listener.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Where they are. Nobody else is believed.
    pub networks: Vec<IpNet>,
    /// Each connection begins with a header of the PROXY protocol, version 1 or 2. Connections from
    /// elsewhere and those without are closed. LOCAL, by which proxies see whether we are there, is from
    /// the proxy itself, with all it is trusted with. A client that the header does not name (UNKNOWN)
    /// is nobody we know: it is taken for one at 0.0.0.0.
    pub proxy_protocol: bool,
    /// XCLIENT is offered to them.
    pub xclient: bool,
}

impl TrustedProxies {
    /// Returns true if a proxy is at this address.
    pub(crate) fn contains(&self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        self.networks.iter().any(|network| network.contains(&addr))
    }
}

/// Reads the header, all of it within `limit`, and nothing beyond it.
pub(super) async fn read_header(stream: &mut TcpStream, limit: Duration) -> io::Result<ProxiedSource> {
    let read = async {
        let mut octets = Vec::new();
        loop {
            match ProxyHeader::parse(&octets).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))? {
                ProxyHeader::Complete(source) => return Ok(source),
                ProxyHeader::Partial(missing) => {
                    let have = octets.len();
                    octets.resize(have + missing, 0);
                    stream.read_exact(&mut octets[have..]).await?;
                }
            }
        }
    };
    timeout(limit, read).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// The peer as XCLIENT describes it. What it does not say stays.
pub(super) fn described(peer: &SmtpPeer, client: ProxiedClient) -> SmtpPeer {
    let port = match client.port {
        Said::Value(port) => port,
        Said::Nothing => peer.remote.port(),
        Said::Unavailable | Said::Temporarily => 0,
    };
    let addr = match client.addr {
        Said::Value(addr) => addr,
        Said::Nothing => peer.remote.ip(),
        Said::Unavailable | Said::Temporarily => UNKNOWN,
    };
    SmtpPeer {
        remote: SocketAddr::new(addr, port),
        proxy: Some(peer.proxy.unwrap_or(peer.remote)),
        name: said(client.name, &peer.name),
        login: said(client.login, &None),
        ..peer.clone()
    }
}

fn said(said: Said<String>, before: &Option<String>) -> Option<String> {
    match said {
        Said::Nothing => before.clone(),
        said => said.value(),
    }
}
