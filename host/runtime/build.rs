//! Puts the first-party components into the library, so that the relay is one file.
//!
//! They come from `<target>/components`, where `cargo xtask build` (and `dev`, `test`) leaves them.
//! When one is missing or older than its sources, a release build fails. Another build warns and
//! goes on, so that `cargo check` works on a fresh clone: without components `Runtime::new` says
//! what to do, and with old ones a test of this crate fails.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{env, fs};

use sha2::{Digest, Sha256};

const STAGES: [&str; 7] = ["validate", "track", "dkim", "template", "reports", "content", "classify"];
const ADVICE: &str = "run `cargo xtask build`, which builds the components first";

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let components = target_directory(&out).ok_or("OUT_DIR is in no target directory")?.join("components");
    let release = env::var("PROFILE")? == "release";
    let mut source = String::new();
    let mut missing = Vec::new();
    for stage in STAGES {
        let path = components.join(format!("{stage}.wasm"));
        println!("cargo:rerun-if-changed={}", path.display());
        let constant = stage.to_uppercase();
        match fs::read(&path) {
            Ok(bytes) => {
                // A copy of our own: what is embedded is what the digest was taken of.
                let copy = out.join(format!("{stage}.wasm"));
                fs::write(&copy, &bytes)?;
                let digest = Sha256::digest(&bytes);
                writeln!(
                    source,
                    "const {constant}: Option<Embedded> = Some(Embedded {{ wasm: include_bytes!({copy:?}), sha256: {:?} }});",
                    digest.as_slice()
                )?;
            }
            Err(_) => {
                missing.push(stage);
                writeln!(source, "const {constant}: Option<Embedded> = None;")?;
            }
        }
    }
    if !missing.is_empty() {
        let what = format!("no component {} in {}: {ADVICE}", missing.join(", "), components.display());
        if release {
            return Err(what.into());
        }
        println!("cargo:warning={what}");
    }
    let stale = missing.is_empty() && is_stale(&components.join("built"))?;
    if stale {
        let what = format!("the components are older than their sources: {ADVICE}");
        if release {
            return Err(what.into());
        }
        println!("cargo:warning={what}");
    }
    writeln!(source, "const STALE: bool = {stale};")?;
    fs::write(out.join("components.rs"), source)?;
    Ok(())
}

/// `OUT_DIR` is `<target>/[<triple>/]<profile>/build/<package>/out`.
fn target_directory(out: &Path) -> Option<&Path> {
    let profile = out.ancestors().nth(3)?;
    let parent = profile.parent()?;
    if parent.join("CACHEDIR.TAG").is_file() || parent.join("components").is_dir() {
        return Some(parent);
    }
    let above = parent.parent()?;
    Some(if above.join("CACHEDIR.TAG").is_file() { above } else { parent })
}

/// Whether a source of the guests is newer than the newest one that was built (the time of the
/// stamp).
fn is_stale(stamp: &Path) -> Result<bool, Box<dyn Error>> {
    println!("cargo:rerun-if-changed={}", stamp.display());
    let Ok(built) = fs::metadata(stamp).and_then(|m| m.modified()) else { return Ok(true) };
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../..");
    let mut sources = vec![root.join("wit")];
    for package in fs::read_dir(root.join("components"))? {
        let package = package?.path();
        sources.extend([package.join("src"), package.join("Cargo.toml")]);
    }
    // `gateway-spin` is made of the sources of `gateway`.
    sources.retain(|source| source.exists());
    let mut newest = SystemTime::UNIX_EPOCH;
    for source in &sources {
        println!("cargo:rerun-if-changed={}", source.display());
        newest = newest.max(newest_in(source)?);
    }
    Ok(newest > built)
}

fn newest_in(path: &Path) -> Result<SystemTime, Box<dyn Error>> {
    let metadata = fs::metadata(path)?;
    let mut newest = SystemTime::UNIX_EPOCH;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            newest = newest.max(newest_in(&entry?.path())?);
        }
    } else {
        newest = metadata.modified()?;
    }
    Ok(newest)
}
