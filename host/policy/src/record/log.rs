//! The recordings of a plugin on disk: JSON, one recording a line.
//!
//! Recordings are appended to the newer of two files. When that has as many messages as are kept,
//! or half of the octets, it takes the place of the older one. Nothing is synced: a recording is no
//! promise. Lines are independent of each other, so whatever a crash tore or a disk changed costs
//! one line, which cannot be read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use relevo_relay::settings::RecordSettings;

use super::entry::Recording;

/// Octets of a line: the largest header, body and data, and very many recipients.
const MAX_LINE: usize = 8 << 20;

/// The recordings of a plugin, to be added to.
#[derive(Debug)]
pub(crate) struct RecordingLog {
    directory: PathBuf,
    settings: RecordSettings,
    newer: Extent,
    older: Extent,
    /// The newer file, once something was appended to it.
    file: Option<File>,
}

/// What a file has.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    messages: usize,
    octets: u64,
}

impl RecordingLog {
    /// Makes the directory if need be. Removes recordings of the other kind: what is to be redacted
    /// does not stay unredacted.
    pub(crate) fn open(directory: &Path, settings: RecordSettings) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        for path in paths(directory, !settings.unredacted) {
            remove(&path)?;
        }
        let [older, newer] = paths(directory, settings.unredacted);
        let (older, newer) = (extent(&older)?, extent(&newer)?);
        Ok(Self { directory: directory.to_owned(), settings, newer, older, file: None })
    }

    pub(crate) fn append(&mut self, recording: &Recording) -> io::Result<()> {
        let mut line = serde_json::to_vec(recording).map_err(io::Error::other)?;
        line.push(b'\n');
        if line.len() > MAX_LINE {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the recording is too large"));
        }
        let octets = line.len() as u64;
        let full = self.newer.messages >= self.settings.messages
            || self.newer.octets.saturating_add(octets) > self.settings.octets / 2;
        if full {
            self.rotate()?;
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.open_newer()?,
        };
        if let Err(error) = file.write_all(&line) {
            // If half of the line cannot be taken back either, the next one begins with a line end.
            let _ = file.set_len(self.newer.octets);
            return Err(error);
        }
        self.file = Some(file);
        self.newer.messages += 1;
        self.newer.octets += octets;
        Ok(())
    }

    /// Messages that a replay finds, and octets on disk.
    pub(crate) fn kept(&self) -> (usize, u64) {
        let messages = (self.newer.messages + self.older.messages).min(self.settings.messages);
        (messages, self.newer.octets + self.older.octets)
    }

    fn rotate(&mut self) -> io::Result<()> {
        let [older, newer] = paths(&self.directory, self.settings.unredacted);
        self.file = None;
        match fs::rename(&newer, &older) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.older = std::mem::take(&mut self.newer);
        Ok(())
    }

    fn open_newer(&mut self) -> io::Result<File> {
        let [_, newer] = paths(&self.directory, self.settings.unredacted);
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(newer)?;
        let size = file.metadata()?.len();
        self.newer.octets = size;
        let mut last = [b'\n'];
        if size > 0 {
            file.read_exact_at(&mut last, size - 1)?;
        }
        if last != [b'\n'] {
            file.write_all(b"\n")?;
            self.newer.octets += 1;
        }
        Ok(file)
    }
}

