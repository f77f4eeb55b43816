//! Compiled components, shared by the relays of all tests: each would compile them anew, which takes
//! more time than the test.

use std::fs;
use std::io::Result;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::UNIX_EPOCH;

/// Those that this binary compiled.
fn shared() -> Result<PathBuf> {
    let binary = fs::metadata(env!("CARGO_BIN_EXE_relevo"))?;
    let made = binary.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    Ok(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("components-{made:x}-{:x}", binary.len())))
}

/// Gives a data directory that has none what another relay compiled, if there is something yet.
pub fn furnish(data: &Path) -> Result<()> {
    let (from, to) = (shared()?, data.join("components"));
    if to.exists() || !from.exists() {
        return Ok(());
    }
    fs::create_dir_all(&to)?;
    // A directory that others may enter is not trusted.
    for directory in [data, &to] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    }
    copy(&from, &to)
}

/// Keeps what a relay compiled for others. The first one counts.
pub fn keep(data: &Path) -> Result<()> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (from, to) = (data.join("components"), shared()?);
    if to.exists() || !from.exists() {
        return Ok(());
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let new = to.with_extension(format!("{}-{number}", std::process::id()));
    fs::create_dir_all(&new)?;
    copy(&from, &new)?;
    // Somebody else may have been faster.
    fs::rename(&new, &to).or_else(|_| fs::remove_dir_all(&new))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
