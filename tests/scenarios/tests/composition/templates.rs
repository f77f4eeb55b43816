//! `POST /render`, and stored templates of the core.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use hyper::{Request, Response};
use serde_json::{Value, json};

use relevo_scenarios::edge::{Edge, NOW};

use crate::accepted;

/// The core's answer about the template `welcome`; none: it is away. `POST /relay` always takes.
type Welcome = Arc<Mutex<Option<(u16, &'static str, Value)>>>;

fn stored(html: &str) -> Value {
    let partial =
        json!({"name": "hello", "subject": "", "html": "Hello {{ name }}", "mjml": null, "text": null});
    let source =
        json!({"subject": "Welcome", "html": html, "mjml": null, "text": null, "partials": [partial]});
    json!({"id": "01K", "version": 2, "source": source, "fallbacks": {"name": "there"}})
}

fn edge() -> (Edge, Welcome) {
    let html = "<p>{% include 'hello' %}, you have {{ n }}</p>";
    let welcome: Welcome = Arc::new(Mutex::new(Some((200, "\"one\"", stored(html)))));
    let template = welcome.clone();
    let edge = Edge::with_core(move |request: Request<_>| {
        let (status, tag, body) = match request.uri().path() {
            "/relay" => (202, "", accepted()),
            _ => match template.lock().unwrap().clone() {
                Some(answer) => answer,
                None => return Box::pin(std::future::ready(None)),
            },
        };
        let known = request.headers().get("if-none-match").is_some_and(|known| *known == *tag);
        let (status, body) = if known { (304, String::new()) } else { (status, body.to_string()) };
        let response = Response::builder().status(status).header("etag", tag).body(body.into()).unwrap();
        Box::pin(std::future::ready(Some(response)))
    });
    (edge, welcome)
}

fn by_template() -> Value {
    json!({
        "from": "a@example.com",
        "template": {"id": "welcome", "variables": {"n": 3}},
        "recipients": [
            {"email": "ana@example.net", "variables": {"name": "Ana"}},
            {"email": "luis@example.net"},
        ],
    })
}

#[tokio::test]
async fn sources_are_rendered_without_the_core() {
    let edge = Edge::new(None);
    let mjml = "<mjml><mj-body><mj-section><mj-column><mj-text>{{ n }}</mj-text></mj-column></mj-section></mj-body></mjml>";
    let body = json!({"subject": "Order {{ n }}", "mjml": mjml, "variables": {"n": 7}});
    let answer = edge.send("/render", &[], &body).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["subject"]),
        (200, &json!("Order 7")),
        "{}",
        answer.body
    );
    assert!(answer.body["html"].as_str().unwrap().contains("<table") && answer.body["text"] == "7\n");
    for (body, status, param) in [
        (json!({"text": "{{ n }}"}), 422, json!("variables.n")),
        (json!({"text": "{% if %}"}), 422, json!("text")),
        (json!({"txt": "x"}), 422, json!("txt")),
        (json!({"template": {"id": "a"}, "html": "x"}), 422, json!("html")),
        (json!({"template": {"id": "a/b"}}), 422, json!("template.id")),
    ] {
        let answer = edge.send("/render", &[], &body).await;
        assert_eq!((answer.status.as_u16(), &answer.body["param"]), (status, &param), "{}", answer.body);
    }
    assert_eq!(edge.ask("POST", "/render", &[], b"{}".to_vec()).await.status.as_u16(), 401);
    assert_eq!(edge.ask("GET", "/render", &[], Vec::new()).await.status.as_u16(), 405);
    assert!(edge.sent().is_empty());
}

#[tokio::test]
async fn a_stored_template_is_fetched_once_for_a_request() {
    let (edge, _) = edge();
    let answer = edge.send("/emails/batch", &[], &json!([by_template(), by_template()])).await;
    assert_eq!(answer.status.as_u16(), 202, "{}", answer.body);
    let [asked, relayed] = edge.sent().try_into().unwrap();
    assert_eq!(
        (asked.method.as_str(), asked.uri.as_str()),
        ("GET", "https://core.example.com/relay/templates/welcome")
    );
    assert_eq!((asked.field("authorization"), asked.field("if-none-match")), (Some("Bearer rv_core"), None));
    assert_eq!(relayed.body["emails"][1]["template"], "01K", "the id, as the native host labels it");
    let messages = relayed.body["emails"][0]["messages"].as_array().unwrap();
    let texts: Vec<&str> = messages.iter().map(|message| message["message"].as_str().unwrap()).collect();
    assert!(
        texts[0].contains("Hello Ana, you have 3") && texts[1].contains("Hello there, you have 3"),
        "{texts:?}"
    );

    let mut missing = by_template();
    missing["template"]["variables"] = json!({});
    let answer = edge.send("/emails", &[], &missing).await;
    assert_eq!((answer.status.as_u16(), &answer.body["param"]), (422, &json!("recipients[0].variables.n")));
    let rendered = json!({"template": {"id": "welcome", "version": 2}, "variables": {"n": 1}});
    let answer = edge.send("/render", &[], &rendered).await;
    assert_eq!(answer.body["text"], "Hello there, you have 1\n", "{}", answer.body);
    assert!(edge.sent().last().unwrap().uri.ends_with("/relay/templates/welcome?version=2"));
    let answer = edge.send("/render", &[], &json!({"template": {"id": "welcome"}})).await;
    assert_eq!(answer.body["param"], "variables.n", "{}", answer.body);
}

