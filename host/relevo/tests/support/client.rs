//! SMTP and HTTP, by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub struct Client {
    read: BufReader<TcpStream>,
    write: TcpStream,
}

impl Client {
    /// Connects and reads the greeting.
    pub fn connect(addr: SocketAddr) -> (Self, String) {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut client = Self { read: BufReader::new(stream.try_clone().unwrap()), write: stream };
        let greeting = client.reply();
        (client, greeting)
    }

    /// Greets and authenticates.
    pub fn login(addr: SocketAddr, user: &str, password: &str) -> Self {
        let (mut client, greeting) = Self::connect(addr);
        assert!(greeting.starts_with("220 "), "{greeting}");
        client.expect("EHLO client.test", "250");
        assert!(client.authenticate(user, password));
        client
    }

    /// Whether it is believed.
    pub fn authenticate(&mut self, user: &str, password: &str) -> bool {
        let plain = STANDARD.encode(format!("\0{user}\0{password}"));
        self.command(&format!("AUTH PLAIN {plain}")).starts_with("235")
    }

    pub fn send(&mut self, octets: &[u8]) {
        self.write.write_all(octets).unwrap();
    }

    /// The whole reply; empty when the connection ended.
    pub fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            if self.read.read_line(&mut line).unwrap_or(0) == 0 {
                return reply;
            }
            reply.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
        }
    }

    pub fn command(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    pub fn expect(&mut self, line: &str, code: &str) -> String {
        let reply = self.command(line);
        assert!(reply.starts_with(code), "{line}: {reply}");
        reply
    }

    /// One transaction; the reply to the final dot.
    pub fn transact(&mut self, from: &str, to: &[&str], message: &str) -> String {
        self.expect(&format!("MAIL FROM:<{from}>"), "250");
        for to in to {
            self.expect(&format!("RCPT TO:<{to}>"), "250");
        }
        self.expect("DATA", "354");
        self.send(message.as_bytes());
        self.command(".")
    }
}

/// A minimal answer.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|l| l.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)))
            .map(|(_, v)| v)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// GET with `Connection: close`.
pub fn get(addr: SocketAddr, host: &str, path: &str, key: Option<&str>) -> Answer {
    request(addr, host, ("GET", path), key, "")
}

/// A request with `Connection: close`.
pub fn request(addr: SocketAddr, host: &str, target: (&str, &str), key: Option<&str>, body: &str) -> Answer {
    request_with(addr, host, target, key, &[], body)
}

/// The same with more header fields.
pub fn request_with(
    addr: SocketAddr,
    host: &str,
    (method, path): (&str, &str),
    key: Option<&str>,
    fields: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let key = key.map_or(String::new(), |key| format!("Authorization: Bearer {key}\r\n"));
    let length = match (method, body.len()) {
        ("GET", 0) => String::new(),
        (_, length) => format!("Content-Length: {length}\r\n"),
    };
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{key}{fields}{length}\r\n");
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let at = all.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(all[..at].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let answer = Answer { status, head, body: all[at + 4..].to_vec() };
    match answer.field("transfer-encoding") {
        Some("chunked") => Answer { body: without_chunks(&answer.body), ..answer },
        _ => answer,
    }
}

/// The octets of a body in chunks (RFC 9112 section 7.1).
fn without_chunks(mut body: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    loop {
        let end = body.windows(2).position(|w| w == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return octets;
        }
        octets.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 2 + size + 2..];
    }
}
