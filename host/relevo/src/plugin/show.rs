//! Answers about plugins, for people.

use serde_json::Value;

use crate::escape::Escaped;

/// A listing, a report of a replay, or what a plugin uses now.
pub(crate) fn print(answer: &Value) {
    match answer {
        Value::Array(plugins) => listing(plugins),
        answer if answer.get("replayed").is_some() => replay(answer),
        answer => in_use(answer),
    }
}

fn in_use(answer: &Value) {
    let text = |key: &str| Escaped(answer[key].as_str().unwrap_or_default()).to_string();
    let state = match (answer.get("entries"), answer["active"] == true) {
        (Some(entries), _) => match answer["before"].as_u64() {
            Some(before) => format!("{entries} entries in place of {before}"),
            None => format!("{entries} entries"),
        },
        _ if answer["beside"].is_string() => {
            format!("version {} is asked beside {:.12}, which stays active", text("digest"), text("beside"))
        }
        _ if answer["forgotten"] == true => "its versions and key-value data were deleted".to_owned(),
        _ if answer["ended"].is_string() => {
            let now = if answer["active"] == true { "alone" } else { "is disabled" };
            format!("{:.12} is asked no more, version {:.12} {now}", text("ended"), text("digest"))
        }
        (None, true) => format!("active, version {}", text("digest")),
        (None, false) => "not active: mail passes as if it were not there".to_owned(),
    };
    println!("{} of {}: {state}", text("plugin"), text("tenant"));
}

fn listing(plugins: &[Value]) {
    println!("{:16}  {:16}  {:9}  {:12}  BREAKER", "TENANT", "PLUGIN", "STATE", "VERSION");
    for of in plugins {
        let text = |key: &str| Escaped(of[key].as_str().unwrap_or("-")).to_string();
        let digest: String = text("digest").chars().take(12).collect();
        let (tenant, plugin, state) = (text("tenant"), text("plugin"), text("state"));
        println!("{tenant:16}  {plugin:16}  {state:9}  {digest:12}  {}", text("breaker"));
        if let Some(fault) = of["last_fault"]["fault"].as_str() {
            println!(
                "  last fault {}: {}",
                Escaped(of["last_fault"]["at"].as_str().unwrap_or_default()),
                Escaped(fault)
            );
        }
        if let Some(shadow) = of["shadow"].as_object() {
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
                let text = |key: &str| Escaped(difference[key].as_str().unwrap_or_default()).to_string();
                match difference["fault"].as_str() {
                    Some(fault) => println!("    {}: {}", text("message"), Escaped(fault)),
                    None => println!(
                        "    {}: active {}, beside it {} (recipient {}, {} in all)",
                        text("message"),
                        text("active"),
                        text("shadow"),
                        difference["recipient"],
                        difference["recipients"],
                    ),
                }
            }
        }
        if let Some(recordings) = of["recordings"].as_object() {
            let count = |key: &str| recordings[key].as_u64().unwrap_or(0);
            println!(
                "  recorded: {} messages, {} octets, {}; {} dropped",
                count("messages"),
                count("octets"),
                if recordings["redacted"] == true { "redacted" } else { "unredacted" },
                count("dropped"),
            );
        }
        for line in of["log"].as_array().into_iter().flatten() {
            println!("  {}", Escaped(line.as_str().unwrap_or_default()));
        }
        if let Some(problem) = of["problem"].as_str() {
            println!("  {}", Escaped(problem));
        }
    }
}

fn replay(report: &Value) {
    let count = |key: &str| report[key].as_u64().unwrap_or(0);
    let text = |value: &Value| Escaped(value.as_str().unwrap_or_default()).to_string();
    println!(
        "{} of {}, version {:.12}: {} replayed, {} same, {} differing, {} faults",
        text(&report["plugin"]),
        text(&report["tenant"]),
        text(&report["digest"]),
        count("replayed"),
        count("same"),
        count("differing"),
        count("faults"),
    );
    let notes = [
        (
            "not_replayable",
            "could not be replayed: their bodies or what was read of the data is too large to be recorded",
        ),
        ("damaged", "damaged recordings were skipped"),
        ("redacted", "of these were redacted: names in them are pseudonyms"),
        ("without_body", "of these have no body for it to inspect"),
        ("other_data", "read key-value data that was not recorded, and got that of today"),
        ("other_settings", "were recorded with other settings than those of today"),
    ];
    for (key, note) in notes.into_iter().filter(|(key, _)| count(key) > 0) {
        println!("  {} {note}", count(key));
    }
    if report["finished"] == false {
        println!("  stopped before the end: {}", text(&report["stopped"]));
    }
    for difference in report["differences"].as_array().into_iter().flatten() {
        println!(
            "  {}: recorded {}, replayed {} (recipient {}, {} in all)",
            text(&difference["message"]),
            text(&difference["recorded"]),
            text(&difference["replayed"]),
            difference["recipient"],
            difference["recipients"],
        );
        if let Some(fault) = difference["fault"].as_str() {
            println!("    {}", Escaped(fault));
        }
    }
}
