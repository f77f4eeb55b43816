use serde_json::{Value, json};

use crate::testing::{Browser, EVIL, FakeApi};

fn user(role: &str) -> Value {
    json!({
        "id": "01KB6Q4Y7M3V8T01KB6Q4Y7M31", "email": EVIL, "name": EVIL, "role": role, "has_password": true,
        "has_authenticator": true, "has_identity_provider": false, "disabled": false,
        "created_at": EVIL, "last_signed_in_at": EVIL,
    })
}

fn api() -> FakeApi {
    let sessions = json!({"data": [{"id": "s1", "created_at": EVIL, "last_seen_at": EVIL, "expires_at": EVIL, "client": null, "user_agent": EVIL}]});
    FakeApi::new()
        .with("GET", "/users", 200, json!({"data": [user("owner")], "has_more": false}))
        .with("GET", "/users/01KB6Q4Y7M3V8T01KB6Q4Y7M31", 200, user("developer"))
        .with("GET", "/users/01KB6Q4Y7M3V8T01KB6Q4Y7M31/sessions", 200, sessions)
}

#[tokio::test]
async fn pages_of_users_are_harmless() {
    let browser = Browser::at(api());
    for path in ["/panel/t/dev/users", "/panel/t/dev/users/01KB6Q4Y7M3V8T01KB6Q4Y7M31"] {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        page.is_harmless();
    }
}

#[tokio::test]
async fn an_invitation_is_shown_once_and_a_mistake_keeps_what_was_typed() {
    let link = json!({"id": "u2", "url": "https://relay.test/panel/link/abc", "token": "abc", "expires_at": "2026-12-01T00:00:00Z"});
    let browser = Browser::at(api().with("POST", "/users", 201, link));
    let fields = [("email", " ana@example.com "), ("name", "Ana"), ("role", "owner")];
    let page = browser.post("/panel/t/dev/users", &fields).await;
    assert!(page.status == 200 && page.text.contains("https://relay.test/panel/link/abc"), "{}", page.text);
    assert_eq!(
        browser.api.last("POST").body,
        json!({"email": "ana@example.com", "name": "Ana", "role": "owner"})
    );

    let wrong = json!({"name": "validation_error", "message": "is no address", "param": "email"});
    let browser = Browser::at(api().with("POST", "/users", 422, wrong));
    let page =
        browser.post("/panel/t/dev/users", &[("email", "ana"), ("name", "Ana"), ("role", "owner")]).await;
    assert_eq!(page.status, 422);
    assert!(page.text.contains("value=\"Ana\"") && page.text.contains("is no address"), "{}", page.text);
}

#[tokio::test]
async fn the_last_owner_stays_and_the_page_says_why() {
    let refusal = json!({"name": "conflict", "message": "it is the last owner"});
    let browser =
        Browser::at(api().with("PATCH", "/users/01KB6Q4Y7M3V8T01KB6Q4Y7M31", 409, refusal.clone()).with(
            "DELETE",
            "/users/01KB6Q4Y7M3V8T01KB6Q4Y7M31",
            409,
            refusal,
        ));
    for (path, fields) in [
        ("/panel/t/dev/users/01KB6Q4Y7M3V8T01KB6Q4Y7M31", &[("act", "disable")][..]),
        ("/panel/t/dev/users/01KB6Q4Y7M3V8T01KB6Q4Y7M31/delete", &[]),
    ] {
        let page = browser.post(path, fields).await;
        assert!(page.status == 409 && page.text.contains("it is the last owner"), "{}", page.text);
    }
    assert_eq!(browser.api.last("PATCH").body, json!({"disabled": true}));
}
