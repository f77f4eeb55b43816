//! The plugin directory: `state.json`, uploaded components, their compiled code, key-value data, recorded messages. All of it
//! mode 0700: it holds native code, and mail.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use relevo_runtime::write_synced;

use super::state::{FORMAT, State};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    root: PathBuf,
}

impl Files {
    /// Makes what is missing, and refuses a directory that others may read or write.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let files = Self { root: root.to_owned() };
        let inside = ["components", "kv", "recordings", "work"].map(|name| root.join(name));
        for directory in std::iter::once(root.to_owned()).chain(inside) {
            DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
            let found = fs::symlink_metadata(&directory)?;
            let ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
            if !ours || found.mode() & 0o077 != 0 {
                let reason = format!("{} must be a directory of ours with mode 0700", directory.display());
                return Err(io::Error::other(reason));
            }
        }
        // What a crash left of uploads.
        for left in fs::read_dir(files.work())? {
            fs::remove_file(left?.path())?;
        }
        // And of compiled code. While a relay runs, such a file is being written.
        for left in entries(&files.code())? {
            let path = left?.path();
            if path.extension().is_some_and(|extension| extension == "part") {
                fs::remove_file(path)?;
            }
        }
        Ok(files)
    }

    /// Where compiled code is kept.
    pub(crate) fn code(&self) -> PathBuf {
        self.root.join("code")
    }

    /// Where files are that are being made.
    pub(crate) fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// Whether anything was compiled.
    pub(crate) fn has_code(&self) -> io::Result<bool> {
        Ok(entries(&self.code())?.next().is_some())
    }

    /// Where components are.
    pub(crate) fn components(&self) -> PathBuf {
        self.root.join("components")
    }

    pub(crate) fn component(&self, digest: &str) -> PathBuf {
        self.components().join(format!("{digest}.wasm"))
    }

    /// Where key-value data are.
    pub(crate) fn all_kv(&self) -> PathBuf {
        self.root.join("kv")
    }

    /// Names are checked by the configuration: letters, digits, hyphens and underscores. A dot parts them.
    pub(crate) fn kv(&self, tenant: &str, plugin: &str) -> PathBuf {
        self.all_kv().join(format!("{tenant}.{plugin}"))
    }

    /// Recorded messages, a directory for each plugin.
    pub(crate) fn recordings(&self) -> PathBuf {
        self.root.join("recordings")
    }

    /// What was stored last; nothing at the first start.
    pub(crate) fn read_state(&self) -> io::Result<State> {
        let path = self.root.join("state.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
            Err(error) => return Err(error),
        };
        let damaged = |error: serde_json::Error| io::Error::other(format!("{}: {error}", path.display()));
        let format = serde_json::from_slice::<serde_json::Value>(&text).map_err(damaged)?["format"].as_u64();
        if format.is_some_and(|format| format > u64::from(FORMAT)) {
            let reason = format!("{} was written by a newer version", path.display());
            return Err(io::Error::other(reason));
        }
        serde_json::from_slice(&text).map_err(damaged)
    }

    pub(crate) fn write_state(&self, state: &State) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(state).map_err(io::Error::other)?;
        self.replace(&self.root.join("state.json"), &text)
    }

    /// Puts `content` in place of what is there, on disk when it returns; a crash leaves the one or the other.
    pub(crate) fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.stage(path, content)?.put()
    }

    /// Writes `content` beside what is at `path`, which stays as it is. Several may do so at the same time.
    pub(crate) fn stage(&self, path: &Path, content: &[u8]) -> io::Result<StagedFile> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let half = self.work().join(format!("{name}.{}.part", NEXT.fetch_add(1, Ordering::Relaxed)));
        let staged = StagedFile { half, path: path.to_owned() };
        write_new(&staged.half, content).map_err(|error| named(&staged.half, &error))?;
        Ok(staged)
    }
}

/// Content that is on disk and not in its place yet. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct StagedFile {
    half: PathBuf,
    path: PathBuf,
}

impl StagedFile {
    /// Takes the place of what is there, on disk when it returns.
    ///
    /// # Errors
    /// It has not taken the place. Once it has there is no way back: that the directory could not be synced is said in the log.
    pub(crate) fn put(self) -> io::Result<()> {
        fs::rename(&self.half, &self.path).map_err(|error| named(&self.path, &error))?;
        let synced = File::open(self.path.parent().unwrap_or(Path::new("/"))).and_then(|d| d.sync_all());
        if let Err(error) = synced {
            tracing::error!(path = %self.path.display(), %error,
                "a new file is in place but its directory cannot be synced: after a power cut the old one may be back");
        }
        Ok(())
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        // Not there any more when it was put in its place. Otherwise the reason is being returned, and what is left goes at the next
        // start.
        let _ = fs::remove_file(&self.half);
    }
}

/// What is in a directory that may not be there.
fn entries(directory: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(error),
    }
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    write_synced(&mut file, content)
}

/// The error, with what it is about.
fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn state_survives_and_a_newer_one_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("plugins");
        let files = Files::open(&root).expect("opens");
        assert_eq!(files.read_state().expect("none yet"), State::default());
        let mut state = State::default();
        state.entry_mut("acme", "list").activate("aa");
        files.write_state(&state).expect("writes");
        assert_eq!(Files::open(&root).expect("again").read_state().expect("reads"), state);

        state.format = FORMAT + 1;
        files.write_state(&state).expect("writes");
        let error = files.read_state().expect_err("newer").to_string();
        assert!(error.contains("newer version"), "{error}");
    }

    #[test]
    fn what_is_staged_is_nobodys_until_it_is_put() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = Files::open(&directory.path().join("plugins")).expect("opens");
        let path = files.kv("acme", "list");
        let [one, two, none] = ["one", "two", "none"].map(|text| files.stage(&path, text.as_bytes()));
        assert!(!path.exists());
        two.and_then(StagedFile::put).expect("writes");
        assert_eq!(fs::read(&path).expect("there"), b"two");
        one.and_then(StagedFile::put).expect("writes");
        drop(none);
        assert_eq!(fs::read(&path).expect("there"), b"one");
        assert_eq!(fs::read_dir(files.work()).expect("ours").count(), 0);
    }

    #[test]
    fn an_error_names_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = Files::open(&directory.path().join("plugins")).expect("opens");
        let path = files.kv("acme", "list");
        fs::create_dir(&path).expect("in the way");
        let error = files.replace(&path, b"one").expect_err("a directory is there");
        assert!(error.to_string().starts_with(&format!("{}: ", path.display())), "{error}");
        fs::remove_dir(files.work()).expect("empty");
        let error = files.replace(&path, b"one").expect_err("nowhere to write");
        assert!(error.to_string().contains("acme.list"), "{error}");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_a_crash_left_half_made_is_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("plugins");
        let files = Files::open(&root).expect("opens");
        assert!(!files.has_code().expect("none"));
        fs::create_dir(files.code()).expect("ours");
        let halves = [files.work().join("aa.0.code"), files.code().join("plugin-aa-1.7.part")];
        let whole = files.code().join("plugin-aa-1.cwasm");
        for file in halves.iter().chain([&whole]) {
            fs::write(file, "code").expect("ours");
        }
        Files::open(&root).expect("again");
        assert_eq!((halves.map(|half| half.exists()), whole.exists()), ([false; 2], true));
        assert!(files.has_code().expect("one"));
    }

    #[test]
    fn a_directory_that_is_open_to_others_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("plugins");
        Files::open(&root).expect("opens");
        fs::set_permissions(&root, fs::Permissions::from_mode(0o750)).expect("ours");
        assert!(Files::open(&root).is_err());
    }
}
