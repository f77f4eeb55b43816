//! The composition of the edge on a host that knows only WASI 0.2, with a core that is a function here;
//! and the same as plain functions.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, Response, StatusCode};
use relevo_gateway::emails::{Surroundings, Template};
use relevo_mailkit::hex;
use relevo_mailkit::model::{MessageEnvelope, Rendered, TemplateError, TemplateLimits, TemplateSource};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, OptLevel, Store};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{Deterministic, HostWallClock, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyPre};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::spin::SpinHost;

/// What is said when something was not built.
pub const ADVICE: &str = "run `cargo xtask build`";
/// Milliseconds since 1970 at every call.
pub const NOW: u64 = 1_795_325_640_000;
/// Every random octet.
pub const RANDOM: u8 = 7;
/// Octets of the log that are kept.
const MAX_LOG: usize = 64 << 10;

/// A file below the target directory, as the task left it.
#[must_use]
pub fn built(path: &str) -> Vec<u8> {
    let exe = std::env::current_exe().unwrap();
    let file = exe.ancestors().map(|target| target.join(path)).find(|file| file.is_file());
    std::fs::read(file.expect(ADVICE)).unwrap()
}

/// Compiled once for all tests of a process, quickly rather than well.
#[must_use]
pub fn compiled() -> &'static Component {
    static COMPILED: LazyLock<Component> = LazyLock::new(|| compile(OptLevel::None));
    &COMPILED
}

/// The root for Spin, compiled in the same way.
#[must_use]
pub fn compiled_for_spin() -> &'static Component {
    static COMPILED: LazyLock<Component> =
        LazyLock::new(|| compile_file("edge/gateway-spin.wasm", OptLevel::None));
    &COMPILED
}

/// The composition, compiled like this.
#[must_use]
pub fn compile(level: OptLevel) -> Component {
    compile_file("edge/gateway.wasm", level)
}

fn compile_file(path: &str, level: OptLevel) -> Component {
    let mut config = Config::new();
    config.cranelift_opt_level(level);
    Component::from_binary(&Engine::new(&config).unwrap(), &built(path)).unwrap()
}

/// A request of the gateway to the core.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its method.
    pub method: String,
    /// Its URI.
    pub uri: String,
    /// Its header fields.
    pub fields: Vec<(String, String)>,
    /// Its body; null: it has none.
    pub body: Value,
}

impl Sent {
    /// The first value of a header field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// An answer of the core that is to come; none: it does not answer.
pub type CoreAnswer = Pin<Box<dyn Future<Output = Option<Response<Bytes>>> + Send>>;

type Answering = Arc<dyn Fn(Request<Bytes>) -> CoreAnswer + Send + Sync>;

/// The core.
#[derive(Clone)]
pub struct Core {
    answer: Answering,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl WasiHttpHooks for Core {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        _options: Option<RequestOptions>,
        _io: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answered, Error>> + Send> {
        let core = self.clone();
        Box::new(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let fields = parts.headers.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned()));
            core.sent.lock().unwrap().push(Sent {
                method: parts.method.to_string(),
                uri: parts.uri.to_string(),
                fields: fields.collect(),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            });
            let answer = (core.answer)(Request::from_parts(parts, body)).await;
            let response = answer.ok_or(Error::ConnectionRefused)?;
            let response = response
                .map(|body| Full::new(body).map_err(|never| -> Error { match never {} }).boxed_unsync());
            let nothing: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(async { Ok(()) });
            Ok((response, nothing))
        })
    }
}

type Answered = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

/// What an instance has of its host.
pub struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    core: Core,
    spin: SpinHost,
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

/// Stands still until it is set.
#[derive(Clone)]
struct Clock(Arc<AtomicU64>);

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// The gateway with its variables and its core.
pub struct Edge {
    pre: ProxyPre<State>,
    /// The environment.
    pub variables: Vec<(String, String)>,
    /// Milliseconds since 1970.
    pub clock: Arc<AtomicU64>,
    /// The authority of requests.
    pub host: String,
    core: Core,
    spin: SpinHost,
    log: MemoryOutputPipe,
}

/// A core that gives always this answer; none: it does not answer.
pub fn always(answer: Option<(u16, Value)>) -> impl Fn(Request<Bytes>) -> CoreAnswer + Send + Sync + 'static {
    move |_| {
        let response = answer.as_ref().map(|(status, answer)| {
            let body = Bytes::from(answer.to_string());
            Response::builder().status(*status).header("retry-after", "9").body(body).unwrap()
        });
        Box::pin(std::future::ready(response))
    }
}

/// An instance that a host uses for one request after the other.
pub struct Instance {
    proxy: Proxy,
    store: Store<State>,
    host: String,
}

impl Edge {
    /// A core that gives always this answer; none: it does not answer.
    #[must_use]
    pub fn new(answer: Option<(u16, Value)>) -> Self {
        Self::with_core(always(answer))
    }

    /// A core that answers so.
    #[must_use]
    pub fn with_core(answer: impl Fn(Request<Bytes>) -> CoreAnswer + Send + Sync + 'static) -> Self {
        Self::of(compiled(), answer)
    }

