//! The content of a message on its way from a source to the wire.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use relevo_mailkit::source::Source;
use relevo_proto::client::{BareLineEnd, DialogueStep, Failure, LineEnds, Stuffer};

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
            chunk.clear();
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

/// Sends all of `body` as the one and last chunk (RFC 3030). A last line without an end gets one, as
/// by [`send`]. `limit` is for each write.
pub(super) async fn send_chunk(
    wire: &mut LineStream,
    body: Arc<dyn Source>,
    limit: Duration,
) -> Result<(), ContentError> {
    let size = body.size();
    let end: &[u8] = if is_last_line_open(&*body)? { b"\r\n" } else { b"" };
    let command = format!("BDAT {} LAST\r\n", size + end.len() as u64);
    wire.recorder.sent(command.as_bytes());
    let mut start = command.len();
    let mut chunk = if size <= INLINE {
        read_exactly(&*body, 0, usize::try_from(size).unwrap_or(CHUNK), command.into_bytes())?
    } else {
        read_elsewhere(&body, 0, command.into_bytes()).await?
    };
    let (mut ends, mut offset, mut spare) = (LineEnds::default(), 0, Vec::new());
    loop {
        ends.push(&chunk[start..])?;
        offset += (chunk.len() - start) as u64;
        if offset >= size {
            break;
        }
        start = 0;
        let (next, written) = tokio::join!(read_elsewhere(&body, offset, spare), write(wire, &chunk, limit));
        written?;
        chunk.clear();
        spare = std::mem::replace(&mut chunk, next?);
    }
    ends.finish()?;
    chunk.extend_from_slice(end);
    write(wire, &chunk, limit).await
}

/// Returns true if there is a last line, and no CRLF behind it.
fn is_last_line_open(body: &dyn Source) -> io::Result<bool> {
    let size = body.size();
    let want = usize::try_from(size).unwrap_or(2).min(2);
    let last = read_exactly(body, size - want as u64, want, Vec::new())?;
    Ok(want > 0 && last != b"\r\n")
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

/// Appends `want` octets from `offset` to `buf`.
fn read_exactly(body: &dyn Source, offset: u64, want: usize, mut buf: Vec<u8>) -> io::Result<Vec<u8>> {
    let start = buf.len();
    buf.resize(start + want, 0);
    let mut done = 0;
    while done < want {
        match body.read_at(offset + done as u64, &mut buf[start + done..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => done += n,
        }
    }
    Ok(buf)
}