/// The older and the newer file.
fn paths(directory: &Path, unredacted: bool) -> [PathBuf; 2] {
    let kind = if unredacted { "unredacted" } else { "redacted" };
    [directory.join(format!("{kind}.older.jsonl")), directory.join(format!("{kind}.jsonl"))]
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn extent(path: &Path) -> io::Result<Extent> {
    let Some(file) = open_existing(path)? else { return Ok(Extent::default()) };
    let octets = file.metadata()?.len();
    let messages = lines(&Arc::new(file))?.len();
    Ok(Extent { messages, octets })
}

fn open_existing(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where a recording is. It stays readable although its file be removed in the meantime.
#[derive(Debug, Clone)]
pub(crate) struct StoredRecording {
    file: Arc<File>,
    offset: u64,
    length: usize,
}

impl StoredRecording {
    /// Returns none if it is damaged.
    pub(crate) fn read(&self) -> Option<Recording> {
        if self.length > MAX_LINE {
            return None;
        }
        let mut line = vec![0; self.length];
        self.file.read_exact_at(&mut line, self.offset).ok()?;
        serde_json::from_slice(&line).ok()
    }
}

/// The last recordings in a directory, the oldest first.
pub(crate) fn read_recordings(
    directory: &Path,
    settings: RecordSettings,
) -> io::Result<Vec<StoredRecording>> {
    let mut all = Vec::new();
    for path in paths(directory, settings.unredacted) {
        if let Some(file) = open_existing(&path)? {
            all.extend(lines(&Arc::new(file))?);
        }
    }
    all.drain(..all.len().saturating_sub(settings.messages));
    Ok(all)
}

/// The lines of a file that are not empty. Each is looked at in pieces, however long it is.
fn lines(file: &Arc<File>) -> io::Result<Vec<StoredRecording>> {
    let mut reader = BufReader::new(file.as_ref());
    let (mut found, mut at, mut begins) = (Vec::new(), 0, 0);
    let mut add = |offset: u64, end: u64| {
        let length = usize::try_from(end - offset).unwrap_or(usize::MAX);
        if length > 0 {
            found.push(StoredRecording { file: Arc::clone(file), offset, length });
        }
    };
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            break;
        }
        let (end, used) = match piece.iter().position(|octet| *octet == b'\n') {
            Some(end) => (true, end + 1),
            None => (false, piece.len()),
        };
        reader.consume(used);
        at += used as u64;
        if end {
            add(begins, at - 1);
            begins = at;
        }
    }
    add(begins, at);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use relevo_mailkit::policy::{Decision, Verdict};

    use super::super::entry::{KeptBody, RecordedAnswer};
    use super::*;
    use crate::sample_messages;

    const SETTINGS: RecordSettings = RecordSettings { messages: 8, octets: 1 << 20, unredacted: true };

    fn recording(number: usize) -> Recording {
        let mut message = (*sample_messages::cases("acme", 7, &None)[0].message).clone();
        message.id = number.to_string();
        Recording {
            digest: "aa".into(),
            settings: "bb".into(),
            redacted: false,
            message,
            body: KeptBody::Whole(b"Hello\r\n".to_vec()),
            reads: None,
            answer: RecordedAnswer::Verdicts((&Decision::from(Verdict::Accept)).into()),
        }
    }

    fn append(log: &mut RecordingLog, numbers: std::ops::Range<usize>) {
        numbers.for_each(|number| log.append(&recording(number)).expect("writes"));
    }

    /// The ids of what is found; none for what is damaged.
    fn found(directory: &Path, settings: RecordSettings) -> Vec<Option<String>> {
        let found = read_recordings(directory, settings).expect("readable");
        found.iter().map(|stored| stored.read().map(|recording| recording.message.id)).collect()
    }

    fn ids(numbers: std::ops::Range<usize>) -> Vec<Option<String>> {
        numbers.map(|number| Some(number.to_string())).collect()
    }

    #[test]
    fn the_last_ones_are_kept_and_survive() {
        let root = tempfile::tempdir().expect("a directory");
        let directory = root.path().join("acme.list");
        assert_eq!(found(&directory, SETTINGS), []);
        let mut log = RecordingLog::open(&directory, SETTINGS).expect("opens");
        append(&mut log, 0..30);
        assert_eq!((found(&directory, SETTINGS), log.kept().0), (ids(22..30), 8));
        let stored = read_recordings(&directory, SETTINGS).expect("readable");
        assert_eq!(stored[0].read(), Some(recording(22)), "all of it");
        let mut log = RecordingLog::open(&directory, SETTINGS).expect("again");
        append(&mut log, 30..31);
        assert_eq!(found(&directory, SETTINGS), ids(23..31));
        for entry in fs::read_dir(&directory).expect("ours") {
            let mode = entry.expect("ours").metadata().expect("ours").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(&directory).expect("ours").permissions().mode() & 0o777, 0o700);
        // Those of the other kind go.
        let redacted = RecordSettings { unredacted: false, ..SETTINGS };
        RecordingLog::open(&directory, redacted).expect("opens");
        assert_eq!(fs::read_dir(&directory).expect("ours").count(), 0);
    }

    #[test]
    fn octets_are_bounded_too() {
        let root = tempfile::tempdir().expect("a directory");
        let small = RecordSettings { octets: 8_000, messages: 1_000, ..SETTINGS };
        let mut log = RecordingLog::open(root.path(), small).expect("opens");
        append(&mut log, 0..50);
        let on_disk: u64 = fs::read_dir(root.path())
            .expect("ours")
            .map(|entry| entry.expect("ours").metadata().expect("ours").len())
            .sum();
        assert!(on_disk <= 8_000 && on_disk == log.kept().1, "{on_disk}");
        assert!(found(root.path(), small).len() >= 3);
        let mut large = recording(0);
        large.body = KeptBody::Whole(vec![b'x'; MAX_LINE]);
        assert_eq!(log.append(&large).expect_err("too large").kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_torn_end_costs_one_recording() {
        let root = tempfile::tempdir().expect("a directory");
        let mut log = RecordingLog::open(root.path(), SETTINGS).expect("opens");
        append(&mut log, 0..2);
        let [_, path] = paths(root.path(), true);
        let whole = fs::read(&path).expect("ours");
        let first = whole.iter().position(|octet| *octet == b'\n').expect("a line");
        for end in
            [&whole[..first + 9], &whole[..whole.len() - 2], &[&whole[..=first], &[0; 4096][..]].concat()[..]]
        {
            fs::write(&path, end).expect("ours");
            assert_eq!(found(root.path(), SETTINGS), [Some("0".to_owned()), None]);
            // What is written now does not stand behind the torn end.
            let mut log = RecordingLog::open(root.path(), SETTINGS).expect("opens");
            append(&mut log, 7..8);
            assert_eq!(found(root.path(), SETTINGS), [Some("0".to_owned()), None, Some("7".to_owned())]);
        }
    }

    /// A file that cannot be written stands for a full disk.
    #[test]
    fn what_cannot_be_written_is_told_and_leaves_the_rest() {
        let root = tempfile::tempdir().expect("a directory");
        let mut log = RecordingLog::open(root.path(), SETTINGS).expect("opens");
        append(&mut log, 0..1);
        log.file = Some(File::open(&paths(root.path(), true)[1]).expect("ours"));
        log.append(&recording(1)).expect_err("it is open to be read");
        append(&mut log, 2..3);
        assert_eq!(found(root.path(), SETTINGS), [Some("0".to_owned()), Some("2".to_owned())]);
    }
}
