//! Compiled components on disk.
//!
//! An entry is native code that this process will run, so it must come from nobody else: the
//! directory is ours and closed to others, the name has the digest of the component and everything
//! that shaped the code (engine version, configuration, CPU features), and a checksum beside it
//! tells a torn or rotten file. Anything that does not fit is compiled again and replaced. The
//! cache never makes a start fail.

use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use relevo_mailkit::hex;
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::file::write_synced;

/// A directory that is fit to hold native code.
pub(crate) struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// Makes the directory, or finds that it can be trusted.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let metadata = fs::symlink_metadata(directory)?;
        let reason = if !metadata.is_dir() {
            "it is not a directory"
        } else if metadata.uid() != rustix::process::geteuid().as_raw() {
            "it belongs to somebody else"
        } else if metadata.mode() & 0o077 != 0 {
            "it is open to others"
        } else {
            return Ok(Self { directory: directory.to_owned() });
        };
        Err(io::Error::other(reason))
    }

    fn path(&self, engine: &Engine, name: &str, digest: &[u8; 32]) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.directory.join(format!("{name}-{}-{:016x}.cwasm", hex::encode(digest), hasher.finish()))
    }

    /// The compiled component, from disk or compiled now and kept.
    ///
    /// `compile` gives the code; it is asked only when the entry is not there or not as it was
    /// written.
    pub(crate) fn load(
        &self,
        engine: &Engine,
        name: &str,
        digest: &[u8; 32],
        compile: impl FnOnce() -> wasmtime::Result<Vec<u8>>,
    ) -> wasmtime::Result<Component> {
        if let Some(component) = self.get(engine, name, digest) {
            return Ok(component);
        }
        let code = compile()?;
        match self.put(engine, name, digest, &code) {
            // From the file rather than from memory: see `read`.
            Ok(()) => {
                if let Some(component) = self.get(engine, name, digest) {
                    return Ok(component);
                }
            }
            Err(error) => tracing::warn!(name, %error, "compiled component not kept"),
        }
        load_compiled(engine, &code)
    }

    /// The compiled component, if it is there as it was written.
    pub(crate) fn get(&self, engine: &Engine, name: &str, digest: &[u8; 32]) -> Option<Component> {
        let path = self.path(engine, name, digest);
        read(engine, &path).unwrap_or_else(|reason| {
            tracing::warn!(path = %path.display(), reason, "compiled component not used");
            None
        })
    }

    /// Keeps what a compiler with the configuration of `engine` made of the component with this
    /// digest; slowly (see [`write_synced`]).
    pub(crate) fn put(&self, engine: &Engine, name: &str, digest: &[u8; 32], code: &[u8]) -> io::Result<()> {
        write(&self.path(engine, name, digest), code)
    }

    /// Removes what is kept, if anything is.
    pub(crate) fn remove(&self, engine: &Engine, name: &str, digest: &[u8; 32]) -> io::Result<()> {
        let path = self.path(engine, name, digest);
        for path in [&path, &checksum_path(&path)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the entries of this name that are not to be kept, and those that an engine made
    /// which this is not. Files that are being written stay. Returns how many files were removed.
    pub(crate) fn clear(
        &self,
        engine: &Engine,
        name: &str,
        keep: impl Fn(&[u8; 32]) -> bool,
    ) -> io::Result<usize> {
        let mut removed = 0;
        for file in fs::read_dir(&self.directory)? {
            let path = file?.path();
            let Some(digest) = path.file_name().and_then(|file| file.to_str()).and_then(|f| digest(f, name))
            else {
                continue;
            };
            let ours = self.path(engine, name, &digest);
            let fits = path == ours || path == checksum_path(&ours);
            if !(fits && keep(&digest)) {
                fs::remove_file(&path)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// Of the component that an entry or its checksum is named by.
fn digest(file: &str, name: &str) -> Option<[u8; 32]> {
    let named = file.strip_suffix(".sha256").unwrap_or(file).strip_suffix(".cwasm")?;
    let (text, _engine) = named.strip_prefix(name)?.strip_prefix('-')?.split_once('-')?;
    hex::decode_array(text)
}

/// Loads what a compiler with the same configuration has just returned.
pub(crate) fn load_compiled(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the callers have the octets from `Engine::precompile_component`, in this process.
    #[allow(unsafe_code, reason = "native code that never left this process")]
    unsafe {
        Component::deserialize(engine, code)
    }
}

/// `Ok(None)`: there is none. `Err`: it is not what was written.
fn read(engine: &Engine, path: &Path) -> Result<Option<Component>, String> {
    let code = match fs::read(path) {
        Ok(code) => code,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let noted = fs::read_to_string(checksum_path(path)).map_err(|error| format!("its checksum: {error}"))?;
    if noted.trim() != hex::encode(&Sha256::digest(&code)) {
        return Err("its checksum does not match".into());
    }
    drop(code);
    // SAFETY: the file is in a directory that only this user can write (checked when the cache was
    // opened) and has the checksum that was noted when this program wrote it. The engine checks
    // version, configuration and target itself. Mapped rather than read: pages that no call needs
    // stay on disk.
    #[allow(unsafe_code, reason = "native code of our own, checked just before")]
    let component = unsafe { Component::deserialize_file(engine, path) };
    component.map(Some).map_err(|error| format!("{error:#}"))
}

fn checksum_path(path: &Path) -> PathBuf {
    path.with_extension("cwasm.sha256")
}

/// Code first, checksum second, each renamed into place: whatever a crash leaves does not match or
/// is whole.
fn write(path: &Path, code: &[u8]) -> io::Result<()> {
    replace(path, code)?;
    replace(&checksum_path(path), hex::encode(&Sha256::digest(code)).as_bytes())
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let half = path.with_extension(format!("{}.part", std::process::id()));
    let result = File::create(&half)
        .and_then(|mut file| write_synced(&mut file, content))
        .and_then(|()| fs::rename(&half, path));
    result.map_err(|error| {
        // The reason is being returned.
        let _ = fs::remove_file(&half);
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    })
}
