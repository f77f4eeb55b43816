//! The data directory as a loss of power would leave it: the calls of a trace are repeated on a
//! disk in memory that keeps apart what was synced and what was not.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use relevo_queue::disk::{Disk, FaultyDisk};

use crate::synced::moves;
use crate::trace::{Arg, Call};

/// A disk that follows a trace.
pub(crate) struct Replay<'a> {
    disk: FaultyDisk,
    /// Only what is done here counts.
    root: PathBuf,
    /// In the order in which they ended.
    calls: Vec<&'a Call>,
    next: usize,
    /// Where the next `write` of each file goes.
    cursors: HashMap<PathBuf, u64>,
    /// By file: when its last write ended.
    last_write: HashMap<PathBuf, usize>,
    /// Syncs that ran beside a write of the same file. They are taken for nothing.
    pub(crate) overlapped: usize,
    pub(crate) applied: usize,
}

impl<'a> Replay<'a> {
    pub(crate) fn new(calls: &'a [Call], root: &Path) -> Self {
        let mut ended: Vec<&Call> = calls.iter().filter(|c| c.succeeded()).collect();
        ended.sort_by_key(|c| c.ended);
        Self {
            disk: FaultyDisk::new(),
            root: root.to_owned(),
            calls: ended,
            next: 0,
            cursors: HashMap::new(),
            last_write: HashMap::new(),
            overlapped: 0,
            applied: 0,
        }
    }

    /// Repeats what had returned before this place in the trace. Places must not go back.
    pub(crate) fn advance(&mut self, until: usize) -> Result<()> {
        while let Some(call) = self.calls.get(self.next).copied().filter(|c| c.ended < until) {
            self.apply(call)
                .with_context(|| format!("line {} of the trace, {}", call.began + 1, call.name))?;
            self.next += 1;
        }
        Ok(())
    }

    /// Writes what is left after a loss of power now into an empty directory.
    pub(crate) fn image(&self, chaos: impl FnMut() -> u8, to: &Path) -> Result<()> {
        let left = self.disk.image(chaos);
        let place = |path: &Path| -> Result<PathBuf> { Ok(to.join(path.strip_prefix(&self.root)?)) };
        private_dir(to)?;
        for dir in left.dirs() {
            private_dir(&place(&dir)?)?;
        }
        for path in left.paths() {
            let file = left.open(&path, false)?;
            let mut octets = vec![0; usize::try_from(file.size()?)?];
            file.read_at(0, &mut octets)?;
            let to = place(&path)?;
            private_dir(to.parent().context("a file without a directory")?)?;
            write_private(&to, &octets)?;
        }
        Ok(())
    }

    fn apply(&mut self, call: &Call) -> Result<()> {
        match call.name.as_str() {
            "openat" | "open" => self.open(call),
            "mkdir" => self.make(&call.path(0)?),
            "mkdirat" => self.make(&call.path(1)?),
            "rename" | "renameat" | "renameat2" => {
                let (from, to) = moves(call).context("a rename")?;
                if self.counts(&from) || self.counts(&to) {
                    self.applied += 1;
                    self.disk.rename(&from, &to)?;
                }
                Ok(())
            }
            "unlink" => self.remove(&call.path(0)?),
            "unlinkat" => self.remove(&call.path(1)?),
            "pwrite64" => self.write(call, Some(call.number(3)?)),
            "write" => self.write(call, None),
            "ftruncate" => {
                self.change(call, |disk, path| Ok(disk.open(path, false)?.set_len(call.number(1)?)?))
            }
            "fdatasync" | "fsync" => self.sync(call),
            // The content of the reserve is of no meaning, and a start allocates it anew.
            "fallocate" if call.file(0).is_ok_and(|file| *file == self.root.join("reserve")) => Ok(()),
            "sendto" => Ok(()),
            "mmap" => {
                let writes = call.has_flag(2, "PROT_WRITE") && call.has_flag(3, "MAP_SHARED");
                ensure!(!(writes && self.names_ours(call)), "a file is written through memory");
                Ok(())
            }
            _ => {
                let harmless = call.name != "io_uring_setup" && !self.names_ours(call);
                ensure!(harmless, "the image does not know what this does: {call:?}");
                Ok(())
            }
        }
    }

    /// SQLite makes the index of its log (`-shm`), which is shared memory, anew from the log.
    fn counts(&self, path: &Path) -> bool {
        let name = path.to_string_lossy();
        path.starts_with(&self.root) && !name.ends_with(" (deleted)") && !name.ends_with("-shm")
    }

    fn names_ours(&self, call: &Call) -> bool {
        (0..call.args.len()).any(|at| {
            call.file(at).is_ok_and(|file| self.counts(file))
                || call.path(at).is_ok_and(|path| self.counts(&path))
        })
    }

    fn open(&mut self, call: &Call) -> Result<()> {
        // open has no directory in front.
        let at = usize::from(call.name == "openat");
        let path = call.path(at)?;
        if path.is_relative() {
            let base =
                call.args.first().and_then(|arg| if let Arg::File(base) = arg { Some(base) } else { None });
            ensure!(
                !base.is_some_and(|base| base.starts_with(&self.root)),
                "a relative path within the data"
            );
            return Ok(());
        }
        if !self.counts(&path) {
            return Ok(());
        }
        self.cursors.insert(path.clone(), 0);
        let flag = |flag| call.has_flag(at + 1, flag);
        ensure!(
            !flag("O_TMPFILE") && !flag("O_DSYNC") && !flag("O_SYNC"),
            "flags that the image does not know"
        );
        if flag("O_CREAT") {
            self.applied += 1;
            self.disk.open(&path, true)?;
        }
        if flag("O_TRUNC") {
            self.disk.open(&path, false)?.set_len(0)?;
        }
        Ok(())
    }

