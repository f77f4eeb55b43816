//! The pages of topics over an API whose answers are set.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::testing::{EVIL, FakeApi, assert_harmless, page, post, post_raw};

const PLACE: &str = "/panel/t/acme/topics";

fn topic(text: &str) -> Value {
    json!({"id": "t1", "name": text, "description": text, "default_subscription": "opt_in",
        "visibility": "public", "subscription": "opt_in"})
}

#[tokio::test]
async fn hostile_topics_are_shown_harmlessly() {
    let list = json!({"data": [topic(EVIL)], "has_more": true, "next": EVIL});
    let api = FakeApi::of(&[
        ("GET /topics?", list.clone()),
        ("GET /topics/t1", topic(EVIL)),
        ("GET /contacts", list),
    ]);
    for place in ["", "/new", "/t1", "/contact", "/contact?email=%3Cscript%3Ealert(1)"] {
        let (status, body) = page(&api, &format!("{PLACE}{place}")).await;
        assert_eq!(status, StatusCode::OK, "{place}");
        assert_harmless(&body);
    }
}

#[tokio::test]
async fn a_topic_is_made_changed_and_deleted() {
    let api = FakeApi::of(&[
        ("POST /topics", json!({"id": "t1"})),
        ("GET /topics/t1", topic("News")),
        ("PATCH /topics/t1", json!({"id": "t1"})),
        ("DELETE /topics/t1", json!({"id": "t1"})),
    ]);
    let form = [
        ("name", "News"),
        ("default_subscription", "opt_out"),
        ("description", ""),
        ("visibility", "public"),
    ];
    assert_eq!(post(&api, &format!("{PLACE}/new"), &form).await.0, StatusCode::SEE_OTHER);
    let made = json!({"name": "News", "default_subscription": "opt_out", "description": "",
        "visibility": "public"});
    assert_eq!(api.asked("POST /topics")[0].json(), made);
    assert_eq!(post(&api, &format!("{PLACE}/t1"), &form[2..]).await.0, StatusCode::SEE_OTHER);
    assert_eq!(api.asked("PATCH")[0].json(), json!({"description": "", "visibility": "public"}));
    assert_eq!(post(&api, &format!("{PLACE}/t1/delete"), &[]).await.0, StatusCode::SEE_OTHER);

    let refused = json!({"name": "validation_error", "message": "is too long", "param": "description"});
    for route in ["POST /topics", "PATCH /topics/t1"] {
        api.answer(route, StatusCode::UNPROCESSABLE_ENTITY, refused.clone());
    }
    for place in ["new", "t1"] {
        let (status, _, body) =
            post(&api, &format!("{PLACE}/{place}"), &[("description", "a long one")]).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(body.contains("value=\"a long one\"") && body.contains("m-description"), "{body}");
    }
    for place in ["new", "t1", "t1/delete", "contact"] {
        let (status, ..) = post_raw(&api, &format!("{PLACE}/{place}"), "name=News").await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{place}");
    }
}

#[tokio::test]
async fn only_choices_that_were_changed_are_sent() {
    let api = FakeApi::of(&[("PATCH /contacts/ana%40example.net/topics", json!({"id": "ana@example.net"}))]);
    let form = [
        ("email", "ana@example.net"),
        ("topic", "stays"),
        ("was", "opt_in"),
        ("topic", "leaves"),
        ("was", "opt_in"),
        ("topic", "comes"),
        ("was", "opt_out"),
        ("topic", "away"),
        ("was", "opt_out"),
        ("in", "stays"),
        ("in", "comes"),
    ];
    let (status, fields, _) = post(&api, &format!("{PLACE}/contact"), &form).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert!(fields.contains("email=ana%40example.net&done=choices_saved"), "{fields}");
    let sent =
        json!([{"id": "leaves", "subscription": "opt_out"}, {"id": "comes", "subscription": "opt_in"}]);
    assert_eq!(api.asked("PATCH")[0].json(), sent);
    post(&api, &format!("{PLACE}/contact"), &[("email", "ana@example.net")]).await;
    assert_eq!(api.asked("PATCH").len(), 1, "nothing was changed");

    let refused = json!({"name": "validation_error", "message": "is no address", "param": "email"});
    api.answer("GET /contacts", StatusCode::UNPROCESSABLE_ENTITY, refused);
    let (status, body) = page(&api, &format!("{PLACE}/contact?email=ana")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(body.contains("value=\"ana\"") && body.contains("is no address"), "{body}");
}
