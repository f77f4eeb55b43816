use proptest::prelude::*;
use relevo_mailkit::labels::Stream;

use super::*;

const NOW: u64 = 1_795_325_640_000;

fn read(fields: &[(&str, &str)]) -> Result<MessageOptions, String> {
    let mut options = OptionFields::new(NOW);
    for (name, value) in fields {
        options.take(name, value).map_err(|problem| problem.to_string())?;
    }
    options.finish().map_err(|problem| problem.to_string())
}

fn mistake(name: &str, value: &str) -> String {
    read(&[(name, value)]).expect_err(value)
}

#[test]
fn every_field_is_read() {
    let options = read(&[
        ("X-Relevo-Tag", "campaign=spring"),
        ("x-relevo-tag", " welcome "),
        ("X-Relevo-Metadata", r#"{"order":"7","café":"é"}"#),
        ("X-Relevo-Template", "welcome-mail"),
        ("X-Relevo-Variables", r#"{"n": 1}"#),
        ("X-Relevo-Track", "opens=no; Clicks=YES, clicks-text=off, exclude=example.com,exclude=b.example"),
        ("X-Relevo-Stream", "Marketing"),
        ("X-Relevo-Topic", "news"),
        ("X-Relevo-Send-At", "in 2 hours"),
        ("X-RELEVO-EXPIRES-AT", "Mon, 23 Nov 2026 05:34:00 +0000"),
        ("X-Relevo-Idempotency-Key", "order 7/1"),
        ("X-Relevo-Tls", "enforced"),
    ]);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = MessageOptions {
        tags: vec![pair("campaign", "spring"), pair("welcome", "")],
        metadata: vec![pair("café", "é"), pair("order", "7")],
        template: Some("welcome-mail".to_owned()),
        variables: Some(r#"{"n":1}"#.to_owned()),
        stream: Some(Stream::Marketing),
        topic: Some("news".to_owned()),
        opens: Some(false),
        clicks: Some(true),
        text_links: Some(false),
        exclude_domains: vec!["example.com".to_owned(), "b.example".to_owned()],
        send_at: Some(NOW + 7_200_000),
        expires_at: Some(1_795_412_040_000),
        idempotency_key: Some("order 7/1".to_owned()),
        enforce_tls: true,
    };
    assert_eq!(options, Ok(expected));
    assert_eq!(read(&[]), Ok(MessageOptions::default()));
}

#[test]
fn tracking_is_switched_as_a_whole() {
    let options = read(&[("X-Relevo-Track", "no")]).unwrap();
    assert_eq!((options.opens, options.clicks, options.text_links), (Some(false), Some(false), None));
}

#[test]
fn a_time_that_has_passed_is_now() {
    assert_eq!(read(&[("X-Relevo-Send-At", "2026-01-01T00:00:00Z")]).unwrap().send_at, None);
}

#[test]
fn mistakes_name_the_field_and_what_is_right() {
    for (name, value, said) in [
        ("X-Relevo-Tags", "a", "`X-Relevo-Tags`: unknown field, did you mean `X-Relevo-Tag`?"),
        ("X-Relevo-SendAt", "a", "`X-Relevo-SendAt`: unknown field, did you mean `X-Relevo-Send-At`?"),
        ("X-Relevo-Tag", "a b", "`X-Relevo-Tag`: not 1 to 256 ASCII letters, digits, `_` and `-`"),
        ("X-Relevo-Tag", "", "`X-Relevo-Tag`: not 1 to 256 ASCII letters, digits, `_` and `-`"),
        ("X-Relevo-Tag", "a=b=c", "`X-Relevo-Tag`: not 1 to 256 ASCII letters, digits, `_` and `-`"),
        ("X-Relevo-Metadata", "", "`X-Relevo-Metadata`: is empty, a JSON object is wanted"),
        ("X-Relevo-Metadata", "{", "`X-Relevo-Metadata`: not JSON: EOF while parsing an object at column 1"),
        (
            "X-Relevo-Metadata",
            r#"{"a":1}"#,
            "`X-Relevo-Metadata`: `a`: invalid type: integer `1`, expected a string",
        ),
        ("X-Relevo-Metadata", "[]", "`X-Relevo-Metadata`: invalid type: array, expected an object"),
        ("X-Relevo-Variables", "{}", "`X-Relevo-Variables`: there is no X-Relevo-Template that uses them"),
        (
            "X-Relevo-Track",
            "",
            "`X-Relevo-Track`: is empty: `yes`, `no` or a list such as `opens=no, clicks=yes` is wanted",
        ),
        (
            "X-Relevo-Track",
            "opens",
            "`X-Relevo-Track`: not `yes`, `no` or a list such as `opens=no, clicks=yes`",
        ),
        ("X-Relevo-Track", "opens=1", "`X-Relevo-Track`: `opens` is neither `yes` nor `no`"),
        ("X-Relevo-Track", "opens=no,opens=no", "`X-Relevo-Track`: `opens` is given twice"),
        (
            "X-Relevo-Track",
            "links=no",
            "`X-Relevo-Track`: `links` is none of `opens`, `clicks`, `clicks_text` and `exclude`",
        ),
        ("X-Relevo-Stream", "bulk", "`X-Relevo-Stream`: `bulk` is neither `transactional` nor `marketing`"),
        (
            "X-Relevo-Topic",
            "a b",
            "`X-Relevo-Topic`: not a name: 1 to 128 ASCII letters, digits, `_`, `-` and `.`",
        ),
        (
            "X-Relevo-Send-At",
            "soon",
            "`X-Relevo-Send-At`: not a time: give RFC 3339 with an offset (`2026-12-24T18:00:00+01:00`) or a span (`in 2 hours`)",
        ),
        ("X-Relevo-Send-At", "in 60 weeks", "`X-Relevo-Send-At`: more than 366 days ahead"),
        (
            "X-Relevo-Expires-At",
            "2026-01-01T00:00:00Z",
            "`X-Relevo-Expires-At`: not after the time of sending",
        ),
        (
            "X-Relevo-Idempotency-Key",
            "é",
            "`X-Relevo-Idempotency-Key`: not 1 to 256 printable ASCII characters",
        ),
        ("X-Relevo-Tls", "required", "`X-Relevo-Tls`: neither `enforced` nor `opportunistic`"),
    ] {
        assert_eq!(mistake(name, value), said, "{name}: {value}");
    }
    assert!(mistake("X-Relevo-Zzzzzz", "a").contains("known are X-Relevo- with Tag, Metadata"));
    let twice = read(&[("X-Relevo-Topic", "a"), ("x-relevo-topic", "a")]).unwrap_err();
    assert_eq!(twice, "`X-Relevo-Topic`: is given twice");
    let many: Vec<_> = (0..76).map(|_| ("X-Relevo-Tag", "a")).collect();
    assert_eq!(read(&many).unwrap_err(), "`X-Relevo-Tag`: 76 tags, at most 75 are allowed");
    let long = "x".repeat(MAX_VALUE + 1);
    assert_eq!(mistake("X-Relevo-Metadata", &long), "`X-Relevo-Metadata`: more than 65536 octets");
}

#[test]
fn names_are_compared_without_case() {
    assert!(is_option("x-ReLeVo-tag") && is_option("X-Relevo-"));
    assert!(!is_option("X-Relevo") && !is_option("X-Other-Tag") && !is_option("é-relevo-x"));
}

proptest! {
    /// Whatever a field says, it is read or refused, and what was read can stand in JSON and in an event.
    #[test]
    fn no_field_is_too_broken_to_be_read(
        fields in prop::collection::vec((prop::sample::select(FIELDS.to_vec()), "[ -~é\u{1}]{0,60}"), 0..6),
    ) {
        let mut options = OptionFields::new(NOW);
        for ((_, name), value) in &fields {
            if let Err(problem) = options.take(name, value) {
                prop_assert_eq!(&problem.param, name);
                return Ok(());
            }
        }
        match options.finish() {
            Ok(options) => {
                let words = options.tags.iter().flat_map(|(name, value)| [name, value]);
                prop_assert!(words.chain(&options.topic).all(|word| !word.contains(char::is_control)));
                prop_assert!(options.send_at.is_none_or(|at| at > NOW));
            }
            Err(problem) => prop_assert!(is_option(&problem.param), "{}", problem),
        }
    }

    /// What a program writes for its tags and metadata comes out as it was.
    #[test]
    fn values_come_out_as_they_were(
        tags in prop::collection::vec(("[A-Za-z0-9_-]{1,20}", "[A-Za-z0-9_-]{0,20}"), 0..8),
        metadata in prop::collection::btree_map("\\PC{1,16}", "\\PC{0,40}", 0..8),
    ) {
        let json = serde_json::to_string(&metadata).unwrap();
        let lines: Vec<String> = tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut fields: Vec<(&str, &str)> = lines.iter().map(|line| ("X-Relevo-Tag", line.as_str())).collect();
        fields.push(("X-Relevo-Metadata", &json));
        let options = read(&fields).unwrap();
        prop_assert_eq!(options.tags, tags);
        prop_assert_eq!(options.metadata, metadata.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn tags_and_metadata_have_a_bound_together() {
    let tag = format!("{}={}", "n".repeat(256), "v".repeat(256));
    let tags = |count: usize| vec![("X-Relevo-Tag", tag.as_str()); count];
    assert!(read(&tags(16)).is_ok());
    let words = |octets: usize| {
        format!("the message has {octets} octets of tags and metadata, at most 8192 are allowed")
    };
    assert_eq!(read(&tags(17)), Err(format!("`X-Relevo-Tag`: {}", words(8_704))));
    let mut both = tags(16);
    both.push(("X-Relevo-Metadata", r#"{"k":""}"#));
    assert_eq!(read(&both), Err(format!("`X-Relevo-Metadata`: {}", words(8_193))));
    let many: Vec<String> = (0..51).map(|number| format!("\"k{number}\":\"\"")).collect();
    assert!(
        mistake("X-Relevo-Metadata", &format!("{{{}}}", many.join(","))).contains("more than 50 entries")
    );
    assert!(mistake("X-Relevo-Metadata", r#"{"k":"a","k":"b"}"#).contains("is given twice"));
}
