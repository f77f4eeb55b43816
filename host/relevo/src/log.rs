//! Structured logs on standard error. `RELEVO_LOG` filters (default `info`),
//! `RELEVO_LOG_FORMAT=json` is for machines.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Call once.
pub(crate) fn start(default: &str) {
    let filter = EnvFilter::try_from_env("RELEVO_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = fmt().with_env_filter(filter).with_writer(|| Lossy(io::stderr())).with_target(false);
    let started = match std::env::var("RELEVO_LOG_FORMAT").as_deref() {
        Ok("json") => builder.json().flatten_event(true).try_init(),
        _ => builder.with_ansi(io::stderr().is_terminal()).try_init(),
    };
    if let Err(error) = started {
        say(&format!("relevo: logging could not start: {error}"));
    }
}

/// Writes a line to standard error without the log. A line that cannot be written is dropped and
/// counted.
pub(crate) fn say(line: &str) {
    let _ = Lossy(io::stderr()).write_all(format!("{line}\n").as_bytes());
}

/// Lines that could not be written since the start.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// A writer that never fails: the reader of the log may have gone, and its disk may be full, while
/// mail goes on. One call of `write` is one line.
struct Lossy<W>(W);

impl<W: Write> Write for Lossy<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.write_all(line).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    #[test]
    fn a_line_that_cannot_be_written_is_counted() {
        let before = dropped();
        let mut log = Lossy(Full);
        log.write_all(b"a line\n").unwrap();
        log.flush().unwrap();
        assert!(dropped() > before);
        let mut written = Vec::new();
        Lossy(&mut written).write_all(b"a line\n").unwrap();
        assert_eq!(written, b"a line\n");
    }
}
