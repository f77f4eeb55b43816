//! A next hop. What it answers to RCPT depends on the address: `reject-...` 550, `later-...` 451,
//! `full-...` 552, `blocked-...` 550 5.7.1; to `wait-...` it answers when the sink is opened.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::wait_for;

#[derive(Debug, Clone)]
pub struct Received {
    /// Where the connection came from, and its number on this sink.
    pub peer: IpAddr,
    pub connection: usize,
    /// The argument of EHLO.
    pub helo: String,
    pub from: String,
    pub to: Vec<String>,
    /// Dots unstuffed.
    pub message: String,
}

#[derive(Clone)]
pub struct Sink {
    pub addr: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    open: Arc<AtomicBool>,
    /// What it says to RCPT instead of 250.
    refusal: Arc<Mutex<Option<String>>>,
}

impl Sink {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Self::on(listener)
    }

    pub fn on(listener: TcpListener) -> Self {
        let sink = Self {
            addr: listener.local_addr().unwrap(),
            received: Arc::default(),
            open: Arc::default(),
            refusal: Arc::default(),
        };
        let serving = sink.clone();
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().flatten().enumerate() {
                let sink = serving.clone();
                std::thread::spawn(move || sink.session(connection, &stream));
            }
        });
        sink
    }

    pub fn all(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// From now on, the answer to each RCPT; none: 250.
    pub fn says(&self, refusal: Option<&str>) {
        *self.refusal.lock().unwrap() = refusal.map(str::to_owned);
    }

    /// Answers those that wait.
    pub fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    /// The first message that has this in it.
    pub fn wait(&self, marker: &str) -> Received {
        wait_for(marker, || self.all().into_iter().find(|r| r.message.contains(marker)))
    }

    fn session(&self, connection: usize, stream: &TcpStream) -> Option<()> {
        let mut read = BufReader::new(stream);
        let mut write = stream;
        let mut say = |text: &str| write.write_all(format!("{text}\r\n").as_bytes()).ok();
        let (peer, mut helo) = (stream.peer_addr().ok()?.ip(), String::new());
        say("220 sink.test ESMTP")?;
        let (mut from, mut to) = (String::new(), Vec::new());
        loop {
            let line = next_line(&mut read)?;
            let path = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
            match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_str() {
                "EHLO" => {
                    helo = line.get(5..).unwrap_or_default().to_owned();
                    say(
                        "250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES",
                    )?;
                }
                "MAIL" => {
                    from = path;
                    say("250 2.1.0 ok")?;
                }
                "RCPT" if self.refusal.lock().unwrap().is_some() => {
                    let refusal = self.refusal.lock().unwrap().clone();
                    say(&refusal.unwrap_or_default())?;
                }
                "RCPT" if path.starts_with("reject") => say("550 5.1.1 <\u{1b}[31m> no such user here")?,
                "RCPT" if path.starts_with("later") => say("451 4.3.2 come back later")?,
                "RCPT" if path.starts_with("full") => say("552 5.2.2 mailbox is full")?,
                "RCPT" if path.starts_with("blocked") => {
                    say("550 5.7.1 Rejected: your message looks like spam")?;
                }
                "RCPT" => {
                    if path.starts_with("wait") {
                        wait_for("the sink is opened", || self.open.load(Ordering::Relaxed).then_some(()));
                    }
                    to.push(path);
                    say("250 2.1.5 ok")?;
                }
                "DATA" if to.is_empty() => say("554 5.5.1 no recipients")?,
                "DATA" => {
                    say("354 go on")?;
                    let message = content(&mut read)?;
                    let (from, to) = (std::mem::take(&mut from), std::mem::take(&mut to));
                    let received = Received { peer, connection, helo: helo.clone(), from, to, message };
                    self.received.lock().unwrap().push(received);
                    say("250 2.0.0 taken")?;
                }
                "RSET" => {
                    to.clear();
                    say("250 2.0.0 ok")?;
                }
                "QUIT" => return say("221 2.0.0 bye"),
                _ => say("500 5.5.2 what?")?,
            }
        }
    }
}

fn next_line(read: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    let n = read.read_until(b'\n', &mut line).ok()?;
    (n > 0).then(|| String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn content(read: &mut impl BufRead) -> Option<String> {
    let mut message = Vec::new();
    loop {
        let mut line = Vec::new();
        if read.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        assert!(line.ends_with(b"\r\n"), "a bare LF left the relay");
        match line.strip_prefix(b".") {
            Some(b"\r\n") => return Some(String::from_utf8_lossy(&message).into_owned()),
            Some(rest) => message.extend_from_slice(rest),
            None => message.extend_from_slice(&line),
        }
    }
}
