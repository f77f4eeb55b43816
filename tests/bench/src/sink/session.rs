//! One connection of the sink.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::behaviour::Behaviour;
use super::replies::Reply;
use super::wire::{END, domain, find_end, path};
use super::{Arrival, Observer};

const EHLO: &[u8] = b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 0\r\n";

/// What every session knows.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) observer: Arc<dyn Observer>,
    /// None: everything is taken at once.
    pub(super) behaviour: Option<Arc<Behaviour>>,
}

pub(super) struct Session {
    stream: TcpStream,
    peer: IpAddr,
    shared: Shared,
    rng: StdRng,
    input: Vec<u8>,
    replies: Vec<u8>,
    /// Before the replies that are gathered.
    pause: Duration,
    sender: String,
    recipients: Vec<String>,
    /// For what was accepted at RCPT and is refused after the final dot.
    after_dot: Option<Reply>,
    read_rate: Option<u32>,
}

enum Next {
    Command,
    Data,
    Close,
}

impl Session {
    pub(super) fn new(stream: TcpStream, peer: IpAddr, shared: Shared, rng: StdRng) -> Self {
        Self {
            stream,
            peer,
            shared,
            rng,
            input: Vec::with_capacity(64 << 10),
            replies: Vec::new(),
            pause: Duration::ZERO,
            sender: String::new(),
            recipients: Vec::new(),
            after_dot: None,
            read_rate: None,
        }
    }

    /// Greets with this and hangs up.
    pub(super) async fn refuse(mut self, reply: &Reply) -> std::io::Result<()> {
        self.stream.write_all(reply.render(self.peer).as_bytes()).await
    }

    pub(super) async fn run(mut self) -> std::io::Result<()> {
        self.stream.set_nodelay(true)?;
        self.replies.extend_from_slice(b"220 sink.test ESMTP\r\n");
        loop {
            while let Some(end) = self.input.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                let next = match self.command(&line) {
                    Next::Data => self.data().await?,
                    next => next,
                };
                if matches!(next, Next::Close) {
                    return self.flush().await;
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
            b"MAIL" => {
                self.reset();
                self.sender = path(line);
                self.replies.extend_from_slice(b"250 2.1.0 ok\r\n");
            }
            b"RCPT" => return self.recipient(path(line)),
            b"DATA" if self.recipients.is_empty() => {
                self.replies.extend_from_slice(b"554 5.5.1 no valid recipients\r\n");
            }
            b"DATA" => {
                self.replies.extend_from_slice(b"354 go on\r\n");
                return Next::Data;
            }
            b"RSET" => {
                self.reset();
                self.replies.extend_from_slice(b"250 2.0.0 ok\r\n");
            }
            b"HELO" | b"NOOP" => self.replies.extend_from_slice(b"250 2.0.0 ok\r\n"),
            b"QUIT" => {
                self.replies.extend_from_slice(b"221 2.0.0 bye\r\n");
                return Next::Close;
            }
            _ => self.replies.extend_from_slice(b"500 5.5.1 what\r\n"),
        }
        Next::Command
    }

    fn reset(&mut self) {
        self.recipients.clear();
        self.after_dot = None;
        self.read_rate = None;
    }

    fn recipient(&mut self, address: String) -> Next {
        self.shared.observer.recipient(&address);
        let behaviour = self.shared.behaviour.clone();
        if let Some(receiver) = behaviour.as_ref().and_then(|b| b.named(domain(&address))) {
            self.pause = self.pause.max(receiver.pause(&mut self.rng));
            self.read_rate = receiver.read_rate.or(self.read_rate);
            match receiver.decide(&mut self.rng) {
                Some(reply) if reply.stage == super::replies::Stage::Rcpt => {
                    self.shared.observer.refused(&address, reply.permanent());
                    self.replies.extend_from_slice(reply.render(self.peer).as_bytes());
                    return if reply.closes() { Next::Close } else { Next::Command };
                }
                // One verdict for all recipients of a transaction; the last one stands.
                Some(reply) => self.after_dot = Some(reply.clone()),
                None => {}
            }
        }
        self.recipients.push(address);
        self.replies.extend_from_slice(b"250 2.1.5 ok\r\n");
        Next::Command
    }

    /// Reads to the final dot; holds one read and what the observer wants to keep.
    async fn data(&mut self) -> std::io::Result<Next> {
        self.flush().await?;
        let (mut octets, mut head) = (0, Vec::new());
        loop {
            let end = find_end(&self.input);
            // An end may be split over two reads.
            let kept = self.input.len().min(END.len() - 1);
            let content = end.map_or(self.input.len() - kept, |at| at + 2);
            let wanted = self.shared.observer.keep().saturating_sub(head.len()).min(content);
            head.extend_from_slice(&self.input[..wanted]);
            octets += content;
            self.input.drain(..end.map_or(content, |at| at + END.len()));
            if end.is_some() {
                break;
            }
            if self.read_content().await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.answer(octets, &head))
    }

    /// No faster than the receiver reads.
    async fn read_content(&mut self) -> std::io::Result<usize> {
        let Some(rate) = self.read_rate else { return self.stream.read_buf(&mut self.input).await };
        /// Small, so that the window closes and the sender waits.
        const AT_ONCE: usize = 2048;
        let mut piece = [0; AT_ONCE];
        let read = self.stream.read(&mut piece).await?;
        self.input.extend_from_slice(&piece[..read]);
        let octets = u32::try_from(read).unwrap_or(u32::MAX);
        sleep(Duration::from_secs(1).mul_f64(f64::from(octets) / f64::from(rate.max(1)))).await;
        Ok(read)
    }

    fn answer(&mut self, octets: usize, head: &[u8]) -> Next {
        let behaviour = self.shared.behaviour.clone();
        let first = self.recipients.first().map_or("", |r| domain(r));
        if let Some(receiver) = behaviour.as_ref().and_then(|b| b.named(first)) {
            self.pause = self.pause.max(receiver.pause(&mut self.rng));
        }
        let recipients = std::mem::take(&mut self.recipients);
        let Some(reply) = self.after_dot.take() else {
            let octets = u64::try_from(octets).unwrap_or(u64::MAX);
            let (sender, recipients) = (&self.sender, &recipients);
            self.shared.observer.message(&Arrival { sender, recipients, head, octets });
            self.replies.extend_from_slice(b"250 2.0.0 taken\r\n");
            return Next::Command;
        };
        for address in &recipients {
            self.shared.observer.refused(address, reply.permanent());
        }
        self.replies.extend_from_slice(reply.render(self.peer).as_bytes());
        if reply.closes() { Next::Close } else { Next::Command }
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        let pause = std::mem::take(&mut self.pause);
        if !pause.is_zero() {
            sleep(pause).await;
        }
        if !self.replies.is_empty() {
            self.stream.write_all(&self.replies).await?;
            self.replies.clear();
        }
        Ok(())
    }
}
