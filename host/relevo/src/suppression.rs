//! `relevo suppression`: asks a running relay over its control socket.

use std::process::ExitCode;

use anyhow::bail;
use relevo_relay::suppressions::UndoFields;
use serde_json::{Value, json};

use crate::cli::{SuppressionArgs, SuppressionCommand, UndoArgs};
use crate::client::{Relay, print_json};
use crate::control::ControlRequest;
use crate::escape::Escaped;

/// Asks and prints.
pub(crate) fn run(args: &SuppressionArgs) -> anyhow::Result<ExitCode> {
    let SuppressionCommand::Undo(undo) = &args.command;
    let mut relay = Relay::connect(&args.relay)?;
    let mut all: Vec<Value> = Vec::new();
    // A request removes a bounded number.
    loop {
        let request = ControlRequest::Undo { tenant: undo.tenant.clone(), fields: fields(undo) };
        let Value::Array(tenants) = relay.ask(&request)? else { bail!("the relay's answer is not a list") };
        let more = tenants.iter().any(|tenant| tenant["has_more"] == true);
        all.extend(tenants);
        if !more {
            break;
        }
    }
    all.retain(|tenant| tenant["count"] != 0);
    match args.relay.json {
        true => print_json(&Value::Array(all))?,
        false => print(&all, undo.dry_run),
    }
    Ok(ExitCode::SUCCESS)
}

fn fields(undo: &UndoArgs) -> UndoFields {
    UndoFields {
        after: undo.after.clone(),
        before: undo.before.clone(),
        provider: undo.provider.clone(),
        mx: undo.mx.clone(),
        domain: undo.domain.clone(),
        rule: undo.rule.clone(),
        reason: undo.reason.clone(),
        dry_run: undo.dry_run,
    }
}

fn print(tenants: &[Value], dry_run: bool) {
    let total: u64 = tenants.iter().filter_map(|tenant| tenant["count"].as_u64()).sum();
    for tenant in tenants {
        let name = Escaped(tenant["tenant"].as_str().unwrap_or_default());
        println!("{name}: {}", tenant.get("count").unwrap_or(&json!(0)));
        for address in tenant["addresses"].as_array().into_iter().flatten() {
            println!("  {}", Escaped(address.as_str().unwrap_or_default()));
        }
    }
    match dry_run {
        true => println!("{total} entries would be removed"),
        false => println!("{total} entries removed"),
    }
}
