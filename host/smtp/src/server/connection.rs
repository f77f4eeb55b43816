//! The connection beneath a session, and its clocks.

use std::io;
use std::time::Duration;

use relevo_proto::server::ServerSession;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::listener::ListenerContext;
use super::service::Service;
use crate::stream::Stream;

/// How long a closed session is read from, so that unread octets do not make the system throw away
/// our last reply.
const LINGER: Duration = Duration::from_secs(1);

/// What we refuse, the operator may want to know.
fn log_refusals(output: &[u8]) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    for line in output.split(|&b| b == b'\n').filter(|l| matches!(l.first(), Some(b'4' | b'5'))) {
        tracing::debug!(reply = %String::from_utf8_lossy(line).trim_end(), "refused");
    }
}

/// The connection and its clocks.
pub(super) struct ServerConnection {
    /// Taken during a handshake.
    pub(super) stream: Option<Stream>,
    stop: watch::Receiver<Option<Instant>>,
    begun: Instant,
    content_octets: u64,
    /// Time spent waiting for the content, our own work not counted.
    waited: Duration,
}

impl ServerConnection {
    pub(super) fn new(stream: Stream, stop: watch::Receiver<Option<Instant>>) -> Self {
        let begun = Instant::now();
        Self { stream: Some(stream), stop, begun, content_octets: 0, waited: Duration::ZERO }
    }

    fn stream(&mut self) -> io::Result<&mut Stream> {
        self.stream.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Sends the replies collected so far, in one write.
    pub(super) async fn flush<S: Service>(
        &mut self,
        shared: &ListenerContext<S>,
        session: &mut ServerSession,
    ) -> io::Result<()> {
        if !session.has_output() {
            return Ok(());
        }
        let output = session.take_output();
        log_refusals(&output);
        let stream = self.stream()?;
        let write = async {
            stream.write_all(&output).await?;
            stream.flush().await
        };
        timeout(shared.limits.idle, write).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Receives once, or lets the session know that time is up or the server is stopping.
    pub(super) async fn receive<S: Service>(
        &mut self,
        shared: &ListenerContext<S>,
        session: &mut ServerSession,
    ) -> io::Result<()> {
        if self.stop.borrow().is_some() {
            session.stop();
            if session.has_output() {
                return Ok(());
            }
        }
        let left = (self.begun + shared.limits.total).saturating_duration_since(Instant::now());
        let begun = Instant::now();
        let stopping = self.stop.borrow().is_some();
        let Self { stream: Some(stream), stop, .. } = self else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let in_content = session.in_content();
        let n = tokio::select! {
            read = timeout(shared.limits.idle.min(left), stream.read(session.space())) => match read {
                Ok(read) => read?,
                Err(_) => {
                    session.time_out();
                    return Ok(());
                }
            },
            _ = stop.changed(), if !stopping => return Ok(()),
        };
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        session.received(n);
        if in_content {
            self.watch_rate(shared, session, begun.elapsed(), n as u64)
        } else {
            self.rest()
        }
        Ok(())
    }

    fn rest(&mut self) {
        self.waited = Duration::ZERO;
        self.content_octets = 0;
    }

    /// A sender that drips holds a session, and later a spool file, for hours.
    fn watch_rate<S: Service>(
        &mut self,
        shared: &ListenerContext<S>,
        session: &mut ServerSession,
        waited: Duration,
        n: u64,
    ) {
        self.waited += waited;
        self.content_octets += n;
        let limits = &shared.limits;
        if self.waited > limits.slow_grace && self.content_octets < limits.min_rate * self.waited.as_secs() {
            session.time_out();
        }
    }

    /// Sends what is left, then waits a moment for the peer to read it and close.
    pub(super) async fn close<S: Service>(
        &mut self,
        shared: &ListenerContext<S>,
        session: &mut ServerSession,
    ) -> io::Result<()> {
        self.flush(shared, session).await?;
        let stream = self.stream()?;
        let linger = async {
            stream.shutdown().await?;
            let mut sink = [0; 4096];
            while stream.read(&mut sink).await? > 0 {}
            io::Result::Ok(())
        };
        // Whatever happens now, the session is over.
        let _ = timeout(LINGER, linger).await;
        Ok(())
    }
}
