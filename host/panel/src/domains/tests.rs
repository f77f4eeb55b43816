use serde_json::json;

use crate::testing::{Browser, EVIL, FakeApi};

fn domain(source: &str) -> serde_json::Value {
    json!({
        "name": "news.example.com", "status": "not_started", "created_at": "2026-11-29T10:00:00.000Z",
        "source": source, "open_tracking": true, "click_tracking": false, "tracking_subdomain": "links",
        "tls": "opportunistic",
        "records": [
            {"record": "DKIM", "name": "rv._domainkey.news.example.com", "type": "TXT", "ttl": "Auto",
             "value": "v=DKIM1; p=abc", "status": "not_started"},
            {"record": EVIL, "name": EVIL, "type": EVIL, "value": EVIL, "status": EVIL}
        ]
    })
}

fn world() -> FakeApi {
    let row = json!({
        "name": EVIL, "status": EVIL, "created_at": null, "source": "file", "open_tracking": true,
        "click_tracking": true, "tls": EVIL
    });
    FakeApi::new()
        .with("GET", "/domains", 200, json!({"has_more": true, "data": [row]}))
        .with("GET", "/domains/news.example.com", 200, domain("api"))
        .with("GET", "/domains/file.example.com", 200, domain("file"))
}

const PLACE: &str = "/panel/t/dev/domains/news.example.com";

#[tokio::test]
async fn domains_are_listed_and_go_on_behind_the_last() {
    let browser = Browser::at(world());
    let page = browser.get("/panel/t/dev/domains").await;
    page.is_harmless();
    assert!(page.text.contains("/panel/t/dev/domains?after=%3Cscript%3E"), "{}", page.text);
    assert_eq!(browser.api.last("GET").path, "/domains?limit=50");
}

#[tokio::test]
async fn a_domain_is_added_or_the_form_stays() {
    let api = world().with("POST", "/domains", 201, json!({"name": "news.example.com"}));
    let browser = Browser::at(api);
    let page = browser.post("/panel/t/dev/domains", &[("name", " News.example.com ")]).await;
    assert_eq!((page.status.as_u16(), &*page.location), (303, &*format!("{PLACE}?done=domain_added")));
    assert_eq!(browser.api.last("POST").body, json!({"name": "News.example.com"}));

    let refusal = json!({"name": "validation_error", "message": "m", "param": "name"});
    let browser = Browser::at(world().with("POST", "/domains", 422, refusal));
    let page = browser.post("/panel/t/dev/domains", &[("name", EVIL)]).await;
    page.is_harmless();
    assert_eq!(page.status, 422);
    assert!(page.text.contains("id=\"m-name\"") && page.text.contains("&lt;script&gt;"), "{}", page.text);

    let page = browser.post_raw("/panel/t/dev/domains", &[("name", "a.example"), ("_csrf", "x")]).await;
    assert_eq!(page.status, 403);
}

#[tokio::test]
async fn records_are_shown_to_copy_and_checked_when_asked() {
    let mut checked = domain("api");
    checked["records"][0]["status"] = "failed".into();
    checked["records"][0]["found"] = json!([format!("v=DKIM1; p={}", "\u{f1}".repeat(5_000))]);
    checked["records"][0]["detail"] = EVIL.into();
    let browser = Browser::at(world().with("POST", "/domains/news.example.com/verify", 200, checked));
    let page = browser.get(PLACE).await;
    page.is_harmless();
    assert!(page.text.contains("data-copy=\"v=DKIM1; p=abc\""), "{}", page.text);
    assert!(!page.text.contains("another value is published"));
    let page = browser.post(&format!("{PLACE}/verify"), &[]).await;
    page.is_harmless();
    assert!(page.text.contains("another value is published"), "{}", page.text);
    assert!(page.text.contains("p=\u{f1}\u{f1}") && !page.text.contains(&"\u{f1}".repeat(400)));
}

