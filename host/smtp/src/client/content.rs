//! The content of a message on its way from a source to the wire.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use relevo_mailkit::source::Source;
use relevo_proto::client::{BareLineEnd, DialogueStep, Failure, Stuffer};

use super::wire::{LineStream, WriteError, timed_out};

/// Up to this size a message is read where we are: it lies in memory or in the page cache, and a
/// thread costs more. One write carries it together with the final dot.
const INLINE: u64 = 256 * 1024;
/// Above, one chunk is read on another thread while the one before is written.
const CHUNK: usize = 256 * 1024;

/// Why the content did not go out whole.
pub(super) enum ContentError {
    /// The peer went away, perhaps with a reply.
    Lost(Failure),
    /// Ours, or time is up: the connection must be dropped.
    Fatal(Failure),
}

impl From<BareLineEnd> for ContentError {
    fn from(error: BareLineEnd) -> Self {
        Self::Fatal(Failure::of_message(DialogueStep::Content, (5, 6, 0), error.to_string()))
    }
}

impl From<io::Error> for ContentError {
    fn from(error: io::Error) -> Self {
        let detail = format!("cannot read the message: {error}");
        let failure = Failure::of_host(DialogueStep::Content, (4, 3, 0), detail);
        Self::Fatal(Failure { try_next_host: false, ..failure })
    }
}

/// Sends all of `body` and the final dot. `limit` is for each chunk.
pub(super) async fn send(
    wire: &mut LineStream,
    body: Arc<dyn Source>,
    limit: Duration,
) -> Result<(), ContentError> {
    let size = body.size();
    let mut stuffer = Stuffer::default();
    let mut out = Vec::new();
    if size <= INLINE {
        let chunk = read_exactly(&*body, 0, usize::try_from(size).unwrap_or(CHUNK), Vec::new())?;
        stuffer.push(&chunk, &mut out)?;
    } else {
        let mut chunk = read_elsewhere(&body, 0, Vec::new()).await?;
        let mut offset = 0;
        loop {
            offset += chunk.len() as u64;
            stuffer.push(&chunk, &mut out)?;
            if offset >= size {
                break;
            }
            let (next, written) =
                tokio::join!(read_elsewhere(&body, offset, chunk), write(wire, &out, limit));
            written?;
            chunk = next?;
            out.clear();
        }
    }
    stuffer.finish(&mut out)?;
    write(wire, &out, limit).await
}

async fn write(wire: &mut LineStream, out: &[u8], limit: Duration) -> Result<(), ContentError> {
    wire.write(out, limit).await.map_err(|error| match error {
        WriteError::Lost(error) => ContentError::Lost(super::wire::lost(DialogueStep::Content, &error)),
        WriteError::TimedOut => ContentError::Fatal(timed_out(DialogueStep::Content)),
    })
}

async fn read_elsewhere(body: &Arc<dyn Source>, offset: u64, buf: Vec<u8>) -> io::Result<Vec<u8>> {
    let left = body.size().saturating_sub(offset);
    let want = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
    let body = Arc::clone(body);
    tokio::task::spawn_blocking(move || read_exactly(&*body, offset, want, buf))
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// `want` octets from `offset`, in the memory of `buf`.
fn read_exactly(body: &dyn Source, offset: u64, want: usize, mut buf: Vec<u8>) -> io::Result<Vec<u8>> {
    buf.resize(want, 0);
    let mut done = 0;
    while done < want {
        match body.read_at(offset + done as u64, &mut buf[done..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => done += n,
        }
    }
    Ok(buf)
}
