//! People who sign in: `relevo user`, and how the first one comes in.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::relay::Relay;
use support::sink::Sink;
use support::wait_for;

fn configuration(folder: &Path) -> PathBuf {
    let file = folder.join("relevo.toml");
    let text = "hostname = \"mta.example.com\"\npostmaster = \"p@example.com\"\ndata_dir = \"data\"\n\
                [smtp]\nsubmission = [\"127.0.0.1:587\"]\n[panel]\nurl = \"https://Mail.example.com/\"\n\
                [[tenant]]\nid = \"acme\"\n";
    fs::write(&file, text).unwrap();
    fs::create_dir(folder.join("data")).unwrap();
    file
}

/// Runs the command; an error has its words.
fn user(file: &Path, arguments: &[&str]) -> Result<Value, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relevo"));
    command.arg("user").args(arguments).arg("--json").arg("--config").arg(file);
    let output = command.output().unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

fn refused(file: &Path, arguments: &[&str], words: &str) {
    let error = user(file, arguments).unwrap_err();
    assert!(error.contains(words), "{arguments:?}: {error}");
}

#[test]
fn users_are_administered_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = configuration(folder.path());
    let tenant = ["--tenant", "acme"];
    let invite = |email: &str, role: &str| {
        user(&file, &["invite", email, "--tenant", "acme", "--role", role, "--name", "Ann"])
    };
    let made = invite("Ann@example.com", "developer").unwrap();
    let url = made["url"].as_str().unwrap();
    assert!(url.starts_with("https://mail.example.com/panel/link/") && url.len() == 36 + 43, "{url}");
    let listed = user(&file, &["list", tenant[0], tenant[1]]).unwrap();
    let ann = &listed[0];
    assert_eq!((ann["email"].as_str(), ann["role"].as_str()), (Some("ann@example.com"), Some("developer")));
    assert_eq!((ann["tenant"].as_str(), ann["has_password"].as_bool()), (Some("acme"), Some(false)));
    let again = user(&file, &["reset", "ann@example.com"]).unwrap();
    assert_ne!(again["url"], made["url"]);
    assert_eq!(user(&file, &["disable", "ANN@example.com"]).unwrap()["disabled"], true);
    assert_eq!(user(&file, &["enable", "ann@example.com"]).unwrap()["disabled"], false);

    user(&file, &["invite", "root@example.com", "--operator"]).unwrap();
    let operators = user(&file, &["list"]).unwrap();
    assert_eq!((operators.as_array().unwrap().len(), &operators[0]["role"]), (1, &Value::from("operator")));

    refused(&file, &["invite", "b@example.com"], "--tenant");
    refused(&file, &["invite", "b@example.com", "--tenant", "other"], "there is no tenant `other`");
    refused(&file, &["invite", "b@example.com", "--tenant", "acme", "--operator"], "cannot be used with");
    refused(&file, &["reset", "nobody@example.com"], "there is no user `nobody@example.com`");
    assert!(invite("ann@example.com", "viewer").unwrap_err().contains("address already"));
    assert!(invite("ann", "viewer").unwrap_err().contains("the address has no domain"));
    assert!(invite("b@example.com", "operator").unwrap_err().contains("--operator"));
    assert!(invite("b@example.com", "king").unwrap_err().contains("owner, developer"));
    assert_eq!(user(&file, &["delete", "ann@example.com"]).unwrap()["deleted"], true);
    refused(&file, &["delete", "ann@example.com"], "there is no user");
}

/// Links to the first operator that the log has.
fn first_links(relay: &Relay) -> Vec<String> {
    let log = relay.log();
    let links = log.split_whitespace().filter(|word| word.contains("/panel/link/"));
    links.map(str::to_owned).collect()
}

/// Waits until the relay has started so many times.
fn wait_until_ready(relay: &Relay, times: usize) {
    wait_for("the relay is ready", || {
        let log = relay.log();
        let ready = log.lines().filter(|line| line.ends_with("ready") || line.contains("\"ready\""));
        Some(()).filter(|()| ready.count() >= times)
    });
}

#[test]
fn the_log_has_a_link_to_the_first_operator_until_somebody_is_there() {
    let sink = Sink::start();
    let mut relay = Relay::start(sink.addr, "", false);
    wait_until_ready(&relay, 1);
    let first = first_links(&relay);
    assert_eq!(first.len(), 1, "{}", relay.log());
    assert!(first[0].starts_with(&format!("http://{}/panel/link/", relay.http)), "{first:?}");
    let (status, made) = relay.call("POST", "/users", &json!({"email": "ann@example.com", "role": "owner"}));
    assert_eq!(status, 201, "{made}");
    assert!(!relay.log().contains(made["token"].as_str().unwrap()));
    relay.stop();
    relay.spawn();
    wait_until_ready(&relay, 2);
    assert_eq!(first_links(&relay), first, "there is a user: no other link");
    let listed = user(&relay.config(), &["list", "--tenant", "acme"]).unwrap();
    assert_eq!(listed[0]["email"], "ann@example.com");
}
