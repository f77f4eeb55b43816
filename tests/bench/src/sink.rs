//! The next hop: takes everything, counts it, keeps nothing. On a thread of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const EHLO: &[u8] = b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 0\r\n";
const END: &[u8] = b"\r\n.\r\n";

/// Who is told what arrives. Called from the sink's only thread, before the reply is written.
pub trait Observer: Send + Sync {
    /// Octets of content that [`Observer::message`] is given; of the rest only the count.
    fn keep(&self) -> usize;
    /// An address in RCPT, without brackets, that is about to be accepted.
    fn recipient(&self, address: &str);
    /// All of a message; it is acknowledged next.
    fn message(&self, arrival: &Arrival<'_>);
}

/// A message with its envelope.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Of MAIL, without brackets; empty for the null reverse-path.
    pub sender: &'a str,
    /// Of each RCPT that was accepted.
    pub recipients: &'a [String],
    /// The first octets of the content as on the wire (dots are stuffed), at most what was to be kept.
    pub head: &'a [u8],
    /// All octets of the content, without the final dot.
    pub octets: u64,
}

/// Starts it; it lives as long as the process.
pub fn start(observer: Arc<dyn Observer>) -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no port for the sink")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("sink".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            while let Ok((stream, _)) = listener.accept().await {
                // The relay closes connections as it likes; an error here is the end of one.
                tokio::spawn(Session::new(stream, Arc::clone(&observer)).run());
            }
        });
    })?;
    Ok(address)
}

struct Session {
    stream: TcpStream,
    observer: Arc<dyn Observer>,
    input: Vec<u8>,
    replies: Vec<u8>,
    sender: String,
    recipients: Vec<String>,
}

impl Session {
    fn new(stream: TcpStream, observer: Arc<dyn Observer>) -> Self {
        Self {
            stream,
            observer,
            input: Vec::with_capacity(64 << 10),
            replies: Vec::new(),
            sender: String::new(),
            recipients: Vec::new(),
        }
    }

    async fn run(mut self) -> std::io::Result<()> {
        self.stream.set_nodelay(true)?;
        self.replies.extend_from_slice(b"220 sink.test ESMTP\r\n");
        loop {
            while let Some(end) = self.input.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                match self.command(&line) {
                    Next::Command => {}
                    Next::Data => self.data().await?,
                    Next::Close => return self.flush().await,
                }
            }
            self.flush().await?;
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Ok(());
            }
        }
    }

    fn command(&mut self, line: &[u8]) -> Next {
        let verb = line.get(..4).unwrap_or(line).to_ascii_uppercase();
        match verb.as_slice() {
            b"EHLO" => self.replies.extend_from_slice(EHLO),
            b"RCPT" => {
                let address = path(line);
                self.observer.recipient(&address);
                self.recipients.push(address);
                self.replies.extend_from_slice(b"250 2.1.5 ok\r\n");
            }
            b"DATA" => {
                self.replies.extend_from_slice(b"354 go on\r\n");
                return Next::Data;
            }
            b"QUIT" => {
                self.replies.extend_from_slice(b"221 2.0.0 bye\r\n");
                return Next::Close;
            }
            b"MAIL" => {
                self.sender = path(line);
                self.recipients.clear();
                self.replies.extend_from_slice(b"250 2.1.0 ok\r\n");
            }
            b"HELO" | b"RSET" | b"NOOP" => self.replies.extend_from_slice(b"250 2.0.0 ok\r\n"),
            _ => self.replies.extend_from_slice(b"500 5.5.1 what\r\n"),
        }
        Next::Command
    }

    /// Reads to the final dot; holds one read and what the observer wants to keep.
    async fn data(&mut self) -> std::io::Result<()> {
        self.flush().await?;
        let (mut octets, mut head) = (0, Vec::new());
        loop {
            let end = find_end(&self.input);
            // An end may be split over two reads.
            let kept = self.input.len().min(END.len() - 1);
            let content = end.map_or(self.input.len() - kept, |at| at + 2);
            let wanted = self.observer.keep().saturating_sub(head.len()).min(content);
            head.extend_from_slice(&self.input[..wanted]);
            octets += content;
            self.input.drain(..end.map_or(content, |at| at + END.len()));
            if end.is_some() {
                break;
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.observer.message(&Arrival {
            sender: &self.sender,
            recipients: &self.recipients,
            head: &head,
            octets: u64::try_from(octets).unwrap_or(u64::MAX),
        });
        self.recipients.clear();
        self.replies.extend_from_slice(b"250 2.0.0 taken\r\n");
        Ok(())
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        if !self.replies.is_empty() {
            self.stream.write_all(&self.replies).await?;
            self.replies.clear();
        }
        Ok(())
    }
}

enum Next {
    Command,
    Data,
    Close,
}

/// What is between the brackets.
fn path(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let inner = text.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or(String::new(), |(path, _)| path.to_owned())
}

fn find_end(input: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(dot) = input.get(from..)?.iter().position(|b| *b == b'.') {
        let dot = from + dot;
        if dot >= 2 && input.get(dot - 2..dot + 3) == Some(END) {
            return Some(dot - 2);
        }
        from = dot + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_a_dot_on_a_line_of_its_own() {
        assert_eq!(find_end(b"a.b\r\n..c\r\n.\r\nQUIT"), Some(8));
        assert_eq!(find_end(b"a\r\n.\r"), None);
        assert_eq!(find_end(b"."), None);
        assert_eq!(find_end(b""), None);
    }

    #[test]
    fn reads_the_path() {
        assert_eq!(path(b"RCPT TO:<r0042@c7.test>\r\n"), "r0042@c7.test");
        assert_eq!(path(b"MAIL FROM:<> SIZE=10\r\n"), "");
    }
}
