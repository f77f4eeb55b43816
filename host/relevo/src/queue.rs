//! `relevo queue`: asks a running relay over its control socket.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;
use relevo_queue::{EmbeddedStore, Recovered, StoreConfig};
use serde_json::{Value, json};

use crate::cli::{QueueArgs, QueueCommand, RelayArgs};
use crate::client::{Relay, data_dir, print_json};
use crate::control::ControlRequest;
use crate::escape::Escaped;

/// Asks and prints.
pub(crate) fn run(args: &QueueArgs) -> anyhow::Result<ExitCode> {
    if let QueueCommand::Recover { release } = args.command {
        return recover(&args.relay, release);
    }
    let mut relay = Relay::connect(&args.relay)?;
    match &args.command {
        QueueCommand::List => list(&mut relay, args.relay.json)?,
        QueueCommand::Show { id } => {
            let item = relay.ask(&ControlRequest::Show { id: id.clone() })?;
            if args.relay.json { print_json(&item)? } else { print_fields(&item, 0) }
        }
        QueueCommand::Why { id } => {
            let why = relay.ask(&ControlRequest::Why { id: id.clone() })?;
            if args.relay.json { print_json(&why)? } else { print_why(&why) }
        }
        QueueCommand::Retry { id } => {
            act(&mut relay, args.relay.json, ControlRequest::Retry { id: id.clone() }, "due now")?
        }
        QueueCommand::Hold { id } => {
            act(&mut relay, args.relay.json, ControlRequest::Hold { id: id.clone() }, "held")?
        }
        QueueCommand::Release { id } => {
            act(&mut relay, args.relay.json, ControlRequest::Release { id: id.clone() }, "released")?
        }
        QueueCommand::Drop { id } => {
            act(&mut relay, args.relay.json, ControlRequest::Drop { id: id.clone() }, "dropped")?
        }
        QueueCommand::Recover { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Works on the data directory itself; the store keeps a running relay out.
fn recover(relay: &RelayArgs, release: bool) -> anyhow::Result<ExitCode> {
    let data_dir = data_dir(relay)?;
    if !data_dir.is_dir() {
        bail!("there is no data directory {}", data_dir.display());
    }
    let Recovered { kept, found, quarantined } =
        EmbeddedStore::recover(&data_dir, &StoreConfig::default(), release)?;
    if relay.json {
        print_json(&json!({ "kept": kept, "found": found, "quarantined": quarantined }))?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("messages in the index: {kept}");
    println!("messages found beside it: {found}{}", if release { "" } else { " (held)" });
    for name in quarantined {
        println!("in quarantine: {name}");
    }
    if found > 0 && !release {
        println!(
            "`relevo queue list` shows them, `relevo queue release ID` sends one: some recipients may have it already"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn list(relay: &mut Relay, as_json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut after: Option<String> = None;
    let (mut all, mut away) = (Vec::new(), BTreeSet::new());
    if !as_json {
        writeln!(
            out,
            "{:26}  {:>7}  {:>9}  {:24}  {:30}  SUBJECT",
            "ID", "PENDING", "SIZE", "NEXT ATTEMPT", "FROM"
        )?;
    }
    loop {
        let mut answer = relay.ask(&ControlRequest::List { after: after.clone() })?;
        if let Value::Array(shards) = &answer["unavailable_shards"] {
            away.extend(shards.iter().filter_map(Value::as_u64));
        }
        let Value::Array(page) = answer["messages"].take() else {
            bail!("the relay's answer is not a list");
        };
        let Some(last) = page.last() else { break };
        after = last["id"].as_str().map(str::to_owned);
        for item in page {
            if as_json { all.push(item) } else { print_line(&mut out, &item)? }
        }
    }
    if !away.is_empty() {
        let shards: Vec<String> = away.iter().map(u64::to_string).collect();
        eprintln!("shards that cannot be asked now, and whose messages are missing: {}", shards.join(", "));
    }
    if as_json { print_json(&Value::Array(all)) } else { Ok(()) }
}

fn print_line(out: &mut impl Write, item: &Value) -> std::io::Result<()> {
    let text = |key: &str| Escaped(item[key].as_str().unwrap_or_default()).to_string();
    // Of what is held in part, the rest.
    let held = item["held"] == true && item["next_attempt"].is_null();
    let next = if held { "held".to_owned() } else { text("next_attempt") };
    let from = format!("<{}>", text("from"));
    let (id, subject) = (text("id"), text("subject"));
    let (pending, size) = (item["pending"].to_string(), item["size"].to_string());
    writeln!(out, "{id:26}  {pending:>7}  {size:>9}  {next:24}  {from:30}  {subject}")
}

fn act(relay: &mut Relay, as_json: bool, request: ControlRequest, done: &str) -> anyhow::Result<()> {
    let answer = relay.ask(&request)?;
    if as_json {
        return print_json(&answer);
    }
    println!("{done}");
    Ok(())
}

/// Nested fields, indented; nulls are left out.
fn print_fields(value: &Value, indent: usize) {
    let Value::Object(fields) = value else { return };
    let pad = " ".repeat(indent);
    for (name, value) in fields {
        match value {
            Value::Null => {}
            Value::Object(_) => {
                println!("{pad}{name}:");
                print_fields(value, indent + 2);
            }
            Value::Array(entries) => {
                println!("{pad}{name}:");
                for entry in entries {
                    println!("{pad}  -");
                    print_fields(entry, indent + 4);
                }
            }
            Value::String(s) => println!("{pad}{name}: {}", Escaped(s)),
            other => println!("{pad}{name}: {other}"),
        }
    }
}

/// One sentence for each recipient.
fn print_why(why: &Value) {
    let Some(lines) = why.as_array() else { return };
    for line in lines {
        let text = |key: &str| Escaped(line[key].as_str().unwrap_or_default()).to_string();
        println!("{}: {}", text("recipient"), text("reason"));
    }
}
