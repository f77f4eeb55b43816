//! `relevo shaping` and `relevo warmup`: ask a running relay over its control socket.

use std::process::ExitCode;

use serde_json::Value;

use crate::cli::{ShapingArgs, ShapingCommand, WarmupArgs, WarmupCommand};
use crate::client::{Relay, print_json};
use crate::control::ControlRequest;
use crate::escape::Escaped;

/// Asks and prints.
pub(crate) fn run(args: &ShapingArgs) -> anyhow::Result<ExitCode> {
    let mut relay = Relay::connect(&args.relay)?;
    let request = match &args.command {
        ShapingCommand::Show => ControlRequest::Shaping { domain: None },
        ShapingCommand::Why { domain } => ControlRequest::Shaping { domain: Some(domain.clone()) },
        ShapingCommand::Suspend { subject, provider, domain, span, reason } => ControlRequest::Suspend {
            subject: subject.clone(),
            provider: provider.clone(),
            domain: domain.clone(),
            span: span.clone(),
            reason: reason.clone(),
        },
        ShapingCommand::Resume { id } => ControlRequest::Resume { id: id.clone() },
        ShapingCommand::Reset { provider } => ControlRequest::Reset { provider: provider.clone() },
    };
    let answer = relay.ask(&request)?;
    if args.relay.json {
        print_json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    match &args.command {
        ShapingCommand::Show => print_shaping(&answer),
        ShapingCommand::Why { .. } => print_domain(&answer),
        ShapingCommand::Suspend { .. } => println!("{}", suspension(&answer)),
        ShapingCommand::Resume { .. } => println!("resumed"),
        ShapingCommand::Reset { .. } => println!("reset"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks and prints where addresses stand.
pub(crate) fn warmup(args: &WarmupArgs) -> anyhow::Result<ExitCode> {
    let WarmupCommand::Show = args.command;
    let answer = Relay::connect(&args.relay)?.ask(&ControlRequest::Warmup {})?;
    if args.relay.json {
        print_json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let addresses = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    if addresses.is_empty() {
        println!("no address is being warmed up");
    }
    for address in addresses {
        println!("{}", warmup_line(address));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(value: &Value, key: &str) -> String {
    match &value[key] {
        Value::String(text) => Escaped(text).to_string(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn warmup_line(address: &Value) -> String {
    let place = format!("{} at {}", text(address, "address"), text(address, "provider"));
    if address["is_warm"] == true {
        return format!("{place}: warm");
    }
    let mut line = format!(
        "{place}: {} of {} recipients used on {}, at most {} in an hour, step {} of {}; {} accepted, {} deferred, {} complaints",
        text(address, "used"),
        text(address, "cap"),
        text(address, "day"),
        text(address, "cap_per_hour"),
        text(address, "step"),
        text(address, "steps"),
        text(address, "accepted"),
        text(address, "deferred"),
        text(address, "complaints"),
    );
    let note = text(address, "note");
    if !note.is_empty() {
        line = format!("{line}; {note}");
    }
    line
}

fn print_shaping(answer: &Value) {
    println!("rules: {}", text(answer, "rules_version"));
    for provider in list(answer, "providers") {
        print_provider(provider);
    }
    for entry in list(answer, "suspensions") {
        println!("{}", suspension(entry));
    }
}

fn print_domain(answer: &Value) {
    println!("{}: provider {}, {}", text(answer, "domain"), text(answer, "provider"), text(answer, "site"));
    let hold = text(answer, "hold");
    println!("{}", if hold.is_empty() { "nothing holds its mail" } else { &hold });
    for provider in list(&answer["shaping"], "providers") {
        print_provider(provider);
    }
    for entry in list(&answer["shaping"], "suspensions") {
        println!("{}", suspension(entry));
    }
}

fn print_provider(provider: &Value) {
    let limits = [
        ("connections", "connections"),
        ("messages_per_connection", "messages over one"),
        ("messages_per_minute", "messages a minute"),
        ("recipients_per_transaction", "recipients in a transaction"),
    ];
    let limits: Vec<_> = limits
        .into_iter()
        .filter(|(key, _)| !provider[*key].is_null())
        .map(|(key, words)| format!("{} {words}", provider[key]))
        .collect();
    let limits = if limits.is_empty() { "no limits of its own".to_owned() } else { limits.join(", ") };
    println!("{}: {limits}", text(provider, "name"));
    if !provider["source"].is_null() {
        println!("  from {} ({})", text(provider, "source"), text(provider, "checked"));
    }
    for pool in list(provider, "pools") {
        let name = text(pool, "pool");
        let name = if name.is_empty() { "usual addresses".to_owned() } else { format!("pool {name}") };
        println!("  {name}: {} connections", pool["open"]);
        let slowed = &pool["slowed"];
        if slowed.is_object() {
            println!(
                "    slowed down to {} messages a minute by the rule {} ({}); the next step up at {}, over at {}",
                slowed["per_minute"],
                text(slowed, "rule"),
                text(slowed, "reply"),
                text(slowed, "next_step"),
                slowed["ends_at"],
            );
        }
    }
}

fn suspension(entry: &Value) -> String {
    let reason = text(entry, "reason");
    let reason = if reason.is_empty() { reason } else { format!(" ({reason})") };
    format!(
        "{} is suspended until {} by {}{reason}",
        text(entry, "id"),
        text(entry, "until"),
        text(entry, "author")
    )
}
