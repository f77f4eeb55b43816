//! The life of a template at the edge.

use serde_json::json;

use super::*;
use crate::config::Relay;

const TTL: u64 = 60_000;

fn key() -> TemplateKey {
    let relay = Relay { url: "https://core.example.com".into(), token: "rv_a".into() };
    TemplateKey::new(&relay, "welcome", None)
}

fn body(version: i64) -> Vec<u8> {
    let source = json!({"subject": "s", "html": null, "mjml": null, "text": "t", "partials": []});
    json!({"id": "01K", "version": version, "source": source, "fallbacks": {"a": 1}}).to_string().into_bytes()
}

fn reply<'a>(status: u16, etag: Option<&'a str>, body: &'a [u8]) -> TemplateReply<'a> {
    TemplateReply { status, etag, retry_after: Some(9), body }
}

/// What is done for the template at this time: its version, or the entity tag that the core is asked by.
#[allow(clippy::result_large_err, reason = "tests")]
fn at(cache: &MemoryCache, now: u64) -> Result<i64, Option<CachedTemplate>> {
    let moment = Moment { now, ttl: TTL };
    match Templates::default().look_up("welcome", None, cache.get(&key()), moment) {
        Lookup::Done(found) => Ok(found.expect("there is one").version),
        Lookup::Ask { path, known } => {
            assert_eq!(path, "/relay/templates/welcome");
            Err(known)
        }
    }
}

#[test]
fn a_template_is_asked_about_when_its_time_is_over() {
    let cache = MemoryCache::new();
    assert_eq!(at(&cache, 1_000), Err(None));
    let got = receive(&cache, &key(), None, reply(200, Some("\"one\""), &body(1)), 1_000).expect("answered");
    assert_eq!((got.expect("one").version, at(&cache, 1_000 + TTL - 1)), (1, Ok(1)));
    let known = at(&cache, 1_000 + TTL).expect_err("its time is over");
    assert_eq!(known.as_ref().map(|known| known.etag.as_str()), Some("\"one\""));
    assert!(at(&cache, 999).is_err(), "the clock was set back");

    let late = 1_000 + TTL;
    receive(&cache, &key(), known, reply(304, None, b""), late).expect("answered").expect("the same");
    assert_eq!(at(&cache, late + TTL - 1), Ok(1));
    let known = at(&cache, late + TTL).expect_err("its time is over");
    receive(&cache, &key(), known, reply(200, Some("\"two\""), &body(2)), late + TTL)
        .expect("answered")
        .expect("new");
    assert_eq!(at(&cache, late + TTL), Ok(2));
}

#[test]
fn what_the_core_has_withdrawn_is_forgotten() {
    let said = |param: &str| json!({"statusCode": 1, "message": "there is none", "param": param}).to_string();
    for (status, body, param, message) in [
        (404, said(""), "template.id", "there is none"),
        (422, said("html"), "template.id", "`html` of the template: there is none"),
    ] {
        let cache = MemoryCache::new();
        receive(&cache, &key(), None, reply(200, Some("\"one\""), &self::body(1)), 0)
            .expect("one")
            .expect("one");
        let known = cache.get(&key());
        let gone =
            receive(&cache, &key(), known, reply(status, None, body.as_bytes()), TTL).expect("answered");
        assert_eq!(gone, Err(Problem::new(param, message)));
        assert_eq!(cache.get(&key()), None, "{status}");
    }
}

#[test]
fn a_core_that_is_not_well_gives_no_template_and_takes_none_away() {
    let cache = MemoryCache::new();
    receive(&cache, &key(), None, reply(200, Some("\"one\""), &body(1)), 0).expect("one").expect("one");
    let deep = format!("{{\"id\":{}1", "[".repeat(1_000_000));
    for (status, body, expected) in [
        (200, "{}".as_bytes(), 503),
        (200, b"[]", 503),
        (200, b"", 503),
        (200, deep.as_bytes(), 503),
        (404, b"not json", 503),
        (401, b"{}", 503),
        (403, b"{}", 503),
        (204, b"", 503),
        (302, b"", 503),
        (500, b"<html>", 503),
        (503, br#"{"statusCode": 503, "name": "unavailable", "message": "full"}"#, 503),
        (429, br#"{"statusCode": 429, "name": "rate_limit_exceeded", "message": "slow"}"#, 429),
    ] {
        let known = Some(cache.get(&key()).unwrap_or_else(|| CachedTemplate {
            etag: String::new(),
            fetched_at: 0,
            template: StoredTemplate::default(),
        }));
        let refused =
            receive(&cache, &key(), known, reply(status, None, body), TTL).expect_err("no template");
        assert_eq!(refused.status, expected, "{status}");
        assert!(refused.fields.iter().any(|(name, _)| *name == "retry-after"), "{status}");
    }
    let unasked = receive(&cache, &key(), None, reply(304, None, b""), TTL).expect_err("nothing is known");
    assert_eq!(unasked.status, 503);

    // Too large for here, and too much in all.
    let large = vec![b' '; MAX_TEMPLATE + 1];
    let refused = receive(&cache, &key(), None, reply(200, None, &large), TTL).expect("answered");
    assert_eq!(refused.expect_err("too large").param, "template.id");
    let mut templates = Templates::default();
    let source = TemplateSource { text: Some("x".repeat(MAX_OCTETS / 2 + 1)), ..TemplateSource::default() };
    let template = StoredTemplate { source, ..StoredTemplate::default() };
    templates.add("one".into(), Ok(template.clone()));
    templates.add("two".into(), Ok(template));
    assert!(templates.get("one").is_ok() && templates.get("two").is_err() && templates.get("three").is_err());
}

/// An entity tag goes into a field of the next request.
#[test]
fn an_answer_without_a_good_entity_tag_is_not_kept() {
    let cache = MemoryCache::new();
    let long = "x".repeat(MAX_NAME + 1);
    for tag in [None, Some("a\r\nb"), Some("a b"), Some(long.as_str())] {
        receive(&cache, &key(), None, reply(200, tag, &body(1)), 0).expect("answered").expect("one");
        assert_eq!(cache.get(&key()), None, "{tag:?}");
    }
}

#[test]
fn names_that_no_template_has_are_not_asked_for() {
    let long = "x".repeat(MAX_NAME + 1);
    let moment = Moment { now: 0, ttl: TTL };
    for name in ["", ".", "..", "a/b", "a?b", "a b", "\u{e4}", "%2e", long.as_str()] {
        let Lookup::Done(Err(problem)) = Templates::default().look_up(name, None, None, moment) else {
            panic!("{name}");
        };
        assert_eq!(problem, Problem::new("template.id", format!("there is no template {name:?}")));
    }
    let mut many = Templates::default();
    (0..MAX_TEMPLATES).for_each(|n| many.add(n.to_string(), Ok(StoredTemplate::default())));
    assert!(matches!(many.look_up("x", None, None, moment), Lookup::Done(Err(_))));
    let versioned = Templates::default().look_up("a.b-c_d", Some(-3), None, moment);
    assert_eq!(versioned, Lookup::Ask { path: "/relay/templates/a.b-c_d?version=-3".into(), known: None });
}
