//! The header of the PROXY protocol, versions 1 and 2, which comes before the first octet of a
//! connection. The reference is HAProxy's proxy-protocol.txt.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Octets of a header of version 1, with CRLF.
const MAX_LINE: usize = 107;
/// Octets after the fixed part of version 2: addresses and what else a proxy adds. Those of
/// proxies in use stay far below.
const MAX_REST: usize = 1024;
/// What begins version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The fixed part of version 2.
const FIXED: usize = 16;

/// The octets of a header, as far as they have been received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Not yet all. This many more can be received without going beyond the header.
    Partial(usize),
    /// Complete: for whom the proxy speaks.
    Complete(ProxiedSource),
}

/// For whom a header speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxiedSource {
    /// The proxy itself: LOCAL of version 2, by which it sees whether we are there.
    Proxy,
    /// A client that the proxy cannot name: UNKNOWN of version 1, and PROXY of version 2 without
    /// addresses of TCP. It is not the proxy, and has nothing of what the proxy is trusted with.
    Unknown,
    /// The client at this address.
    Client(SocketAddr),
}

/// Why there is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// It begins otherwise.
    #[error("the connection does not begin with a PROXY header")]
    NoHeader,
    /// Longer than any that is accepted.
    #[error("the PROXY header is too long")]
    TooLong,
    /// Not what the version says.
    #[error("the PROXY header is malformed")]
    Malformed,
}

impl ProxyHeader {
    /// Most octets of a header.
    pub const MAX: usize = FIXED + MAX_REST;

    /// Reads what has been received. Begin with nothing, and receive no more than is asked for.
    ///
    /// # Errors
    /// The connection is to be closed without a word.
    pub fn parse(octets: &[u8]) -> Result<Self, ProxyError> {
        let common = octets.len().min(SIGNATURE.len());
        if octets[..common] == SIGNATURE[..common] && !octets.is_empty() {
            return version_2(octets);
        }
        let word = b"PROXY ";
        let common = octets.len().min(word.len());
        if octets[..common] != word[..common] {
            return Err(ProxyError::NoHeader);
        }
        version_1(octets)
    }
}

/// `PROXY TCP4 source destination port port CRLF`, or `PROXY UNKNOWN ... CRLF`.
fn version_1(octets: &[u8]) -> Result<ProxyHeader, ProxyError> {
    let Some(line) = octets.strip_suffix(b"\r\n") else {
        // The shortest header is longer than the signature of version 2.
        return match octets.len() {
            length if length < SIGNATURE.len() => Ok(ProxyHeader::Partial(SIGNATURE.len() - length)),
            length if length < MAX_LINE => Ok(ProxyHeader::Partial(1)),
            _ => Err(ProxyError::TooLong),
        };
    };
    if line.contains(&b'\r') || line.contains(&b'\n') {
        return Err(ProxyError::Malformed);
    }
    let line = std::str::from_utf8(line).map_err(|_| ProxyError::Malformed)?;
    let words: Vec<&str> = line.split(' ').collect();
    if words.get(1) == Some(&"UNKNOWN") {
        return Ok(ProxyHeader::Complete(ProxiedSource::Unknown));
    }
    let [_, family, source, destination, port, other] = words[..] else { return Err(ProxyError::Malformed) };
    let source = tcp(family, source, port).ok_or(ProxyError::Malformed)?;
    tcp(family, destination, other).ok_or(ProxyError::Malformed)?;
    Ok(ProxyHeader::Complete(ProxiedSource::Client(source)))
}

fn tcp(family: &str, address: &str, port: &str) -> Option<SocketAddr> {
    let is_number = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let port = is_number.then(|| port.parse().ok())??;
    match family {
        "TCP4" => Some(SocketAddr::new(address.parse::<Ipv4Addr>().ok()?.into(), port)),
        "TCP6" => Some(SocketAddr::new(address.parse::<Ipv6Addr>().ok()?.into(), port)),
        _ => None,
    }
}

/// Signature, version and command, family, length, addresses, and more that is passed over.
fn version_2(octets: &[u8]) -> Result<ProxyHeader, ProxyError> {
    if octets.len() < FIXED {
        return Ok(ProxyHeader::Partial(FIXED - octets.len()));
    }
    let (version, family) = (octets[12], octets[13]);
    let length = usize::from(u16::from_be_bytes([octets[14], octets[15]]));
    if length > MAX_REST {
        return Err(ProxyError::TooLong);
    }
    if version >> 4 != 2 {
        return Err(ProxyError::Malformed);
    }
    let Some(missing) = (FIXED + length).checked_sub(octets.len()).filter(|missing| *missing > 0) else {
        let rest = octets.get(FIXED..FIXED + length).ok_or(ProxyError::Malformed)?;
        return match version & 0xf {
            0 => Ok(ProxyHeader::Complete(ProxiedSource::Proxy)),
            1 => addresses(family, rest).map(ProxyHeader::Complete),
            _ => Err(ProxyError::Malformed),
        };
    };
    Ok(ProxyHeader::Partial(missing))
}

