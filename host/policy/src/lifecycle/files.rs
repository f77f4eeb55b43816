//! The plugin directory: compiled code, recorded messages, files for the compiler. All of it mode
//! 0700, because it holds native code and mail.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct PluginFiles {
    root: PathBuf,
}

impl PluginFiles {
    /// Makes what is missing, and removes what a crash left half made.
    ///
    /// # Errors
    /// A directory that others may read or write.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let files = Self { root: root.to_owned() };
        for directory in [files.root.clone(), files.recordings(), files.work()] {
            DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
            let found = fs::symlink_metadata(&directory)?;
            let ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
            if !ours || found.mode() & 0o077 != 0 {
                let reason = format!("{} must be a directory of ours with mode 0700", directory.display());
                return Err(io::Error::other(reason));
            }
        }
        for left in fs::read_dir(files.work())? {
            fs::remove_file(left?.path())?;
        }
        // While a relay runs, such a file is being written.
        for left in files.compiled()? {
            let path = left?.path();
            if path.extension().is_some_and(|extension| extension == "part") {
                fs::remove_file(path)?;
            }
        }
        Ok(files)
    }

    /// Directory of compiled code. The engine makes it.
    pub(crate) fn code(&self) -> PathBuf {
        self.root.join("code")
    }

    /// Directory of the compiler's input and output.
    pub(crate) fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// Directory of recorded messages, with a directory for each plugin.
    pub(crate) fn recordings(&self) -> PathBuf {
        self.root.join("recordings")
    }

    /// Files of compiled code.
    pub(crate) fn compiled(&self) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
        match fs::read_dir(self.code()) {
            Ok(entries) => Ok(Some(entries).into_iter().flatten()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_a_crash_left_half_made_is_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("plugins");
        let files = PluginFiles::open(&root).expect("opens");
        assert_eq!(files.compiled().expect("none").count(), 0);
        fs::create_dir(files.code()).expect("ours");
        let halves = ["aa.0.wasm", "aa.0.code"].map(|name| files.work().join(name));
        let part = files.code().join("plugin-aa-1.7.part");
        let whole = files.code().join("plugin-aa-1.cwasm");
        for file in halves.iter().chain([&part, &whole]) {
            fs::write(file, "code").expect("ours");
        }
        PluginFiles::open(&root).expect("again");
        assert_eq!(
            (halves.map(|half| half.exists()), part.exists(), whole.exists()),
            ([false; 2], false, true)
        );
        assert_eq!(files.compiled().expect("one").count(), 1);
    }

    #[test]
    fn a_directory_that_is_open_to_others_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("plugins");
        PluginFiles::open(&root).expect("opens");
        fs::set_permissions(&root, fs::Permissions::from_mode(0o750)).expect("ours");
        assert!(PluginFiles::open(&root).is_err());
    }
}
