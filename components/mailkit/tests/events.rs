//! The JSON form of events: the golden file holds it, and host/EVENTS.md documents it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use relevo_mailkit::event::{Event, EventEntry};
use serde_json::Value;

const GOLDEN: &str = include_str!("../../../tests/golden/events.json");
const DOCUMENT: &str = include_str!("../../../host/EVENTS.md");

/// Fields that every event has, documented in a table of their own.
const COMMON: [&str; 12] = [
    "type",
    "cursor",
    "created_at",
    "message_id",
    "stream",
    "domain",
    "topic",
    "tags",
    "metadata",
    "template",
    "email_id",
    "batch_id",
];

type Fields<'a> = BTreeSet<&'a str>;

fn golden() -> Vec<Value> {
    serde_json::from_str(GOLDEN).unwrap()
}

/// The cells of each row of the table that stands under a heading.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let section = DOCUMENT.split(heading).nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// All fields of each type, and its optional ones.
fn documented() -> BTreeMap<&'static str, Vec<(Fields<'static>, Fields<'static>)>> {
    let mut types: BTreeMap<&str, Vec<(Fields, Fields)>> = BTreeMap::new();
    for row in rows("\n## Types") {
        let (required, optional) = row[1].split_once('(').unwrap_or((row[1], ""));
        let (mut all, mut optional) =
            (Fields::from_iter(quoted(required)), Fields::from_iter(quoted(optional)));
        if let Some(other) = all.iter().copied().find(|field| Event::NAMES.contains(field)) {
            let (base, base_optional) = types[other][0].clone();
            all.remove(other);
            all.extend(base);
            optional.extend(base_optional);
        }
        all.extend(&optional);
        types.entry(quoted(row[0])[0]).or_default().push((all, optional));
    }
    types
}

fn own_fields(example: &Value) -> Fields<'_> {
    example.as_object().unwrap().keys().map(String::as_str).filter(|key| !COMMON.contains(key)).collect()
}

#[test]
fn examples_survive_a_round_trip() {
    for example in golden() {
        let entry: EventEntry = serde_json::from_value(example.clone()).unwrap();
        assert_eq!(serde_json::to_value(&entry).unwrap(), example);
        assert_eq!(example["type"], entry.event.name());
        let event = serde_json::to_string(&entry.event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&event).unwrap(), entry.event);
    }
}

#[test]
fn each_type_has_examples_and_documentation() {
    let all: BTreeSet<&str> = Event::NAMES.iter().copied().collect();
    let golden = golden();
    let examples: BTreeSet<&str> = golden.iter().map(|example| example["type"].as_str().unwrap()).collect();
    assert_eq!(examples, all);
    assert_eq!(documented().into_keys().collect::<BTreeSet<_>>(), all);
}

#[test]
fn examples_have_the_documented_fields() {
    let (golden, documented) = (golden(), documented());
    let mut shown: BTreeMap<(&str, usize), Fields> = BTreeMap::new();
    for example in &golden {
        let (name, fields) = (example["type"].as_str().unwrap(), own_fields(example));
        let fits = |(all, optional): &(Fields, Fields)| {
            fields.is_subset(all) && all.difference(optional).all(|field| fields.contains(field))
        };
        let row = documented[name].iter().position(fits);
        let row = row.unwrap_or_else(|| panic!("{name} is not documented with {fields:?}"));
        shown.entry((name, row)).or_default().extend(fields);
    }
    for (name, rows) in &documented {
        for (row, (all, optional)) in rows.iter().enumerate() {
            let missing: Vec<_> = all.difference(&shown[&(*name, row)]).collect();
            assert!(missing.is_empty(), "no example of {name} has {missing:?}");
            // An example's optional fields are optional for the decoder, the others are not.
            let example =
                golden.iter().find(|e| e["type"] == *name && all.is_superset(&own_fields(e))).unwrap();
            for field in own_fields(example) {
                let mut less = example.clone();
                less.as_object_mut().unwrap().remove(field);
                let decodes = serde_json::from_value::<EventEntry>(less).is_ok();
                assert_eq!(decodes, optional.contains(field), "{name} without {field}");
            }
        }
    }
}

#[test]
fn each_field_is_explained() {
    let explained: BTreeSet<&str> = rows("\n## Fields").iter().map(|row| quoted(row[0])[0]).collect();
    let used: BTreeSet<&str> = documented().into_values().flatten().flat_map(|(all, _)| all).collect();
    assert_eq!(explained, used);
}

#[test]
fn an_unknown_type_is_refused() {
    let unknown = r#"{"type": "email.vanished", "recipient_index": 0, "count": 1}"#;
    assert!(serde_json::from_str::<Event>(unknown).is_err());
}
