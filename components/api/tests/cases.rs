//! The cases of `tests/cases/api`: a request, and the recipients of its messages or its mistakes.

use std::path::Path;

use relevo_api::{EmailRequest, InvalidRequest, Limits, check, json, message};
use serde::Deserialize;
use serde_json::Value;

/// Milliseconds since 1970: the clock of every case.
const NOW: u64 = 1_795_325_640_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    request: Value,
    /// The forward-paths of each message.
    #[serde(default)]
    messages: Vec<Vec<String>>,
    /// Path and words of each mistake.
    #[serde(default)]
    problems: Vec<(String, String)>,
}

fn run(case: &Case) -> Result<Vec<Vec<String>>, InvalidRequest> {
    let body = serde_json::to_vec(&case.request).expect("a case is JSON");
    let request: EmailRequest = json::read(&body)?;
    let limits = Limits { recipients: 5, ..Limits::default() };
    let checked = check::check(request, &limits, NOW)?;
    let messages = message::messages(&checked);
    Ok(messages.map(|m| m.recipients.iter().map(|(a, _)| a.to_string()).collect()).collect())
}

#[test]
fn every_case_is_answered_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/api");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the folder of cases") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read(&path).expect("a case can be read");
        let case: Case = serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_ne!(case.messages.is_empty(), case.problems.is_empty(), "{name}: one of both is given");
        match run(&case) {
            Ok(messages) => assert_eq!((&messages, 0), (&case.messages, case.problems.len()), "{name}"),
            Err(InvalidRequest::Fields(problems)) => {
                let found: Vec<_> = problems.into_iter().map(|p| (p.param, p.message)).collect();
                assert_eq!(found, case.problems, "{name}");
            }
            Err(error) => panic!("{name}: {error}"),
        }
        count += 1;
    }
    assert!(count >= 20, "{count} cases were found");
}
