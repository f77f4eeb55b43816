//! The gateway and `template`, composed as Spin composes a component with its dependencies, on a host that
//! knows only WASI 0.2. The core is a function here.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode};
use relevo_gateway::emails::{self, Surroundings, Template};
use relevo_mailkit::hex;
use relevo_mailkit::model::{MessageEnvelope, Rendered, TemplateError, TemplateLimits, TemplateSource};
use relevo_runtime::{Stage, component};
use relevo_scenarios::root;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wac_graph::CompositionGraph;
use wac_graph::types::Package;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{Deterministic, HostWallClock, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

const ADVICE: &str = "run `cargo xtask build`";
/// Milliseconds since 1970, and every random octet.
const NOW: u64 = 1_795_325_640_000;
const RANDOM: u8 = 7;

/// A file below the target directory, as the task left it.
fn built(path: &str) -> Vec<u8> {
    let exe = std::env::current_exe().unwrap();
    let file = exe.ancestors().map(|target| target.join(path)).find(|file| file.is_file());
    std::fs::read(file.expect(ADVICE)).unwrap()
}

/// Compiled once for all tests.
fn compiled() -> &'static Component {
    static COMPILED: LazyLock<Component> =
        LazyLock::new(|| Component::from_binary(&Engine::default(), &built("edge/gateway.wasm")).unwrap());
    &COMPILED
}

/// What the gateway sent to the core.
#[derive(Debug, Clone)]
struct Sent {
    uri: String,
    fields: Vec<(String, String)>,
    body: Value,
}

impl Sent {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The core: takes what is sent, and answers always the same; none: it does not answer.
#[derive(Clone)]
struct Core {
    answer: Option<(u16, Value)>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl WasiHttpHooks for Core {
    fn send_request(
        &mut self,
        request: hyper::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _io: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answered, Error>> + Send> {
        let core = self.clone();
        Box::new(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let fields = parts.headers.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned()));
            let body = serde_json::from_slice(&body).unwrap();
            let sent = Sent { uri: parts.uri.to_string(), fields: fields.collect(), body };
            core.sent.lock().unwrap().push(sent);
            let (status, answer) = core.answer.ok_or(Error::ConnectionRefused)?;
            let body = Full::new(Bytes::from(answer.to_string()));
            let body = body.map_err(|never| -> Error { match never {} }).boxed_unsync();
            let response = Response::builder().status(status).header("retry-after", "9").body(body).unwrap();
            let nothing: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(async { Ok(()) });
            Ok((response, nothing))
        })
    }
}

type Answered = (hyper::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    core: Core,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.core }
    }
}

/// Stands still.
struct Clock;

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(NOW)
    }
}

/// The gateway with its variables and its core.
struct Edge {
    pre: ProxyPre<State>,
    variables: Vec<(String, String)>,
    core: Core,
}

impl Edge {
    fn new(answer: Option<(u16, Value)>) -> Self {
        let component = compiled();
        let engine = component.engine().clone();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).unwrap();
        let pre = ProxyPre::new(linker.instantiate_pre(component).unwrap()).unwrap();
        let variables = [
            ("RELEVO_RELAY_URL", "https://core.example.com/".to_owned()),
            ("RELEVO_RELAY_TOKEN", "rv_core".to_owned()),
            ("RELEVO_API_KEYS", format!("sha256:{}", hex::encode(&Sha256::digest("rv_caller")))),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Self { pre, variables, core: Core { answer, sent: Arc::default() } }
    }

    async fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let state = State {
            table: ResourceTable::new(),
            wasi: WasiCtx::builder()
                .envs(&self.variables)
                .wall_clock(Clock)
                .secure_random(Deterministic::new(vec![RANDOM]))
                .build(),
            http: WasiHttpCtx::new(),
            core: self.core.clone(),
        };
        let mut store = Store::new(self.pre.engine(), state);
        let body = Full::new(Bytes::from(body)).map_err(|never| -> Error { match never {} });
        let mut request = Request::builder().method(method).uri(format!("http://edge.example.com{path}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let request = request.body(body).unwrap();
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request).unwrap();
        let out = store.data_mut().http().new_response_outparam(sender).unwrap();
        let proxy = self.pre.instantiate_async(&mut store).await.unwrap();
        let guest = tokio::spawn(async move {
            proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await
        });
        let response = receiver.await.unwrap().unwrap();
        let status = response.status();
        let retry_after = response.headers().get("retry-after").map(|v| v.to_str().unwrap().to_owned());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        guest.await.unwrap().unwrap();
        Answer { status, retry_after, body: serde_json::from_slice(&body).unwrap() }
    }

    async fn send(&self, path: &str, fields: &[(&str, &str)], body: &Value) -> Answer {
        let fields = [&[("authorization", "Bearer rv_caller")], fields].concat();
        self.ask("POST", path, &fields, body.to_string().into_bytes()).await
    }

