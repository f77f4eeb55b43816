//! Where recordings lie: segments that are written at their end only and removed whole, the oldest first.
//!
//! A segment begins with the line `relevo-recordings 1`, then come frames: the length of the content (4 octets, little endian), the
//! first 8 octets of its SHA-256, the content. Nothing is synced: a recording is no promise. What a crash tore is recognised and
//! skipped, and a segment that was there at the start is never written to again, so nothing comes after a torn end.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use relevo_relay::settings::RecordSettings;
use sha2::{Digest, Sha256};

const TITLE: &[u8] = b"relevo-recordings 1\n";
const LENGTH: usize = 4;
const SUM: usize = 8;
const HEAD: usize = LENGTH + SUM;
/// Octets of a recording: the largest header, body and data, and very many recipients.
const MAX_FRAME: usize = 4 << 20;
/// What is kept is made of so many segments, so that little of it goes at a time.
const SEGMENTS: usize = 4;

/// The recordings of a place, to be added to.
#[derive(Debug)]
pub(crate) struct Segments {
    directory: PathBuf,
    settings: RecordSettings,
    kept: VecDeque<Segment>,
    /// The last of those that are kept.
    open: Option<File>,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    messages: usize,
    octets: u64,
}

impl Segments {
    /// Makes the directory if need be, and removes what is of the other kind: what was recorded as it was does not stay when it is to
    /// be redacted.
    pub(crate) fn open(directory: &Path, settings: RecordSettings) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        for (_, path) in numbered(directory, !settings.unredacted)? {
            fs::remove_file(path)?;
        }
        let mut kept = VecDeque::new();
        for (number, path) in numbered(directory, settings.unredacted)? {
            let (frames, _) = frames(&path)?;
            kept.push_back(Segment { number, messages: frames.len(), octets: fs::metadata(&path)?.len() });
        }
        let mut segments = Self { directory: directory.to_owned(), settings, kept, open: None };
        segments.trim()?;
        Ok(segments)
    }

    pub(crate) fn append(&mut self, content: &[u8]) -> io::Result<()> {
        if content.len() > MAX_FRAME {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the recording is too large"));
        }
        let full = self.kept.back().is_none_or(|last| {
            last.messages >= self.settings.messages.div_ceil(SEGMENTS)
                || last.octets + (HEAD + content.len()) as u64 > self.settings.octets / SEGMENTS as u64
        });
        let mut file = match self.open.take().filter(|_| !full) {
            Some(file) => file,
            None => self.begin()?,
        };
        let mut frame = Vec::with_capacity(HEAD + content.len());
        frame.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
        frame.extend_from_slice(&sum(content));
        frame.extend_from_slice(content);
        if let Err(error) = file.write_all(&frame) {
            self.undo(file);
            return Err(error);
        }
        self.open = Some(file);
        if let Some(last) = self.kept.back_mut() {
            last.messages += 1;
            last.octets += frame.len() as u64;
        }
        self.trim()
    }

    /// Messages and octets on disk.
    pub(crate) fn kept(&self) -> (usize, u64) {
        (self.messages(), self.octets())
    }

    fn messages(&self) -> usize {
        self.kept.iter().map(|s| s.messages).sum()
    }

    fn octets(&self) -> u64 {
        self.kept.iter().map(|s| s.octets).sum()
    }

    fn begin(&mut self) -> io::Result<File> {
        let number = self.kept.back().map_or(1, |last| last.number + 1);
        let path = self.path(number);
        let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        if let Err(error) = file.write_all(TITLE) {
            // With a full disk each message would leave another one.
            let _ = fs::remove_file(path);
            return Err(error);
        }
        self.kept.push_back(Segment { number, messages: 0, octets: TITLE.len() as u64 });
        Ok(file)
    }

    /// After a frame that was not written, or half of it. The segment goes on where it was, if that can be; an empty one goes.
    fn undo(&mut self, file: File) {
        let Some(last) = self.kept.back() else { return };
        if last.messages == 0 {
            let _ = fs::remove_file(self.path(last.number));
            self.kept.pop_back();
        } else if file.set_len(last.octets).is_ok() {
            self.open = Some(file);
        }
    }

    /// Removes the oldest segments that the last messages are not in, and those beyond the octets.
    fn trim(&mut self) -> io::Result<()> {
        while self.kept.len() > 1
            && let Some(first) = self.kept.front()
            && (self.messages() - first.messages >= self.settings.messages
                || self.octets() > self.settings.octets)
        {
            fs::remove_file(self.path(first.number))?;
            self.kept.pop_front();
        }
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:016}.{}", kind(self.settings.unredacted)))
    }
}

fn kind(unredacted: bool) -> &'static str {
    if unredacted { "whole" } else { "redacted" }
}