#[tokio::test]
async fn only_settings_that_differ_are_changed() {
    let browser = Browser::at(world().with("PATCH", "/domains/news.example.com", 200, json!({})));
    let fields = [("click_tracking", "on"), ("tracking_subdomain", "links"), ("tls", "enforced")];
    let page = browser.post(&format!("{PLACE}/settings"), &fields).await;
    assert_eq!(page.location, format!("{PLACE}?done=saved"));
    let change = json!({"open_tracking": false, "click_tracking": true, "tls": "enforced"});
    assert_eq!(browser.api.last("PATCH").body, change);
    let fields = [("open_tracking", "on"), ("tracking_subdomain", "links"), ("tls", "opportunistic")];
    let page = browser.post(&format!("{PLACE}/settings"), &fields).await;
    assert_eq!(page.status, 303);
    let patches = browser.api.requests().into_iter().filter(|request| request.method == "PATCH");
    assert_eq!(patches.count(), 1, "nothing changed");
}

#[tokio::test]
async fn a_domain_of_the_file_is_read_only_and_others_are_removed() {
    let browser = Browser::at(world().with("DELETE", "/domains/news.example.com", 200, json!({})));
    let page = browser.get("/panel/t/dev/domains/file.example.com").await;
    page.is_harmless();
    assert!(!page.text.contains("/settings\"") && !page.text.contains("/remove\""), "{}", page.text);
    assert!(browser.get(PLACE).await.text.contains("/remove\""));
    let page = browser.post(&format!("{PLACE}/remove"), &[]).await;
    assert_eq!(page.location, "/panel/t/dev/domains?done=domain_removed");
    assert_eq!(browser.api.last("DELETE").path, "/domains/news.example.com");
}

fn check(status: &str) -> serde_json::Value {
    json!({
        "check": "spf.record", "about": EVIL, "status": status, "message": EVIL,
        "record": {"type": "TXT", "name": EVIL, "value": EVIL, "replaces": [EVIL]},
        "source": format!("javascript:{EVIL}")
    })
}

#[tokio::test]
async fn health_begins_with_what_is_to_be_mended() {
    let health = json!({
        "name": "news.example.com", "status": "fail", "checked_at": "2026-11-29T10:00:00.000Z",
        "checks": [check("pass"), check("warn"), check(EVIL), check("fail")]
    });
    let browser = Browser::at(world().with("GET", "/domains/news.example.com/health", 200, health));
    let page = browser.get(&format!("{PLACE}/health")).await;
    page.is_harmless();
    assert!(!page.text.contains("href=\"javascript"), "{}", page.text);
    let at = |text: &str| page.text.find(text).unwrap_or_else(|| panic!("no {text} in {}", page.text));
    assert!(page.text.contains("to be mended: 1</span>"), "{}", page.text);
    assert!(at("<li class=\"warning\">") < at("<li class=\"bad\">"));
    assert!(at("<li class=\"bad\">") < at("<li class=\"good\">"));
}

#[tokio::test]
async fn reputation_begins_with_listings() {
    let listing = |status: &str| json!({"list": EVIL, "address": "192.0.2.1", "status": status, "detail": EVIL, "asked_at": EVIL});
    let rate = json!({
        "name": EVIL, "delivered": 1_990, "complained": 4, "bounced": 10, "checks": [check("fail")]
    });
    let mut blocklists = vec![listing("not_listed"); 70];
    blocklists.push(listing("listed"));
    let reputation = json!({
        "blocklists": blocklists, "domains": [rate], "providers": [], "on_fail": "stop",
        "failing": [{"domain": EVIL, "reason": EVIL, "stopped": true}]
    });
    let browser = Browser::at(FakeApi::new().with("GET", "/reputation", 200, reputation));
    let page = browser.get("/panel/t/dev/reputation").await;
    page.is_harmless();
    assert!(page.text.contains("badge bad\">listed"), "{}", page.text);
    assert!(page.text.contains("10 (0.50\u{a0}%)") && page.text.contains("21 more"), "{}", page.text);
}