    fn sent(&self) -> Vec<Sent> {
        self.core.sent.lock().unwrap().clone()
    }
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    retry_after: Option<String>,
    body: Value,
}

/// `template` as plain functions, at the time and with the octets of the composition.
struct Library;

impl Template for Library {
    fn render(
        &self,
        source: TemplateSource,
        variables: &str,
        limits: TemplateLimits,
    ) -> Result<Rendered, TemplateError> {
        relevo_template::render(&source, variables, &limits)
    }

    fn build(&self, envelope: MessageEnvelope, content: Rendered) -> Result<Vec<u8>, TemplateError> {
        relevo_template::build(&envelope, &content)
    }
}

impl Surroundings for Library {
    fn now(&self) -> u64 {
        NOW
    }

    fn random(&self) -> [u8; 16] {
        [RANDOM; 16]
    }
}

fn personalised() -> Value {
    json!({
        "from": "Shop <shop@example.com>",
        "stream": "marketing",
        "subject": "Hello {{ name }}",
        "html": "<p>Hello {{ name }}, <a href=\"{{ unsubscribe_url }}\">leave</a></p>",
        "attachments": [{"filename": "a.txt", "content": "aGVsbG8="}],
        "recipients": [
            {"email": "ana@example.net", "name": "Ana Núñez", "variables": {"name": "Ana"}},
            {"email": "luis@example.net", "variables": {"name": "Luis"}, "metadata": {"row": "2"}},
        ],
    })
}

/// The core's answer to one email with two messages.
fn accepted() -> Value {
    let recipient = |email: &str, id: &str| json!({"email": email, "message_id": id, "delivery_id": format!("{id}-0"), "status": "queued"});
    let recipients = [recipient("ana@example.net", "A"), recipient("luis@example.net", "B")];
    let email = json!({"object": "email", "id": "A", "recipients": recipients});
    json!({"object": "list", "id": "A", "data": [email]})
}

