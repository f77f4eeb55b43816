use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::testing::{EVIL, FakeApi, ask, assert_harmless, page};

const PLACE: &str = "/panel/t/acme";

fn stats(accepted: u64, group: Option<&str>) -> Value {
    let figures = json!({"counts": {"accepted": accepted, "sent": accepted, "delivered": accepted},
        "rates": {"delivered_rate": 1.0, "open_rate": 0.25}});
    let mut series = figures.clone();
    series["value"] = json!(group);
    let mut day = figures.clone();
    day["from"] = json!("2026-11-29T00:00:00Z");
    let mut before = day.clone();
    before["from"] = json!("2026-11-28T00:00:00Z");
    series["intervals"] = json!([before, day]);
    json!({"object": "stats", "from": "2026-11-29T00:00:00Z", "to": "2026-11-30T00:00:00Z",
        "timezone": "UTC", "interval": "day", "group_by": group.map(|_| "provider"), "totals": figures,
        "data": [series], "has_more": false, "rates": []})
}

fn list(data: &Value) -> Value {
    json!({"object": "list", "has_more": false, "data": data})
}

fn period(used: u64, limit: Option<u64>) -> Value {
    json!({"used": used, "limit": limit, "remaining": null, "resets_at": "2026-12-01T00:00:00.000Z"})
}

fn api() -> Arc<FakeApi> {
    FakeApi::of(&[
        ("GET /stats", stats(1_200, None)),
        ("GET /stats?", stats(1_200, None)),
        ("GET /domains", list(&json!([{"name": "shop.example", "status": "verified"}]))),
        ("GET /reputation", json!({"blocklists": [], "domains": [], "failing": []})),
        (
            "GET /quota",
            json!({"hour": period(1, None), "day": period(1, None), "month": period(9, Some(100))}),
        ),
        ("GET /webhooks", list(&json!([]))),
        ("GET /api-keys", list(&json!([]))),
        ("GET /shaping", json!({"suspensions": []})),
        ("GET /emails", list(&json!([]))),
    ])
}

#[tokio::test]
async fn a_good_day_has_figures_and_a_friendly_sentence() {
    let api = api();
    for path in [PLACE.to_owned(), format!("{PLACE}/"), format!("{PLACE}?days=7")] {
        let (status, page) = page(&api, &path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {page}");
        assert!(page.contains("All is well"), "{page}");
        assert!(page.contains("<b>1,200</b>") && page.contains("no change"));
        assert!(page.contains("class=\"chart\"") && !page.contains("First steps"));
        assert!(page.contains("9.0\u{a0}%"), "the share of a quota");
        assert!(!page.contains(" style=") && page.len() < 100_000);
    }
    let asked = api.asked("GET /stats?");
    let totals = asked.iter().filter(|asked| asked.line.contains("interval=total")).count();
    assert_eq!((totals, asked.len()), (6, 12));
    assert!(asked.iter().any(|asked| asked.line.contains("group_by=provider")));
}

#[tokio::test]
async fn what_needs_attention_is_named_with_its_page() {
    let api = api();
    let set = |line: &str, answer: Value| api.answer(line, StatusCode::OK, answer);
    set("GET /domains", list(&json!([{"name": "new.example", "status": "not_started"}])));
    let check = |status: &str| json!({"status": status, "message": format!("0.15 % {EVIL}")});
    set(
        "GET /reputation",
        json!({
            "blocklists": [
                {"list": "zen.example", "address": "192.0.2.1", "status": "listed", "detail": "127.0.0.2"},
                {"list": "zen.example", "address": "192.0.2.2", "status": "unknown", "detail": ""}],
            "domains": [{"name": "rates.example", "checks": [check("warn"), check("pass")]},
                {"name": "bad.example", "checks": [check("fail")]}],
            "failing": [{"domain": "bad.example", "reason": EVIL, "stopped": true}]}),
    );
    set(
        "GET /quota",
        json!({"hour": period(5, Some(5)), "day": period(1, None), "month": period(81, Some(100))}),
    );
    set(
        "GET /webhooks",
        list(&json!([
            {"id": "w1", "endpoint": "https://a.example/", "failing_since": "2026-11-28T00:00:00Z"},
            {"id": "w2", "endpoint": "https://b.example/", "disabled_reason": "five days of failures"},
            {"id": "w3", "endpoint": "https://c.example/", "failing_since": null}])),
    );
    let ends = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 13);
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 15);
    set(
        "GET /api-keys",
        list(&json!([{"name": "soon", "expires_at": ends.to_string()}, {"name": "never"},
            {"name": "later", "expires_at": later.to_string()},
            {"name": "over", "expires_at": "2025-01-01T00:00:00Z"}])),
    );
    let suspension = |subject: &str| {
        json!({"subject": subject, "provider": "google",
        "until": "2026-11-30T00:00:00Z", "reason": "421 4.7.28"})
    };
    set("GET /shaping", json!({"suspensions": [suspension("source:192.0.2.1"), suspension("tenant:other")]}));
    let (status, page) = page(&api, PLACE).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    assert_harmless(&page);
    for (text, url) in [
        ("new.example is not verified", "/panel/t/acme/domains/new.example"),
        ("New mail from bad.example is refused", "/panel/t/acme/domains/bad.example"),
        ("Rates of rates.example", "/panel/t/acme/domains/rates.example"),
        ("192.0.2.1 is on a block list", "zen.example 127.0.0.2"),
        ("webhook https://a.example/ fails since", "/panel/t/acme/webhooks/w1"),
        ("webhook https://b.example/ is off", "/panel/t/acme/webhooks/w2"),
        ("100.0\u{a0}% of the quota of this hour", "#quota"),
        ("81.0\u{a0}% of the quota of this month", "#quota"),
        ("API key soon expires on", "/panel/t/acme/keys"),
        ("API key over expired on 1 Jan 2025", "/panel/t/acme/keys"),
        ("Nothing is sent to google until", "/panel/relay/shaping"),
    ] {
        assert!(page.contains(text) && page.contains(url), "{text}: {page}");
    }
    assert!(!page.contains("tenant:other") && !page.contains("192.0.2.2") && !page.contains("API key later"));
    assert_eq!(page.matches("Rates of bad.example").count(), 0, "it is said once");
    assert!(!page.contains("All is well"));
    let (bad, warning) = (page.find("bad-edge"), page.rfind("bad-edge"));
    assert!(warning < page.find("new.example is not verified") && bad.is_some(), "problems come first");
}

#[tokio::test]
async fn a_question_that_fails_hides_no_other() {
    let api = api();
    api.answer("GET /webhooks", StatusCode::SERVICE_UNAVAILABLE, json!({"name": "x", "message": "no store"}));
    let (status, page) = page(&api, PLACE).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("Webhooks could not be looked at.") && page.contains("no store"));
}

#[tokio::test]
async fn first_steps_are_shown_until_something_was_sent() {
    let api = api();
    api.answer("GET /stats?", StatusCode::OK, stats(0, None));
    let request = Request::builder().uri(PLACE).header("host", "mail.shop.example:8025");
    let (_, _, first) = ask(&api, request.body(Body::empty()).expect("a request")).await;
    assert!(first.contains("First steps") && !first.contains("class=\"chart\""), "{first}");
    assert!(first.contains("mail.shop.example:8025/emails") && first.contains("hello@shop.example"));
    api.answer("GET /emails", StatusCode::OK, list(&json!([{"id": "1"}])));
    let (_, page) = page(&api, PLACE).await;
    assert!(!page.contains("First steps"), "there was mail before these days");
}
