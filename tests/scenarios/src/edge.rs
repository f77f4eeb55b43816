//! The composition of the edge on a host that knows only WASI 0.2, with a core that is a function here;
//! and the same as plain functions.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode};
use relevo_gateway::emails::{Surroundings, Template};
use relevo_mailkit::hex;
use relevo_mailkit::model::{MessageEnvelope, Rendered, TemplateError, TemplateLimits, TemplateSource};
use serde_json::Value;
use sha2::{Digest, Sha256};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, OptLevel, Store};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{Deterministic, HostWallClock, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

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
    static COMPILED: LazyLock<Component> = LazyLock::new(|| {
        let mut config = Config::new();
        config.cranelift_opt_level(OptLevel::None);
        Component::from_binary(&Engine::new(&config).unwrap(), &built("edge/gateway.wasm")).unwrap()
    });
    &COMPILED
}

/// A request of the gateway to the core.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its URI.
    pub uri: String,
    /// Its header fields.
    pub fields: Vec<(String, String)>,
    /// Its body.
    pub body: Value,
}

impl Sent {
    /// The first value of a header field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The core: takes what is sent, and answers always the same; none: it does not answer.
#[derive(Clone)]
pub struct Core {
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
pub struct Edge {
    pre: ProxyPre<State>,
    /// The environment.
    pub variables: Vec<(String, String)>,
    core: Core,
    log: MemoryOutputPipe,
}

impl Edge {
    /// A core that gives this answer; none: it does not answer.
    #[must_use]
    pub fn new(answer: Option<(u16, Value)>) -> Self {
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
        let core = Core { answer, sent: Arc::default() };
        Self { pre, variables, core, log: MemoryOutputPipe::new(MAX_LOG) }
    }

    /// Asks a fresh instance.
    pub async fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let state = State {
            table: ResourceTable::new(),
            wasi: WasiCtx::builder()
                .envs(&self.variables)
                .stderr(self.log.clone())
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
}

/// What a caller gets.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The value of `Retry-After`.
    pub retry_after: Option<String>,
    /// The JSON body.
    pub body: Value,
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
