use serde_json::{Value, json};

use crate::testing::{Browser, EVIL, FakeApi};

const AT: &str = "2026-11-29T10:00:00.000Z";

fn last() -> Value {
    json!({
        "at": EVIL, "host": EVIL, "ip": EVIL, "code": 421, "status": EVIL, "text": EVIL.repeat(50),
        "classification": {
            "type": EVIL, "category": EVIL, "about": EVIL, "action": EVIL, "rule": EVIL,
            "rules_version": EVIL, "explanation": {"en": EVIL, "es": EVIL}
        }
    })
}

fn suspension() -> Value {
    json!({
        "id": "source:192.0.2.1@google", "subject": EVIL, "provider": EVIL, "since": EVIL, "until": AT,
        "by": EVIL, "author": EVIL, "reason": EVIL.repeat(50)
    })
}

fn site() -> Value {
    json!({
        "domain": format!("x.example/{EVIL}"), "deliveries": 4, "recipients": 5, "due": 1,
        "being_attempted": 1, "held": 2, "next_attempt": AT, "oldest_accepted_at": EVIL,
        "pools": vec![EVIL; 40], "site": EVIL.repeat(50), "provider": EVIL, "hold": EVIL, "last": last(),
        "suspensions": vec![suspension(); 20]
    })
}

fn message() -> Value {
    json!({
        "id": "01KB6Q4Y7M3V8T01KB6Q4Y7M31", "tenant": EVIL, "from": EVIL, "subject": EVIL.repeat(50), "size": 20480,
        "accepted_at": AT, "expires_at": EVIL, "pending": 3, "next_attempt": AT, "held": true,
        "state": EVIL, "domains": vec![EVIL; 10], "last": last(), "message_id": EVIL, "source": EVIL,
        "deliveries": vec![json!({
            "domain": EVIL, "priority": 0, "attempts": 2, "held": true, "hold_reason": EVIL,
            "next_attempt": null, "being_attempted": false, "last": last(),
            "recipients": vec![json!({"address": EVIL, "state": EVIL}); 30]
        }); 2]
    })
}

fn wait() -> Value {
    json!({
        "recipient": EVIL, "domain": EVIL, "state": "pending", "attempts": 1, "next_attempt": null,
        "expires_at": AT, "site": EVIL, "pool": EVIL, "route": EVIL, "priority": 0, "last": last(),
        "reason": EVIL
    })
}

fn summary() -> Value {
    json!({
        "version": EVIL, "started_at": AT, "uptime_seconds": 3600, "ready": false, "not_ready": EVIL,
        "tenants": 4, "domains": 9,
        "queue": {"messages": 1, "deliveries": 2, "due": 3, "being_attempted": 4, "held": 5,
            "oldest_due_at": "2020-01-01T00:00:00.000Z", "quarantined": 1},
        "delivery": {"connections": 20, "idle_connections": 3, "sites": 140, "sites_down": 1,
            "suspensions": 1, "slowed": 1, "warming_up": 2},
        "since_start": {"accepted": 91000, "refused": 12, "delivered": 75, "delayed": 4, "bounced": 25,
            "failed": 0, "expired": 0, "suppressed": 5},
        "disk": {"free_octets": 1000, "free_inodes": 10},
        "certificate_expires_at": "2020-02-01T00:00:00.000Z"
    })
}

fn tenant(id: &str, source: &str) -> Value {
    let quota = |limit: Option<u64>| json!({"used": 12, "limit": limit, "remaining": 0, "resets_at": AT});
    json!({
        "id": id, "source": source, "domains": 2, "networks": ["192.0.2.0/28", EVIL], "pools": [EVIL],
        "routes": [EVIL], "max_priority": 3, "max_held": 1000, "held": 1, "requests_per_second": null,
        "quota": {"hour": quota(None), "day": quota(Some(10)), "month": quota(Some(500))},
        "suppression": {"hard_bounces": 2, "mailbox_full_times": null, "mailbox_full_days": null,
            "complaints": "stream"},
        "plugins": [EVIL], "warmup": [warmup()]
    })
}

