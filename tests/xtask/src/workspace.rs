//! Where things are, and how programs are run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::build::Profile;

pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// `target`, or what `CARGO_TARGET_DIR` or cargo's configuration says.
    pub(crate) target: PathBuf,
    /// Names of the member packages.
    pub(crate) packages: Vec<String>,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("not in a workspace")?;
        let output = cargo()
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(root)
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")?;
        if !output.status.success() {
            bail!("cargo metadata failed");
        }
        let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
        let target =
            metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
        let packages = metadata["packages"].as_array().into_iter().flatten();
        Ok(Self {
            root: root.to_owned(),
            target: PathBuf::from(target),
            packages: packages.filter_map(|p| p["name"].as_str().map(str::to_owned)).collect(),
        })
    }

    /// Where the components are copied to.
    pub(crate) fn components(&self) -> PathBuf {
        self.target.join("components")
    }

    /// Where compositions for the edge are written to.
    pub(crate) fn edge(&self) -> PathBuf {
        self.target.join("edge")
    }

    /// Where policy plugins are copied to.
    pub(crate) fn plugins(&self) -> PathBuf {
        self.target.join("plugins")
    }

    pub(crate) fn binary(&self, profile: Profile) -> PathBuf {
        let directory = match profile {
            Profile::Debug => "debug",
            Profile::Release => "release",
        };
        self.target.join(directory).join(format!("relevo{}", std::env::consts::EXE_SUFFIX))
    }
}

/// The cargo that runs this task, so that one toolchain does it all.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // They are about the xtask package and would leak into build scripts.
    for (name, _) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(text);
        }
    }
    command
}

/// Runs a program to its end with our terminal.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        bail!("{program}: {status}");
    }
    Ok(())
}
