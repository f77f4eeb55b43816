//! The client's side of SMTP, for hosts that are trusted: no AUTH, no TLS.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A server that leaves a client waiting for longer does not answer any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of the relay port: one connection, one transaction after another.
pub struct Client {
    pub(super) stream: BufReader<TcpStream>,
    line: String,
    /// The server takes commands before it has answered the last one (RFC 2920).
    pipelining: bool,
}

impl Client {
    /// Connects and says EHLO.
    pub async fn connect(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to).await.context("the relay does not listen")?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream: BufReader::new(stream), line: String::new(), pipelining: false };
        client.expect("220").await?;
        client.stream.get_mut().write_all(b"EHLO load.test\r\n").await?;
        client.pipelining = client.greeted().await?;
        Ok(client)
    }

    /// One transaction; `content` ends with its final dot. `dot` is called when all of it was
    /// handed to the socket. Returns the text of the 250.
    ///
    /// # Errors
    /// Any other reply, and a connection that ends: whether the message was accepted is then not
    /// known.
    pub async fn transaction(
        &mut self,
        from: &str,
        to: &[String],
        content: &[u8],
        dot: impl FnOnce(),
    ) -> Result<&str> {
        self.begin(from, to).await?;
        self.stream.get_mut().write_all(content).await?;
        dot();
        self.expect("250").await?;
        Ok(self.line.trim_end())
    }

    /// MAIL, RCPT and DATA, up to the 354; in one write where the server allows it.
    pub(super) async fn begin(&mut self, from: &str, to: &[String]) -> Result<()> {
        let mut commands = format!("MAIL FROM:<{from}>\r\n");
        for recipient in to {
            let _ = write!(commands, "RCPT TO:<{recipient}>\r\n");
        }
        commands.push_str("DATA\r\n");
        if self.pipelining {
            self.stream.get_mut().write_all(commands.as_bytes()).await?;
        }
        for command in commands.split_inclusive('\n') {
            if !self.pipelining {
                self.stream.get_mut().write_all(command.as_bytes()).await?;
            }
            self.expect(if command == "DATA\r\n" { "354" } else { "250" }).await?;
        }
        Ok(())
    }

    /// Reads the reply to EHLO; whether PIPELINING is in it.
    async fn greeted(&mut self) -> Result<bool> {
        let mut pipelining = false;
        loop {
            let last = self.reply_line("250").await?;
            pipelining |=
                self.line.get(4..).is_some_and(|word| word.trim().eq_ignore_ascii_case("PIPELINING"));
            if last {
                return Ok(pipelining);
            }
        }
    }

    /// Reads a reply of one or more lines.
    pub(super) async fn expect(&mut self, code: &str) -> Result<()> {
        while !self.reply_line(code).await? {}
        Ok(())
    }

    /// Reads a line of a reply; whether it was the last one.
    async fn reply_line(&mut self, code: &str) -> Result<bool> {
        self.line.clear();
        let read = timeout(PATIENCE, self.stream.read_line(&mut self.line));
        let read = read.await.with_context(|| format!("no answer within {PATIENCE:?}"))??;
        ensure!(read > 0, "the server closed a connection");
        if !self.line.starts_with(code) {
            bail!("expected {code}, the server answered {:?}", self.line.trim_end());
        }
        Ok(self.line.as_bytes().get(3) != Some(&b'-'))
    }

    /// Says QUIT and waits for the answer.
    pub async fn quit(mut self) {
        // The measurement is over; how the connection ends does not matter.
        if self.stream.get_mut().write_all(b"QUIT\r\n").await.is_ok() {
            let _ = self.stream.read_line(&mut self.line).await;
        }
    }
}
