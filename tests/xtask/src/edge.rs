//! Composes the gateway with the stages that it imports, as Spin does with the dependencies of
//! `spin.toml`: one file for hosts that compose nothing themselves.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, PackageId};

use crate::build::write_if_different;
use crate::workspace::Workspace;

/// Each composition in `<target>/edge`: its root, and the stages that are plugged into the imports of
/// their names.
const COMPOSITIONS: [(&str, &[&str]); 2] =
    [("gateway", &["template", "dkim", "signer"]), ("gateway-spin", &["template", "dkim", "signer"])];

/// Leaves `<target>/edge/*.wasm`.
pub(crate) fn compose(workspace: &Workspace) -> Result<()> {
    let directory = workspace.edge();
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for (root, stages) in COMPOSITIONS {
        let wasm = composed(workspace, root, stages).with_context(|| format!("{root} cannot be composed"))?;
        write_if_different(&wasm, &directory.join(format!("{root}.wasm")))?;
    }
    Ok(())
}

fn composed(workspace: &Workspace, root: &str, stages: &[&str]) -> Result<Vec<u8>> {
    let path = |name: &str| workspace.components().join(format!("{name}.wasm"));
    let stages: Vec<_> = stages.iter().map(|stage| path(stage)).collect();
    plugged(&path(root), &stages)
}

/// `compose ROOT PLUG... -o OUT`: the same for any components, such as a function of a tenant's own.
pub(crate) fn compose_files(args: &[String]) -> Result<()> {
    let ([files @ .., flag, out], Some((root, plugs))) = (args, args.split_first()) else {
        bail!("compose ROOT PLUG... -o OUT");
    };
    if flag != "-o" || files.len() < 2 {
        bail!("compose ROOT PLUG... -o OUT");
    }
    let plugs: Vec<PathBuf> = plugs[..files.len() - 1].iter().map(PathBuf::from).collect();
    write_if_different(&plugged(Path::new(root), &plugs)?, Path::new(out))
}

/// The root with the exports of the plugs in the imports of their names.
fn plugged(root: &Path, plugs: &[PathBuf]) -> Result<Vec<u8>> {
    let mut graph = CompositionGraph::new();
    let mut register = |number: usize, path: &Path| -> Result<PackageId> {
        let wasm = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let package = Package::from_bytes(&format!("relevo:part-{number}"), None, wasm, graph.types_mut())?;
        Ok(graph.register_package(package)?)
    };
    let socket = register(0, root)?;
    let plugs = plugs.iter().enumerate().map(|(n, plug)| register(n + 1, plug)).collect::<Result<_>>()?;
    wac_graph::plug(&mut graph, plugs, socket)?;
    Ok(graph.encode(EncodeOptions::default())?)
}
