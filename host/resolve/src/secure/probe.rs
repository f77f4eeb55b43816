//! Does the name server hand on signatures? One question for the SOA record of the root.
//!
//! Only an answer without trouble and without signatures turns DANE off. All else may be forged, or
//! over in a moment: nobody knows then, mail waits, and the server is asked again soon.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
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

/// A server that fails or refuses says nothing: the root is there. One that answers has signatures,
/// or it has none.
fn judge(answer: &Message) -> Result<DnssecSupport, ResponseCode> {
    match answer.metadata.response_code {
        ResponseCode::NoError => {
            let is_signed = answer.answers.iter().any(|record| record.record_type() == RecordType::RRSIG);
            Ok(if is_signed {
                DnssecSupport::Available
            } else {
                DnssecSupport::Unavailable("the root came without signatures".to_owned())
            })
        }
        code => Err(code),
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
    let answer = answer_to(id, &socket).await?;
    if answer.metadata.truncation { ask_by_tcp(server, &octets).await } else { Ok(answer) }
}

/// What was cut off are the signatures, as a rule.
async fn ask_by_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_u16(u16::try_from(question.len()).map_err(io::Error::other)?).await?;
    stream.write_all(question).await?;
    let mut octets = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut octets).await?;
    Message::from_vec(&octets).map_err(io::Error::other)
}

async fn answer_to(id: u16, socket: &UdpSocket) -> io::Result<Message> {
    let mut buf = vec![0; MAX_ANSWER];
    loop {
        let n = socket.recv(&mut buf).await?;
        let Ok(answer) = Message::from_vec(&buf[..n]) else { continue };
        if answer.metadata.id == id {
            return Ok(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unsigned_answer_says_that_there_are_no_signatures() {
        let answer = |code| {
            let mut answer = Message::response(1, OpCode::Query);
            answer.metadata.response_code = code;
            judge(&answer)
        };
        assert!(matches!(answer(ResponseCode::NoError), Ok(DnssecSupport::Unavailable(_))));
        for code in [
            ResponseCode::ServFail,
            ResponseCode::Refused,
            ResponseCode::NXDomain,
            ResponseCode::FormErr,
            ResponseCode::NotImp,
            ResponseCode::NotAuth,
        ] {
            assert_eq!(answer(code), Err(code));
        }
    }
}
