//! Batches: each of their requests is judged as if it had come alone.
#![allow(clippy::panic, reason = "tests")]

use proptest::prelude::*;
use relevo_api::{EmailRequest, InvalidRequest, Limits, Problem, batch, check, json};
use serde_json::{Value, json};

/// Milliseconds since 1970: the clock of every test.
const NOW: u64 = 1_795_325_640_000;

const GOOD: &str = r#"{"from":"shop@example.com","to":"ana@example.net","subject":"Hi","text":"Hi"}"#;

fn problems(body: &str) -> Vec<(usize, String, String)> {
    let batch = batch::read(body.as_bytes(), &Limits::default(), NOW).expect(body);
    batch.problems.into_iter().map(|(index, Problem { param, message })| (index, param, message)).collect()
}

fn refused(body: &str) -> InvalidRequest {
    batch::read(body.as_bytes(), &Limits::default(), NOW).expect_err(body)
}

#[test]
fn every_bad_entry_is_named_with_its_path() {
    let twice = r#"{"from":"shop@example.com","from":"shop@example.com"}"#;
    let array = r#"["shop@example.com"]"#;
    let address = GOOD.replace("ana@example.net", "no");
    let found = problems(&format!("[{GOOD}, {twice},\n{array} , 7,{address},{GOOD}]"));
    let expected = [
        (1, "[1].from", "is given twice"),
        (2, "[2]", "invalid type: array, expected an object"),
        (3, "[3]", "invalid type: integer `7`, expected an object"),
        (4, "[4].to[0]", "the address has no domain"),
    ];
    let expected: Vec<_> =
        expected.into_iter().map(|(index, param, message)| (index, param.into(), message.into())).collect();
    assert_eq!(found, expected);
}

