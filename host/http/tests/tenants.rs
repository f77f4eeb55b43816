//! Tenants, the summary and the audit log, as operators see them.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use relevo_http::Listener;
use serde_json::{Value, json};
use support::{ADMIN, Answer, Asked, World};

async fn ask(world: &World, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    world.ask(Listener::Operations, Asked { method, body: &body, ..Asked::get(path).key(ADMIN) }).await
}

async fn get(world: &World, path: &str) -> Value {
    ask(world, "GET", path, &Value::Null).await.json()
}

fn ids(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_tenant_of_the_store_is_made_changed_and_deleted() {
    let world = World::new().await;
    let new = json!({"id": "shop", "networks": ["10.1.0.0/16"], "quota": {"day": 500, "month": 9_000},
        "suppression": {"hard_bounces": 3, "complaints": "stream"}});
    let made = ask(&world, "POST", "/tenants", &new).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    assert_eq!((made["object"].as_str(), made["source"].as_str()), (Some("tenant"), Some("store")));
    assert_eq!((&made["networks"], &made["quota"]["day"]["limit"]), (&json!(["10.1.0.0/16"]), &json!(500)));
    assert_eq!(made["suppression"]["complaints"], "stream");

    // What is missing stays, null goes.
    let change = json!({"quota": {"day": null, "hour": 10}, "requests_per_second": 7});
    let changed = ask(&world, "PATCH", "/tenants/shop", &change).await.json();
    let quota = |period: &str| changed["quota"][period]["limit"].clone();
    assert_eq!((quota("hour"), quota("day"), quota("month")), (json!(10), Value::Null, json!(9_000)));
    assert_eq!(
        (&changed["requests_per_second"], &changed["suppression"]["hard_bounces"]),
        (&json!(7), &json!(3))
    );
    assert_eq!(get(&world, "/tenants/shop").await, changed);
    assert_eq!(ids(&get(&world, "/tenants").await), ["acme", "other", "shop"]);
    let page = get(&world, "/tenants?limit=1&after=acme").await;
    assert_eq!((ids(&page), page["has_more"].as_bool()), (vec!["other"], Some(true)));

    assert_eq!(ask(&world, "DELETE", "/tenants/shop", &Value::Null).await.json()["deleted"], true);
    for method in ["GET", "DELETE"] {
        assert_eq!(ask(&world, method, "/tenants/shop", &Value::Null).await.status, 404, "{method}");
    }
    let audit = get(&world, "/operations/audit?tenant=shop").await;
    let acts: Vec<_> =
        audit["data"].as_array().unwrap().iter().map(|act| act["action"].as_str().unwrap()).collect();
    assert_eq!(acts, ["DELETE /tenants/{id}", "PATCH /tenants/{id}", "POST /tenants"]);
    assert_eq!(
        (audit["data"][0]["actor"].as_str(), audit["data"][0]["result"].as_str()),
        (Some("admin key ops"), Some("done"))
    );
}

#[tokio::test]
async fn tenants_of_the_file_are_changed_there() {
    let world = World::new().await;
    let acme = get(&world, "/tenants/acme").await;
    assert_eq!((acme["source"].as_str(), acme["domains"].as_u64()), (Some("file"), Some(1)));
    assert_eq!(acme["quota"]["hour"]["limit"], 100);
    for (method, path, body) in [
        ("POST", "/tenants", json!({"id": "acme"})),
        ("PATCH", "/tenants/acme", json!({"max_held": 3})),
        ("DELETE", "/tenants/acme", Value::Null),
    ] {
        let answer = ask(&world, method, path, &body).await;
        assert_eq!((answer.status, answer.json()["name"].as_str()), (409, Some("conflict")), "{method}");
        assert!(answer.text().contains("configuration file"), "{}", answer.text());
    }
}

#[tokio::test]
async fn mistakes_are_named() {
    let world = World::new().await;
    for (body, param) in [
        (json!({}), "id"),
        (json!({"id": "Shop"}), "id"),
        (json!({"id": "shop", "colour": 1}), "colour"),
        (json!({"id": "shop", "quota": {"day": -1}}), "quota.day"),
        (json!({"id": "shop", "pools": ["none"]}), "pools[0]"),
        (json!({"id": "shop", "routes": ["none"]}), "routes[0]"),
        (json!({"id": "shop", "networks": ["x"]}), "networks"),
        (json!({"id": "shop", "max_priority": 10}), "max_priority"),
        (json!({"id": "shop", "suppression": {"complaints": "some"}}), "suppression.complaints"),
    ] {
        let answer = ask(&world, "POST", "/tenants", &body).await;
        assert_eq!(
            (answer.status, answer.json()["param"].as_str()),
            (422, Some(param)),
            "{body}: {}",
            answer.text()
        );
    }
    assert_eq!(ids(&get(&world, "/tenants").await), ["acme", "other"]);
    assert_eq!(ask(&world, "PATCH", "/tenants/nobody", &json!({"max_held": 3})).await.status, 404);
}

#[tokio::test]
async fn acts_of_all_tenants_come_in_pages() {
    let world = World::new().await;
    for id in ["a", "b", "c"] {
        assert_eq!(ask(&world, "POST", "/tenants", &json!({"id": id})).await.status, 201);
    }
    let first = get(&world, "/operations/audit?limit=2").await;
    let subjects = |list: &Value| {
        let acts = list["data"].as_array().unwrap();
        acts.iter().map(|act| act["tenant"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((subjects(&first).len(), first["has_more"].as_bool()), (2, Some(true)));
    let last = first["data"][1]["id"].as_str().unwrap();
    let second = get(&world, &format!("/operations/audit?limit=2&after={last}")).await;
    let mut all = [subjects(&first), subjects(&second)].concat();
    all.sort();
    assert_eq!(
        (all.as_slice(), second["has_more"].as_bool()),
        (["a", "b", "c"].map(str::to_owned).as_slice(), Some(false))
    );
    assert_eq!(ask(&world, "GET", "/operations/audit?after=x", &Value::Null).await.status, 422);
}

#[tokio::test]
async fn the_summary_says_how_the_relay_stands() {
    let world = World::new().await;
    let summary = get(&world, "/operations/summary").await;
    assert_eq!((summary["ready"].as_bool(), summary["uptime_seconds"].as_u64()), (Some(true), Some(21)));
    assert_eq!((summary["tenants"].as_u64(), summary["domains"].as_u64()), (Some(2), Some(2)));
    assert_eq!((summary["queue"]["messages"].as_u64(), &summary["delivery"]), (Some(0), &Value::Null));
    assert_eq!(summary["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(summary["certificate_expires_at"], Value::Null);
}