/// Segments of a kind, the oldest first.
fn numbered(directory: &Path, unredacted: bool) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|e| e == kind(unredacted))) {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Where a recording is. Its segment stays readable though it be removed in the meantime.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    file: Arc<File>,
    offset: u64,
    length: usize,
}

impl Frame {
    /// None: damaged.
    pub(crate) fn read(&self) -> Option<Vec<u8>> {
        let mut octets = vec![0; SUM + self.length];
        self.file.read_exact_at(&mut octets, self.offset).ok()?;
        let content = octets.split_off(SUM);
        (octets == sum(&content)).then_some(content)
    }
}

/// The last recordings in a directory, the oldest first, and how many pieces of segments make no sense.
pub(crate) fn find(directory: &Path, settings: RecordSettings) -> io::Result<(Vec<Frame>, usize)> {
    let segments = match numbered(directory, settings.unredacted) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        other => other?,
    };
    let (mut all, mut damaged) = (Vec::new(), 0);
    for (_, path) in segments {
        match frames(&path) {
            Ok((found, torn)) => {
                all.extend(found);
                damaged += usize::from(torn);
            }
            // Removed in the meantime: there are newer ones.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    all.drain(..all.len().saturating_sub(settings.messages));
    Ok((all, damaged))
}

/// The frames of a segment, and whether it ends with something else.
fn frames(path: &Path) -> io::Result<(Vec<Frame>, bool)> {
    let file = Arc::new(File::open(path)?);
    let size = file.metadata()?.len();
    let mut title = [0; TITLE.len()];
    if size < TITLE.len() as u64 {
        return Ok((Vec::new(), size > 0));
    }
    file.read_exact_at(&mut title, 0)?;
    if title != TITLE {
        return Ok((Vec::new(), true));
    }
    let mut frames = Vec::new();
    let mut at = TITLE.len() as u64;
    while at + HEAD as u64 <= size {
        let mut length = [0; LENGTH];
        file.read_exact_at(&mut length, at)?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        let end = at.saturating_add(HEAD as u64).saturating_add(length as u64);
        // No recording is empty: zeros are what a loss of power left of an end that was not written.
        if length == 0 || length > MAX_FRAME || end > size {
            break;
        }
        frames.push(Frame { file: Arc::clone(&file), offset: at + LENGTH as u64, length });
        at = end;
    }
    Ok((frames, at != size))
}

fn sum(content: &[u8]) -> [u8; SUM] {
    let mut first = [0; SUM];
    first.copy_from_slice(&Sha256::digest(content)[..SUM]);
    first
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SETTINGS: RecordSettings = RecordSettings { messages: 8, octets: 1 << 20, unredacted: true };

    fn contents(directory: &Path, settings: RecordSettings) -> (Vec<Option<String>>, usize) {
        let (frames, damaged) = find(directory, settings).expect("readable");
        let text = |frame: &Frame| frame.read().map(|c| String::from_utf8(c).expect("text"));
        (frames.iter().map(text).collect(), damaged)
    }

    fn texts(numbers: std::ops::Range<usize>) -> Vec<Option<String>> {
        numbers.map(|n| Some(n.to_string())).collect()
    }

    #[test]
    fn the_last_ones_are_kept_and_survive() {
        let root = tempfile::tempdir().expect("a directory");
        let directory = root.path().join("acme.list");
        assert_eq!(contents(&directory, SETTINGS), (Vec::new(), 0));
        let mut segments = Segments::open(&directory, SETTINGS).expect("opens");
        for n in 0..30 {
            segments.append(n.to_string().as_bytes()).expect("writes");
        }
        assert_eq!(contents(&directory, SETTINGS), (texts(22..30), 0));
        assert!(segments.kept().0 <= 10, "{:?}", segments.kept());
        let mut segments = Segments::open(&directory, SETTINGS).expect("again");
        segments.append(b"30").expect("writes");
        assert_eq!(contents(&directory, SETTINGS), (texts(23..31), 0));
        for entry in fs::read_dir(&directory).expect("ours") {
            let mode = entry.expect("ours").metadata().expect("ours").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(&directory).expect("ours").permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn octets_are_bounded_too() {
        let root = tempfile::tempdir().expect("a directory");
        let small = RecordSettings { octets: 4_000, ..SETTINGS };
        let mut segments = Segments::open(root.path(), small).expect("opens");
        for _ in 0..50 {
            segments.append(&[b'x'; 900]).expect("writes");
        }
        assert!(segments.kept().1 <= 4_000, "{:?}", segments.kept());
        assert!(contents(root.path(), small).0.len() >= 3);
        assert!(segments.append(&vec![0; MAX_FRAME + 1]).is_err());
    }

    #[test]
    fn a_torn_end_is_skipped_and_said_and_the_rest_is_there() {
        let root = tempfile::tempdir().expect("a directory");
        let mut segments = Segments::open(root.path(), SETTINGS).expect("opens");
        segments.append(b"0").expect("writes");
        segments.append(b"1").expect("writes");
        let (_, path) = numbered(root.path(), true).expect("ours").pop().expect("one");
        let whole = fs::read(&path).expect("ours");
        for cut in TITLE.len() + HEAD + 2..whole.len() {
            fs::write(&path, &whole[..cut]).expect("ours");
            assert_eq!(contents(root.path(), SETTINGS), (texts(0..1), 1), "cut at {cut}");
        }
        // After a crash: what is written now is not behind the torn end.
        let mut segments = Segments::open(root.path(), SETTINGS).expect("opens");
        segments.append(b"1").expect("writes");
        assert_eq!(contents(root.path(), SETTINGS), (texts(0..2), 1));
    }

    #[test]
    fn an_end_of_zeros_is_torn_and_drives_nothing_out() {
        let root = tempfile::tempdir().expect("a directory");
        let mut segments = Segments::open(root.path(), SETTINGS).expect("opens");
        for n in 0..3 {
            segments.append(n.to_string().as_bytes()).expect("writes");
        }
        let (_, path) = numbered(root.path(), true).expect("ours").pop().expect("one");
        let mut octets = fs::read(&path).expect("ours");
        octets.extend([0; 1 << 16]);
        fs::write(&path, &octets).expect("ours");
        assert_eq!(contents(root.path(), SETTINGS), (texts(0..3), 1));
        let segments = Segments::open(root.path(), SETTINGS).expect("opens");
        assert_eq!(segments.kept().0, 3);
        assert_eq!(contents(root.path(), SETTINGS), (texts(0..3), 1));
    }

    /// A file that cannot be written stands for a full disk.
    #[test]
    fn what_cannot_be_written_leaves_no_files() {
        let root = tempfile::tempdir().expect("a directory");
        let mut segments = Segments::open(root.path(), SETTINGS).expect("opens");
        segments.append(b"0").expect("writes");
        let fails = |segments: &mut Segments| {
            let last = segments.kept.back().expect("one").number;
            segments.open = Some(File::open(segments.path(last)).expect("ours"));
            segments.append(b"lost").expect_err("it is open to be read");
        };
        for _ in 0..5 {
            segments.begin().expect("writes");
            fails(&mut segments);
        }
        assert_eq!(numbered(root.path(), true).expect("ours").len(), 1);
        fails(&mut segments);
        segments.append(b"1").expect("in another one");
        assert_eq!(contents(root.path(), SETTINGS), (texts(0..2), 0));
    }

    /// Half a frame is taken back, and the segment goes on.
    #[test]
    fn half_a_frame_is_taken_back() {
        let root = tempfile::tempdir().expect("a directory");
        let mut segments = Segments::open(root.path(), SETTINGS).expect("opens");
        segments.append(b"0").expect("writes");
        let mut file = segments.open.take().expect("open");
        file.write_all(&[9, 0, 0]).expect("writes");
        segments.undo(file);
        segments.append(b"1").expect("writes");
        assert_eq!(contents(root.path(), SETTINGS), (texts(0..2), 0));
        assert_eq!(numbered(root.path(), true).expect("ours").len(), 1);
    }

    #[test]
    fn an_octet_that_changed_spoils_one() {
        let root = tempfile::tempdir().expect("a directory");
        let mut segments = Segments::open(root.path(), SETTINGS).expect("opens");
        segments.append(b"0").expect("writes");
        segments.append(b"1").expect("writes");
        let (_, path) = numbered(root.path(), true).expect("ours").pop().expect("one");
        let mut octets = fs::read(&path).expect("ours");
        octets[TITLE.len() + HEAD] ^= 1;
        fs::write(&path, &octets).expect("ours");
        assert_eq!(contents(root.path(), SETTINGS).0, [None, Some("1".to_owned())]);
        fs::write(&path, b"relevo-recordings 9\nwhatever").expect("ours");
        assert_eq!(contents(root.path(), SETTINGS), (Vec::new(), 1), "another format");
    }

    #[test]
    fn the_other_kind_is_removed() {
        let root = tempfile::tempdir().expect("a directory");
        Segments::open(root.path(), SETTINGS).expect("opens").append(b"0").expect("writes");
        let redacted = RecordSettings { unredacted: false, ..SETTINGS };
        Segments::open(root.path(), redacted).expect("opens");
        assert_eq!(contents(root.path(), SETTINGS), (Vec::new(), 0));
    }
}
