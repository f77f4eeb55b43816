//! Builds the components, then the binary that embeds them; and the policy plugins that tests and
//! benchmarks use.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::edge;
use crate::workspace::{Workspace, cargo, run};

#[derive(Clone, Copy)]
pub(crate) enum Profile {
    Debug,
    Release,
}

const TARGET: &str = "wasm32-wasip2";

/// The name in `<target>/components`; the package is `relevo-<name>`.
const COMPONENTS: [&str; 10] = [
    "validate",
    "track",
    "dkim",
    "template",
    "reports",
    "content",
    "classify",
    "signer",
    "gateway",
    "gateway-spin",
];

/// The policy plugins: the file of the build, and the name in `<target>/plugins`.
const PLUGINS: [(&str, &str); 7] = [
    ("relevo_block_list", "block-list"),
    ("relevo_campaign_hold", "campaign-hold"),
    ("examples/accept_all", "accept-all"),
    ("examples/everything", "everything"),
    ("examples/hostile", "hostile"),
    ("examples/not_granted", "not-granted"),
    ("examples/sockets", "sockets"),
];

/// Their packages.
const PLUGIN_PACKAGES: [&str; 3] = ["relevo-block-list", "relevo-campaign-hold", "relevo-test-plugins"];

pub(crate) fn all(workspace: &Workspace, profile: Profile) -> Result<()> {
    guests(workspace)?;
    let mut build = cargo();
    build.args(["build", "--bin", "relevo"]).current_dir(&workspace.root);
    match profile {
        // With the features of the whole workspace: the tests then find the engine compiled.
        Profile::Debug => build.arg("--workspace"),
        // What is shipped has the features that it asks for and no more.
        Profile::Release => build.args(["--release", "--package", "relevo"]),
    };
    run(&mut build)
}

/// Everything that runs in a sandbox.
pub(crate) fn guests(workspace: &Workspace) -> Result<()> {
    components(workspace)?;
    plugins(workspace)
}

/// Leaves `<target>/plugins/*.wasm` as the sources are now. Apart from the components: what plugins
/// need for their tests would change the features of what components are built from, and so their
/// octets.
fn plugins(workspace: &Workspace) -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--profile", "component", "--target", TARGET, "--lib", "--examples"]);
    for package in PLUGIN_PACKAGES {
        build.args(["--package", package]);
    }
    run(build.current_dir(&workspace.root)).context("the plugins do not build")?;
    let directory = workspace.plugins();
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for (file, name) in PLUGINS {
        let built = workspace.target.join(TARGET).join("component").join(format!("{file}.wasm"));
        copy_if_different(&built, &directory.join(format!("{name}.wasm")))?;
    }
    Ok(())
}

/// Leaves `<target>/components/*.wasm` as the sources are now.
fn components(workspace: &Workspace) -> Result<()> {
    ensure_target(&workspace.root)?;
    let mut build = cargo();
    build.args(["build", "--profile", "component", "--target", TARGET]).current_dir(&workspace.root);
    for name in COMPONENTS {
        build.args(["--package", &format!("relevo-{name}")]);
    }
    let sources = newest(&guest_sources(&workspace.root)?)?;
    run(&mut build).context("the components do not build")?;

    let directory = workspace.components();
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for name in COMPONENTS {
        let built = workspace.target.join(TARGET).join("component");
        let built = built.join(format!("relevo_{}.wasm", name.replace('-', "_")));
        copy_if_different(&built, &directory.join(format!("{name}.wasm")))?;
    }
    stamp(&directory.join("built"), sources)?;
    edge::compose(workspace)
}

/// `std` for the components. rustup adds it; a toolchain from elsewhere must bring it.
fn ensure_target(root: &Path) -> Result<()> {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--print", "sysroot"])
        .current_dir(root)
        .output()
        .context("cannot run rustc")?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir() {
        return Ok(());
    }
    eprintln!("xtask: adding the target {TARGET}");
    run(Command::new("rustup").args(["target", "add", TARGET]).current_dir(root))
        .with_context(|| format!("this toolchain has no {TARGET} and rustup could not add it"))
}

/// An unchanged file keeps its time, so that nothing that embeds it is built again.
fn copy_if_different(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("{} was not built", from.display()))?;
    write_if_different(&new, to)
}

/// As [`copy_if_different`], for octets.
pub(crate) fn write_if_different(new: &[u8], to: &Path) -> Result<()> {
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    // Written beside and renamed: a build running at the same time never reads half a component.
    let half = to.with_extension("part");
    fs::write(&half, new)
        .and_then(|()| fs::rename(&half, to))
        .with_context(|| format!("cannot write {}", to.display()))
}

/// Gives the stamp the time of the newest source that is in the components. The build script of
/// `relevo-runtime` compares it with the sources that it sees.
fn stamp(path: &Path, sources: SystemTime) -> Result<()> {
    if fs::metadata(path).and_then(|m| m.modified()).is_ok_and(|stamped| stamped == sources) {
        return Ok(());
    }
    File::create(path)
        .and_then(|file| file.set_modified(sources))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The same as the build script of `relevo-runtime` looks at.
fn guest_sources(root: &Path) -> Result<Vec<PathBuf>> {
    let mut sources = vec![root.join("wit")];
    for package in fs::read_dir(root.join("components")).context("components")? {
        let package = package?.path();
        sources.extend([package.join("src"), package.join("Cargo.toml")]);
    }
    // `gateway-spin` is made of the sources of `gateway`.
    sources.retain(|source| source.exists());
    Ok(sources)
}

fn newest(paths: &[PathBuf]) -> Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    let mut todo = paths.to_vec();
    while let Some(path) = todo.pop() {
        let metadata = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&path)? {
                todo.push(entry?.path());
            }
        } else {
            newest = newest.max(metadata.modified()?);
        }
    }
    if newest == SystemTime::UNIX_EPOCH {
        bail!("no sources of components found");
    }
    Ok(newest)
}