    fn make(&mut self, path: &Path) -> Result<()> {
        if self.counts(path) {
            self.applied += 1;
            self.disk.create_dir(path)?;
        }
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> Result<()> {
        // Sockets have names that the image does not follow.
        if self.counts(path) && self.disk.paths().iter().any(|known| known == path) {
            self.applied += 1;
            self.disk.remove(path)?;
        }
        Ok(())
    }

    fn write(&mut self, call: &Call, offset: Option<u64>) -> Result<()> {
        // Standard output, pipes and sockets are not below the root.
        if !call.file(0).is_ok_and(|file| self.counts(file)) {
            return Ok(());
        }
        let written = usize::try_from(call.result.unwrap_or_default())?;
        let octets = call.octets(1)?;
        let octets = octets.get(..written).context("strace shortened the octets of a write")?;
        let path = call.file(0)?.clone();
        let cursor = self.cursors.entry(path).or_default();
        let at = offset.unwrap_or(*cursor);
        if offset.is_none() {
            *cursor += u64::try_from(written)?;
        }
        self.change(call, |disk, path| Ok(disk.open(path, false)?.write_at(at, octets)?))
    }

    fn change(&mut self, call: &Call, change: impl FnOnce(&FaultyDisk, &Path) -> Result<()>) -> Result<()> {
        let path = call.file(0)?;
        if !self.counts(path) {
            return Ok(());
        }
        self.applied += 1;
        self.last_write.insert(path.clone(), call.ended);
        if call.name == "ftruncate" && call.number(1)? == 0 {
            // The lock is rewound when it is taken; nothing else is emptied and then written
            // without an offset.
            self.cursors.insert(path.clone(), 0);
        }
        change(&self.disk, path)
    }

    fn sync(&mut self, call: &Call) -> Result<()> {
        let path = call.file(0)?;
        if !path.starts_with(&self.root) && !self.root.starts_with(path) {
            return Ok(());
        }
        if !self.disk.paths().iter().any(|known| known == path) {
            return Ok(self.disk.sync_dir(path)?);
        }
        if self.last_write.get(path).is_some_and(|ended| *ended > call.began) {
            self.overlapped += 1;
            return Ok(());
        }
        self.applied += 1;
        Ok(self.disk.open(path, false)?.sync()?)
    }
}

/// As the relay makes its files.
fn write_private(path: &Path, octets: &[u8]) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(octets)).with_context(|| format!("{}", path.display()))?;
    Ok(())
}

/// A directory and those above it. The relay makes all of its own with this mode, in the call that
/// makes them.
fn private_dir(path: &Path) -> Result<()> {
    Ok(fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "\
1 mkdir(\"/d\", 0700) = 0
1 fsync(4</>) = 0
1 openat(AT_FDCWD</>, \"/d/a\", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 5</d/a>
1 pwrite64(5</d/a>, \"synced\", 6, 0) = 6
1 fdatasync(5</d/a>) = 0
1 fsync(6</d>) = 0
1 pwrite64(5</d/a>, \"forgotten\", 9, 6) = 9
1 openat(AT_FDCWD</>, \"/d/b\", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 7</d/b>
1 write(7</d/b>, \"xy\", 2) = 2
1 write(7</d/b>, \"z\", 1) = 1
1 fdatasync(7</d/b>) = 0
";

    fn left(until: usize, chaos: u8) -> Vec<(String, String)> {
        let calls = crate::trace::read(TRACE.as_bytes()).expect("a trace");
        let mut replay = Replay::new(&calls, Path::new("/d"));
        replay.advance(until).expect("known calls");
        let dir = tempfile::tempdir().expect("a directory");
        replay.image(|| chaos, dir.path()).expect("an image");
        let files = fs::read_dir(dir.path()).expect("files").map(|entry| {
            let entry = entry.expect("an entry");
            let text = fs::read_to_string(entry.path()).expect("a file");
            (entry.file_name().to_string_lossy().into_owned(), text)
        });
        let mut files: Vec<_> = files.collect();
        files.sort();
        files
    }

    fn file(name: &str, text: &str) -> (String, String) {
        (name.to_owned(), text.to_owned())
    }

    #[test]
    fn what_was_not_synced_is_gone_and_what_was_is_there() {
        assert_eq!(left(5, 0), [], "the file's name was not synced");
        assert_eq!(left(6, 0), [file("a", "synced")]);
        assert_eq!(left(usize::MAX, 0), [file("a", "synced")], "nor was that of the second file");
    }

    #[test]
    fn or_by_luck_half_or_all_of_it_is_there() {
        assert_eq!(left(usize::MAX, 1), [file("a", "syncedforg"), file("b", "xyz")]);
        assert_eq!(left(usize::MAX, 2)[0], file("a", "syncedforgotten"));
    }

    #[test]
    fn calls_that_it_cannot_repeat_stop_it() {
        for call in [
            "1 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 5</d/a>, 0) = 0x7f00",
            "1 fallocate(5</d/a>, 0, 0, 4096) = 0",
            "1 io_uring_setup(8, {flags=0}) = 9<anon_inode:[io_uring]>",
        ] {
            let calls = crate::trace::read(call.as_bytes()).expect("a trace");
            assert!(Replay::new(&calls, Path::new("/d")).advance(usize::MAX).is_err(), "{call}");
        }
    }
}
