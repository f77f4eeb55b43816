//! Templates over HTTP: stored, published, rolled back, rendered, and still there after a restart.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use serde_json::{Value, json};
use support::relay::Relay;
use support::sink::Sink;

fn relay() -> (Sink, Relay) {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    (sink, relay)
}

fn created(relay: &Relay, fields: &Value) -> String {
    let (status, answer) = relay.call("POST", "/templates", fields);
    assert_eq!(status, 201, "{answer}");
    answer["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_template_is_published_rolled_back_and_survives_a_kill() {
    let (_sink, mut relay) = relay();
    let fields = json!({"name": "Order", "alias": "order", "subject": "Order {{ n }}", "html": "<p>{{ n }}</p>",
        "variables": [{"key": "n", "type": "number", "fallback_value": 7}]});
    let id = created(&relay, &fields);
    let (status, shown) = relay.call("GET", "/templates/order", &Value::Null);
    assert_eq!((status, &shown["id"], &shown["status"]), (200, &json!(id), &json!("draft")));
    assert_eq!((&shown["version"], &shown["html"]), (&json!(1), &json!("<p>{{ n }}</p>")));

    let publish = |relay: &Relay, body: &Value| relay.call("POST", "/templates/order/publish", body);
    assert_eq!(publish(&relay, &Value::Null).0, 200);
    let (status, _) = relay.call("PATCH", "/templates/order", &json!({"subject": "Your order {{ n }}"}));
    assert_eq!(status, 200);
    let published =
        |relay: &Relay| relay.call("GET", "/templates/order", &Value::Null).1["published_version"].clone();
    assert_eq!(published(&relay), json!(1), "new content is not sent before it is published");
    assert_eq!(publish(&relay, &json!({"version": 2})).0, 200);
    assert_eq!(relay.call("PATCH", "/templates/order", &json!({"name": "Orders"})).0, 200);
    assert_eq!(published(&relay), json!(2), "a new name leaves it published");
    relay.kill();
    relay.spawn();
    assert_eq!(published(&relay), json!(2));
    assert_eq!(publish(&relay, &json!({"version": 1})).0, 200);
    assert_eq!(publish(&relay, &json!({"version": 9})).0, 404);
    let (_, versions) = relay.call("GET", "/templates/order/versions", &Value::Null);
    let each = |v: &Value| (v["version"].as_i64().unwrap(), v["published"].as_bool().unwrap());
    let versions: Vec<_> = versions["data"].as_array().unwrap().iter().map(each).collect();
    assert_eq!(versions, [(2, false), (1, true)]);
    let (_, second) = relay.call("GET", "/templates/order/versions/2", &Value::Null);
    assert_eq!(second["subject"], "Your order {{ n }}");

    let (status, copy) = relay.call("POST", "/templates/order/duplicate", &Value::Null);
    assert_eq!(status, 201);
    let (status, stale) =
        relay.call("PATCH", "/templates/order", &json!({"subject": "Late {{ n }}", "base_version": 1}));
    assert_eq!((status, &stale["name"]), (409, &json!("conflict")));
    assert!(stale["message"].as_str().unwrap().contains("newest version is 2 of 20"), "{stale}");
    assert_eq!(relay.call("GET", "/templates/order", &Value::Null).1["version"], 2);
    let fresh = json!({"from": "shop@example.com", "subject": "Your order {{ n }}", "base_version": 2});
    assert_eq!(relay.call("PATCH", "/templates/order", &fresh).0, 200);
    assert_eq!(relay.call("PATCH", "/templates/order", &json!({"from": "", "base_version": 3})).0, 200);
    let (_, newest) = relay.call("GET", "/templates/order", &Value::Null);
    assert_eq!((&newest["version"], &newest["from"]), (&json!(4), &Value::Null));
    let (_, all) = relay.call("GET", "/templates?limit=1", &Value::Null);
    assert_eq!((&all["has_more"], &all["data"][0]["id"]), (&json!(true), &json!(id)));
    let (_, rest) = relay.call("GET", &format!("/templates?after={id}"), &Value::Null);
    assert_eq!((&rest["has_more"], &rest["data"][0]["id"]), (&json!(false), &copy["id"]));
    assert_eq!(relay.call("DELETE", "/templates/order", &Value::Null).1["deleted"], true);
    assert_eq!(relay.call("GET", "/templates/order", &Value::Null).0, 404);
}

#[test]
fn a_rendering_names_what_is_missing() {
    let (_sink, relay) = relay();
    let fields = json!({"name": "Order", "alias": "order", "subject": "Order {{ order.number }}",
        "mjml": "<mjml><mj-body><mj-section><mj-column><mj-text>Hola {{ name }}, {{ total|money('EUR', lang='es') }}</mj-text></mj-column></mj-section></mj-body></mjml>",
        "variables": [{"key": "name", "type": "string", "fallback_value": "amiga"}]});
    created(&relay, &fields);
    let render =
        |variables: Value| relay.call("POST", "/templates/order/render", &json!({"variables": variables}));
    let (status, answer) = render(json!({"order": {"number": 7}, "total": 12.5}));
    assert_eq!((status, &answer["subject"]), (200, &json!("Order 7")), "{answer}");
    assert!(answer["text"].as_str().unwrap().contains("Hola amiga, 12,50\u{a0}€"), "{answer}");
    let (status, answer) = render(json!({"total": 1, "order": {}}));
    assert_eq!((status, &answer["param"]), (422, &json!("variables.order.number")), "{answer}");

    let source = json!({"subject": "Hi {{ a }}", "text": "{{ b|date('long', lang='es') }}",
        "variables": {"a": 1, "b": "2026-12-24"}});
    let (status, answer) = relay.call("POST", "/render", &source);
    assert_eq!((status, &answer["text"]), (200, &json!("24 de diciembre de 2026")), "{answer}");
}

#[test]
fn what_is_wrong_with_a_template_is_told_when_it_is_stored() {
    let (_sink, relay) = relay();
    let cases = [
        (json!({"subject": "x", "text": "x"}), "name"),
        (json!({"name": "a", "subject": "x"}), "text"),
        (json!({"name": "a", "subject": "{{ x", "text": "x"}), "subject"),
        (json!({"name": "a", "subject": "x", "html": "<p>\n{% if x %}"}), "html"),
        (json!({"name": "a", "subject": "x", "mjml": "<mjml><mj-body>"}), "mjml"),
        (json!({"name": "a", "subject": "x", "html": "x", "mjml": "x"}), "mjml"),
        (json!({"name": "a", "subject": "{{ n }}", "html": "{% if x %}"}), "html"),
        (json!({"name": "a", "subject": "{{ n }}", "html": "{{ n }}", "text": "{% if x %}"}), "text"),
        (json!({"name": "a", "subject": "{{ n }}", "mjml": "<mjml><mj-body>"}), "mjml"),
        (json!({"name": "a", "subject": "x", "text": ""}), "text"),
        (json!({"name": "a\nb", "subject": "x", "text": "x"}), "name"),
        (
            json!({"name": "a", "subject": "x", "text": "x",
            "variables": [{"key": "n", "type": "string", "fallback_value": "x".repeat(3 << 20)}]}),
            "variables",
        ),
        (json!({"name": "a", "subject": "x", "text": "{{ x|nofilter }}"}), "text"),
        (json!({"name": "a", "subject": "x", "text": "x", "alias": "a b"}), "alias"),
        (json!({"name": "a", "subject": "x", "text": "x", "from": "nobody"}), "from"),
        (json!({"name": "a", "subjct": "x", "text": "x"}), "subjct"),
    ];
    for (fields, param) in cases {
        let (status, answer) = relay.call("POST", "/templates", &fields);
        assert_eq!((status, &answer["param"]), (422, &json!(param)), "{fields}: {answer}");
    }
    let (_, none) = relay.call("GET", "/templates", &Value::Null);
    assert_eq!(none["data"], json!([]), "nothing is half stored");
    created(&relay, &json!({"name": "a", "alias": "a", "subject": "x", "text": "x"}));
    let again =
        relay.call("POST", "/templates", &json!({"name": "b", "alias": "a", "subject": "x", "text": "x"}));
    assert_eq!(again.0, 409, "{}", again.1);
    let other = created(&relay, &json!({"name": "b", "subject": "x", "text": "x", "html": "<p>y</p>"}));
    let path = format!("/templates/{other}");
    let stolen = relay.call("PATCH", &path, &json!({"name": "c", "alias": "a", "subject": "z"}));
    assert_eq!(stolen.0, 409, "{}", stolen.1);
    let (_, shown) = relay.call("GET", &path, &Value::Null);
    assert_eq!((&shown["name"], &shown["version"]), (&json!("b"), &json!(1)), "nothing is half changed");
    assert_eq!(relay.call("PATCH", &path, &json!({"text": ""})).0, 200);
    let (_, rendered) = relay.call("POST", &format!("{path}/render"), &json!({}));
    assert!(rendered["text"].as_str().unwrap().contains('y'), "{rendered}");
    for (method, path) in
        [("GET", "/templates/none"), ("PATCH", "/templates/none"), ("DELETE", "/templates/none")]
    {
        let body = if method == "PATCH" { json!({}) } else { Value::Null };
        assert_eq!(relay.call(method, path, &body).0, 404, "{method}");
    }
}

#[test]
fn templates_include_and_extend_each_other() {
    let (_sink, relay) = relay();
    let publish = |name: &str| {
        let (status, answer) = relay.call("POST", &format!("/templates/{name}/publish"), &Value::Null);
        assert_eq!(status, 200, "{answer}");
    };
    let page = json!({"name": "Page", "alias": "page", "subject": "x", "html": "{% extends 'layout' %}{% block body %}<p>{{ n }}</p>{% endblock %}"});
    let (status, refused) = relay.call("POST", "/templates", &page);
    assert_eq!((status, &refused["param"]), (422, &json!("html")), "{refused}");
    assert!(
        refused["message"].as_str().unwrap().contains("`layout` that it names does not exist"),
        "{refused}"
    );

    let layout = "<body>{% block body %}{% endblock %}{% include \"footer\" %}<a href=\"{{ unsubscribe_url }}\">x</a></body>";
    created(
        &relay,
        &json!({"name": "Footer", "alias": "footer", "subject": "x", "html": "<i>{{ shop }}</i>"}),
    );
    let unpublished =
        relay.call("POST", "/templates", &json!({"name": "Layout", "subject": "x", "html": layout}));
    assert!(
        unpublished.1["message"].as_str().unwrap().contains("has no published version"),
        "{}",
        unpublished.1
    );
    publish("footer");
    created(&relay, &json!({"name": "Layout", "alias": "layout", "subject": "x", "html": layout}));
    publish("layout");
    created(&relay, &page);
    publish("page");
    let render =
        |variables: Value| relay.call("POST", "/templates/page/render", &json!({"variables": variables}));
    let (status, rendered) = render(json!({"n": 7, "shop": "A & B"}));
    assert_eq!(status, 200, "{rendered}");
    // Values are escaped in HTML, slashes too.
    assert_eq!(
        rendered["html"].as_str().unwrap().replace("&#x2f;", "/"),
        "<body><p>7</p><i>A &amp; B</i><a href=\"https://unsubscribe.invalid/\">x</a></body>"
    );
    let (status, missing) = render(json!({"n": 7}));
    assert_eq!((status, &missing["param"]), (422, &json!("variables.shop")), "{missing}");

    for (name, body) in [("footer", Value::Null), ("layout", json!({"alias": "other"}))] {
        let method = if body.is_null() { "DELETE" } else { "PATCH" };
        let (status, used) = relay.call(method, &format!("/templates/{name}"), &body);
        assert_eq!(status, 409, "{used}");
        assert!(used["message"].as_str().unwrap().contains("other templates use this one"), "{used}");
    }
    let circle = json!({"html": "{% include 'page' %}"});
    let (status, refused) = relay.call("PATCH", "/templates/layout", &circle);
    assert_eq!((status, &refused["param"]), (422, &json!("html")), "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("name each other: page → layout"), "{refused}");
    let dynamic = json!({"subject": "x", "html": "{% include which %}", "variables": {"which": "footer"}});
    let (status, refused) = relay.call("POST", "/render", &dynamic);
    assert_eq!(status, 422);
    assert!(refused["message"].as_str().unwrap().contains("must be a text in quotes"), "{refused}");
    let (status, text) =
        relay.call("POST", "/render", &json!({"subject": "x", "text": "{% include 'footer' %}"}));
    assert_eq!((status, &text["message"]), (422, &json!("the template `footer` has no text")), "{text}");
}
