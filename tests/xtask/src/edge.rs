//! Composes the gateway with the stages that it imports, as Spin does with the dependencies of
//! `spin.toml`: one file for hosts that compose nothing themselves.

use std::fs;

use anyhow::{Context, Result};
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, PackageId};

use crate::build::write_if_different;
use crate::workspace::Workspace;

/// Each composition in `<target>/edge`: its root, and the stages that are plugged into the imports of
/// their names.
const COMPOSITIONS: [(&str, &[&str]); 1] = [("gateway", &["template", "dkim", "signer"])];

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
    let mut graph = CompositionGraph::new();
    let mut register = |name: &str| -> Result<PackageId> {
        let path = workspace.components().join(format!("{name}.wasm"));
        let wasm = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let package = Package::from_bytes(&format!("relevo:{name}"), None, wasm, graph.types_mut())?;
        Ok(graph.register_package(package)?)
    };
    let socket = register(root)?;
    let plugs = stages.iter().map(|stage| register(stage)).collect::<Result<_>>()?;
    wac_graph::plug(&mut graph, plugs, socket)?;
    Ok(graph.encode(EncodeOptions::default())?)
}
