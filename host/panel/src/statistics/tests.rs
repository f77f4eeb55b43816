use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::testing::{EVIL, FakeApi, ask, assert_harmless, page};

const PLACE: &str = "/panel/t/acme/statistics";
const SPAN: &str = "from=2026-11-01&to=2026-11-02";

fn figures(delivered: u64) -> Value {
    json!({
        "counts": {"accepted": delivered + 2, "sent": delivered + 2, "delivered": delivered,
            "bounced": {"total": 2, "hard": 1, "block": 1},
            "clicked": {"total": 7, "human": 5, "unique": 6, "unique_human": 4}},
        "rates": {"delivered_rate": 0.98, "bounce_rate": 0.02, "open_rate": null},
    })
}

fn with(mut figures: Value, more: &Value) -> Value {
    let more = more.as_object().expect("fields").clone();
    figures.as_object_mut().expect("figures").extend(more);
    figures
}

fn intervals(delivered: u64) -> Value {
    let day = |day: u8| {
        let at = json!({"from": format!("2026-11-0{day}T00:00:00Z"), "to": ""});
        with(figures(delivered / 2), &at)
    };
    json!([day(1), day(2)])
}

fn report(group_by: Option<&str>, groups: &[&str], delivered: u64) -> Value {
    let series = |value: Option<&str>| {
        with(figures(delivered), &json!({"value": value, "intervals": intervals(delivered)}))
    };
    let data: Vec<Value> = match group_by {
        None => vec![series(None)],
        Some(_) => groups.iter().map(|group| series(Some(group))).collect(),
    };
    json!({
        "object": "stats", "from": "2026-11-01T00:00:00Z", "to": "2026-11-03T00:00:00Z",
        "timezone": "UTC", "interval": "day", "group_by": group_by, "cursor": "1",
        "totals": figures(delivered), "data": data, "has_more": false,
        "rates": [{"name": "delivered_rate", "numerator": "delivered", "denominator": "sent"},
            {"name": "open_rate", "numerator": "opened.unique_human", "denominator": "delivered"}],
    })
}

fn benchmark() -> Value {
    let entry = |publisher: &str, url: &str| {
        json!({"own": 0.2, "rate": "open_rate", "value": 0.215, "kind": "average", "year": 2021,
            "publisher": publisher, "report": "Report", "url": url, "note": "all industries"})
    };
    json!({"object": "benchmark", "from": "", "to": "", "rates": [],
        "data": [entry("Sector", "https://example.com/report"), entry("Odd", "javascript:alert(1)")]})
}

fn api() -> std::sync::Arc<FakeApi> {
    FakeApi::of(&[("GET /stats", report(None, &[], 98)), ("GET /stats/benchmark", benchmark())])
}

#[tokio::test]
async fn a_span_has_charts_with_tables_rates_and_the_sector() {
    let api = api();
    let (status, page) = page(&api, &format!("{PLACE}?{SPAN}")).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    assert_harmless(&page);
    for part in ["Mail over time", "Rates over time", "Bounces by reason"] {
        assert!(page.contains(&format!("<h2>{part}</h2>")), "{part}");
    }
    assert_eq!(page.matches("class=\"chart\"").count(), 4, "three charts, the first one wide and narrow");
    assert!(page.contains("<th scope=\"row\">2 Nov</th><td>51</td><td>49</td>"));
    assert!(page.contains("Delivered ÷ Sent") && page.contains("98 ÷ 100"));
    assert!(page.contains("href=\"https://example.com/report\"") && page.contains(">2021<"));
    assert!(page.contains("Odd: Report") && !page.contains("javascript:"));
    assert!(!page.contains(" style=") && !page.contains("<script>"));
    assert!(page.len() < 100_000, "{}", page.len());
    let asked = api.asked("GET /stats?");
    assert_eq!(asked[0].line, "GET /stats?from=2026-11-01&to=2026-11-02&interval=hour");
}

#[tokio::test]
async fn a_filter_and_a_group_are_asked_for() {
    let api = api();
    api.answer("GET /stats", StatusCode::OK, report(Some("tag"), &["campaign:spring", EVIL, "(other)"], 98));
    let query =
        "group_by=tag&only=tag&value=%20a%3Ab%20&stream=marketing&interval=week&timezone=Europe%2FMadrid";
    let (status, page) = page(&api, &format!("{PLACE}?{SPAN}&{query}")).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    assert_harmless(&page);
    let asked = api.asked("GET /stats");
    let wanted = "GET /stats?from=2026-11-01&to=2026-11-02&interval=week&timezone=Europe%2FMadrid\
        &group_by=tag&stream=marketing&limit=20&tag=a%3Ab";
    assert_eq!(asked.iter().map(|asked| asked.line.as_str()).collect::<Vec<_>>(), [wanted]);
    assert!(
        page.contains("only=tag&#38;value=campaign%3Aspring") || page.contains("value=campaign%3Aspring")
    );
    assert!(page.contains("(other)") && page.contains("The largest groups"));
}

