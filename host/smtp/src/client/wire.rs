//! Commands out, replies in, and a limit of time on each.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use relevo_proto::client::{DialogueStep, Failure, RemoteReply, ReplyParser};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::recorder::Recorder;
use crate::stream::Stream;

/// Receive space: enough for the replies to a group.
const SPACE: usize = 8 * 1024;

/// A connection that speaks in lines.
pub(super) struct LineStream {
    pub(super) stream: Stream,
    parser: ReplyParser,
    /// Octets that were received; those before `read` belong to earlier replies.
    input: Vec<u8>,
    read: usize,
    /// Writes down what is said, but for content.
    pub(super) recorder: Recorder,
}

/// Why a write failed.
pub(super) enum WriteError {
    /// The peer closed or reset. Its last words may still be there to be read.
    Lost(io::Error),
    TimedOut,
}

impl LineStream {
    pub(super) fn new(stream: Stream, recorder: Recorder) -> Self {
        Self { stream, parser: ReplyParser::default(), input: Vec::new(), read: 0, recorder }
    }

    /// The TCP stream, to put TLS on it. Octets that the server sent ahead of the handshake could
    /// be replies that somebody injected (CVE-2011-0411): they are an error.
    pub(super) fn into_tcp(self) -> Result<TcpStream, Failure> {
        match self.stream {
            Stream::Plain(tcp) if self.read == self.input.len() && !self.parser.is_within_reply() => Ok(tcp),
            _ => Err(Failure::of_host(
                DialogueStep::StartTls,
                (4, 7, 5),
                "octets in clear after the reply to STARTTLS",
            )),
        }
    }

    pub(super) async fn write(&mut self, octets: &[u8], limit: Duration) -> Result<(), WriteError> {
        let write = async {
            self.stream.write_all(octets).await?;
            self.stream.flush().await
        };
        match timeout(limit, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(WriteError::Lost(error)),
            Err(_) => Err(WriteError::TimedOut),
        }
    }

    /// Sends commands. That the peer has gone is found out by reading, together with what it said
    /// before.
    pub(super) async fn send(
        &mut self,
        octets: &[u8],
        command: DialogueStep,
        limit: Duration,
    ) -> Result<(), Failure> {
        self.recorder.sent(octets);
        self.send_unrecorded(octets, command, limit).await
    }

    async fn send_unrecorded(
        &mut self,
        octets: &[u8],
        command: DialogueStep,
        limit: Duration,
    ) -> Result<(), Failure> {
        match self.write(octets, limit).await {
            Ok(()) | Err(WriteError::Lost(_)) => Ok(()),
            Err(WriteError::TimedOut) => Err(timed_out(command)),
        }
    }

    pub(super) async fn receive(
        &mut self,
        command: DialogueStep,
        limit: Duration,
    ) -> Result<RemoteReply, Failure> {
        self.receive_hiding(command, limit, &[]).await
    }

    /// Records the reply without `secrets`, and why there is none.
    async fn receive_hiding(
        &mut self,
        command: DialogueStep,
        limit: Duration,
        secrets: &[&str],
    ) -> Result<RemoteReply, Failure> {
        let received = timeout(limit, self.receive_reply(command)).await;
        let received = received.map_err(|_| timed_out(command)).flatten();
        match &received {
            Ok(reply) => self.recorder.received(reply, secrets),
            Err(failure) => self.recorder.note(|| failure.detail.as_str().into()),
        }
        received
    }

    async fn receive_reply(&mut self, command: DialogueStep) -> Result<RemoteReply, Failure> {
        loop {
            let (n, reply) = self
                .parser
                .push(&self.input[self.read..])
                .map_err(|e| Failure::of_host(command, (4, 5, 0), format!("{e} to {command}")))?;
            self.read += n;
            if let Some(reply) = reply {
                return Ok(reply);
            }
            self.read = 0;
            self.input.clear();
            self.input.reserve(SPACE);
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) => return Err(lost(command, &"closed by the peer")),
                Ok(_) => {}
                Err(error) => return Err(lost(command, &error)),
            }
        }
    }

    /// A command and its reply.
    pub(super) async fn ask(
        &mut self,
        line: &[u8],
        command: DialogueStep,
        limit: Duration,
    ) -> Result<RemoteReply, Failure> {
        self.send(line, command, limit).await?;
        self.receive(command, limit).await
    }

    /// As [`Self::ask`], for a line with secrets: `shown` stands for it in records, and the reply
    /// may have repeated them.
    pub(super) async fn ask_secretly(
        &mut self,
        line: &[u8],
        (shown, secrets): (&str, &[&str]),
        limit: Duration,
    ) -> Result<RemoteReply, Failure> {
        self.recorder.sent(shown.as_bytes());
        self.send_unrecorded(line, DialogueStep::Auth, limit).await?;
        self.receive_hiding(DialogueStep::Auth, limit, secrets).await
    }

    /// Nothing has come since the last reply: neither the end of the connection nor a parting 421.
    pub(super) async fn is_quiet(&mut self) -> bool {
        // The system knows before the runtime has polled the socket; TLS may have read ahead of
        // both.
        let peeked = SockRef::from(self.stream.tcp()).peek(&mut [MaybeUninit::uninit()]);
        if self.read < self.input.len() || !peeked.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock) {
            return false;
        }
        let mut space = [0; 1];
        let mut buf = ReadBuf::new(&mut space);
        let stream = &mut self.stream;
        poll_fn(|cx| Poll::Ready(Pin::new(&mut *stream).poll_read(cx, &mut buf).is_pending())).await
    }
}

pub(super) fn timed_out(command: DialogueStep) -> Failure {
    Failure::of_host(command, (4, 4, 2), format!("timed out at {command}"))
}

pub(super) fn lost(command: DialogueStep, error: &dyn std::fmt::Display) -> Failure {
    Failure::of_host(command, (4, 4, 2), format!("connection lost at {command}: {error}"))
}