fn warmup() -> Value {
    json!({
        "address": EVIL, "provider": EVIL, "is_warm": false, "step": 3, "steps": 20, "day": EVIL,
        "cap": 110, "cap_per_hour": 28, "used": 64, "accepted": 60, "deferred": 2, "complaints": 0,
        "note": EVIL
    })
}

fn shaping() -> Value {
    let provider = json!({
        "name": EVIL, "connections": 5, "messages_per_minute": 60, "messages_per_connection": 50,
        "recipients_per_transaction": 10, "source": format!("javascript:{EVIL}"), "checked": EVIL,
        "pools": vec![json!({"pool": EVIL, "open": 3, "slowed": {"per_minute": 40, "ends_at": 160,
            "next_step": EVIL, "rule": EVIL, "reply": EVIL}}); 2]
    });
    json!({
        "object": "shaping", "rules_version": EVIL, "providers": vec![provider; 20], "suspensions": [suspension()]
    })
}

fn plugin() -> Value {
    json!({
        "tenant": "acme", "plugin": "block", "state": "broken", "digest": "aaaaaaaaaaaaaaaa",
        "previous": "bbbbbbbbbbbbbbbb", "problem": EVIL, "breaker": "open",
        "versions": [{"digest": "aaaaaaaaaaaaaaaa", "added_at": EVIL, "size": 1200},
            {"digest": "bbbbbbbbbbbbbbbb", "added_at": AT, "size": 1100}],
        "last_fault": {"at": EVIL, "fault": EVIL}, "kv_entries": 3,
        "shadow": {"digest": EVIL, "compared": 10, "differing": 2, "faults": 1, "skipped": 0, "last": [
            {"message": EVIL, "recipient": 0, "recipients": 2, "active": EVIL, "shadow": EVIL},
            {"message": EVIL, "fault": EVIL}]},
        "recordings": {"messages": 2, "octets": 300, "redacted": false, "recorded": 2, "dropped": 1},
        "log": [EVIL]
    })
}

fn list(entries: Vec<Value>) -> Value {
    json!({"object": "list", "has_more": true, "next": "01K9", "data": entries})
}

fn world() -> FakeApi {
    let act = json!({
        "object": "audit", "id": "7", "created_at": EVIL, "actor": EVIL, "action": EVIL, "subject": EVIL,
        "result": EVIL, "tenant": EVIL
    });
    let sites = json!({"data": vec![site(); 10], "has_more": true, "domains": 99, "truncated": true});
    FakeApi::new()
        .with("GET", "/operations/summary", 200, summary())
        .with("GET", "/operations/audit", 200, list(vec![act; 20]))
        .with("GET", "/queue?", 200, list(vec![message(); 12]))
        .with("GET", "/queue/sites", 200, sites)
        .with("GET", "/queue/01KB6Q4Y7M3V8T01KB6Q4Y7M31", 200, message())
        .with("GET", "/queue/01KB6Q4Y7M3V8T01KB6Q4Y7M31/why", 200, list(vec![wait(); 12]))
        .with("GET", "/shaping", 200, shaping())
        .with(
            "GET",
            "/shaping?domain=",
            200,
            json!({"domain": EVIL, "site": EVIL, "provider": EVIL, "hold": EVIL, "shaping": shaping()}),
        )
        .with("GET", "/warmup", 200, list(vec![warmup(); 20]))
        .with("GET", "/tenants?", 200, list(vec![tenant("acme", "store"); 20]))
        .with("GET", "/tenants/acme", 200, tenant("acme", "store"))
        .with("GET", "/tenants/filed", 200, tenant("filed", "file"))
        .with("GET", "/plugins", 200, json!(vec![plugin(); 20]))
}

