//! The queue, as operators see and change it.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use relevo_http::Listener;
use relevo_queue::{ItemId, ItemMeta, NewDelivery, NewItem, Queue, QueueKey, Recipient, SpooledBody};
use support::{ACME, ADMIN, Answer, Asked, World};

/// The time of the world's clock.
const NOW: i64 = 1_795_325_621_500;

fn id(n: u8) -> ItemId {
    ItemId::new(NOW - 1_000, [n; 10])
}

fn delivery(domain: &str, recipients: u32, due_at: i64) -> NewDelivery {
    let recipient = |index| Recipient::pending(index, format!("r{index}@{domain}"));
    NewDelivery {
        key: QueueKey::of_domain(domain),
        recipients: (0..recipients).map(recipient).collect(),
        due_at,
        ..NewDelivery::default()
    }
}

async fn queue(world: &World, n: u8, tenant: &str, deliveries: Vec<NewDelivery>) {
    let meta = ItemMeta {
        tenant: tenant.to_owned(),
        sender: format!("a@{tenant}.test"),
        accepted_at: NOW - 1_000,
        expires_at: NOW + 1_000_000,
        size: 4,
        ..ItemMeta::default()
    };
    let body = SpooledBody::in_memory(b"a: b".to_vec());
    world.store.accept(vec![NewItem { id: id(n), meta, body, deliveries }], vec![]).await.unwrap();
}

/// Three messages: one to two domains, one of another tenant.
async fn world() -> World {
    let world = World::new().await;
    queue(&world, 1, "acme", vec![delivery("x.test", 2, NOW - 500), delivery("y.test", 1, NOW + 9_000)])
        .await;
    queue(&world, 2, "acme", vec![delivery("y.test", 1, NOW + 5_000)]).await;
    queue(&world, 3, "other", vec![delivery("x.test", 1, NOW + 5_000)]).await;
    world
}

async fn get(world: &World, path: &str) -> Answer {
    world.ask(Listener::Operations, Asked::get(path).key(ADMIN)).await
}

async fn post(world: &World, path: &str) -> Answer {
    world.ask(Listener::Operations, Asked { method: "POST", ..Asked::get(path).key(ADMIN) }).await
}

