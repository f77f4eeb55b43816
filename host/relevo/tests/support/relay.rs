//! `relevo serve` in a directory of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::client::{Answer, Client, get, request};
use super::{components, wait_for};

pub const USER: &str = "acme";
pub const PASSWORD: &str = "correct horse battery";
pub const DOMAIN: &str = "example.test";
/// The name under which the API is asked. The address may be that of the tracking host.
pub const API_HOST: &str = "api.test";

/// A port that nobody listens on, below those that the system gives to clients: the relay binds it
/// seconds later, and a connection of another test must not have it by then.
pub fn free_port() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id() % 200 * 100;
    loop {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(10_000 + (start + n) % 20_000).unwrap();
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return listener.local_addr().unwrap();
        }
    }
}

pub struct Relay {
    pub folder: PathBuf,
    pub submission: SocketAddr,
    pub relay: SocketAddr,
    pub http: SocketAddr,
    pub key: String,
    child: Option<Child>,
    _temporary: tempfile::TempDir,
}

pub fn relevo(args: &[&str], stdin: &str) -> (bool, String) {
    use std::io::Write;
    let mut child = Command::new(env!("CARGO_BIN_EXE_relevo"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

impl Relay {
    /// Delivers to `smarthost`. `more` is appended to `[delivery]`, `tracking` to the domain.
    pub fn start(smarthost: SocketAddr, more: &str, tracking: bool) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_owned();
        for (selector, algorithm) in [("rsa", "rsa-sha256"), ("ed", "ed25519-sha256")] {
            let out = folder.join(format!("{selector}.pem"));
            let out = out.to_str().unwrap();
            let (ok, said) = relevo(
                &[
                    "key",
                    "generate",
                    "--domain",
                    DOMAIN,
                    "--selector",
                    selector,
                    "--algorithm",
                    algorithm,
                    "--out",
                    out,
                ],
                "",
            );
            assert!(ok, "{said}");
        }
        let (_, credential) = relevo(&["credential", "new", "--username", USER, "--stdin"], PASSWORD);
        let (_, api) = relevo(&["api-key", "new"], "");
        let key = api.lines().find_map(|l| l.strip_prefix("API key (shown this once): ")).unwrap().to_owned();
        let hash = api.lines().find(|l| l.starts_with("api_keys")).unwrap();
        let (submission, relay, http) = (free_port(), free_port(), free_port());
        let tracking = match tracking {
            true => format!("tracking = {{ url = \"http://{http}\", opens = true, clicks = true }}"),
            false => String::new(),
        };
        let text = format!(
            r#"hostname = "relay.{DOMAIN}"
postmaster = "postmaster@{DOMAIN}"
data_dir = "data"
min_free = "1MiB"
[smtp]
submission = ["{submission}"]
relay = ["{relay}"]
trusted_networks = ["127.0.0.0/8"]
[http]
listen = ["{http}"]
[delivery]
smarthost = {{ host = "127.0.0.1", port = {port}, tls = "none" }}
{more}
[[tenant]]
id = "acme"
{credential}
{hash}
[[tenant.domain]]
name = "{DOMAIN}"
dkim = [{{ selector = "rsa", algorithm = "rsa-sha256", key = "rsa.pem" }}, {{ selector = "ed", algorithm = "ed25519-sha256", key = "ed.pem" }}]
{tracking}
"#,
            port = smarthost.port(),
        );
        fs::write(folder.join("relevo.toml"), text).unwrap();
        let mut relay = Self { folder, submission, relay, http, key, child: None, _temporary: temporary };
        relay.spawn();
        relay
    }

    pub fn config(&self) -> PathBuf {
        self.folder.join("relevo.toml")
    }

    /// Starts it and waits until it listens.
    pub fn spawn(&mut self) {
        self.launch();
        self.wait_until_it_listens();
    }

    /// As [`Self::spawn`], with another standard error. The reading end of a pipe is closed at
    /// once.
    pub fn spawn_logging_to(&mut self, stderr: Stdio) {
        self.launch_logging_to(stderr);
        drop(self.child.as_mut().unwrap().stderr.take());
        self.wait_until_it_listens();
    }

    fn wait_until_it_listens(&mut self) {
        wait_for("the relay listens", || {
            let child = self.child.as_mut().unwrap();
            if let Some(status) = child.try_wait().unwrap() {
                panic!("relevo ended with {status}:\n{}", self.log());
            }
            TcpStream::connect(self.http).ok()
        });
        // Only a shortcut.
        let _ = components::keep(&self.folder.join("data"));
    }

    /// Starts it.
    pub fn launch(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log")).unwrap();
        self.launch_logging_to(log.into());
    }

    fn launch_logging_to(&mut self, stderr: Stdio) {
        // Only a shortcut.
        let _ = components::furnish(&self.folder.join("data"));
        let child = Command::new(env!("CARGO_BIN_EXE_relevo"))
            .args(["serve", "--config"])
            .arg(self.config())
            .stderr(stderr)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.as_ref().unwrap().id()).unwrap()
    }

    fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    pub fn reload(&self) {
        self.signal("-HUP");
    }

    /// Waits for it to end by itself; returns true if it ended well.
    pub fn ended(&mut self) -> bool {
        let mut child = self.child.take().unwrap();
        wait_for("the relay ends", || child.try_wait().unwrap()).success()
    }

    /// SIGTERM; waits for a clean end.
    pub fn stop(&mut self) {
        self.signal("-TERM");
        let mut child = self.child.take().unwrap();
        let status = wait_for("the relay stops", || child.try_wait().unwrap());
        assert!(status.success(), "{status}\n{}", self.log());
    }

    pub fn login(&self) -> Client {
        Client::login(self.submission, USER, PASSWORD)
    }

    pub fn get(&self, path: &str) -> Answer {
        get(self.http, API_HOST, path, Some(&self.key))
    }

    /// A request to the API with the tenant's key. The answer must be JSON.
    pub fn call(&self, method: &str, path: &str, body: &serde_json::Value) -> (u16, serde_json::Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = request(self.http, API_HOST, (method, path), Some(&self.key), &body);
        (answer.status, answer.json())
    }

    /// Of these types, oldest first.
    pub fn events(&self, kind: &str) -> Vec<serde_json::Value> {
        let answer = self.get("/events?after=0&limit=1000");
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let events = answer.json()["events"].as_array().unwrap().clone();
        events.into_iter().filter(|e| e["type"] == kind).collect()
    }

    /// The audit log, oldest first: actor without the number of a user, action, subject, result.
    pub fn acts(&self) -> Vec<[String; 4]> {
        let (status, answer) = self.call("GET", "/audit?limit=100", &serde_json::Value::Null);
        assert_eq!(status, 200, "{answer}");
        let field = |act: &serde_json::Value, name: &str| act[name].as_str().unwrap().to_owned();
        let act = |act: &serde_json::Value| {
            let actor = field(act, "actor");
            let actor = actor.split(" uid ").next().unwrap().to_owned();
            [actor, field(act, "action"), field(act, "subject"), field(act, "result")]
        };
        answer["data"].as_array().unwrap().iter().rev().map(act).collect()
    }

    pub fn queue(&self, args: &[&str]) -> (bool, String) {
        let config = self.config();
        let all = [&["queue", "--config", config.to_str().unwrap()], args].concat();
        relevo(&all, "")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the relay ---\n{}", self.log());
        }
    }
}
