//! The cases of `tests/cases/edge` at the native host, and at the edge whose core is another native
//! host. What the callers are told and what is accepted is the same, octet by octet.
//!
//! Clock and randomness stand still at the same values everywhere, so that nothing of a message has to
//! be masked: neither Date nor Message-ID nor boundaries. Answers are compared with their ids. Only
//! `request_id` and `doc_url` of an error are left out: the edge has neither.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[path = "edge_cases/native.rs"]
mod native;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use axum::Router;
use bytes::Bytes;
use hyper::Request;
use native::Native;
use relevo_mailkit::source::for_each_chunk;
use relevo_queue::Millis;
use relevo_queue::testing::AcceptedItem;
use relevo_scenarios::edge::{Edge, NOW};
use relevo_scenarios::root;
use serde::Deserialize;
use serde_json::{Value, json};

/// A request, and how far it comes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    path: String,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    /// A text is sent as it is, anything else as JSON.
    body: Value,
    status: u16,
    /// Messages in the queue.
    messages: usize,
}

impl Case {
    fn octets(&self) -> Vec<u8> {
        match &self.body {
            Value::String(text) => text.clone().into_bytes(),
            body => body.to_string().into_bytes(),
        }
    }

    fn fields(&self) -> Vec<(&str, &str)> {
        let own = self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        [("authorization", "Bearer rv_caller"), ("content-type", "application/json")]
            .into_iter()
            .chain(own)
            .collect()
    }
}

fn cases() -> BTreeMap<String, Case> {
    let files = std::fs::read_dir(root().join("tests/cases/edge")).unwrap();
    files
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let case = serde_json::from_slice(&std::fs::read(&path).unwrap());
            (name.clone(), case.unwrap_or_else(|error| panic!("{name}: {error}")))
        })
        .collect()
}

async fn call(
    router: Router,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: Vec<u8>,
) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let response = native::ask(router, request.body(Bytes::from(body)).unwrap()).await;
    let status = response.status().as_u16();
    (status, serde_json::from_slice(response.body()).unwrap_or_default())
}

/// The templates and lists that the cases use.
async fn prepare(host: &Native) {
    let mjml = "<mjml><mj-body><mj-section><mj-column><mj-text>Dear {{ name }}, <a href=\"{{ unsubscribe_url }}\">leave</a></mj-text></mj-column></mj-section></mj-body></mjml>";
    let fallback = json!([{"key": "name", "type": "string", "fallback_value": "there"}]);
    let steps = [
        (
            "/templates",
            json!({"name": "Hello", "alias": "hello", "html": "<b>Hello {{ name }}</b>", "text": "Hello {{ name }}"}),
        ),
        ("/templates/hello/publish", json!({})),
        (
            "/templates",
            json!({"name": "Welcome", "alias": "welcome", "subject": "Welcome, {{ name }}",
            "html": "<p>{% include 'hello' %}: {{ n }}</p>", "variables": fallback}),
        ),
        ("/templates/welcome/publish", json!({})),
        ("/templates", json!({"name": "Spring", "alias": "spring", "subject": "Spring", "mjml": mjml})),
        ("/templates/spring/publish", json!({})),
        ("/templates", json!({"name": "Draft", "alias": "draft", "subject": "Draft", "text": "{{ n }}"})),
        ("/topics", json!({"name": "news", "default_subscription": "opt_in"})),
        ("/suppressions", json!({"email": "no@example.net", "reason": "manual"})),
    ];
    let fields = [("authorization", "Bearer rv_caller")];
    for (path, body) in steps {
        let (status, answer) =
            call(host.router(), "POST", path, &fields, body.to_string().into_bytes()).await;
        assert!(status < 300, "{path}: {answer}");
    }
}

/// An error without what the edge does not have.
fn comparable(mut answer: Value) -> Value {
    if let Some(error) = answer.as_object_mut().filter(|answer| answer.contains_key("statusCode")) {
        error.remove("request_id");
        error.remove("doc_url");
    }
    answer
}

