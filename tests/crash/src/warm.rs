//! What a relay makes at its first start and what is no state: compiled components and keys. Made
//! once, copied for each relay of a run, since compiling takes longer than all the rest.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use relevo_bench::relay::{NextHop, Relay, Setup, free_port};

/// Within the data directory.
const COMPONENTS: &str = "data/components";

/// A relay's directory that has both.
pub(crate) struct Warm(PathBuf);

impl Warm {
    /// Starts a relay once.
    pub(crate) fn start(binary: &Path, directory: &Path) -> Result<Self> {
        let next_hop = NextHop::Smarthost(free_port()?);
        Relay::start(&Setup { binary, directory, next_hop, retry: "1h" })?.stop()?;
        Ok(Self(directory.to_owned()))
    }

    /// Puts both into another relay's directory.
    pub(crate) fn furnish(&self, directory: &Path) -> Result<()> {
        let (from, to) = (self.0.join(COMPONENTS), directory.join(COMPONENTS));
        fs::create_dir_all(&to)?;
        // A directory that others may enter is not trusted.
        for part in [to.as_path(), &directory.join("data")] {
            fs::set_permissions(part, fs::metadata(&from)?.permissions())?;
        }
        copy_files(&from, &to, |_| true)?;
        copy_files(&self.0, directory, |path| {
            path.extension().is_some_and(|e| e == "pem") || path.ends_with("api-key")
        })
    }
}

fn copy_files(from: &Path, to: &Path, wanted: impl Fn(&Path) -> bool) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if path.is_file() && wanted(&path) {
            fs::copy(&path, to.join(path.file_name().context("a file without a name")?))?;
        }
    }
    Ok(())
}
