//! The pages of templates over an API whose answers are set.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::testing::{EVIL, FakeApi, assert_harmless, page, post, post_raw};

fn template(version: i64, html: &str) -> Value {
    json!({"object": "template", "id": "t1", "alias": "order", "name": "Order", "status": "published",
        "published_version": 1, "created_at": "2026-11-29T20:00:00Z", "updated_at": "2026-11-29T20:00:00Z",
        "version": version, "subject": "Order {{ n }}", "html": html,
        "variables": [{"key": "n", "type": "number", "fallback_value": 7}]})
}

const FORM: [(&str, &str); 8] = [
    ("name", "Order"),
    ("subject", "Your order {{ n }}"),
    ("format", "html"),
    ("source", "<p>\n{{ n }}\n{% if</p>"),
    ("var_key", "n"),
    ("var_type", "number"),
    ("var_value", "8"),
    ("base_version", "1"),
];

#[tokio::test]
async fn hostile_templates_are_shown_harmlessly() {
    let mut evil = template(2, EVIL);
    for field in ["name", "alias", "subject", "text", "from", "updated_at", "status"] {
        evil[field] = EVIL.into();
    }
    evil["reply_to"] = json!([EVIL]);
    evil["variables"] = json!([{"key": EVIL, "type": EVIL, "fallback_value": {EVIL: EVIL}}]);
    let versions = json!({"data": [{"version": 2, "created_at": EVIL}, {"version": 1, "created_at": EVIL}]});
    let api = FakeApi::of(&[
        ("GET /templates?", json!({"data": [evil.clone()], "has_more": true, "next": EVIL})),
        ("GET /templates/t1", evil.clone()),
        ("GET /templates/t1/versions", versions),
        ("GET /templates/t1/versions/1", template(1, "old")),
        ("GET /templates/t1/versions/2", evil),
    ]);
    for place in
        ["", "/new", "/t1", "/t1/versions", "/t1/versions/2", "/t1/diff?from=1&to=2", "/t1/diff?from=2&to=1"]
    {
        let (status, body) = page(&api, &format!("/panel/t/acme/templates{place}")).await;
        assert_eq!(status, StatusCode::OK, "{place}: {body}");
        assert_harmless(&body);
    }
    let mistake = json!({"name": "validation_error", "errors": [
        {"param": "html", "message": format!("{EVIL} (line 1, column 2)")}, {"param": EVIL, "message": EVIL}]});
    api.answer("POST /render", StatusCode::UNPROCESSABLE_ENTITY, mistake.clone());
    api.answer("PATCH /templates/t1", StatusCode::UNPROCESSABLE_ENTITY, mistake);
    let form = [("format", "html"), ("source", EVIL), ("name", EVIL), ("var_key", EVIL), ("values", "")];
    for place in ["preview", "t1"] {
        let (_, _, body) = post(&api, &format!("/panel/t/acme/templates/{place}"), &form).await;
        assert_harmless(&body);
        assert!(body.contains("excerpt"), "{body}");
    }
}

#[tokio::test]
async fn a_template_is_saved_as_a_version_of_the_one_it_was_made_from() {
    let api = FakeApi::of(&[("PATCH /templates/t1", json!({"id": "t1"}))]);
    let (status, fields, _) = post(&api, "/panel/t/acme/templates/t1", &FORM).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert!(fields.contains("/panel/t/acme/templates/t1?done=template_saved"), "{fields}");
    let sent = api.asked("PATCH /templates/t1")[0].json();
    assert_eq!((&sent["base_version"], &sent["html"]), (&json!(1), &json!(FORM[3].1)));
    assert_eq!(sent["variables"], json!([{"key": "n", "type": "number"}]));
    let (status, ..) = post_raw(&api, "/panel/t/acme/templates/t1", "name=Order").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(api.asked("PATCH").len(), 1, "a form of another page changes nothing");
}

#[tokio::test]
async fn who_saves_over_somebody_else_is_told() {
    let versions = json!({"data": [{"version": 2, "created_at": "2026-11-29T21:22:23Z"}]});
    let api = FakeApi::of(&[
        ("GET /templates/t1", template(2, "<p>\ntheirs\n</p>")),
        ("GET /templates/t1/versions", versions),
        ("GET /templates/t1/versions/1", template(1, "<p>\nold\n</p>")),
    ]);
    let conflict = json!({"name": "conflict", "message": "the newest version is 2"});
    api.answer("PATCH /templates/t1", StatusCode::CONFLICT, conflict);
    let (status, _, body) = post(&api, "/panel/t/acme/templates/t1", &FORM).await;
    assert_eq!(status, StatusCode::CONFLICT);
    for text in [
        "saved version 2 meanwhile",
        "29 Nov 2026, 21:22:23 UTC",
        "<del>- old</del>",
        "<ins>+ theirs</ins>",
        "Your order {{ n }}",
        "value=\"8\"",
        "name=\"base_version\" value=\"2\"",
        "on top of version 2",
    ] {
        assert!(body.contains(text), "{text}: {body}");
    }
    // An alias that is taken is another conflict.
    let taken = json!({"name": "conflict", "message": "the alias is in use"});
    api.answer("PATCH /templates/t1", StatusCode::CONFLICT, taken);
    let form: Vec<_> = FORM.into_iter().take(7).chain([("base_version", "2")]).collect();
    let (_, _, body) = post(&api, "/panel/t/acme/templates/t1", &form).await;
    assert!(body.contains("the alias is in use") && !body.contains("meanwhile"), "{body}");
}

