//! The gateway and the four stages, composed as Spin composes a component with its dependencies, on
//! a host that knows only WASI 0.2.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, StatusCode};
use relevo_gateway::sample::{self, Sample, Steps};
use relevo_mailkit::model::{
    MessageEnvelope, Part, Rendered, Report, Rewrite, SignatureRequest, SigningInput, TemplateLimits,
    TemplateSource, TrackOptions, ValidateOptions,
};
use relevo_mailkit::source::{Source, for_each_chunk};
use relevo_runtime::{Stage, component};
use relevo_scenarios::root;
use relevo_submission::Recipe;
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

const ADVICE: &str = "run `cargo xtask build`";

/// The gateway as the task left it, beside the components that the runtime embeds.
fn gateway() -> Vec<u8> {
    let exe = std::env::current_exe().unwrap();
    let target = exe.ancestors().find(|path| path.join("components/gateway.wasm").is_file()).expect(ADVICE);
    std::fs::read(target.join("components/gateway.wasm")).unwrap()
}

/// Plugs each stage into the import of its name, and nothing else.
fn composed() -> Vec<u8> {
    let mut graph = CompositionGraph::new();
    let mut register = |name: &str, wasm: Vec<u8>| {
        let package = Package::from_bytes(name, None, wasm, graph.types_mut()).unwrap();
        graph.register_package(package).unwrap()
    };
    let socket = register("relevo:gateway", gateway());
    let plugs = Stage::ALL
        .map(|stage| register(&format!("relevo:{}", stage.name()), component(stage).expect(ADVICE).to_vec()));
    wac_graph::plug(&mut graph, plugs.to_vec(), socket).unwrap();
    graph.encode(EncodeOptions::default()).unwrap()
}

/// Compiled once for all tests.
fn compiled() -> &'static Component {
    static COMPILED: LazyLock<Component> =
        LazyLock::new(|| Component::from_binary(&Engine::default(), &composed()).unwrap());
    &COMPILED
}

struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: NothingGoesOut,
}

/// The gateway sends no request.
struct NothingGoesOut;