/// Everything about an item: the octets of its message, its facts, its recipients.
fn shown(item: &AcceptedItem) -> String {
    let mut octets = Vec::new();
    for_each_chunk(&*item.body, 0, item.body.size(), |chunk| {
        octets.extend_from_slice(chunk);
        Ok::<(), std::io::Error>(())
    })
    .unwrap();
    let mut text = format!("{}\n{:#?}\n", item.id, item.meta);
    for delivery in &item.deliveries {
        let recipients = &delivery.recipients;
        writeln!(text, "{:?} {recipients:?} {} {}", delivery.key, delivery.due_at, delivery.held).unwrap();
    }
    text + &String::from_utf8_lossy(&octets)
}

/// What a host has accepted since the last call, and what it has written about that.
struct Seen(usize, usize);

impl Seen {
    fn next(&mut self, host: &Native) -> (Vec<String>, Vec<String>) {
        let (items, events) = (host.queue.items(), host.queue.events());
        let new = items[self.0..].iter().map(shown).collect();
        let told =
            events[self.1..].iter().map(|event| format!("{:?}", serde_json::to_value(&event.event).unwrap()));
        let told = told.collect();
        *self = Self(items.len(), events.len());
        (new, told)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_edge_and_the_native_host_do_the_same() {
    let now = Millis::try_from(NOW).unwrap();
    let (host, core) = (Native::start(now).await, Native::start(now).await);
    prepare(&host).await;
    prepare(&core).await;
    let router = core.router();
    let edge = Edge::with_core(move |request| {
        let router = router.clone();
        Box::pin(async move { Some(native::ask(router, request).await) })
    });
    let (mut at_host, mut at_core) = (Seen(0, 0), Seen(0, 0));
    at_host.next(&host);
    at_core.next(&core);

    let mut failed = Vec::new();
    let cases = cases();
    assert!(cases.len() > 70, "{}", cases.len());
    for (number, (name, case)) in (1..).zip(cases) {
        // Each at a time of its own, and so with ids of its own.
        let at = NOW + number * 1_000;
        edge.clock.store(at, Ordering::SeqCst);
        for clock in [&host.clock, &core.clock] {
            clock.0.store(Millis::try_from(at).unwrap(), Ordering::SeqCst);
        }
        let (status, expected) = call(host.router(), "POST", &case.path, &case.fields(), case.octets()).await;
        let answer = edge.ask("POST", &case.path, &case.fields(), case.octets()).await;
        let (items, events) = at_host.next(&host);
        let (relayed, relayed_events) = at_core.next(&core);
        let mut differ = |what: &str, native: &dyn std::fmt::Debug, edge: &dyn std::fmt::Debug| {
            failed.push(format!("{name}: {what}\n  native {native:#?}\n  edge   {edge:#?}"));
        };
        if (status, items.len()) != (case.status, case.messages) {
            differ("not as the case says", &(status, &expected, items.len()), &(case.status, case.messages));
        }
        let (expected, told) = (comparable(expected), comparable(answer.body));
        if (status, &expected) != (answer.status.as_u16(), &told) {
            differ("another answer", &(status, expected), &(answer.status, &told));
        }
        if case.fields().iter().any(|(name, _)| *name == "idempotency-key") {
            let again = edge.ask("POST", &case.path, &case.fields(), case.octets()).await;
            let (again, sent) = ((again.status, comparable(again.body)), at_core.next(&core));
            if (&again, sent.0.len(), sent.1.len()) != (&(answer.status, told.clone()), 0, 0) {
                differ("a repetition", &(answer.status, &told), &(again, sent));
            }
        }
        if items != relayed {
            differ("other messages", &items, &relayed);
        }
        if events != relayed_events {
            differ("other events", &events, &relayed_events);
        }
    }
    assert!(
        failed.is_empty(),
        "{} differ (log of the edge: {}):\n{}",
        failed.len(),
        edge.log(),
        failed.join("\n")
    );
}