    /// As [`Self::with_core`], of a composition that was compiled elsewhere.
    #[must_use]
    pub fn of(
        component: &Component,
        answer: impl Fn(Request<Bytes>) -> CoreAnswer + Send + Sync + 'static,
    ) -> Self {
        Self::linked(component, Arc::new(answer), None)
    }

    /// As [`Edge::new`], with the root for Spin on a host that has what Spin has.
    #[must_use]
    pub fn on_spin(answer: Option<(u16, Value)>, spin: &SpinHost) -> Self {
        Self::spin_with_core(always(answer), spin)
    }

    /// As [`Edge::with_core`], with the root for Spin.
    #[must_use]
    pub fn spin_with_core(
        answer: impl Fn(Request<Bytes>) -> CoreAnswer + Send + Sync + 'static,
        spin: &SpinHost,
    ) -> Self {
        Self::linked(compiled_for_spin(), Arc::new(answer), Some(spin))
    }

    fn linked(component: &Component, answer: Answering, spin: Option<&SpinHost>) -> Self {
        let mut linker = Linker::new(component.engine());
        if spin.is_some() {
            SpinHost::add_to_linker(&mut linker, |state: &mut State| &mut state.spin).unwrap();
        }
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).unwrap();
        let pre = ProxyPre::new(linker.instantiate_pre(component).unwrap()).unwrap();
        let variables = [
            ("RELEVO_RELAY_URL", "https://core.example.com/".to_owned()),
            ("RELEVO_RELAY_TOKEN", "rv_core".to_owned()),
            ("RELEVO_API_KEYS", format!("sha256:{}", hex::encode(&Sha256::digest("rv_caller")))),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let core = Core { answer, sent: Arc::default() };
        Self {
            pre,
            variables,
            clock: Arc::new(AtomicU64::new(NOW)),
            host: "edge.example.com".to_owned(),
            core,
            spin: spin.cloned().unwrap_or_default(),
            log: MemoryOutputPipe::new(MAX_LOG),
        }
    }

    /// A fresh instance.
    pub async fn instance(&self) -> Instance {
        let state = State {
            table: ResourceTable::new(),
            wasi: WasiCtx::builder()
                .envs(&self.variables)
                .stderr(self.log.clone())
                .wall_clock(Clock(Arc::clone(&self.clock)))
                .secure_random(Deterministic::new(vec![RANDOM]))
                .build(),
            http: WasiHttpCtx::new(),
            core: self.core.clone(),
            spin: self.spin.clone(),
        };
        let mut store = Store::new(self.pre.engine(), state);
        let proxy = self.pre.instantiate_async(&mut store).await.unwrap();
        Instance { proxy, store, host: self.host.clone() }
    }

    /// Asks a fresh instance.
    pub async fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)], body: Vec<u8>) -> Answer {
        self.instance().await.ask(method, path, fields, body).await.0
    }

    /// Sends a request of a caller with a key.
    pub async fn send(&self, path: &str, fields: &[(&str, &str)], body: &Value) -> Answer {
        let fields = [&[("authorization", "Bearer rv_caller")], fields].concat();
        self.ask("POST", path, &fields, body.to_string().into_bytes()).await
    }

    /// Sets a variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What was written to the log.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.contents()).into_owned()
    }

    /// What went to the core.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        self.core.sent.lock().unwrap().clone()
    }

    /// As [`Self::sent`], once.
    #[must_use]
    pub fn take_sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.core.sent.lock().unwrap())
    }
}

impl Instance {
    /// Asks, and returns the instance for another request.
    pub async fn ask(
        self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (Answer, Self) {
        let (answer, guest) = self.begin(method, path, fields, body).await;
        (answer, guest.await.unwrap())
    }

    /// As [`Self::ask`], and does not wait for what the guest still does when its caller has the
    /// answer.
    pub async fn begin(
        self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (Answer, JoinHandle<Self>) {
        let Self { proxy, mut store, host } = self;
        let body = Full::new(Bytes::from(body)).map_err(|never| -> Error { match never {} });
        let mut request = Request::builder().method(method).uri(format!("http://{host}{path}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let request = request.body(body).unwrap();
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request).unwrap();
        let out = store.data_mut().http().new_response_outparam(sender).unwrap();
        let guest = tokio::spawn(async move {
            proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await.unwrap();
            Self { proxy, store, host }
        });
        let response = receiver.await.unwrap().unwrap();
        let (parts, body) = response.into_parts();
        let octets = body.collect().await.unwrap().to_bytes();
        let retry_after = parts.headers.get("retry-after").map(|v| v.to_str().unwrap().to_owned());
        let body = serde_json::from_slice(&octets).unwrap_or_default();
        let answer = Answer { status: parts.status, headers: parts.headers, retry_after, octets, body };
        (answer, guest)
    }

    /// Sends a request of a caller with a key.
    pub async fn send(self, path: &str, body: &Value) -> (Answer, Self) {
        let fields = [("authorization", "Bearer rv_caller")];
        self.ask("POST", path, &fields, body.to_string().into_bytes()).await
    }
}

/// What a caller gets.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The value of `Retry-After`.
    pub retry_after: Option<String>,
    /// The body.
    pub octets: Bytes,
    /// The JSON body; null: it is none.
    pub body: Value,
}

impl Answer {
    /// The first value of a header field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// `template` as plain functions, at the time and with the octets of the composition.
pub struct Library;

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