fn addresses(family: u8, rest: &[u8]) -> Result<ProxiedSource, ProxyError> {
    let port = |at: usize| -> Option<u16> { Some(u16::from_be_bytes([*rest.get(at)?, *rest.get(at + 1)?])) };
    let source = match family {
        // TCP over IPv4: two addresses, two ports.
        0x11 => rest.get(..12).and_then(|_| {
            let octets: [u8; 4] = rest[..4].try_into().ok()?;
            Some(SocketAddr::new(IpAddr::from(octets), port(8)?))
        }),
        // The same over IPv6.
        0x21 => rest.get(..36).and_then(|_| {
            let octets: [u8; 16] = rest[..16].try_into().ok()?;
            Some(SocketAddr::new(IpAddr::from(octets), port(32)?))
        }),
        // Datagrams, sockets of Unix, unspecified: no address that means anything here.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => return Ok(ProxiedSource::Unknown),
        _ => None,
    };
    source.map(ProxiedSource::Client).ok_or(ProxyError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Receives as it is told; what comes of it and the octets that are left.
    fn read(octets: &[u8]) -> (Result<ProxyHeader, ProxyError>, usize) {
        let mut received = 0;
        loop {
            match ProxyHeader::parse(&octets[..received]) {
                Ok(ProxyHeader::Partial(n)) if received + n <= octets.len() => received += n,
                outcome => return (outcome, octets.len() - received),
            }
        }
    }

    fn v2(version: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[version, family], &length, rest].concat()
    }

    fn from(text: &str) -> Result<ProxyHeader, ProxyError> {
        Ok(ProxyHeader::Complete(ProxiedSource::Client(text.parse().unwrap())))
    }

    #[test]
    fn version_1_lines() {
        let after = "EHLO x\r\n";
        for (line, outcome) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.1 4000 25\r\n", from("192.0.2.1:4000")),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 4000 25\r\n", from("[2001:db8::1]:4000")),
            ("PROXY UNKNOWN\r\n", Ok(ProxyHeader::Complete(ProxiedSource::Unknown))),
            ("PROXY UNKNOWN ffff:f 1 2 3\r\n", Ok(ProxyHeader::Complete(ProxiedSource::Unknown))),
        ] {
            assert_eq!(read(format!("{line}{after}").as_bytes()), (outcome, after.len()), "{line}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_LINE));
        for (line, error) in [
            ("EHLO client.test\r\n", ProxyError::NoHeader),
            ("proxy TCP4 192.0.2.1 198.51.100.1 4000 25\r\n", ProxyError::NoHeader),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 4000\r\n", ProxyError::Malformed),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 4000 25 26\r\n", ProxyError::Malformed),
            ("PROXY TCP4 2001:db8::1 2001:db8::2 4000 25\r\n", ProxyError::Malformed),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 +4000 25\r\n", ProxyError::Malformed),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 65536 25\r\n", ProxyError::Malformed),
            ("PROXY UDP4 192.0.2.1 198.51.100.1 4000 25\r\n", ProxyError::Malformed),
            ("PROXY UNKNOWN\nEHLO x\r\n", ProxyError::Malformed),
            (long.as_str(), ProxyError::TooLong),
        ] {
            assert_eq!(read(line.as_bytes()).0, Err(error), "{line}");
        }
    }

    #[test]
    fn version_2_headers() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 15, 160, 0, 25];
        assert_eq!(read(&v2(0x21, 0x11, &v4)), (from("192.0.2.1:4000"), 0));
        let with_more = [&v4[..], &[4, 0, 1, 9]].concat();
        let and_after = [v2(0x21, 0x11, &with_more), b"EHLO".to_vec()].concat();
        assert_eq!(read(&and_after), (from("192.0.2.1:4000"), 4));
        let mut v6 = [0; 36];
        (v6[0], v6[1], v6[15], v6[32], v6[33]) = (0x20, 1, 1, 15, 160);
        assert_eq!(read(&v2(0x21, 0x21, &v6)), (from("[2001::1]:4000"), 0));
        for (version, family, rest, source) in [
            (0x20, 0, &[][..], ProxiedSource::Proxy),
            (0x20, 0x11, &v4, ProxiedSource::Proxy),
            (0x21, 0, &[], ProxiedSource::Unknown),
            (0x21, 0x31, &v6, ProxiedSource::Unknown),
        ] {
            assert_eq!(read(&v2(version, family, rest)), (Ok(ProxyHeader::Complete(source)), 0));
        }
        for (version, family, rest, error) in [
            (0x11, 0x11, &v4[..], ProxyError::Malformed),
            (0x22, 0x11, &v4, ProxyError::Malformed),
            (0x21, 0x11, &v4[..11], ProxyError::Malformed),
            (0x21, 0x21, &v4, ProxyError::Malformed),
            (0x21, 0x41, &v4, ProxyError::Malformed),
            (0x21, 0x11, &[0; MAX_REST + 1], ProxyError::TooLong),
        ] {
            assert_eq!(read(&v2(version, family, rest)).0, Err(error));
        }
        assert_eq!(read(&SIGNATURE[..]).0, Ok(ProxyHeader::Partial(4)));
    }

    proptest! {
        #[test]
        fn never_asks_for_too_much(octets in prop::collection::vec(any::<u8>(), 0..64), head in 0_usize..4) {
            let head: &[u8] = [&b""[..], b"PROXY ", b"PROXY TCP4 192.0.2.1 ", SIGNATURE][head];
            let octets = [head, &octets].concat();
            let (outcome, left) = read(&octets);
            if let Ok(ProxyHeader::Partial(n)) = outcome {
                prop_assert!(n > left && octets.len() - left + n <= ProxyHeader::MAX);
            }
        }
    }
}