impl WasiHttpHooks for NothingGoesOut {
    fn send_request(
        &mut self,
        _request: hyper::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _io: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}

type Sent = (hyper::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

async fn request(pre: &ProxyPre<State>, method: &str, path: &str) -> (StatusCode, Bytes) {
    let state = State {
        table: ResourceTable::new(),
        wasi: WasiCtx::builder().build(),
        http: WasiHttpCtx::new(),
        hooks: NothingGoesOut,
    };
    let mut store = Store::new(pre.engine(), state);
    let body = Empty::<Bytes>::new().map_err(|never| -> Error { match never {} });
    let request =
        Request::builder().method(method).uri(format!("http://edge.example.com{path}")).body(body).unwrap();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let request = store.data_mut().http().new_incoming_request(Scheme::Http, request).unwrap();
    let out = store.data_mut().http().new_response_outparam(sender).unwrap();
    let proxy = pre.instantiate_async(&mut store).await.unwrap();
    let guest = tokio::spawn(async move {
        proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await
    });
    let response = receiver.await.unwrap().unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    guest.await.unwrap().unwrap();
    (status, body)
}

/// The stages as plain functions.
struct Libraries;

fn push(source: &dyn Source, offset: u64, length: u64, mut call: impl FnMut(&[u8])) {
    for_each_chunk(source, offset, length, |chunk| -> std::io::Result<()> {
        call(chunk);
        Ok(())
    })
    .unwrap();
}

impl Steps for Libraries {
    fn render(
        &self,
        source: TemplateSource,
        variables: &str,
        limits: TemplateLimits,
    ) -> Result<Rendered, String> {
        relevo_template::render(&source, variables, &limits).map_err(|error| error.message)
    }

    fn build(&self, envelope: MessageEnvelope, content: Rendered) -> Result<Vec<u8>, String> {
        relevo_template::build(&envelope, &content).map_err(|error| error.message)
    }

    fn validate(&self, options: ValidateOptions, message: &dyn Source) -> Result<Report, String> {
        let mut validator = relevo_validate::Validator::new(options);
        push(message, 0, message.size(), |chunk| validator.push(chunk));
        validator.finish().map_err(|refusal| refusal.rule)
    }

    fn track(&self, options: TrackOptions, parts: &[Part], message: &dyn Source) -> Result<Rewrite, String> {
        let mut rewriter = relevo_track::Rewriter::new(options, parts.to_vec());
        for number in rewriter.parts_needed() {
            let body = parts[usize::try_from(number).unwrap()].body;
            rewriter.begin(number);
            push(message, body.offset, body.length, |chunk| rewriter.push(chunk));
            rewriter.end();
        }
        Ok(rewriter.finish())
    }

    fn sign(&self, requests: Vec<SignatureRequest>, copy: &dyn Source) -> Result<Vec<SigningInput>, String> {
        let mut signer = relevo_dkim::Signer::new(requests);
        push(copy, 0, copy.size(), |chunk| signer.push(chunk));
        signer.finish()
    }
}

#[tokio::test]
async fn the_composition_answers() {
    let component = compiled();
    let engine = component.engine().clone();
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).unwrap();
    let pre = ProxyPre::new(linker.instantiate_pre(component).unwrap()).unwrap();

    assert_eq!(request(&pre, "GET", "/healthz").await, (StatusCode::OK, Bytes::from("ok\n")));
    assert_eq!(request(&pre, "GET", "/elsewhere").await.0, StatusCode::NOT_FOUND);
    assert_eq!(request(&pre, "POST", "/sample").await.0, StatusCode::METHOD_NOT_ALLOWED);

    let (status, body) = request(&pre, "GET", "/sample").await;
    assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
    let answered: Sample = serde_json::from_slice(&body).unwrap();
    assert_eq!(answered, sample::run(&Libraries).unwrap(), "the same as the libraries say");

    assert_eq!(answered.subject, "Order 1042");
    assert_eq!(answered.domains, ["example.com"]);
    assert_eq!(answered.links, ["https://shop.example.com/orders/1042?a=1&b=2"]);
    assert!(answered.message.contains("https://t.example.com/c/"), "{}", answered.message);
    assert!(
        answered.message.starts_with("Received: by edge.example.com with HTTP\r\n"),
        "{}",
        answered.message
    );
    let shape: Vec<_> = answered.deliveries.iter().map(|(to, of)| (to.as_str(), of.as_slice())).collect();
    assert_eq!(shape, [("example.net", &[0][..]), ("example.org", &[1]), ("example.net", &[2])]);
    let recipe = Recipe::decode(&answered.recipe).unwrap();
    assert_eq!(recipe.links.unwrap().table, answered.links);
    assert_eq!(recipe.signing.unwrap().selectors, ["r1", "e1"]);
    assert_eq!(answered.to_sign.len(), 2);
    for (each, algorithm) in answered.to_sign.iter().zip(["a=rsa-sha256", "a=ed25519-sha256"]) {
        assert!(each.octets.contains(algorithm) && each.octets.contains("from:"), "{}", each.octets);
        assert!(each.octets.ends_with("b="), "{}", each.octets);
    }
}

/// What is still imported once the stages are plugged in: the trigger's HTTP and what `std` drags
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
    assert_eq!(dependencies.len(), Stage::ALL.len());

    let mut graph = CompositionGraph::new();
    let mut read = |wasm: Vec<u8>| Package::from_bytes("any:name", None, wasm, graph.types_mut()).unwrap();
    let root = read(self::gateway());
    let stages = Stage::ALL.map(|stage| (stage, read(component(stage).expect(ADVICE).to_vec())));
    for (stage, package) in stages {
        let name = format!("relevo:mail/{}@0.1.0", stage.name());
        let path = format!("target/components/{}.wasm", stage.name());
        assert_eq!(dependencies[&name]["path"].as_str(), Some(path.as_str()));
        assert!(graph.types()[package.ty()].exports.contains_key(&name), "{path} exports {name}");
        assert!(graph.types()[root.ty()].imports.contains_key(&name), "the gateway imports {name}");
    }
}