#[tokio::test]
async fn links_are_texts_with_counts() {
    let long = format!("https://shop.example/{}", "a".repeat(300));
    let api = api();
    api.answer("GET /stats", StatusCode::OK, report(Some("link"), &[&long, EVIL], 98));
    let (status, page) = page(&api, &format!("{PLACE}?{SPAN}&group_by=link")).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    assert_harmless(&page);
    assert!(page.contains(&format!("title=\"{long}\"")), "the whole link is in the title");
    assert!(page.contains("aaa\u{2026}</a>") && !page.contains(&format!(">{long}<")));
    assert!(!page.contains(&format!("href=\"{long}\"")), "a link of a message is not followed from here");
    assert!(page.contains("<th scope=\"col\" class=\"num\">All clicks</th>"));
    assert!(page.contains("<td class=\"num\">7</td><td class=\"num\">5</td><td class=\"num\">6</td>"));
}

#[tokio::test]
async fn two_spans_stand_beside_each_other() {
    let api = api();
    api.answer("GET /stats?from=2026-10-30&to=2026-10-31", StatusCode::OK, report(None, &[], 50));
    let (status, page) = page(&api, &format!("{PLACE}?{SPAN}&compare=before&measure=delivered")).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    assert!(page.contains("<th scope=\"row\">Delivered</th><td class=\"num\">98</td><td class=\"num\">50</td><td class=\"quiet\">96\u{a0}% more</td>"), "{page}");
    assert!(page.contains("of=compare"), "{page}");
    let old = ask(&api, get(&format!("{PLACE}?from=2025-10-01&to=2025-10-02&compare=before"))).await;
    assert!(old.2.contains("not complete"), "counts are kept for 400 days");
}

#[tokio::test]
async fn mistakes_stand_at_their_fields() {
    let api = api();
    let mistake = json!({"name": "validation_error", "message": "must be RFC 3339", "param": "from"});
    api.answer("GET /stats", StatusCode::UNPROCESSABLE_ENTITY, mistake);
    let (status, page) = page(&api, &format!("{PLACE}?from=soon{}&to=later", "%3Cscript%3Ealert")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_harmless(&page);
    assert!(page.contains("id=\"m-from\"") && page.contains("value=\"later\""), "{page}");
    api.answer("GET /stats", StatusCode::SERVICE_UNAVAILABLE, json!({"name": "unavailable"}));
    assert_eq!(ask(&api, get(PLACE)).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn nothing_is_said_in_words() {
    let api = api();
    let mut empty = report(None, &[], 0);
    empty["totals"] = json!({"counts": {"accepted": 0}, "rates": {}});
    api.answer("GET /stats", StatusCode::OK, empty);
    let (_, page) = page(&api, PLACE).await;
    assert!(page.contains("There was no mail in this time.") && !page.contains("<svg"));
}

#[tokio::test]
async fn charts_and_tables_are_files() {
    let api = api();
    let (status, fields, svg) = ask(&api, get(&format!("{PLACE}/chart.svg?{SPAN}&of=counts"))).await;
    assert_eq!(status, StatusCode::OK);
    assert!(fields.contains("image/svg+xml") && fields.contains("counts-2026-11-01-2026-11-02.svg"));
    assert!(svg.starts_with("<svg") && !svg.contains("var(--"), "{svg}");
    let (status, ..) = ask(&api, get(&format!("{PLACE}/chart.svg?{SPAN}&of=nothing"))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, fields, csv) = ask(&api, get(&format!("{PLACE}/table.csv?{SPAN}"))).await;
    assert!(fields.contains("text/csv") && fields.contains("attachment"));
    let mut lines = csv.lines();
    assert!(
        lines
            .next()
            .is_some_and(|line| line.starts_with("from,accepted,sent,delivered,deferred,bounced.total"))
    );
    assert!(lines.next().is_some_and(|line| line.starts_with("2026-11-01T00:00:00Z,51,51,49,0,2,1,")));
    assert_eq!(lines.count(), 1);
    api.answer("GET /stats", StatusCode::OK, report(Some("tag"), &["=cmd|' /C calc'!A0"], 98));
    let (_, _, csv) = ask(&api, get(&format!("{PLACE}/table.csv?{SPAN}&group_by=tag"))).await;
    assert!(csv.contains("\r\n\"'=cmd|' /C calc'!A0\",total,100,"), "{csv}");
    assert_eq!(csv.lines().count(), 4);
}

fn get(path: &str) -> Request<Body> {
    Request::builder().uri(path).body(Body::empty()).expect("a request")
}