/// An instance that a host reuses keeps a template for its time to live, and no longer.
#[tokio::test]
async fn a_template_lives_as_long_as_it_may() {
    let (edge, welcome) = edge();
    let (first, instance) = edge.instance().await.send("/emails", &by_template()).await;
    *welcome.lock().unwrap() = None;
    edge.clock.store(NOW + 59_999, Ordering::SeqCst);
    let (second, instance) = instance.send("/emails", &by_template()).await;
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (202, 202), "{}", second.body);

    // Its time is over and the core is away: the old one is not used.
    edge.clock.store(NOW + 60_000, Ordering::SeqCst);
    let (away, instance) = instance.send("/emails", &by_template()).await;
    assert_eq!((away.status.as_u16(), away.retry_after.as_deref()), (503, Some("5")), "{}", away.body);
    *welcome.lock().unwrap() = Some((200, "\"one\"", stored("is not sent: it is what is known")));
    let (same, instance) = instance.send("/emails", &by_template()).await;
    assert_eq!(same.status.as_u16(), 202, "{}", same.body);
    let asked = edge.sent().into_iter().filter(|sent| sent.method == "GET").collect::<Vec<_>>();
    assert_eq!(asked.last().unwrap().field("if-none-match"), Some("\"one\""));
    assert!(edge.sent().last().unwrap().body.to_string().contains("Hello Ana, you have 3"));

    // Withdrawn: sent until its time is over, and then no more.
    *welcome.lock().unwrap() =
        Some((404, "", json!({"statusCode": 404, "name": "not_found", "message": "gone"})));
    let (still, instance) = instance.send("/emails", &by_template()).await;
    assert_eq!(still.status.as_u16(), 202);
    edge.clock.store(NOW + 120_000, Ordering::SeqCst);
    let (gone, instance) = instance.send("/emails", &by_template()).await;
    assert_eq!(
        (gone.status.as_u16(), &gone.body["param"], &gone.body["message"]),
        (422, &json!("template.id"), &json!("gone"))
    );
    *welcome.lock().unwrap() = None;
    let (forgotten, _) = instance.send("/emails", &by_template()).await;
    assert_eq!(forgotten.status.as_u16(), 503);

    // Without a time to live each request asks.
    let (mut edge, _) = self::edge();
    edge.variables.push(("RELEVO_TEMPLATE_TTL".to_owned(), "0".to_owned()));
    let (_, instance) = edge.instance().await.send("/render", &json!({"template": {"id": "welcome"}})).await;
    instance.send("/render", &json!({"template": {"id": "welcome"}})).await;
    assert_eq!(edge.sent().len(), 2);
}

#[tokio::test]
async fn a_core_that_is_not_well_gets_no_mail_sent() {
    let huge = json!({"id": "x".repeat(17 << 20), "version": 1});
    for (status, body, told) in [
        (200, json!({"id": 1}), 503),
        (200, json!([[[]]]), 503),
        (200, huge, 503),
        (401, json!({"message": "no"}), 503),
        (403, json!({"message": "no"}), 503),
        (304, json!({}), 503),
        (500, json!("no object"), 503),
        (429, json!({"statusCode": 429, "name": "rate_limit_exceeded", "message": "slow"}), 429),
    ] {
        let (edge, welcome) = edge();
        *welcome.lock().unwrap() = Some((status, "\"one\"", body));
        let answer = edge.send("/emails", &[], &by_template()).await;
        assert_eq!(answer.status.as_u16(), told, "{status}: {}", answer.body);
        assert_eq!(edge.sent().len(), 1, "nothing was relayed");
    }
}