fn ids(answer: &Answer) -> Vec<String> {
    let json = answer.json();
    json["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap().to_owned()).collect()
}

fn all(numbers: &[u8]) -> Vec<String> {
    numbers.iter().map(|n| id(*n).to_string()).collect()
}

#[tokio::test]
async fn messages_are_found_by_tenant_domain_and_state() {
    let world = world().await;
    for (query, found) in [
        ("", &[1, 2, 3][..]),
        ("?tenant=acme", &[1, 2]),
        ("?tenant=nobody", &[]),
        ("?domain=X.test.", &[1, 3]),
        ("?domain=x.test&tenant=other", &[3]),
        ("?domain=nowhere.test", &[]),
        ("?state=due", &[1]),
        ("?state=waiting", &[2, 3]),
        ("?state=held", &[]),
        ("?domain=y.test&state=waiting", &[2]),
    ] {
        let answer = get(&world, &format!("/queue{query}")).await;
        assert_eq!(ids(&answer), all(found), "{query}");
        assert_eq!(answer.json()["has_more"], false, "{query}");
    }
    let first = get(&world, "/queue?limit=1").await.json();
    assert_eq!(
        (first["data"][0]["state"].as_str(), first["data"][0]["pending"].as_u64()),
        (Some("due"), Some(3))
    );
    assert_eq!(first["data"][0]["domains"], serde_json::json!(["x.test", "y.test"]));
    assert_eq!(
        (first["has_more"].as_bool(), first["next"].as_str()),
        (Some(true), Some(&*id(1).to_string()))
    );
    let rest = get(&world, &format!("/queue?after={}", first["next"].as_str().unwrap())).await;
    assert_eq!(ids(&rest), all(&[2, 3]));
    for (query, param) in [
        ("after=x", "after"),
        ("limit=101", "limit"),
        ("state=gone", "state"),
        ("domain=%C3%A9.test", "domain"),
        ("what=x", "query"),
    ] {
        let answer = get(&world, &format!("/queue?{query}")).await;
        assert_eq!((answer.status, answer.json()["param"].as_str()), (422, Some(param)), "{query}");
    }
}

#[tokio::test]
async fn what_waits_is_shown_by_domain() {
    let world = world().await;
    let sites = get(&world, "/queue/sites").await.json();
    assert_eq!((sites["object"].as_str(), sites["truncated"].as_bool()), (Some("list"), Some(false)));
    assert_eq!((sites["domains"].as_u64(), sites["has_more"].as_bool()), (Some(2), Some(false)));
    let x = &sites["data"][0];
    assert_eq!((x["domain"].as_str(), x["recipients"].as_u64()), (Some("x.test"), Some(3)));
    assert_eq!(
        (x["deliveries"].as_u64(), x["due"].as_u64(), x["held"].as_u64()),
        (Some(2), Some(1), Some(0))
    );
    assert_eq!(x["oldest_accepted_at"], "2026-11-22T05:33:40.500Z");
    assert_eq!((&x["site"], &x["last"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    let one = get(&world, "/queue/sites?limit=1").await.json();
    assert_eq!((one["data"].as_array().unwrap().len(), one["has_more"].as_bool()), (1, Some(true)));
    assert_eq!(get(&world, "/queue/sites?limit=0").await.status, 422);
}

#[tokio::test]
async fn a_message_is_shown_held_released_and_dropped() {
    let world = world().await;
    let path = format!("/queue/{}", id(2));
    let shown = get(&world, &path).await.json();
    assert_eq!((shown["object"].as_str(), shown["tenant"].as_str()), (Some("queue_message"), Some("acme")));
    assert_eq!(shown["deliveries"][0]["recipients"][0]["address"], "r0@y.test");
    // Nothing is delivered in this world.
    assert_eq!(get(&world, &format!("{path}/why")).await.status, 503);

    for (action, status) in [("hold", 200), ("retry", 409), ("release", 200), ("retry", 200), ("shred", 404)]
    {
        let answer = post(&world, &format!("{path}/{action}")).await;
        assert_eq!(answer.status, status, "{action}: {}", answer.text());
    }
    let dropped = post(&world, &format!("{path}/drop")).await.json();
    assert_eq!(
        (dropped["action"].as_str(), dropped["id"].as_str()),
        (Some("drop"), Some(&*id(2).to_string()))
    );
    for id in [id(2).to_string(), "x".to_owned()] {
        let answer = get(&world, &format!("/queue/{id}")).await;
        assert_eq!((answer.status, answer.json()["name"].as_str()), (404, Some("not_found")), "{id}");
        assert_eq!(post(&world, &format!("/queue/{id}/drop")).await.status, 404, "{id}");
    }
    let audit = world.ask(Listener::Api, Asked::get("/audit").key(ACME)).await.json();
    let acts: Vec<_> = audit["data"].as_array().unwrap().iter().rev().collect();
    let act = |n: usize, field: &str| acts[n][field].as_str().unwrap().to_owned();
    let actions: Vec<String> = (0..acts.len()).map(|n| act(n, "action")).collect();
    assert_eq!(actions, ["queue hold", "queue retry", "queue release", "queue retry", "queue drop"]);
    assert_eq!(
        (act(0, "actor"), act(0, "subject"), act(0, "result")),
        ("admin key ops".into(), id(2).to_string(), "done".into())
    );
    assert!(act(1, "result").contains("is held"), "{}", act(1, "result"));
}

/// Only the mail to that domain, of all tenants.
#[tokio::test]
async fn all_mail_to_a_domain_is_held_and_released() {
    let world = world().await;
    let held = post(&world, "/queue/sites/x.test/hold").await.json();
    assert_eq!((held["count"].as_u64(), held["has_more"].as_bool()), (Some(2), Some(false)));
    let sites = get(&world, "/queue/sites").await.json();
    let held = |domain: &str| {
        let all = sites["data"].as_array().unwrap();
        all.iter().find(|of| of["domain"] == domain).unwrap()["held"].as_u64()
    };
    assert_eq!((held("x.test"), held("y.test")), (Some(2), Some(0)));
    assert_eq!(ids(&get(&world, "/queue?state=held").await), all(&[3]), "the other has mail to y.test, too");
    assert_eq!(post(&world, "/queue/sites/x.test/release").await.json()["count"], 2);
    assert_eq!(ids(&get(&world, "/queue?state=held").await), all(&[]));
    let nothing = post(&world, "/queue/sites/nowhere.test/retry").await.json();
    assert_eq!((nothing["count"].as_u64(), nothing["has_more"].as_bool()), (Some(0), Some(false)));
    assert_eq!(post(&world, "/queue/sites/x.test/drop").await.status, 404, "a whole domain is not dropped");
    assert_eq!(post(&world, "/queue/sites/x.test/hold?after=x").await.status, 422);
    let audit = world.ask(Listener::Api, Asked::get("/audit").key(ACME)).await.json();
    let last = &audit["data"][1];
    assert_eq!(
        (last["action"].as_str(), last["subject"].as_str()),
        (Some("queue hold --domain"), Some("x.test"))
    );
    assert_eq!(last["result"], "done: 1 messages");
}
