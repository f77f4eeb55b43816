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

/// The stages of `relevo:mail` that functions at the edge use, in `<target>/edge/mail.wasm`. Spin takes one
/// file for all interfaces of a package, so a manifest cannot name the two beside each other.
const MAIL: [&str; 2] = ["template", "dkim"];

/// Leaves `<target>/edge/*.wasm`.
pub(crate) fn compose(workspace: &Workspace) -> Result<()> {
    let directory = workspace.edge();
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for (root, stages) in COMPOSITIONS {
        let wasm = composed(workspace, root, stages).with_context(|| format!("{root} cannot be composed"))?;
        write_if_different(&wasm, &directory.join(format!("{root}.wasm")))?;
    }
    let mail = side_by_side(workspace).context("the stages cannot be put into one file")?;
    write_if_different(&mail, &directory.join("mail.wasm"))
}

/// The stages of [`MAIL`] in one component that exports what each exports.
fn side_by_side(workspace: &Workspace) -> Result<Vec<u8>> {
    let mut graph = CompositionGraph::new();
    for stage in MAIL {
        let package = register(&mut graph, stage, &component(workspace, stage))?;
        let stage = graph.instantiate(package);
        let interfaces: Vec<_> = graph.types()[graph[package].ty()].exports.keys().cloned().collect();
        for interface in interfaces {
            let exported = graph.alias_instance_export(stage, &interface)?;
            graph.export(exported, &interface)?;
        }
    }
    Ok(graph.encode(EncodeOptions::default())?)
}

fn component(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.components().join(format!("{name}.wasm"))
}

fn composed(workspace: &Workspace, root: &str, stages: &[&str]) -> Result<Vec<u8>> {
    let stages: Vec<_> = stages.iter().map(|stage| component(workspace, stage)).collect();
    plugged(&component(workspace, root), &stages)
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
    let socket = register(&mut graph, "root", root)?;
    let numbered = plugs.iter().enumerate();
    let plugs = numbered.map(|(n, plug)| register(&mut graph, &format!("plug-{n}"), plug));
    let plugs = plugs.collect::<Result<_>>()?;
    wac_graph::plug(&mut graph, plugs, socket)?;
    Ok(graph.encode(EncodeOptions::default())?)
}

fn register(graph: &mut CompositionGraph, name: &str, path: &Path) -> Result<PackageId> {
    let wasm = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let package = Package::from_bytes(&format!("relevo:{name}"), None, wasm, graph.types_mut())?;
    Ok(graph.register_package(package)?)
}
