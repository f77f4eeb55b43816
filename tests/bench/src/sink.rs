//! The next hop: takes everything, counts it, keeps nothing. On a thread of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::ledger::Ledger;

const EHLO: &[u8] = b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 0\r\n";
const END: &[u8] = b"\r\n.\r\n";
/// Where a signature is looked for.
const HEAD: usize = 4096;

/// Starts it; it lives as long as the process.
pub(crate) fn start(ledger: Arc<Ledger>) -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no port for the sink")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("sink".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            while let Ok((stream, _)) = listener.accept().await {
                // The relay closes connections as it likes; an error here is the end of one.
                tokio::spawn(Session::new(stream, Arc::clone(&ledger)).run());
            }
        });
    })?;
    Ok(address)
}

struct Session {
    stream: TcpStream,
    ledger: Arc<Ledger>,
    input: Vec<u8>,
    replies: Vec<u8>,
    serial: Option<u64>,
}

impl Session {
    fn new(stream: TcpStream, ledger: Arc<Ledger>) -> Self {
        Self { stream, ledger, input: Vec::with_capacity(64 << 10), replies: Vec::new(), serial: None }
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
                self.serial = serial(line);
                if let Some(serial) = self.serial {
                    self.ledger.attempted(serial);
                }
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
            b"HELO" | b"MAIL" | b"RSET" | b"NOOP" => self.replies.extend_from_slice(b"250 2.0.0 ok\r\n"),
            _ => self.replies.extend_from_slice(b"500 5.5.1 what\r\n"),
        }
        Next::Command
    }

    /// Reads to the final dot; holds no more than one read of it.
    async fn data(&mut self) -> std::io::Result<()> {
        self.flush().await?;
        let (mut octets, mut signed, mut head) = (0, false, Vec::new());
        loop {
            if head.len() < HEAD {
                head.extend_from_slice(&self.input[..self.input.len().min(HEAD)]);
                signed = contains(&head, b"DKIM-Signature:");
            }
            if let Some(at) = find_end(&self.input) {
                octets += at + END.len();
                self.input.drain(..at + END.len());
                break;
            }
            // An end may be split over two reads.
            let kept = self.input.len().min(END.len() - 1);
            octets += self.input.len() - kept;
            self.input.drain(..self.input.len() - kept);
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        if let Some(serial) = self.serial.take() {
            self.ledger.arrived(serial, u64::try_from(octets).unwrap_or(u64::MAX), signed);
        }
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

/// The number in `RCPT TO:<r123@...>`.
fn serial(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    let local = text.split_once("<r")?.1.split_once('@')?.0;
    local.parse().ok()
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

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|w| w == what)
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
    fn reads_the_serial_number() {
        assert_eq!(serial(b"RCPT TO:<r0042@c7.test>\r\n"), Some(42));
        assert_eq!(serial(b"RCPT TO:<postmaster@a.test>\r\n"), None);
    }
}