#[tokio::test]
async fn nothing_of_an_answer_becomes_markup() {
    let browser = Browser::at(world());
    for place in [
        "",
        "/audit?tenant=acme",
        "/queue",
        "/queue?acted=hold&count=3&domain=%3Cb%3E&next=01K1",
        "/queue/messages?state=held&domain=%22%3E",
        "/queue/messages/01KB6Q4Y7M3V8T01KB6Q4Y7M31",
        "/shaping",
        "/shaping/domain?domain=x.example",
        "/shaping/warmup",
        "/tenants",
        "/tenants/acme",
        "/tenants/acme/edit",
        "/tenants/filed",
        "/new-tenant",
        "/plugins",
        "/plugins/acme/block",
    ] {
        let page = browser.get(&format!("/panel/relay{place}")).await;
        assert_eq!(page.status, 200, "{place}: {}", page.text);
        page.is_harmless();
        assert!(!page.text.contains("href=\"javascript:"), "{place}");
    }
}

#[tokio::test]
async fn the_glance_names_what_needs_attention() {
    let page = Browser::at(world()).get("/panel/relay").await;
    for words in ["accepts no mail", "certificate of the listeners ends", "Little disk", "Few files"] {
        assert!(page.text.contains(words), "{words}: {}", page.text);
    }
    for words in ["set aside: 1", "due since", "Suspensions: 1", "acme/block is broken", "75.0\u{a0}%"] {
        assert!(page.text.contains(words), "{words}: {}", page.text);
    }
    let mut calm = summary();
    calm["ready"] = true.into();
    calm["queue"] = json!({"messages": 0, "deliveries": 0, "due": 0, "being_attempted": 0, "held": 0,
        "oldest_due_at": null, "quarantined": 0});
    calm["delivery"] = Value::Null;
    calm["disk"] = json!({"free_octets": 1_u64 << 40, "free_inodes": null});
    calm["certificate_expires_at"] = "9999-01-01T00:00:00.000Z".into();
    let page =
        Browser::at(FakeApi::new().with("GET", "/operations/summary", 200, calm)).get("/panel/relay").await;
    assert!(page.text.contains("Nothing.") && !page.text.contains("class=\"attention"), "{}", page.text);
}

#[tokio::test]
async fn acts_on_a_site_go_on_as_long_as_one_press_may() {
    let more = json!({"object": "queue_site_action", "count": 500, "has_more": true, "next": "01K5"});
    let browser = Browser::at(world().with("POST", "/queue/sites/a.example/hold", 200, more));
    let answer = browser.post("/panel/relay/queue/sites/a.example", &[("action", "hold")]).await;
    let calls = browser.api.requests().iter().filter(|request| request.method == "POST").count();
    assert_eq!((answer.status.as_u16(), calls), (303, 20));
    assert_eq!(answer.location, "/panel/relay/queue?domain=a.example&acted=hold&count=10000&next=01K5");
    let page = browser.get(&answer.location).await;
    assert!(page.text.contains("Held: 10,000 messages to a.example."), "{}", page.text);
    assert!(page.text.contains("name=\"after\" value=\"01K5\"") && page.text.contains("Go on"));

    let all = json!({"object": "queue_site_action", "count": 3, "has_more": false});
    let browser = Browser::at(world().with("POST", "/queue/sites/a.example/retry", 200, all));
    let fields = [("action", "retry"), ("after", "01K5")];
    let answer = browser.post("/panel/relay/queue/sites/a.example", &fields).await;
    assert_eq!(browser.api.last("POST").path, "/queue/sites/a.example/retry?after=01K5");
    assert_eq!(answer.location, "/panel/relay/queue?domain=a.example&acted=retry&count=3");
    let answer = browser.post("/panel/relay/queue/sites/a.example", &[("action", "drop")]).await;
    assert_eq!(answer.status, 404, "a domain is not dropped");
}

