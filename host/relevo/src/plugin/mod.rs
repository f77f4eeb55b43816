//! `relevo plugin`: asks a running relay over its control socket; `new` needs none.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use relevo_policy::Action;
use serde_json::Value;

use crate::cli::{KvCommand, PlaceArgs, PluginArgs, PluginCommand};
use crate::client::{Relay, print_json};
use crate::control::Request;
use crate::escape::Escaped;

mod starter;

/// Asks and prints.
pub(crate) fn run(args: &PluginArgs) -> anyhow::Result<ExitCode> {
    let of = |place: &PlaceArgs| (place.tenant.clone(), place.name.clone());
    let (action, content) = match &args.command {
        PluginCommand::New { lang, dir } => return starter::write(*lang, dir),
        PluginCommand::Add { place, shadow, file } => {
            let (tenant, plugin) = of(place);
            let action = match shadow {
                true => Action::Shadow { tenant, plugin },
                false => Action::Add { tenant, plugin },
            };
            (action, read(file)?)
        }
        PluginCommand::EndShadow { place } => {
            let (tenant, plugin) = of(place);
            (Action::EndShadow { tenant, plugin }, Vec::new())
        }
        PluginCommand::List { tenant } => (Action::List { tenant: tenant.clone() }, Vec::new()),
        PluginCommand::Enable { place } => {
            let (tenant, plugin) = of(place);
            (Action::Enable { tenant, plugin }, Vec::new())
        }
        PluginCommand::Disable { place } => {
            let (tenant, plugin) = of(place);
            (Action::Disable { tenant, plugin }, Vec::new())
        }
        PluginCommand::Rollback { place, digest } => {
            let (tenant, plugin) = of(place);
            (Action::Rollback { tenant, plugin, digest: digest.clone() }, Vec::new())
        }
        PluginCommand::Kv { command: KvCommand::Import { place, file } } => {
            let (tenant, plugin) = of(place);
            (Action::KvImport { tenant, plugin }, read(file)?)
        }
    };
    let mut relay = Relay::connect(&args.relay)?;
    let answer = relay.ask_with(&Request::Plugin { action, octets: content.len() }, &content)?;
    if args.relay.json {
        print_json(&answer)?;
    } else {
        print(&answer);
    }
    Ok(ExitCode::SUCCESS)
}

/// What a relay starts to compile a plugin.
pub(crate) fn compile(component: &Path, out: &Path, memory: u64, seconds: u64) -> anyhow::Result<ExitCode> {
    match relevo_policy::compile_here(component, out, memory, seconds) {
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

fn print(answer: &Value) {
    let Value::Array(places) = answer else {
        let text = |key: &str| Escaped(answer[key].as_str().unwrap_or_default()).to_string();
        let state = match (answer.get("entries"), answer["active"] == true) {
            (Some(entries), _) => format!("{entries} entries"),
            (None, true) => format!("active, version {}", text("digest")),
            (None, false) => "not active".to_owned(),
        };
        return println!("{} of {}: {state}", text("plugin"), text("tenant"));
    };
    println!("{:16}  {:16}  {:9}  {:12}  BREAKER", "TENANT", "PLUGIN", "STATE", "VERSION");
    for place in places {
        let text = |key: &str| Escaped(place[key].as_str().unwrap_or("-")).to_string();
        let digest: String = text("digest").chars().take(12).collect();
        let (tenant, plugin, state) = (text("tenant"), text("plugin"), text("state"));
        println!("{tenant:16}  {plugin:16}  {state:9}  {digest:12}  {}", text("breaker"));
        if let Some(shadow) = place["shadow"].as_object() {
            let count = |key: &str| shadow[key].as_u64().unwrap_or(0);
            println!(
                "  beside it {:.12}: {} compared, {} differing, {} faults, {} skipped",
                Escaped(shadow["digest"].as_str().unwrap_or_default()).to_string(),
                count("compared"),
                count("differing"),
                count("faults"),
                count("skipped"),
            );
            for difference in shadow["last"].as_array().into_iter().flatten() {
                println!("    {}", Escaped(&difference.to_string()));
            }
        }
        for line in place["log"].as_array().into_iter().flatten() {
            println!("  {}", Escaped(line.as_str().unwrap_or_default()));
        }
        if let Some(problem) = place["problem"].as_str() {
            println!("  {}", Escaped(problem));
        }
    }
}