#[tokio::test]
async fn a_request_is_handed_to_the_core_as_the_library_makes_it() {
    let edge = Edge::new(Some((202, accepted())));
    let answer = edge.send("/emails", &[("idempotency-key", "k1")], &personalised()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
    assert_eq!((&answer.body["id"], &answer.body["recipients"][1]["message_id"]), (&json!("A"), &json!("B")));

    let [sent] = edge.sent().try_into().unwrap();
    assert_eq!(sent.uri, "https://core.example.com/relay");
    assert_eq!(sent.field("authorization"), Some("Bearer rv_core"));
    assert_eq!(sent.field("idempotency-key"), Some("k1"));
    let body = personalised().to_string();
    let made = emails::single(body.as_bytes(), &Library, &Library).unwrap();
    assert_eq!(sent.body, serde_json::to_value(&made.request).unwrap(), "octet by octet");
    let message = sent.body["emails"][0]["messages"][1]["message"].as_str().unwrap();
    assert!(message.contains("Subject: Hello Luis\r\n") && message.contains("Date: "), "{message}");

    // The same request has the same digest, whatever was made of it.
    edge.send("/emails", &[("idempotency-key", "k1")], &personalised()).await;
    let mut other = personalised();
    other["subject"] = json!("Good bye");
    edge.send("/emails", &[("idempotency-key", "k1")], &other).await;
    let digests: Vec<_> =
        edge.sent().iter().map(|s| s.field("x-relevo-digest").unwrap().to_owned()).collect();
    assert!(digests[0] == digests[1] && digests[0] != digests[2] && digests[0].len() == 64, "{digests:?}");
}

#[tokio::test]
async fn mistakes_are_found_here_and_at_the_core() {
    let refused = json!({
        "statusCode": 422, "name": "validation_error", "message": "no", "param": "emails[0].messages[1].recipients[0]",
    });
    let edge = Edge::new(Some((422, refused)));
    let answer = edge.send("/emails", &[], &personalised()).await;
    assert_eq!((answer.status.as_u16(), &answer.body["param"]), (422, &json!("recipients[1].email")));

    let mut bad = personalised();
    bad["recipients"][0]["variables"] = json!({});
    let answer = edge.send("/emails", &[], &bad).await;
    assert_eq!(answer.body["param"], "recipients[0].variables.name", "{}", answer.body);
    let batch = json!([personalised(), {"from": "a@example.com", "to": "b", "subject": "s", "text": "t"}]);
    let answer = edge.send("/emails/batch", &[], &batch).await;
    assert_eq!((answer.status.as_u16(), &answer.body["param"]), (422, &json!("[1].to[0]")));
    let answer = edge.send("/emails", &[], &json!({"fron": "a@example.com"})).await;
    assert!(answer.body["message"].as_str().unwrap().contains("from"), "{}", answer.body);
    assert_eq!(edge.sent().len(), 1, "nothing else went to the core");
}

#[tokio::test]
async fn a_permissive_batch_tells_what_was_left_out() {
    let edge = Edge::new(Some((202, accepted())));
    let batch = json!([{"from": "a@example.com", "to": "b", "subject": "s", "text": "t"}, personalised()]);
    let answer = edge.send("/emails/batch", &[("x-batch-validation", "permissive")], &batch).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
    assert_eq!(answer.body["errors"][0]["param"], "[0].to[0]");
    assert_eq!(answer.body["data"][0]["id"], "A");
}

#[tokio::test]
async fn callers_show_a_key_and_the_core_may_be_away() {
    let away = Edge::new(None);
    let answer = away.send("/emails", &[], &personalised()).await;
    assert_eq!((answer.status.as_u16(), answer.retry_after.as_deref()), (503, Some("5")), "{}", answer.body);
    for (status, told) in [(401, 503), (403, 503), (404, 503), (500, 500), (429, 429), (409, 409)] {
        let edge = Edge::new(Some((status, json!({"statusCode": status, "name": "x", "message": "y"}))));
        assert_eq!(edge.send("/emails", &[], &personalised()).await.status.as_u16(), told, "{status}");
    }

    let edge = Edge::new(Some((202, accepted())));
    let body = personalised().to_string().into_bytes();
    assert_eq!(edge.ask("POST", "/emails", &[], body.clone()).await.status.as_u16(), 401);
    let wrong = [("authorization", "Bearer rv_other")];
    assert_eq!(edge.ask("POST", "/emails", &wrong, body.clone()).await.status.as_u16(), 403);
    let long = edge.send("/emails", &[("idempotency-key", &"k".repeat(257))], &personalised()).await;
    assert_eq!((long.status.as_u16(), &long.body["name"]), (400, &json!("invalid_idempotency_key")));
    let caller = [("authorization", "Bearer rv_caller")];
    let huge = edge.ask("POST", "/emails", &caller, vec![b' '; (8 << 20) + 1]).await;
    assert_eq!(huge.status.as_u16(), 413);
    let mut unset = Edge::new(Some((202, accepted())));
    unset.variables.remove(1);
    assert_eq!(unset.ask("POST", "/emails", &caller, body).await.status.as_u16(), 503);
    assert!(edge.sent().is_empty() && unset.sent().is_empty());

    assert_eq!(edge.ask("GET", "/healthz", &[], Vec::new()).await.body, json!({"status": "ok"}));
    assert_eq!(edge.ask("GET", "/elsewhere", &[], Vec::new()).await.status.as_u16(), 404);
    assert_eq!(edge.ask("GET", "/emails", &[], Vec::new()).await.status.as_u16(), 405);
}

/// What is still imported once `template` is plugged in: HTTP in both directions and what `std` drags
/// in. `BLESS=1` writes the list.
#[test]
fn the_remaining_imports_are_pinned() {
    let component = compiled();
    let ty = component.component_type();
    let imports: BTreeSet<String> = ty
        .imports(component.engine())
        .map(|(name, _)| match name.rsplit_once('.') {
            Some((track, _)) if name.contains('@') && name.matches('.').count() == 2 => track.to_owned(),
            _ => name.to_owned(),
        })
        .collect();
    let found: String = imports.iter().map(|name| format!("{name}\n")).collect();
    let path = root().join("tests/golden/composition.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), found);
    for stage in Stage::ALL {
        let own = format!("relevo:mail/{}", stage.name());
        assert!(!imports.iter().any(|name| name.starts_with(&own)), "{own} is not plugged in");
    }
}

/// `spin.toml` names what the composition plugs, under the names that the gateway imports.
#[test]
fn the_manifest_is_true() {
    let text = std::fs::read_to_string(root().join("spin.toml")).unwrap();
    let manifest: toml::Value = toml::from_str(&text).unwrap();
    assert_eq!(manifest["spin_manifest_version"].as_integer(), Some(2));
    assert_eq!(manifest["trigger"]["http"][0]["component"].as_str(), Some("gateway"));
    let gateway = &manifest["component"]["gateway"];
    assert_eq!(gateway["source"].as_str(), Some("target/components/gateway.wasm"));
    let dependencies = gateway["dependencies"].as_table().unwrap();
    assert_eq!(dependencies.len(), 1);

    let mut graph = CompositionGraph::new();
    let mut read = |wasm: Vec<u8>| Package::from_bytes("any:name", None, wasm, graph.types_mut()).unwrap();
    let root = read(built("components/gateway.wasm"));
    let package = read(component(Stage::Template).expect(ADVICE).to_vec());
    let (name, path) = ("relevo:mail/template@0.1.0", "target/components/template.wasm");
    assert_eq!(dependencies[name]["path"].as_str(), Some(path));
    assert!(graph.types()[package.ty()].exports.contains_key(name), "{path} exports {name}");
    assert!(graph.types()[root.ty()].imports.contains_key(name), "the gateway imports {name}");
    assert_eq!(gateway["allowed_outbound_hosts"][0].as_str(), Some("{{ relay_url }}"), "the core alone");
}