#[tokio::test]
async fn a_message_is_acted_on() {
    let held = json!({"name": "conflict", "message": "the message is held"});
    let api = world()
        .with("POST", "/queue/01KB6Q4Y7M3V8T01KB6Q4Y7M31/hold", 200, json!({"object": "queue_action"}))
        .with("POST", "/queue/01KB6Q4Y7M3V8T01KB6Q4Y7M31/retry", 409, held)
        .with("POST", "/queue/01KB6Q4Y7M3V8T01KB6Q4Y7M31/drop", 200, json!({"object": "queue_action"}));
    let browser = Browser::at(api);
    let answer =
        browser.post("/panel/relay/queue/messages/01KB6Q4Y7M3V8T01KB6Q4Y7M31", &[("action", "hold")]).await;
    assert_eq!(answer.location, "/panel/relay/queue/messages/01KB6Q4Y7M3V8T01KB6Q4Y7M31?done=queue_hold");
    let page =
        browser.post("/panel/relay/queue/messages/01KB6Q4Y7M3V8T01KB6Q4Y7M31", &[("action", "retry")]).await;
    assert_eq!(page.status, 409);
    page.is_harmless();
    assert!(page.text.contains("the message is held"), "{}", page.text);
    let answer = browser.post("/panel/relay/queue/messages/01KB6Q4Y7M3V8T01KB6Q4Y7M31/drop", &[]).await;
    assert_eq!(answer.location, "/panel/relay/queue/messages?done=queue_drop");
    let answer = browser.get("/panel/relay/queue/messages/01KB6Q4Y7M3V8T01KB6Q4Y7M32").await;
    assert_eq!(answer.location, "/panel/relay/queue/messages?done=queue_gone");
    let refused = browser
        .post_raw("/panel/relay/queue/messages/01KB6Q4Y7M3V8T01KB6Q4Y7M31/drop", &[("_csrf", "x")])
        .await;
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn mail_is_suspended_and_resumed() {
    let api = world()
        .with("POST", "/shaping/suspensions", 201, suspension())
        .with("DELETE", "/shaping/suspensions/", 200, suspension())
        .with("POST", "/shaping/reset/google", 200, json!({"object": "shaping_reset"}));
    let browser = Browser::at(api);
    let fields = [
        ("kind", "source"),
        ("name", " 192.0.2.10 "),
        ("domain", "gmail.com"),
        ("provider", ""),
        ("for", "2h"),
        ("reason", "wait"),
    ];
    let answer = browser.post("/panel/relay/shaping/suspensions", &fields).await;
    assert_eq!(answer.location, "/panel/relay/shaping?done=suspended");
    let body = json!({"subject": "source:192.0.2.10", "domain": "gmail.com", "for": "2h", "reason": "wait"});
    assert_eq!(browser.api.last("POST").body, body);
    let answer = browser.post("/panel/relay/shaping/resume", &[("id", "source:192.0.2.1@google")]).await;
    assert_eq!(answer.location, "/panel/relay/shaping?done=resumed");
    assert_eq!(browser.api.last("DELETE").path, "/shaping/suspensions/source%3A192.0.2.1%40google");
    let answer = browser.post("/panel/relay/shaping/reset/google", &[]).await;
    assert_eq!(answer.location, "/panel/relay/shaping?done=rates_reset");

    let refusal = json!({"name": "validation_error", "message": "is no address", "param": "subject"});
    let browser = Browser::at(world().with("POST", "/shaping/suspensions", 422, refusal));
    let page = browser.post("/panel/relay/shaping/suspensions", &[("name", EVIL), ("reason", "kept")]).await;
    assert_eq!(page.status, 422);
    page.is_harmless();
    assert!(page.text.contains("id=\"m-name\"") && page.text.contains("value=\"kept\""), "{}", page.text);
}

#[tokio::test]
async fn tenants_are_made_changed_and_deleted() {
    let api = world()
        .with("POST", "/tenants", 201, tenant("shop", "store"))
        .with("PATCH", "/tenants/acme", 200, tenant("acme", "store"))
        .with("DELETE", "/tenants/acme", 200, json!({"deleted": true}));
    let browser = Browser::at(api);
    let fields = [("id", "shop"), ("pools", "a, b\nc"), ("day", "5000"), ("complaints", "all")];
    let answer = browser.post("/panel/relay/tenants", &fields).await;
    assert_eq!(answer.location, "/panel/relay/tenants/shop?done=tenant_created");
    let rules = json!({"hard_bounces": null, "mailbox_full_times": null, "mailbox_full_days": null,
        "complaints": "all"});
    let body = json!({
        "id": "shop", "pools": ["a", "b", "c"], "routes": [], "networks": [], "max_priority": null,
        "max_held": null, "requests_per_second": null, "suppression": rules,
        "quota": {"hour": null, "day": 5000, "month": null}
    });
    assert_eq!(browser.api.last("POST").body, body);
    let page = browser.get("/panel/relay/tenants/acme/edit").await;
    assert!(page.text.contains("name=\"month\" type=\"text\" value=\"500\""), "{}", page.text);
    browser.post("/panel/relay/tenants/acme", &[("month", "600")]).await;
    assert_eq!(browser.api.last("PATCH").body["quota"]["month"], 600);
    let page = browser.post("/panel/relay/tenants/acme", &[("month", "many")]).await;
    assert_eq!(page.status, 422);
    assert!(page.text.contains("id=\"m-month\"") && page.text.contains("value=\"many\""));

    let page = browser.post("/panel/relay/tenants/acme/delete", &[("id", "acm")]).await;
    assert_eq!(page.status, 422);
    assert!(browser.api.requests().iter().all(|request| request.method != "DELETE"));
    let answer = browser.post("/panel/relay/tenants/acme/delete", &[("id", "acme")]).await;
    assert_eq!(answer.location, "/panel/relay/tenants?done=tenant_deleted");
    assert_eq!(browser.api.last("DELETE").path, "/tenants/acme");
}

#[tokio::test]
async fn tenants_of_the_file_are_only_shown() {
    let refusal = json!({"name": "validation_error", "message": "is no network", "param": "networks[1]"});
    let browser = Browser::at(world().with("POST", "/tenants", 422, refusal));
    let page = browser.get("/panel/relay/tenants/filed").await;
    assert!(page.text.contains("is in the configuration file") && !page.text.contains("/edit\""));
    assert!(!page.text.contains("class=\"danger\""));
    let answer = browser.get("/panel/relay/tenants/filed/edit").await;
    assert_eq!(answer.location, "/panel/relay/tenants/filed");
    let page = browser.post("/panel/relay/tenants", &[("id", "x"), ("networks", EVIL)]).await;
    assert_eq!(page.status, 422);
    page.is_harmless();
    assert!(page.text.contains("id=\"m-networks\""), "{}", page.text);
}

#[tokio::test]
async fn plugins_are_switched() {
    let done = json!({"active": true});
    let api = world()
        .with("POST", "/plugins/acme/block/disable", 200, done.clone())
        .with("DELETE", "/plugins/acme/block/shadow", 200, done.clone())
        .with("DELETE", "/plugins/acme/block", 200, done)
        .with("POST", "/plugins/acme/block/rollback", 409, json!({"name": "conflict", "message": EVIL}));
    let browser = Browser::at(api);
    let place = "/panel/relay/plugins/acme/block";
    let page = browser.get(place).await;
    assert!(page.text.contains("name=\"digest\" value=\"bbbbbbbbbbbbbbbb\""), "{}", page.text);
    assert!(!page.text.contains("name=\"digest\" value=\"aaaaaaaaaaaaaaaa\""));
    for (action, location) in [
        ("disable", "/panel/relay/plugins/acme/block?done=plugin_disabled"),
        ("end_shadow", "/panel/relay/plugins/acme/block?done=plugin_shadow"),
        ("forget", "/panel/relay/plugins?done=plugin_forgotten"),
    ] {
        assert_eq!(browser.post(place, &[("action", action)]).await.location, location);
    }
    assert_eq!(browser.post(place, &[("action", "replay")]).await.status, 404);
    let page = browser.post(&format!("{place}/rollback"), &[("digest", "bbbbbbbbbbbbbbbb")]).await;
    assert_eq!(browser.api.last("POST").path, "/plugins/acme/block/rollback?digest=bbbbbbbbbbbbbbbb");
    assert_eq!(page.status, 409);
    page.is_harmless();
    assert_eq!(browser.get("/panel/relay/plugins/acme/other").await.status, 404);
}
