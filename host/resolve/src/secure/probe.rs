//! Does the name server hand on signatures? One question for the SOA record of the root.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::DnssecSupport;

/// Questions to one server.
const TRIES: usize = 2;
/// Octets of an answer over UDP that are read.
const MAX_ANSWER: usize = 4096;

/// Asks the servers in turn until one answers.
pub(super) async fn probe(servers: &[SocketAddr], time: Duration) -> DnssecSupport {
    let mut last = "there is no name server".to_owned();
    for server in servers {
        for _ in 0..TRIES {
            match timeout(time, ask(*server)).await {
                Ok(Ok(answer)) => match judge(&answer) {
                    Ok(support) => return support,
                    Err(code) => last = format!("{server} answered {code}"),
                },
                Ok(Err(error)) => last = format!("{server}: {error}"),
                Err(_) => last = format!("{server} did not answer"),
            }
        }
    }
    DnssecSupport::Unknown(last)
}

/// A server that fails says nothing. One that answers has signatures, or it has none.
fn judge(answer: &Message) -> Result<DnssecSupport, ResponseCode> {
    match answer.metadata.response_code {
        ResponseCode::ServFail => Err(ResponseCode::ServFail),
        code => {
            let is_signed = answer.answers.iter().any(|record| record.record_type() == RecordType::RRSIG);
            Ok(if is_signed {
                DnssecSupport::Available
            } else {
                DnssecSupport::Unavailable(format!("the root came without signatures ({code})"))
            })
        }
    }
}

async fn ask(server: SocketAddr) -> io::Result<Message> {
    let any: std::net::IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let id = rand::random();
    let mut question = Message::new(id, MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(Name::root(), RecordType::SOA));
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    edns.enable_dnssec();
    question.edns = Some(edns);
    let octets = question.to_vec().map_err(io::Error::other)?;
    socket.send(&octets).await?;
    let mut buf = vec![0; MAX_ANSWER];
    loop {
        let n = socket.recv(&mut buf).await?;
        let Ok(answer) = Message::from_vec(&buf[..n]) else { continue };
        if answer.metadata.id == id {
            return Ok(answer);
        }
    }
}
