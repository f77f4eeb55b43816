//! `relevo plugin`: asks a running relay over its control socket, or does it itself where none
//! runs; `new` needs neither.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use relevo_policy::PluginAction;

use crate::cli::{KvCommand, PluginArgs, PluginCommand, PluginNameArgs};
use crate::client::{Relay, is_down, print_json};
use crate::control::ControlRequest;

mod offline;
mod show;
mod starter;

/// Asks and prints.
pub(crate) fn run(args: &PluginArgs) -> anyhow::Result<ExitCode> {
    if let PluginCommand::New { lang, dir } = &args.command {
        return starter::write(*lang, dir);
    }
    let (action, content) = action(&args.command)?;
    let answer = match Relay::connect(&args.relay) {
        Ok(mut relay) => {
            relay.ask_with(&ControlRequest::Plugin { action, octets: content.len() }, &content)?
        }
        Err(unreachable) if !is_down(&unreachable) => return Err(unreachable),
        Err(unreachable) => match &args.relay.config {
            Some(config) => offline::act(config, action, content)?,
            None => {
                return Err(
                    unreachable.context("with --config instead of --data this needs no running relay")
                );
            }
        },
    };
    if args.relay.json {
        print_json(&answer)?;
    } else {
        show::print(&answer);
    }
    Ok(ExitCode::SUCCESS)
}

/// What is asked for, and what comes with it.
fn action(command: &PluginCommand) -> anyhow::Result<(PluginAction, Vec<u8>)> {
    let of = |named: &PluginNameArgs| (named.tenant.clone(), named.name.clone());
    Ok(match command {
        PluginCommand::New { .. } => bail!("`new` is about no relay"),
        PluginCommand::Add { named, shadow, file } => {
            let (tenant, plugin) = of(named);
            let action = match shadow {
                true => PluginAction::Shadow { tenant, plugin },
                false => PluginAction::Add { tenant, plugin },
            };
            (action, read(file)?)
        }
        PluginCommand::EndShadow { named } => {
            let (tenant, plugin) = of(named);
            (PluginAction::EndShadow { tenant, plugin }, Vec::new())
        }
        PluginCommand::List { tenant } => (PluginAction::List { tenant: tenant.clone() }, Vec::new()),
        PluginCommand::Forget { named } => {
            let (tenant, plugin) = of(named);
            (PluginAction::Forget { tenant, plugin }, Vec::new())
        }
        PluginCommand::Enable { named } => {
            let (tenant, plugin) = of(named);
            (PluginAction::Enable { tenant, plugin }, Vec::new())
        }
        PluginCommand::Disable { named } => {
            let (tenant, plugin) = of(named);
            (PluginAction::Disable { tenant, plugin }, Vec::new())
        }
        PluginCommand::Rollback { named, digest } => {
            let (tenant, plugin) = of(named);
            (PluginAction::Rollback { tenant, plugin, digest: digest.clone() }, Vec::new())
        }
        PluginCommand::Kv { command: KvCommand::Import { named, file } } => {
            let (tenant, plugin) = of(named);
            (PluginAction::KvImport { tenant, plugin }, read(file)?)
        }
        PluginCommand::Replay { named, digest, component, last } => {
            let (tenant, plugin) = of(named);
            let action = PluginAction::Replay { tenant, plugin, digest: digest.clone(), last: *last };
            (action, component.as_deref().map(read).transpose()?.unwrap_or_default())
        }
    })
}

/// What a relay starts to compile a plugin.
pub(crate) fn compile(
    component: &Path,
    out: &Path,
    memory: u64,
    seconds: u64,
    parent: u32,
) -> anyhow::Result<ExitCode> {
    match relevo_policy::compile_here(component, out, memory, seconds, parent) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // For whoever added it, word for word.
        Err(error) => {
            eprintln!("{error}");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))
}
