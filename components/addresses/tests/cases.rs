//! The files of `tests/cases/addresses`: an address, what is known of it, and the judgement.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::Path;

use relevo_addresses::{BouncedBefore, Candidate, DomainFinding, History, SuppressedBefore};
use serde_json::{Value, json};

fn finding(name: &str) -> DomainFinding {
    let all = [
        DomainFinding::Mx(vec!["mx.example.net".to_owned()]),
        DomainFinding::ImplicitMx,
        DomainFinding::NullMx,
        DomainFinding::NoSuchDomain,
        DomainFinding::NoMailHost,
        DomainFinding::LoopsBack,
        DomainFinding::Failed,
        DomainFinding::NotLookedUp,
    ];
    all.into_iter().find(|finding| finding.name() == name).unwrap_or_else(|| panic!("no finding {name}"))
}

fn history(case: &Value) -> History {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let entries = case["suppressed"].as_array().into_iter().flatten();
    History {
        suppressed: entries
            .map(|entry| SuppressedBefore {
                all_streams: entry["all_streams"].as_bool().unwrap(),
                reason: text(&entry["reason"]),
            })
            .collect(),
        bounced: case["bounced"]
            .as_object()
            .map(|bounce| BouncedBefore { day: text(&bounce["day"]), reply: text(&bounce["reply"]) }),
    }
}

#[test]
fn each_case_is_judged_as_its_file_says() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/addresses");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let case: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let candidate = Candidate::parse(case["email"].as_str().unwrap());
        let judged = candidate.judge(&finding(case["domain"].as_str().unwrap()), &history(&case));
        let mut found = json!({"result": judged.result, "reasons": judged.reasons});
        if let Some(suggestion) = judged.suggestion {
            found["suggestion"] = suggestion.into();
        }
        if found != case["expected"] {
            wrong.push(format!("{}: {found}", path.display()));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 40, "{count} cases");
}