#[tokio::test]
async fn a_mistake_stands_at_its_line_and_nothing_typed_is_lost() {
    let api = FakeApi::of(&[("GET /templates/t1", template(1, "x"))]);
    let message = "syntax error: unexpected end (line 3, column 4)";
    let refused = json!({"name": "validation_error", "message": message, "param": "html"});
    for route in ["PATCH /templates/t1", "POST /render", "POST /templates"] {
        api.answer(route, StatusCode::UNPROCESSABLE_ENTITY, refused.clone());
    }
    for place in ["t1", "new", "preview"] {
        let (status, _, body) = post(&api, &format!("/panel/t/acme/templates/{place}"), &FORM).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{place}");
        assert!(
            body.contains("    3 | {% if&lt;/p&gt;\n<b class=\"bad\">           ^</b>"),
            "{place}: {body}"
        );
        assert!(body.contains(message), "{body}");
    }
    let (_, _, body) = post(&api, "/panel/t/acme/templates/t1", &FORM).await;
    assert!(body.contains("id=\"m-source\"") && body.contains("Your order {{ n }}"), "{body}");
}

#[tokio::test]
async fn a_preview_is_a_document_of_its_own() {
    let rendered = json!({"subject": "Order 8", "html": "<style>p{}</style><p>8</p>", "text": "8 <b>"});
    let api = FakeApi::of(&[("POST /render", rendered), ("GET /templates/t1/versions/1", template(1, "x"))]);
    let preview = "/panel/t/acme/templates/preview";
    let (status, fields, body) = post(&api, preview, &FORM).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "<style>p{}</style><p>8</p>"));
    assert!(fields.contains("sandbox") && fields.contains("frame-ancestors 'self'"), "{fields}");
    assert!(!fields.contains("script-src"), "{fields}");
    assert_eq!(api.asked("POST /render")[0].json()["variables"], json!({"n": 8}));

    let text: Vec<_> = FORM.into_iter().chain([("view", "text")]).collect();
    let (_, fields, body) = post(&api, preview, &text).await;
    assert!(body.contains("Order 8") && body.contains("8 &lt;b&gt;"), "{body}");
    assert!(fields.contains("sandbox") && !fields.contains("unsafe-inline"), "{fields}");

    let (_, body) = page(&api, "/panel/t/acme/templates/t1/versions/1/preview").await;
    assert_eq!(body, "<style>p{}</style><p>8</p>");
    assert_eq!(api.asked("POST /render")[2].json()["variables"], json!({"n": 7}), "fallbacks");

    let wrong: Vec<_> = FORM.into_iter().chain([("values", "[")]).collect();
    let (status, _, body) = post(&api, preview, &wrong).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(body.contains("must be a JSON object"), "{body}");
}

#[tokio::test]
async fn a_test_sends_what_is_typed() {
    let rendered = json!({"subject": "Order 8", "html": "<p>8</p>", "text": "8"});
    let api = FakeApi::of(&[("POST /render", rendered), ("POST /emails", json!({"id": "m1"}))]);
    let more = [("from", "shop@example.com"), ("test_to", " ana@example.net ")];
    let form: Vec<_> = FORM.into_iter().chain(more).collect();
    let (status, _, body) = post(&api, "/panel/t/acme/templates/test", &form).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("ana@example.net") && body.contains("/panel/t/acme/messages/m1"), "{body}");
    let sent = api.asked("POST /emails")[0].json();
    assert_eq!((&sent["to"], &sent["from"]), (&json!("ana@example.net"), &json!("shop@example.com")));
    assert_eq!((&sent["subject"], &sent["html"]), (&json!("Order 8"), &json!("<p>8</p>")));
    let refused = json!({"name": "validation_error", "message": "is no address", "param": "to"});
    api.answer("POST /emails", StatusCode::UNPROCESSABLE_ENTITY, refused);
    let (status, _, body) = post(&api, "/panel/t/acme/templates/test", &form).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(body.contains("is no address"), "{body}");
}

#[tokio::test]
async fn acts_lead_on_or_say_why_not() {
    let api = FakeApi::of(&[
        ("GET /templates/t1", template(2, "x")),
        ("POST /templates/t1/publish", json!({"id": "t1"})),
        ("POST /templates/t1/duplicate", json!({"id": "t2"})),
        ("DELETE /templates/t1", json!({"id": "t1"})),
    ]);
    let cases = [
        ("publish?version=2", "/templates/t1?done=template_published"),
        ("duplicate", "/templates/t2?done=template_duplicated"),
        ("delete", "/templates?done=template_deleted"),
    ];
    for (act, place) in cases {
        let (status, fields, _) = post(&api, &format!("/panel/t/acme/templates/t1/{act}"), &[]).await;
        assert_eq!(status, StatusCode::SEE_OTHER);
        assert!(fields.contains(place), "{fields}");
    }
    assert_eq!(api.asked("POST /templates/t1/publish")[0].json(), json!({"version": 2}));
    let used = json!({"name": "conflict", "message": "the template is used by t9"});
    api.answer("DELETE /templates/t1", StatusCode::CONFLICT, used);
    let (status, _, body) = post(&api, "/panel/t/acme/templates/t1/delete", &[]).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(body.contains("used by t9"), "{body}");
}
