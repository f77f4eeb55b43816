//! The load generator: sessions that send one message after another (closed loop), or at a pace.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::ledger::{Ledger, histogram};
use crate::message::{Attachment, Message};

/// When a load ends.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After this time.
    Elapsed(Duration),
    /// After so many messages.
    Messages(u64),
}

/// What to send, how, and for how long.
#[derive(Clone)]
pub struct Load {
    /// The relay's port without AUTH and TLS.
    pub to: SocketAddr,
    /// Where serial numbers come from and replies are noted.
    pub ledger: Arc<Ledger>,
    /// What is sent.
    pub message: Arc<Message>,
    /// Connections.
    pub sessions: usize,
    /// When it ends.
    pub until: Until,
    /// Messages per second over all sessions; none is as fast as answers come.
    pub pace: Option<f64>,
}

/// What the clients saw.
#[derive(Debug)]
pub struct Sent {
    /// Messages that got their 250.
    pub accepted: u64,
    /// When the first one was sent.
    pub began: Instant,
    /// From the first message to the last 250.
    pub elapsed: Duration,
    /// Microseconds from the final dot to its 250.
    pub latency: Histogram<u64>,
}

impl Load {
    /// Sends until the end; any reply but the expected one is an error, since it would spoil the figures.
    pub fn run(self) -> Result<Sent> {
        runtime()?.block_on(async move {
            let began = Instant::now();
            let tickets = Arc::new(AtomicU64::new(0));
            let mut tasks = JoinSet::new();
            for _ in 0..self.sessions {
                tasks.spawn(session(self.clone(), Arc::clone(&tickets), began));
            }
            let mut latency = histogram()?;
            while let Some(done) = tasks.join_next().await {
                latency.add(&done.context("a session panicked")??)?;
            }
            Ok(Sent { accepted: latency.len(), began, elapsed: began.elapsed(), latency })
        })
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

async fn session(load: Load, tickets: Arc<AtomicU64>, began: Instant) -> Result<Histogram<u64>> {
    let mut latency = histogram()?;
    let mut client = Client::connect(load.to).await?;
    let mut content = Vec::new();
    loop {
        let ticket = tickets.fetch_add(1, Ordering::Relaxed);
        if let Some(pace) = load.pace {
            #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 messages")]
            let due = began + Duration::from_secs_f64(ticket as f64 / pace);
            tokio::time::sleep_until(due.into()).await;
        }
        let over = match load.until {
            Until::Elapsed(duration) => began.elapsed() >= duration,
            Until::Messages(count) => ticket >= count,
        };
        if over {
            break;
        }
        let serial = load.ledger.begin();
        client.envelope(&load.message.envelope(serial)).await?;
        content.clear();
        load.message.write(serial, &mut content);
        client.stream.get_mut().write_all(&content).await?;
        let dot = Instant::now();
        client.expect("250").await?;
        load.ledger.acknowledge(serial);
        latency.record(micros(dot.elapsed()))?;
    }
    client.quit().await;
    Ok(latency)
}

/// How long a large message took.
#[derive(Debug, Clone, Copy)]
pub struct Large {
    /// Octets that were sent.
    pub octets: u64,
    /// From the first octet to the final dot.
    pub sending: Duration,
    /// From the final dot to its 250.
    pub answer: Duration,
}

/// Sends one message with a large attachment.
pub fn send_large(to: SocketAddr, ledger: &Ledger, message: &Attachment) -> Result<Large> {
    runtime()?.block_on(async {
        let mut client = Client::connect(to).await?;
        let serial = ledger.begin();
        client.envelope(&message.envelope(serial)).await?;
        let (began, mut octets) = (Instant::now(), 0);
        for piece in message.pieces(serial) {
            client.stream.get_mut().write_all(piece.as_bytes()).await?;
            octets += u64::try_from(piece.len())?;
        }
        client.stream.get_mut().write_all(b".\r\n").await?;
        let (sending, dot) = (began.elapsed(), Instant::now());
        client.expect("250").await?;
        ledger.acknowledge(serial);
        let answer = dot.elapsed();
        client.quit().await;
        Ok(Large { octets, sending, answer })
    })
}

/// A client of the relay port: one connection, one transaction after another.
pub struct Client {
    stream: BufReader<TcpStream>,
    line: String,
}

impl Client {
    /// Connects and says EHLO.
    pub async fn connect(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to).await.context("the relay does not listen")?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream: BufReader::new(stream), line: String::new() };
        client.expect("220").await?;
        client.stream.get_mut().write_all(b"EHLO load.test\r\n").await?;
        client.expect("250").await?;
        Ok(client)
    }

    /// One transaction; `content` ends with its final dot. `dot` is called when all of it was handed to the socket. Returns
    /// the text of the 250.
    ///
    /// # Errors
    /// Any other reply, and a connection that ends: whether the message was accepted is then not known.
    pub async fn transaction(
        &mut self,
        from: &str,
        to: &[String],
        content: &[u8],
        dot: impl FnOnce(),
    ) -> Result<&str> {
        let mut commands = format!("MAIL FROM:<{from}>\r\n");
        for recipient in to {
            let _ = write!(commands, "RCPT TO:<{recipient}>\r\n");
        }
        commands.push_str("DATA\r\n");
        self.stream.get_mut().write_all(commands.as_bytes()).await?;
        for _ in 0..=to.len() {
            self.expect("250").await?;
        }
        self.expect("354").await?;
        self.stream.get_mut().write_all(content).await?;
        dot();
        self.expect("250").await?;
        Ok(self.line.trim_end())
    }

    /// MAIL, RCPT and DATA in one write.
    async fn envelope(&mut self, commands: &str) -> Result<()> {
        self.stream.get_mut().write_all(commands.as_bytes()).await?;
        for code in ["250", "250", "354"] {
            self.expect(code).await?;
        }
        Ok(())
    }

    /// Reads a reply of one or more lines.
    async fn expect(&mut self, code: &str) -> Result<()> {
        loop {
            self.line.clear();
            let read = self.stream.read_line(&mut self.line).await?;
            ensure!(read > 0, "the relay closed a connection");
            if !self.line.starts_with(code) {
                bail!("expected {code}, the relay answered {:?}", self.line.trim_end());
            }
            if self.line.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }

    /// Says QUIT and waits for the answer.
    pub async fn quit(mut self) {
        // The measurement is over; how the connection ends does not matter.
        if self.stream.get_mut().write_all(b"QUIT\r\n").await.is_ok() {
            let _ = self.stream.read_line(&mut self.line).await;
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
