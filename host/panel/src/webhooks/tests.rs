use serde_json::{Value, json};

use crate::testing::{Browser, EVIL, FakeApi};

const PLACE: &str = "/panel/t/dev/webhooks/wh_1";

fn webhook(status: &str) -> Value {
    json!({
        "id": "wh_1", "created_at": "2026-11-29T10:00:00.000Z", "status": status,
        "disabled_reason": EVIL, "failing_since": "2026-11-29T11:00:00.000Z", "endpoint": EVIL,
        "events": ["email.delivered", EVIL], "description": EVIL,
        "tags": [{"name": "kind", "value": "order"}, {"name": EVIL, "value": null}],
        "streams": ["marketing"], "headers": {"X-Team": EVIL}, "signing_secret": "whsec_abc"
    })
}

fn delivery(status: &str) -> Value {
    json!({
        "id": "msg_1_42", "type": EVIL, "created_at": EVIL, "status": status, "next_attempt_at": EVIL,
        "attempts": 3, "message_id": EVIL, "payload": {"type": EVIL, "data": "x".repeat(80_000)}
    })
}

fn world() -> FakeApi {
    let types = [
        json!({"name": "email.delivered"}),
        json!({"name": "email.sent", "alias_of": "email.queued"}),
        json!({"name": EVIL}),
    ];
    let attempt = json!({
        "id": "a", "number": 1, "status": EVIL, "http_status_code": 500, "response": EVIL,
        "sent_at": EVIL, "duration_ms": 1_500
    });
    FakeApi::new()
        .with("GET", "/webhooks", 200, json!({"has_more": true, "data": [webhook("enabled")]}))
        .with("GET", "/webhooks/event-types", 200, json!({"data": types}))
        .with("GET", "/webhooks/wh_1", 200, webhook("enabled"))
        .with("GET", "/webhooks/wh_2", 200, webhook("disabled"))
        .with(
            "GET",
            "/webhooks/wh_1/deliveries",
            200,
            json!({"has_more": true, "data": [delivery("failed")]}),
        )
        .with("GET", "/webhooks/wh_1/deliveries/msg_1_42", 200, delivery("failed"))
        .with("GET", "/webhooks/wh_1/deliveries/msg_1_43", 200, delivery("pending"))
        .with("GET", "/webhooks/wh_1/deliveries/msg_1_42/attempts", 200, json!({"data": [attempt]}))
        .with("GET", "/webhooks/wh_1/deliveries/msg_1_43/attempts", 200, json!({"data": []}))
}

const FORM: [(&str, &str); 8] = [
    ("endpoint", " https://hooks.example.com/ "),
    ("description", "orders"),
    ("events", "email.delivered"),
    ("events", "email.sent"),
    ("streams", "marketing"),
    ("tags", "kind:order\r\n\r\n test "),
    ("headers", "X-Team: orders: all\r\n"),
    ("ignored", ""),
];

fn settings() -> Value {
    json!({
        "endpoint": "https://hooks.example.com/", "description": "orders",
        "events": ["email.delivered", "email.sent"], "streams": ["marketing"],
        "tags": [{"name": "kind", "value": "order"}, {"name": "test"}],
        "headers": {"X-Team": "orders: all"}
    })
}

#[tokio::test]
async fn pages_show_hostile_values_without_harm() {
    let browser = Browser::at(world());
    for page in ["", "/new", "/wh_1", "/wh_1/edit", "/wh_1/deliveries", "/wh_1/deliveries/msg_1_42"] {
        browser.get(&format!("/panel/t/dev/webhooks{page}")).await.is_harmless();
    }
    let page = browser.get(PLACE).await;
    assert!(page.text.contains("data-copy=\"whsec_abc\"") && page.text.contains("wh_1/disable"));
    assert!(browser.get("/panel/t/dev/webhooks/wh_2").await.text.contains("wh_1/enable"));
}

#[tokio::test]
async fn a_webhook_is_made_and_changed_by_the_same_form() {
    let api = world().with("POST", "/webhooks", 201, json!({"id": "wh_1"}));
    let browser = Browser::at(api.with("PATCH", "/webhooks/wh_1", 200, json!({})));
    let page = browser.post("/panel/t/dev/webhooks", &FORM).await;
    assert_eq!((page.status.as_u16(), page.location), (303, format!("{PLACE}?done=webhook_created")));
    assert_eq!(browser.api.last("POST").body, settings());
    let page = browser.post(&format!("{PLACE}/edit"), &FORM).await;
    assert_eq!(page.location, format!("{PLACE}?done=saved"));
    assert_eq!(browser.api.last("PATCH").body, settings());
    let page = browser.get(&format!("{PLACE}/edit")).await;
    assert!(page.text.contains("value=\"email.delivered\" checked"), "{}", page.text);
    assert!(!page.text.contains("value=\"email.sent\" checked") && page.text.contains("kind:order"));
}

