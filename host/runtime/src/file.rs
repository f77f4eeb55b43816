//! Big files beside mail.

use std::fs::File;
use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

/// Octets between two syncs. A file system that is asked to sync anything may first write
/// everything that waits to be written: 60 MB at once keep mail waiting for 40 ms.
const PIECE: usize = 256 << 10;
/// Between a piece and the next: a disk that is never left alone is late for everybody.
const PAUSE: Duration = Duration::from_millis(20);

/// Writes to a file and syncs it, so slowly that others who sync hardly notice: about 12 MB per
/// second. Blocks.
///
/// # Errors
/// It cannot be written; a part of it may be there.
pub(crate) fn write_synced(file: &mut File, content: &[u8]) -> io::Result<()> {
    let mut pieces = content.chunks(PIECE).peekable();
    while let Some(piece) = pieces.next() {
        file.write_all(piece)?;
        if pieces.peek().is_some() {
            file.sync_data()?;
            sleep(PAUSE);
        }
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn all_of_it_is_there_whatever_its_length() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for length in [3 * PIECE + 7, 0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE] {
            let content: Vec<u8> = (0..=250).cycle().take(length).collect();
            write_synced(&mut File::create(&path).unwrap(), &content).unwrap();
            assert!(fs::read(&path).unwrap() == content, "{length} octets");
        }
        let mut closed = File::open(&path).unwrap();
        assert!(write_synced(&mut closed, b"not for writing").is_err());
    }
}
