//! The tasks of the repository: `cargo xtask build | compose | dev | test | fuzz | lists | interop | bench | crash | cluster`.
//!
//! A fresh clone needs nothing but rustup's stable toolchain: the target of the components is added
//! when it is missing, and every task that runs the relay builds the components first.

mod build;
mod edge;
mod fuzz;
mod lists;
mod test;
mod workspace;

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::build::Profile;
use crate::workspace::{Workspace, cargo, run};

const USAGE: &str = "\
usage: cargo xtask TASK

  build [--release]   components to <target>/components/*.wasm, plugins to <target>/plugins/*.wasm, the gateway for the edge
                      to <target>/edge/*.wasm, then the relevo binary
  compose ROOT PLUG... -o OUT
                      a component with others in its imports, for hosts that compose nothing themselves
  dev [ARGS]          build, then `relevo dev ARGS`
  test [NAME]         build the components, then every test, those of the crate NAME, or those whose name has NAME in it
  fuzz [NAME...] [--seconds N] [--report]
                      show that each fuzz target finds its seeded bug, then run each for a minute or N seconds
  lists               the lists of free providers and roles, anew from their packages of npm
  interop [--edge | --openapi N]
                      install real peers, build the JavaScript and Python plugins, and run the table of tests/interop,
                      or only the rows of the edge, or that of the OpenAPI document, with N random requests to each operation
  bench [ARGS]        release build, then tests/bench/run ARGS; with --peers also the peers, which are installed
  crash [--kills N] [--seed S] [ARGS]
                      kill a loaded relay 200 times, cut its power, read its system calls: see tests/crash
  cluster [--engine nats | postgres] [--fault NAME...] [--short] [--seeded [NAME]]
                      lose nodes, disks, power and connections of a cluster with real engines: see tests/cluster";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<()> {
    let Some((task, rest)) = args.split_first() else { bail!("no task given\n\n{USAGE}") };
    let workspace = Workspace::find()?;
    match (task.as_str(), rest) {
        ("build", []) => build::all(&workspace, Profile::Debug),
        ("build", [flag]) if flag == "--release" => build::all(&workspace, Profile::Release),
        ("compose", rest) => edge::compose_files(rest),
        ("dev", rest) => dev(&workspace, rest),
        ("test", []) => test::run_all(&workspace, None),
        ("test", [name]) => test::run_all(&workspace, Some(name)),
        ("fuzz", rest) => fuzz::all(&workspace, rest),
        ("lists", []) => lists::all(&workspace),
        ("interop", rest) => interop(&workspace, rest),
        ("bench", rest) => bench(&workspace, rest),
        ("crash", rest) => crash(&workspace, rest),
        ("cluster", rest) => cluster(&workspace, rest),
        ("help" | "-h" | "--help", _) => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("`{}` is not a task or not how it is called\n\n{USAGE}", args.join(" ")),
    }
}

fn dev(workspace: &Workspace, args: &[String]) -> Result<()> {
    build::all(workspace, Profile::Debug)?;
    run(Command::new(workspace.binary(Profile::Debug)).arg("dev").args(args))
}

/// The binary that the tests built: the same features, so nothing is compiled twice.
fn interop(workspace: &Workspace, args: &[String]) -> Result<()> {
    test::build(workspace)?;
    let target = workspace.target.to_string_lossy().into_owned();
    script(workspace, "components/policy-sdk/examples/build", std::slice::from_ref(&target), Profile::Debug)?;
    script(workspace, "components/gateway/examples/build", &[target], Profile::Debug)?;
    script(workspace, "tests/interop/run", args, Profile::Debug)
}

fn bench(workspace: &Workspace, args: &[String]) -> Result<()> {
    build::all(workspace, Profile::Release)?;
    script(workspace, "tests/bench/run", args, Profile::Release)
}

/// The binaries that the tests built, as for interop.
fn crash(workspace: &Workspace, args: &[String]) -> Result<()> {
    test::build(workspace)?;
    let relay = workspace.binary(Profile::Debug);
    run(Command::new(relay.with_file_name(format!("relevo-crash{}", std::env::consts::EXE_SUFFIX)))
        .arg("--directory")
        .arg(workspace.target.join("crash"))
        .args(args)
        .current_dir(&workspace.root)
        .env("RELEVO", relay))
}

/// The contract of the engines, then a cluster of three nodes. The binary that the tests built; with
/// `--seeded` also one that makes mistakes on purpose.
fn cluster(workspace: &Workspace, args: &[String]) -> Result<()> {
    let relay = workspace.binary(Profile::Debug);
    let seeded = relay.with_file_name(format!("relevo-seeded{}", std::env::consts::EXE_SUFFIX));
    if args.iter().any(|arg| arg == "--seeded") {
        build::guests(workspace)?;
        let mut build = cargo();
        build.args(["build", "--workspace", "--bin", "relevo", "--features", "relevo/seeded-bugs"]);
        run(build.current_dir(&workspace.root))?;
        // The build below puts the one without mistakes in its place.
        std::fs::copy(&relay, &seeded).with_context(|| format!("cannot write {}", seeded.display()))?;
    }
    test::build(workspace)?;
    run(program(workspace, "tests/cluster/run", args, Profile::Debug).env("RELEVO_SEEDED", seeded))
        .context("tests/cluster/run failed")
}

/// Runs a program of the repository.
fn script(workspace: &Workspace, path: &str, args: &[String], profile: Profile) -> Result<()> {
    run(&mut program(workspace, path, args, profile)).with_context(|| format!("{path} failed"))
}

/// A program of the repository, with the path of the binary in `RELEVO`.
fn program(workspace: &Workspace, path: &str, args: &[String], profile: Profile) -> Command {
    let mut program = Command::new(workspace.root.join(path));
    program.args(args).current_dir(&workspace.root).env("RELEVO", workspace.binary(profile));
    program
}
