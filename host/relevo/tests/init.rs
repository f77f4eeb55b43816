//! `relevo init`: the commands of the README as they stand there, with the real binary.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command};

use relevo_resolve::testing::TestDns;
use serde_json::{Value, json};
use support::client::get;
use support::components;
use support::dkim::{Keys, verdicts};
use support::relay::free_port;
use support::sink::{Received, Sink};
use support::wait_for;

const HEADING: &str = "## From nothing to a signed message";

/// The commands of the README below the heading.
fn commands() -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = fs::read_to_string(readme).unwrap();
    let (_, section) = text.split_once(HEADING).unwrap_or_else(|| panic!("no heading {HEADING}"));
    let (_, block) = section.split_once("```sh\n").unwrap();
    let (block, _) = block.split_once("\n```").unwrap();
    // A comment is no part of a command.
    let command = |line: &str| line.split("  #").next().unwrap().trim().to_owned();
    block.lines().map(command).filter(|line| !line.is_empty()).collect()
}

/// A shell with `relevo` on its path.
struct Shell<'t> {
    folder: &'t Path,
    variables: Vec<(String, String)>,
    running: Option<Child>,
}

impl Shell<'_> {
    fn command(&self, line: &str) -> Command {
        let binaries = Path::new(env!("CARGO_BIN_EXE_relevo")).parent().unwrap();
        let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(self.folder).env("PATH", path);
        command.env_remove("RELEVO_API_KEY").envs(self.variables.iter().cloned());
        command
    }

    fn run(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{line}\n{said}");
        said
    }
}

impl Drop for Shell<'_> {
    fn drop(&mut self) {
        if let Some(child) = &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The text between two others.
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split_once(after).unwrap_or_else(|| panic!("no {after} behind {before} in {text}")).0
}

/// The TXT records among the printed lines, by name.
fn published(said: &str) -> Vec<(String, String)> {
    let records = said.lines().filter(|line| !line.starts_with(';'));
    let records = records.filter_map(|line| line.split_once(". IN TXT "));
    let value = |quoted: &str| quoted.split('"').skip(1).step_by(2).collect();
    records.map(|(name, quoted)| (name.to_owned(), value(quoted))).collect()
}

/// Ports that are free here, and a next hop that is a test.
fn surround(config: &Path, dns: SocketAddr, sink: SocketAddr) -> SocketAddr {
    let (smtp, http) = (free_port(), free_port());
    let text = fs::read_to_string(config).unwrap();
    assert!(text.contains("127.0.0.1:2587") && text.contains("127.0.0.1:8025"), "{text}");
    let text = text.replace("127.0.0.1:2587", &smtp.to_string());
    let text = text.replace("127.0.0.1:8025", &http.to_string());
    let around = format!(
        "[dns]\nnameservers = [\"{dns}\"]\n[delivery]\nport = {}\nallow_networks = [\"127.0.0.0/8\"]\n\n[[tenant]]\n",
        sink.port()
    );
    fs::write(config, text.replacen("[[tenant]]\n", &around, 1)).unwrap();
    http
}

