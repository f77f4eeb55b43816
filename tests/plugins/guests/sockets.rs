//! Would send messages elsewhere: what `std` imports for it (`wasi:sockets`) is refused when it is
//! added, by name.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};

use relevo_policy_sdk::{Answer, Decision, Message, Policy};

#[derive(Default)]
struct Sockets;

relevo_policy_sdk::export!(Sockets);

impl Policy for Sockets {
    fn decide(&self, message: &Message) -> Answer {
        let mut away = TcpStream::connect((Ipv4Addr::LOCALHOST, 25)).map_err(|e| e.to_string())?;
        away.write_all(message.envelope.sender.as_bytes()).map_err(|e| e.to_string())?;
        Ok(Decision::accept())
    }
}
