//! The pages of suppressions over an API whose answers are set.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::testing::{EVIL, FakeApi, assert_harmless, page, post, post_raw};

const PLACE: &str = "/panel/t/acme/suppressions";

fn entry(text: &str) -> Value {
    json!({"object": "suppression", "id": text, "email": text, "stream": text, "origin": text,
        "detail": text, "source_id": text, "created_at": text, "rule": text, "provider": text, "mx": text})
}

fn bounce() -> Value {
    json!({"id": "01KB6Q4Y7M3V8T01KB6Q4Y7M31", "email": "gone@example.net", "stream": "all", "origin": "bounce",
        "detail": "550 5.1.1 no such user", "source_id": "01KB6Q4Y7M3V8T01KB6Q4Y7M31", "created_at": "2026-11-29T20:00:00Z",
        "rule": "no-such-user", "provider": "google", "mx": "mx.google.com"})
}

#[tokio::test]
async fn hostile_entries_are_shown_harmlessly() {
    let mut topic = entry(EVIL);
    topic["stream"] = format!("topic:{EVIL}").into();
    let list = json!({"data": [entry(EVIL), topic], "has_more": true, "next": EVIL});
    let validation = json!({"email": EVIL, "result": EVIL, "reasons": [EVIL], "explanation": EVIL,
        "suggestion": EVIL, "domain": {"name": EVIL, "status": EVIL, "mx": [EVIL]}});
    let undone = json!({"count": 2, "has_more": true, "data": [entry(EVIL)]});
    let api = FakeApi::of(&[
        ("GET /suppressions", list),
        ("POST /validate", validation),
        ("POST /suppressions/undo", undone),
    ]);
    let (status, body) = page(&api, &format!("{PLACE}?email=%3Cscript%3Ealert&stream=topic:%22%27")).await;
    assert_eq!(status, StatusCode::OK);
    assert_harmless(&body);
    for (place, field) in [("check", "email"), ("undo", "mx")] {
        let (status, _, body) = post(&api, &format!("{PLACE}/{place}"), &[(field, EVIL)]).await;
        assert_eq!(status, StatusCode::OK, "{place}");
        assert_harmless(&body);
    }
    let refused = json!({"name": "validation_error", "message": EVIL, "param": EVIL});
    for route in
        ["POST /suppressions", "POST /suppressions/import", "POST /suppressions/undo", "POST /validate"]
    {
        api.answer(route, StatusCode::UNPROCESSABLE_ENTITY, refused.clone());
    }
    for place in ["", "/import", "/undo", "/check"] {
        let (status, _, body) =
            post(&api, &format!("{PLACE}{place}"), &[("email", EVIL), ("csv", EVIL)]).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{place}");
        assert_harmless(&body);
    }
}

#[tokio::test]
async fn entries_are_looked_for_and_explained() {
    let api =
        FakeApi::of(&[("GET /suppressions", json!({"data": [bounce()], "has_more": true, "next": "s1"}))]);
    let query = "email=gone@example.net&reason=bounce&since=2026-11-01&until=&done=suppression_added";
    let (_, body) = page(&api, &format!("{PLACE}?{query}")).await;
    let asked = &api.asked("GET /suppressions")[0].line;
    assert!(asked.contains("email=gone%40example.net&reason=bounce"), "{asked}");
    assert!(asked.contains("since=2026-11-01T00%3A00%3A00Z") && !asked.contains("until"), "{asked}");
    for text in [
        "refuses mail to it for good",
        "550 5.1.1 no such user",
        "no-such-user",
        "/panel/t/acme/messages/01KB6Q4Y7M3V8T01KB6Q4Y7M31",
        "action=\"/panel/t/acme/suppressions/01KB6Q4Y7M3V8T01KB6Q4Y7M31/remove\"",
        "after=s1",
        "gets no more mail",
    ] {
        assert!(body.contains(text), "{text}: {body}");
    }
    let refused = json!({"name": "validation_error", "message": "must be a time", "param": "since"});
    api.answer("GET /suppressions", StatusCode::UNPROCESSABLE_ENTITY, refused);
    let (status, body) = page(&api, &format!("{PLACE}?since=x")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("must be a time") && body.contains("value=\"x\""), "{body}");
}

