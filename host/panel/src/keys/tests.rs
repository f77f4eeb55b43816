use serde_json::{Value, json};

use crate::testing::{Browser, EVIL, FakeApi};

fn key() -> Value {
    json!({
        "id": "key_1", "name": EVIL, "prefix": "rv_ab", "scopes": ["send", EVIL], "domain": EVIL,
        "created_at": "2026-11-29T10:00:00.000Z", "last_used_at": null, "expires_at": EVIL,
        "previous_token_until": "2026-11-30T10:00:00.000Z"
    })
}

fn world() -> FakeApi {
    let domain = |name: &str, status: &str| json!({"name": name, "status": status});
    let domains = [domain("news.example.com", "verified"), domain("new.example.com", "not_started")];
    FakeApi::new()
        .with("GET", "/api-keys", 200, json!({"has_more": true, "data": [key()]}))
        .with("GET", "/api-keys/key_1", 200, key())
        .with("GET", "/domains", 200, json!({"has_more": false, "data": domains}))
}

#[tokio::test]
async fn keys_are_listed_without_tokens() {
    let page = Browser::at(world()).get("/panel/t/dev/keys").await;
    page.is_harmless();
    assert!(page.text.contains("<code>rv_ab…</code>"), "{}", page.text);
    assert!(page.text.contains("/panel/t/dev/keys?after=key_1"));
    Browser::at(world()).get("/panel/t/dev/keys/key_1").await.is_harmless();
}

#[tokio::test]
async fn a_token_is_shown_once_where_it_was_made() {
    let issued = json!({"object": "api_key", "id": "key_2", "token": "rv_secret"});
    let browser = Browser::at(world().with("POST", "/api-keys", 201, issued));
    let page = browser.get("/panel/t/dev/keys/new").await;
    page.is_harmless();
    assert!(page.text.contains("news.example.com") && !page.text.contains("new.example.com\""));
    let fields = [
        ("name", "shop"),
        ("scopes", "send"),
        ("scopes", "read"),
        ("domain", "news.example.com"),
        ("expires_at", "2027-01-31"),
    ];
    let page = browser.post("/panel/t/dev/keys", &fields).await;
    page.is_harmless();
    assert_eq!(page.status, 200);
    assert!(page.text.contains("data-copy=\"rv_secret\""), "{}", page.text);
    let body = json!({
        "name": "shop", "scopes": ["send", "read"], "domain": "news.example.com",
        "expires_at": "2027-01-31T23:59:59Z"
    });
    assert_eq!(browser.api.last("POST").body, body);
}

#[tokio::test]
async fn mistakes_keep_name_and_boxes() {
    let refusal = json!({"name": "validation_error", "message": "names no scope", "param": "scopes"});
    let browser = Browser::at(world().with("POST", "/api-keys", 422, refusal));
    let page = browser.post("/panel/t/dev/keys", &[("name", EVIL)]).await;
    page.is_harmless();
    assert_eq!((page.status.as_u16(), browser.api.last("POST").body["scopes"].clone()), (422, json!([])));
    assert!(page.text.contains("id=\"m-scopes\""), "{}", page.text);
    let page = browser.post("/panel/t/dev/keys", &[("name", "x"), ("scopes", "read")]).await;
    assert!(page.text.contains("value=\"read\" checked") && !page.text.contains("value=\"send\" checked"));
}

#[tokio::test]
async fn a_key_is_renamed_rotated_and_deleted() {
    let api = world()
        .with("PATCH", "/api-keys/key_1", 200, json!({}))
        .with("DELETE", "/api-keys/key_1", 200, json!({}))
        .with("POST", "/api-keys/key_1/rotate", 200, json!({"id": "key_1", "token": "rv_other"}));
    let browser = Browser::at(api);
    let page = browser.post("/panel/t/dev/keys/key_1/name", &[("name", "shop 2")]).await;
    assert_eq!(page.location, "/panel/t/dev/keys/key_1?done=saved");
    assert_eq!(browser.api.last("PATCH").body, json!({"name": "shop 2"}));
    let page = browser.post("/panel/t/dev/keys/key_1/rotate", &[("overlap_seconds", "3600")]).await;
    page.is_harmless();
    assert!(page.text.contains("data-copy=\"rv_other\""), "{}", page.text);
    assert_eq!(browser.api.last("POST").body, json!({"overlap_seconds": 3_600}));
    let page = browser.post_raw("/panel/t/dev/keys/key_1/delete", &[]).await;
    assert_eq!(page.status, 403);
    assert!(!browser.api.requests().iter().any(|request| request.method == "DELETE"));
    let page = browser.post("/panel/t/dev/keys/key_1/delete", &[]).await;
    assert_eq!(page.location, "/panel/t/dev/keys?done=key_deleted");
    assert_eq!(browser.api.last("DELETE").path, "/api-keys/key_1");
}

#[tokio::test]
async fn a_name_that_is_taken_stays_in_the_form() {
    let refusal = json!({"name": "conflict", "message": "you have this name already"});
    let browser = Browser::at(world().with("PATCH", "/api-keys/key_1", 409, refusal));
    let page = browser.post("/panel/t/dev/keys/key_1/name", &[("name", "taken")]).await;
    assert_eq!(page.status, 422);
    assert!(page.text.contains("value=\"taken\"") && page.text.contains("you have this name already"));
}