/// Runs the commands, with more options of `init` and of `send`. Returns what `init` printed, and
/// the message that arrived.
fn first_message(more: &str, send: impl Fn(&str) -> String) -> (String, Received) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dns = runtime.block_on(TestDns::start()).unwrap();
    let sink = Sink::start();
    dns.mx("example.net", &[(10, "mx.example.net")]);
    dns.address("mx.example.net", &["127.0.0.1".parse().unwrap()]);
    // What init says beside the TXT records.
    for name in ["mta1.example.com", "links.news.example.com"] {
        dns.address(name, &["192.0.2.1".parse().unwrap()]);
    }
    dns.ptr("1.2.0.192.in-addr.arpa", "mta1.example.com");
    for domain in ["example.com", "news.example.com"] {
        dns.mx(domain, &[(10, "mx.example.net")]);
    }
    let temporary = tempfile::tempdir().unwrap();
    let mut shell = Shell { folder: temporary.path(), variables: Vec::new(), running: None };
    let mut said = String::new();
    for line in commands() {
        if line.starts_with("relevo init ") {
            let line = format!("{line} {more}");
            said = shell.run(&line);
            assert!(!shell.command(&line).output().unwrap().status.success(), "nothing is overwritten");
            let config = temporary.path().join(between(&line, "--dir ", " ")).join("relevo.toml");
            let http = surround(&config, dns.addr(), sink.addr);
            shell.variables.push(("RELEVO_URL".to_owned(), format!("http://{http}")));
            for (name, value) in published(&said) {
                let (first, second) = value.split_at(value.len() / 2);
                dns.txt(&name, &[first, second]);
            }
            // Only a shortcut.
            let _ = components::furnish(&config.with_file_name("data"));
        } else if line.starts_with("export RELEVO_API_KEY=") {
            let key = between(&said, "API key: ", "\n").to_owned();
            shell.variables.push(("RELEVO_API_KEY".to_owned(), key));
        } else if let Some(served) = line.strip_suffix('&') {
            shell.running = Some(shell.command(&format!("exec {served}")).spawn().unwrap());
            let url = shell.variables[0].1.clone();
            wait_for("it listens", || TcpStream::connect(url.trim_start_matches("http://")).ok());
        } else if line.starts_with("relevo doctor ") {
            let diagnosis = shell.run(&line);
            assert!(diagnosis.contains("\npass  spf.sources 192.0.2.1: "), "{diagnosis}");
            assert!(diagnosis.contains("\npass  gmail.dkim example.com: "), "{diagnosis}");
        } else if line.starts_with("relevo send ") {
            shell.run(&send(&line));
        } else {
            shell.run(&line);
        }
    }
    let health = health(&shell.variables);
    let status = |check: &Value| (check["check"].as_str().unwrap().to_owned(), check["status"].clone());
    let checks: Vec<_> = health["checks"].as_array().unwrap().iter().map(status).collect();
    assert!(checks.contains(&("yahoo.spf".to_owned(), json!("pass"))), "{health}");
    assert!(!checks.iter().any(|(_, status)| status == "fail"), "{health}");
    let received = wait_for("a message", || sink.all().into_iter().next());
    (said, received)
}

/// What the API says of the domain.
fn health(variables: &[(String, String)]) -> Value {
    let value = |name: &str| variables.iter().find(|(n, _)| n == name).unwrap().1.clone();
    let http: SocketAddr = value("RELEVO_URL").trim_start_matches("http://").parse().unwrap();
    let key = value("RELEVO_API_KEY");
    let answer = get(http, "api.test", "/domains/example.com/health", Some(&key));
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()
}

#[test]
fn five_commands_lead_from_nothing_to_a_signed_message() {
    assert_eq!(commands().len(), 5, "{:?}", commands());
    let (said, received) = first_message("", str::to_owned);
    let keys = Keys::new(published(&said));
    assert_eq!(verdicts(&received.message, &keys), ["pass", "pass"], "{}", received.message);
    assert!(received.message.contains("d=example.com"), "{}", received.message);
    assert_eq!(received.helo, "mta1.example.com");
}

#[test]
fn a_marketing_domain_signs_by_itself_and_can_be_left_by_one_click() {
    let (said, received) = first_message("--marketing news", |line| {
        line.replace("@example.com", "@news.example.com") + " --stream marketing"
    });
    let message = &received.message;
    assert_eq!(verdicts(message, &Keys::new(published(&said))), ["pass", "pass"], "{message}");
    assert!(message.contains("d=news.example.com"), "{message}");
    let unfolded = message.replace("\r\n ", " ").replace("\r\n\t", " ");
    assert!(unfolded.contains("\r\nList-Unsubscribe: <https://links.news.example.com/u/"), "{message}");
    assert!(unfolded.contains("\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"), "{message}");
}