#[tokio::test]
async fn entries_are_added_and_removed() {
    let api = FakeApi::of(&[
        ("GET /suppressions", json!({"data": []})),
        ("POST /suppressions", bounce()),
        ("DELETE /suppressions/01KB6Q4Y7M3V8T01KB6Q4Y7M31", json!({"id": "01KB6Q4Y7M3V8T01KB6Q4Y7M31"})),
    ]);
    let form = [("email", " gone@example.net "), ("stream", "all"), ("reason", "manual"), ("note", "")];
    let (status, fields, _) = post(&api, PLACE, &form).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert!(fields.contains("email=gone%40example.net&done=suppression_added"), "{fields}");
    let sent = api.asked("POST /suppressions")[0].json();
    assert_eq!(sent, json!({"email": "gone@example.net", "stream": "all", "reason": "manual"}));
    let (status, ..) = post(&api, &format!("{PLACE}/01KB6Q4Y7M3V8T01KB6Q4Y7M31/remove"), &[]).await;
    assert_eq!(
        (status, api.asked("DELETE /suppressions/01KB6Q4Y7M3V8T01KB6Q4Y7M31").len()),
        (StatusCode::SEE_OTHER, 1)
    );

    let refused = json!({"name": "validation_error", "message": "is no address", "param": "email"});
    api.answer("POST /suppressions", StatusCode::UNPROCESSABLE_ENTITY, refused);
    let (status, _, body) = post(&api, PLACE, &[("email", "gone"), ("note", "by telephone")]).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(body.contains("value=\"gone\"") && body.contains("by telephone"), "{body}");
    assert!(body.contains("id=\"m-email\""), "{body}");
    for place in ["", "/01KB6Q4Y7M3V8T01KB6Q4Y7M31/remove", "/import", "/undo", "/check"] {
        let (status, ..) = post_raw(&api, &format!("{PLACE}{place}"), "_csrf=other&email=a@b.example").await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{place}");
    }
}

#[tokio::test]
async fn a_list_of_addresses_is_imported_as_csv() {
    let api = FakeApi::of(&[("POST /suppressions/import", json!({"count": 2}))]);
    let import = format!("{PLACE}/import");
    let (status, fields, _) = post(&api, &import, &[("csv", "a@example.net\r\nb@example.net\r\n")]).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert!(fields.contains("added=2"), "{fields}");
    assert_eq!(api.asked("POST")[0].octets, "email\na@example.net\nb@example.net\n");
    let csv = "email,reason\na@example.net,manual\n";
    post(&api, &import, &[("csv", csv)]).await;
    assert_eq!(api.asked("POST")[1].octets, csv);
    let refused = json!({"name": "validation_error", "message": "is no address", "param": "line 2"});
    api.answer("POST /suppressions/import", StatusCode::UNPROCESSABLE_ENTITY, refused);
    let (status, _, body) = post(&api, &import, &[("csv", "a@\nb")]).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(body.contains("line 2: is no address") && body.contains("a@\nb"), "{body}");
}

#[tokio::test]
async fn undoing_is_tried_before_it_is_done() {
    let api = FakeApi::of(&[("POST /suppressions/undo", json!({"count": 7, "data": [bounce()]}))]);
    let undo = format!("{PLACE}/undo");
    let form = [("after", "2026-11-29T20:00"), ("before", "2026-11-29T21:00"), ("provider", "google")];
    let (_, _, body) = post(&api, &undo, &form).await;
    let tried = json!({"after": "2026-11-29T20:00:00Z", "before": "2026-11-29T21:00:00Z",
        "provider": "google", "dry_run": true});
    assert_eq!(api.asked("POST")[0].json(), tried);
    assert!(body.contains("Nothing is removed yet") && body.contains("gone@example.net"), "{body}");
    assert!(body.contains("type=\"hidden\" name=\"provider\" value=\"google\""), "{body}");
    let form: Vec<_> = form.into_iter().chain([("undo", "1")]).collect();
    let (_, _, body) = post(&api, &undo, &form).await;
    assert_eq!(api.asked("POST")[1].json()["dry_run"], false);
    assert!(body.contains("Entries removed: 7.") && !body.contains("name=\"undo\""), "{body}");
}

#[tokio::test]
async fn an_address_is_checked_with_its_entries() {
    let found = json!({"email": "gone@gmial.com", "result": "undeliverable", "reasons": ["no_such_domain"],
        "explanation": "There is no such domain.", "suggestion": "gone@gmail.com",
        "domain": {"name": "gmial.com", "status": "no_such_domain", "mx": []}});
    let api = FakeApi::of(&[("POST /validate", found), ("GET /suppressions", json!({"data": [bounce()]}))]);
    let (status, _, body) = post(&api, &format!("{PLACE}/check"), &[("email", "gone@gmial.com")]).await;
    assert_eq!(status, StatusCode::OK);
    for text in ["badge bad", "There is no such domain.", "gone@gmail.com", "It is suppressed"] {
        assert!(body.contains(text), "{text}: {body}");
    }
    let refused = json!({"name": "validation_error", "message": "is no address", "param": "email"});
    api.answer("GET /suppressions", StatusCode::UNPROCESSABLE_ENTITY, refused);
    let (status, _, body) = post(&api, &format!("{PLACE}/check"), &[("email", "gone")]).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("It is not suppressed"), "{body}");
}
