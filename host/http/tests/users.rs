//! `/users`, and what a key may give.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "tests, which share their support"
)]

mod support;

use relevo_http::Listener;
use serde_json::{Value, json};
use support::{ACME, Asked, DEVELOPER, OTHER, World};

async fn call(world: &World, key: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let asked = Asked { method, body: &body, ..Asked::get(path) }.key(key);
    let answer = world.ask(Listener::Api, asked).await;
    (answer.status, answer.json())
}

async fn invite(world: &World, email: &str, role: &str) -> (u16, Value) {
    call(world, ACME, "POST", "/users", json!({"email": email, "name": "Ann", "role": role})).await
}

#[tokio::test]
async fn a_user_is_invited_changed_and_deleted() {
    let world = World::new().await;
    let (status, made) = invite(&world, "Ann@example.com", "developer").await;
    assert_eq!(status, 201, "{made}");
    let (id, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    assert_eq!(made["url"], format!("https://mail.test/panel/link/{token}"));
    assert!(made["expires_at"].as_str().unwrap().ends_with('Z') && token.len() == 43);
    let path = format!("/users/{id}");
    let (status, user) = call(&world, ACME, "GET", &path, Value::Null).await;
    assert_eq!(
        (status, &user["email"], &user["role"]),
        (200, &json!("ann@example.com"), &json!("developer"))
    );
    assert_eq!((&user["has_password"], &user["last_signed_in_at"]), (&json!(false), &Value::Null));
    assert!(!user.to_string().contains(token), "it is shown once");

    let (status, user) =
        call(&world, ACME, "PATCH", &path, json!({"role": "viewer", "disabled": true})).await;
    assert_eq!((status, &user["role"], &user["disabled"]), (200, &json!("viewer"), &json!(true)));
    let (status, again) = call(&world, ACME, "POST", &format!("{path}/reset"), Value::Null).await;
    assert!(status == 200 && again["token"] != made["token"], "{again}");
    let (status, listed) = call(&world, ACME, "GET", "/users?limit=1", Value::Null).await;
    assert_eq!((status, &listed["data"][0]["id"]), (200, &made["id"]));
    let (status, sessions) = call(&world, ACME, "GET", &format!("{path}/sessions"), Value::Null).await;
    assert_eq!((status, &sessions["data"]), (200, &json!([])));
    let (status, _) = call(&world, ACME, "DELETE", &format!("{path}/sessions/01K"), Value::Null).await;
    assert_eq!(status, 404);

    for (method, path) in [
        ("GET", path.clone()),
        ("DELETE", path.clone()),
        ("POST", format!("{path}/reset")),
        ("GET", format!("{path}/sessions")),
        ("DELETE", format!("{path}/sessions/01K")),
    ] {
        let (status, refused) = call(&world, OTHER, method, &path, Value::Null).await;
        assert_eq!((status, &refused["name"]), (404, &json!("not_found")), "{method} {path}");
    }
    let (status, deleted) = call(&world, ACME, "DELETE", &path, Value::Null).await;
    assert_eq!((status, &deleted["deleted"]), (200, &json!(true)));
    let (_, audit) = call(&world, ACME, "GET", "/audit", Value::Null).await;
    let acts = audit["data"].as_array().unwrap().iter();
    let actions: Vec<&str> = acts.filter_map(|act| act["action"].as_str()).collect();
    assert_eq!(actions.last(), Some(&"POST /users"));
    assert!(actions.contains(&"DELETE /users/{id}") && actions.contains(&"POST /users/{id}/reset"));
    assert!(!audit.to_string().contains(token));
}

#[tokio::test]
async fn wrong_values_are_named() {
    let world = World::new().await;
    for (body, param) in [
        (json!({"email": "ann", "role": "viewer"}), "email"),
        (json!({"email": "ann@example.com", "role": "operator"}), "role"),
        (json!({"email": "ann@example.com", "role": "king"}), "role"),
        (json!({"email": "ann@example.com", "role": "viewer", "name": "\u{7}"}), "name"),
        (json!({"email": "ann@example.com", "role": "viewer", "tenant": "other"}), "tenant"),
    ] {
        let (status, refused) = call(&world, ACME, "POST", "/users", body.clone()).await;
        assert_eq!((status, refused["param"].as_str()), (422, Some(param)), "{body}: {refused}");
    }
    assert_eq!(invite(&world, "ann@example.com", "viewer").await.0, 201);
    let (status, refused) = invite(&world, "ann@example.com", "viewer").await;
    assert_eq!((status, &refused["name"]), (409, &json!("conflict")));
}

/// Who may make keys could otherwise make one that may do everything.
#[tokio::test]
async fn nobody_gives_more_than_they_have() {
    let world = World::new().await;
    let (status, refused) = call(&world, DEVELOPER, "GET", "/users", Value::Null).await;
    assert_eq!((status, &refused["name"]), (403, &json!("restricted_api_key")), "{refused}");
    assert_eq!(call(&world, DEVELOPER, "GET", "/audit", Value::Null).await.0, 200);
    for scopes in [json!(["admin"]), json!(["read", "users"]), Value::Null] {
        let mut body = json!({"name": "more"});
        if !scopes.is_null() {
            body["scopes"] = scopes;
        }
        let (status, refused) = call(&world, DEVELOPER, "POST", "/api-keys", body.clone()).await;
        assert_eq!((status, &refused["name"]), (403, &json!("restricted_api_key")), "{body}");
    }
    let less = json!({"name": "less", "scopes": ["send", "settings"]});
    let (status, made) = call(&world, DEVELOPER, "POST", "/api-keys", less).await;
    assert_eq!(status, 201, "{made}");
    let rotate = format!("/api-keys/{}/rotate", made["id"].as_str().unwrap());
    assert_eq!(call(&world, DEVELOPER, "POST", &rotate, Value::Null).await.0, 200);
    let (_, all) = call(&world, ACME, "POST", "/api-keys", json!({"name": "all"})).await;
    let rotate = format!("/api-keys/{}/rotate", all["id"].as_str().unwrap());
    let (status, refused) = call(&world, DEVELOPER, "POST", &rotate, Value::Null).await;
    assert_eq!((status, &refused["name"]), (403, &json!("restricted_api_key")), "{refused}");
    assert_eq!(call(&world, ACME, "POST", &rotate, Value::Null).await.0, 200);
}
