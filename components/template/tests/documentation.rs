//! Every example of a filter in `host/API.md` gives the result that stands beside it.

use std::path::Path;

use relevo_mailkit::model::{TemplateLimits, TemplateSource};
use relevo_template::render;

const VARIABLES: &str =
    r#"{"order": {"at": "2026-12-24T18:00:00Z", "total": 1234.5}, "visits": 1234567, "count": 3}"#;

/// The cells of a row in backticks, without them.
fn cells(row: &str) -> Vec<String> {
    let row = row.replace("\\|", "\u{0}");
    row.split('|')
        .map(|cell| cell.split('`').nth(1).unwrap_or_default().replace('\u{0}', "|"))
        .filter(|cell| !cell.is_empty())
        .collect()
}

#[test]
fn every_example_of_a_filter_gives_its_result() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../host/API.md");
    let text = std::fs::read_to_string(file).expect("the documentation");
    let table = text.split_once("| filter | example | result |").expect("the table of filters").1;
    let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 5, "{} examples", rows.len());
    let limits = TemplateLimits { max_output: 10_000, max_steps: 10_000, max_depth: 20 };
    for row in rows {
        let [_, example, result] = cells(row).try_into().unwrap_or_else(|cells| panic!("{row}: {cells:?}"));
        let source =
            TemplateSource { text: Some(format!("{{{{ {example} }}}}")), ..TemplateSource::default() };
        let rendered = render(&source, VARIABLES, &limits).unwrap_or_else(|e| panic!("{example}: {e:?}"));
        assert_eq!(rendered.text.replace('\u{a0}', " "), result, "{example}");
    }
}