#[tokio::test]
async fn mistakes_keep_what_was_typed() {
    let refusal = json!({
        "name": "validation_error", "message": "m",
        "errors": [{"param": "events[1]", "message": "there is no such event"}]
    });
    let browser = Browser::at(world().with("POST", "/webhooks", 422, refusal));
    let page = browser.post("/panel/t/dev/webhooks", &FORM).await;
    page.is_harmless();
    assert_eq!(page.status, 422);
    assert!(page.text.contains("id=\"m-events\"") && page.text.contains("value=\"email.sent\" checked"));
    for headers in ["X-Team", "X-Team: a\nX-Team: b"] {
        let fields = [("endpoint", "https://a.example/"), ("headers", headers)];
        let asked = browser.api.requests().len();
        let page = browser.post("/panel/t/dev/webhooks", &fields).await;
        assert_eq!(page.status, 422);
        assert!(page.text.contains("id=\"m-headers\"") && page.text.contains("https://a.example/"));
        let later = browser.api.requests();
        assert!(later[asked..].iter().all(|request| request.method == "GET"), "nothing is sent");
    }
}

#[tokio::test]
async fn a_webhook_is_tested_switched_rotated_and_deleted() {
    let outcome = json!({
        "id": "t", "status": "failed", "http_status_code": null, "response": EVIL, "duration_ms": 20
    });
    let api = world()
        .with("POST", "/webhooks/wh_1/test", 200, outcome)
        .with("POST", "/webhooks/wh_1/rotate-secret", 200, json!({}))
        .with("PATCH", "/webhooks/wh_1", 200, json!({}))
        .with("DELETE", "/webhooks/wh_1", 200, json!({}));
    let browser = Browser::at(api);
    let page = browser.post(&format!("{PLACE}/test"), &[]).await;
    page.is_harmless();
    assert!(page.text.contains("badge bad\">failed") && page.text.contains("20\u{a0}ms"), "{}", page.text);
    browser.post(&format!("{PLACE}/disable"), &[]).await;
    assert_eq!(browser.api.last("PATCH").body, json!({"status": "disabled"}));
    browser.post(&format!("{PLACE}/enable"), &[]).await;
    assert_eq!(browser.api.last("PATCH").body, json!({"status": "enabled"}));
    let page = browser.post(&format!("{PLACE}/rotate"), &[("overlap_seconds", "0")]).await;
    assert_eq!(page.location, format!("{PLACE}?done=secret_rotated"));
    assert_eq!(browser.api.last("POST").body, json!({"overlap_seconds": 0}));
    let sent = browser.api.asked("POST").len();
    let page = browser.post(&format!("{PLACE}/rotate"), &[("overlap_seconds", "a day")]).await;
    page.is_harmless();
    assert!(page.status == 422 && page.text.contains("id=\"m-overlap_seconds\""), "{}", page.text);
    assert_eq!(browser.api.asked("POST").len(), sent, "nothing is rotated");
    assert_eq!(browser.post_raw(&format!("{PLACE}/delete"), &[]).await.status, 403);
    let page = browser.post(&format!("{PLACE}/delete"), &[]).await;
    assert_eq!(page.location, "/panel/t/dev/webhooks?done=webhook_deleted");
}

#[tokio::test]
async fn deliveries_are_filtered_and_replayed() {
    let api = world().with("POST", "/webhooks/wh_1/deliveries/msg_1_42/replay", 200, json!({})).with(
        "POST",
        "/webhooks/wh_1/replay",
        200,
        json!({"count": 7}),
    );
    let browser = Browser::at(api);
    let page = browser.get(&format!("{PLACE}/deliveries?status=failed")).await;
    assert_eq!(browser.api.last("GET").path, "/webhooks/wh_1/deliveries?limit=50&status=failed");
    assert!(page.text.contains("deliveries?status=failed&amp;after=msg_1_42"), "{}", page.text);
    browser.get(&format!("{PLACE}/deliveries?status=%3Cb%3E")).await;
    assert_eq!(browser.api.last("GET").path, "/webhooks/wh_1/deliveries?limit=50");

    assert!(page.text.contains("value=\"failed\" selected"), "a replay is of failures unless chosen");

    let one = format!("{PLACE}/deliveries/msg_1_42");
    assert!(browser.get(&one).await.text.contains("msg_1_42/replay\""));
    let waiting = browser.get(&format!("{PLACE}/deliveries/msg_1_43")).await;
    assert!(!waiting.text.contains("/replay\""), "a delivery that waits is not sent again");
    assert_eq!(browser.post(&format!("{one}/replay"), &[]).await.location, format!("{one}?done=replayed"));

    let fields = [("since", "2026-11-29T10:00"), ("until", "2026-11-29T11:00:30"), ("status", "")];
    let page = browser.post(&format!("{PLACE}/replay"), &fields).await;
    assert_eq!(page.location, format!("{PLACE}/deliveries?replayed=7"));
    let span = json!({"since": "2026-11-29T10:00:00Z", "until": "2026-11-29T11:00:30Z"});
    assert_eq!(browser.api.last("POST").body, span);
    assert!(browser.get(&page.location).await.text.contains("7 events are sent again."));
}