#[test]
fn what_is_not_json_has_line_and_column_of_the_whole_body() {
    let lone = GOOD.replace("Hi", r"\ud800");
    let cases = [
        format!("[\n{GOOD},\n  {{]\n]"),
        format!("[\n{GOOD},\n]"),
        format!("[{GOOD}"),
        format!("[{GOOD}]\nx"),
        format!("[{GOOD} {GOOD}]"),
        "[".to_owned(),
        // Found only when the texts are read: in an entry's first line, and in its second.
        format!("[\n {lone}]"),
        format!("[1,\n {GOOD}, {lone}]"),
        format!("[{GOOD},\n {}]", GOOD.replace(r#","text":"Hi""#, ",\n\"text\":\"\\ud800\"")),
    ];
    for body in cases {
        let whole = json::read::<Value>(body.as_bytes()).expect_err(&body);
        assert!(matches!(whole, InvalidRequest::Json { .. }), "{body}: {whole}");
        assert_eq!(refused(&body), whole, "{body}");
    }
    let third = InvalidRequest::Json { line: 3, column: 3, message: "expected value".to_owned() };
    assert_eq!(refused(&format!("[\n{GOOD},\n [,]]")), third);
}

#[test]
fn a_batch_is_an_array_of_1_to_1000() {
    let field = |message: &str| InvalidRequest::field("", message);
    assert_eq!(refused("[ ]"), field("0 emails, 1 to 1000 are allowed"));
    assert_eq!(refused("{}"), field("invalid type: object, expected an array"));
    assert_eq!(refused(" "), field("the body is empty, send a JSON object"));
    let many = |count: usize| format!("[{}]", vec![GOOD; count].join(","));
    let whole = batch::read(many(1_000).as_bytes(), &Limits::default(), NOW).expect("as many as allowed");
    assert_eq!((whole.requests.len(), whole.problems.len()), (1_000, 0));
    assert_eq!(refused(&many(1_001)), field("more than 1000 emails, 1 to 1000 are allowed"));
    // Nothing after the first one too many is looked at.
    assert_eq!(
        refused(&many(1_001).replace(']', ",{")),
        field("more than 1000 emails, 1 to 1000 are allowed")
    );
}

#[test]
fn the_requests_of_a_batch_share_the_bound_of_memory() {
    let variables = vec![r#"[1]"#; 1_000].join(",");
    let entry = format!(
        r#"{{"from":"shop@example.com","recipients":[{{"email":"a@example.net","variables":{{"a":[{variables}]}}}}],"subject":"Hi","text":"Hi"}}"#
    );
    assert_eq!(problems(&format!("[{entry},{entry}]")), []);
    let found = problems(&format!("[{}]", vec![entry; 1_000].join(",")));
    assert!(found.len() > 1, "{} problems", found.len());
    assert!(found.iter().all(|(_, _, message)| message.contains("more than 128 MiB")), "{:?}", found[0]);
}

#[test]
fn a_list_of_addresses_is_bounded_before_it_is_kept() {
    for (list, entry) in [
        ("to", json!("a@example.net")),
        ("bcc", json!({"email": "a@example.net"})),
        ("recipients", json!({"email": "a@example.net"})),
    ] {
        let body = json!({"from": "shop@example.com", list: vec![entry; 1_001]});
        let read = json::read::<EmailRequest>(&serde_json::to_vec(&body).expect("JSON"));
        let message = "more than 1000 entries, at most 1000 are allowed";
        assert_eq!(read.expect_err(list), InvalidRequest::field(list, message));
    }
}

/// Values for the fields of a request; most of them can be used, all are JSON.
fn field() -> impl Strategy<Value = String> {
    let names = [
        "from",
        "to",
        "cc",
        "recipients",
        "reply_to",
        "subject",
        "html",
        "text",
        "headers",
        "attachments",
        "tags",
        "scheduled_at",
        "template",
        "tracking",
        "metadata",
        "stream",
        "dry_run",
        "subjekt",
    ];
    let values = [
        json!(null),
        json!(7),
        json!(true),
        json!("a@example.com"),
        json!("marketing"),
        json!(["a@example.net", "b"]),
        json!([]),
        json!({}),
        json!({"email": "a@example.net"}),
        json!({"a": "b"}),
        json!([{"name": "a"}]),
        json!([{"email": "a@example.net", "variables": {"x": [1]}}]),
        json!([{"filename": "a", "content": "aGk="}]),
        json!({"id": "t"}),
        json!({"opens": true}),
        json!("in 2 hours"),
        json!("a\u{0}b"),
    ];
    (prop::sample::select(names.to_vec()), prop::sample::select(values.to_vec()))
        .prop_map(|(name, value): (&str, Value)| format!("\"{name}\":{value}"))
}

proptest! {
    #[test]
    fn a_batch_of_one_is_judged_like_a_single_request(
        fields in prop::collection::vec(field(), 0..8),
        good in any::<bool>(),
        blank in "[ \n\t]{0,3}",
    ) {
        let mut fields = fields;
        if good {
            fields.insert(0, GOOD.trim_matches(['{', '}']).to_owned());
        }
        let entry = format!("{{{}}}", fields.join(","));
        let limits = Limits::default();
        let single = json::read::<EmailRequest>(entry.as_bytes())
            .and_then(|request| check::check(request, &limits, NOW));
        let batch = batch::read(format!("[{blank}{entry}{blank}]").as_bytes(), &limits, NOW).expect("JSON");
        match single {
            Ok(checked) => {
                prop_assert_eq!(batch.requests, vec![(checked, 0)]);
                prop_assert_eq!(batch.problems, vec![]);
            }
            Err(InvalidRequest::Fields(problems)) => {
                let within: Vec<_> = problems.into_iter().map(|problem| (0, problem.within("[0]"))).collect();
                prop_assert_eq!(batch.problems, within);
                prop_assert!(batch.requests.is_empty());
            }
            Err(other) => panic!("{entry}: {other}"),
        }
    }

    /// Octets that are often no JSON: both refuse, or neither does.
    #[test]
    fn no_octets_are_a_batch_of_one_and_no_request(at in 0..GOOD.len(), octet in any::<u8>()) {
        let mut entry = GOOD.as_bytes().to_vec();
        entry[at] = octet;
        let limits = Limits::default();
        let single = json::read::<EmailRequest>(&entry).and_then(|request| check::check(request, &limits, NOW));
        let batch = batch::read(&[b"[", &entry[..], b"]"].concat(), &limits, NOW);
        let accepted = batch.is_ok_and(|batch| batch.requests.len() == 1 && batch.problems.is_empty());
        prop_assert_eq!(accepted, single.is_ok());
    }
}
