//! Configurations with mistakes, as files: each `#!` says what `relevo check` must say about its
//! line.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn check(file: &Path) -> (bool, String) {
    let Output { status, stdout, .. } =
        Command::new(env!("CARGO_BIN_EXE_relevo")).arg("check").arg("--config").arg(file).output().unwrap();
    (status.success(), String::from_utf8(stdout).unwrap())
}

#[test]
fn every_mistake_is_named_with_line_and_key() {
    let mut files = 0;
    for entry in fs::read_dir(repository().join("tests/configs")).unwrap() {
        let file = entry.unwrap().path();
        let text = fs::read_to_string(&file).unwrap();
        let (ok, answer) = check(&file);
        assert!(!ok, "{} passed:\n{answer}", file.display());
        let mut expected = 0;
        for (i, line) in text.lines().enumerate() {
            for wanted in line.split("#!").skip(1).map(str::trim) {
                expected += 1;
                let place = format!("{}:{}: ", file.display(), i + 1);
                let found = answer.lines().filter(|l| l.starts_with("error: ")).any(|l| {
                    let said = l.trim_start_matches("error: ");
                    let rest = said.strip_prefix(&place);
                    // What is about a missing file names it with its folder.
                    rest.is_some_and(|rest| match wanted.split_once(": ") {
                        Some((key, what)) => rest.starts_with(key) && rest.contains(what),
                        None => rest.contains(wanted),
                    })
                });
                assert!(found, "{place}{wanted}\nwas not said, but:\n{answer}");
            }
        }
        let errors = answer.lines().filter(|l| l.starts_with("error: ")).count();
        assert_eq!(errors, expected, "{}: more or fewer mistakes than expected:\n{answer}", file.display());
        files += 1;
    }
    assert!(files >= 9, "only {files} files");
}

/// Rules of shaping are a file of their own, whose mistakes are named as those of the configuration.
#[test]
fn mistakes_of_the_rules_are_named_with_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let (file, rules) = (folder.path().join("relevo.toml"), folder.path().join("shaping.toml"));
    let text = "hostname = \"a.example.com\"\npostmaster = \"p@example.com\"\ndata_dir = \"d\"\n\
                [smtp]\nsubmission = [\"127.0.0.1:587\"]\n[shaping]\nrules = \"shaping.toml\"\n";
    fs::write(&file, text).unwrap();
    fs::write(&rules, "[[provider]]\nname = \"google\"\nconnections = 3\n").unwrap();
    let (ok, answer) = check(&file);
    assert!(ok, "{answer}");
    let wrong = "[default]\nconnections = 0\nretry = [\"soon\"]\n[warmup]\nladder = [9, 8]\n\
                 [[provider]]\nname = \"new\"\n[[provider]]\nname = \"google\"\nconections = 3\n\
                 [[reply]]\nname = \"x\"\ndo = \"slow_down\"\nfor = \"1h\"\n";
    fs::write(&rules, wrong).unwrap();
    let (ok, answer) = check(&file);
    assert!(!ok, "{answer}");
    for (line, said) in [
        (2, "default.connections: must be a number from 1 to 1000000"),
        (3, "default.retry: must be a length of time"),
        (5, "warmup.ladder: must have one step at least, and none below the one before"),
        (6, "provider[0]: a provider whose MX hosts are not built in needs `mx`"),
        (10, "provider[1].conections: unknown key, did you mean `connections`?"),
        (11, "reply[0]: needs a `category` or an `action` that it is for"),
    ] {
        let wanted = format!("error: {}:{line}: {said}", rules.display());
        assert!(answer.contains(&wanted), "{wanted}\nwas not said, but:\n{answer}");
    }
}

/// The example is complete: it passes once the files that it names are there.
#[test]
fn the_example_passes() {
    let folder = tempfile::tempdir().unwrap();
    let example =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("relevo.example.toml")).unwrap();
    let file = folder.path().join("relevo.toml");
    fs::write(&file, example).unwrap();
    let key = folder.path().join("s1.pem");
    generate(&key);
    let (ok, answer) = check(&file);
    assert!(ok, "{answer}");
    // `check` reads and says; it makes nothing.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let (ok, answer) = check(&file);
    assert!(!ok);
    assert!(answer.contains("tenant[0].domain[0].dkim[0].key") && answer.contains("chmod 600"), "{answer}");
}

/// A call that is not allowed ends the process, and these are in groups that a service has no use
/// for as a rule.
#[test]
fn the_unit_allows_what_plugin_threads_and_compilers_need() {
    let unit = fs::read_to_string(repository().join("host/relevo/packaging/relevo.service")).unwrap();
    let filters: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")).collect();
    let allowed: Vec<&str> = filters.last().unwrap().split(' ').collect();
    for call in ["setpriority", "setrlimit", "prlimit64"] {
        assert!(allowed.contains(&call), "{call}: {filters:?}");
    }
}

fn generate(out: &Path) {
    let args = [
        "key",
        "generate",
        "--domain",
        "example.com",
        "--selector",
        "s1",
        "--algorithm",
        "rsa-sha256",
        "--out",
    ];
    let generated = Command::new(env!("CARGO_BIN_EXE_relevo")).args(args).arg(out).output().unwrap();
    assert!(generated.status.success(), "{}", String::from_utf8_lossy(&generated.stderr));
    assert_eq!(fs::metadata(out).unwrap().permissions().mode() & 0o777, 0o600);
    let said = String::from_utf8(generated.stdout).unwrap();
    assert!(said.contains("s1._domainkey.example.com. IN TXT \"v=DKIM1; k=rsa; p="), "{said}");
    // A key is never overwritten.
    let again = Command::new(env!("CARGO_BIN_EXE_relevo")).args(args).arg(out).output().unwrap();
    assert!(!again.status.success());
}

/// A hash that `credential new` prints is one that `check` accepts.
#[test]
fn what_credential_new_prints_can_be_configured() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_relevo")).args(args).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let credential = run(&["credential", "new", "--username", "acme"]);
    let key = run(&["api-key", "new"]);
    let entry = |said: &str| said.lines().find(|l| l.contains(" = [{")).unwrap().to_owned();
    let text = format!(
        "hostname = \"a.example.com\"\npostmaster = \"p@example.com\"\ndata_dir = \"d\"\n[smtp]\n\
         submission = [\"127.0.0.1:587\"]\n[[tenant]]\nid = \"acme\"\n{}\n{}\n",
        entry(&credential),
        entry(&key)
    );
    let file = folder.path().join("relevo.toml");
    fs::write(&file, text).unwrap();
    let (ok, answer) = check(&file);
    assert!(ok, "{answer}");
}

const RULES: &str = r#"version = "acme-1"
include_default = true

[category.odd]
type = "soft"
about = "us"
action = "slow_down"
en = "Odd."
es = "Raro."

[[rule]]
name = "odd"
category = "odd"
any = ["odd words"]
cases = ["450 Odd words"]
"#;

/// A configuration that names rules.
fn with_rules(rules: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let text = "hostname = \"a.example.com\"\npostmaster = \"p@example.com\"\ndata_dir = \"d\"\n\
                [smtp]\n[classify]\nrules = \"rules.toml\"\n";
    fs::write(folder.path().join("rules.toml"), rules).unwrap();
    let file = folder.path().join("relevo.toml");
    fs::write(&file, text).unwrap();
    (folder, file)
}

#[test]
fn a_mistake_in_rules_is_named_with_file_line_and_rule() {
    let (_folder, file) = with_rules(RULES);
    assert!(check(&file).0);
    for (wrong, said) in [
        (
            RULES.replace("category = \"odd\"", "category = \"even\""),
            "rules.toml:12: odd: there is no category even",
        ),
        (RULES.replace("450 Odd", "450 Even"), "rules.toml: odd: \"450 Even words\" is decided by deferred"),
        (RULES.replace("en = \"Odd.\"", "english = \"Odd.\""), "rules.toml:8: unknown field `english`"),
        (RULES.replace("[[rule]]", "[[rule]"), "rules.toml:11"),
    ] {
        let (_folder, file) = with_rules(&wrong);
        let (ok, answer) = check(&file);
        assert!(!ok && answer.contains(said), "{said}: {answer}");
    }
    let (folder, file) = with_rules(RULES);
    fs::remove_file(folder.path().join("rules.toml")).unwrap();
    let (ok, answer) = check(&file);
    assert!(!ok && answer.contains("classify.rules: "), "{answer}");
}

/// What `relevo classify` prints for these lines.
fn classify(args: &[&str], lines: &[u8]) -> String {
    use std::io::Write as _;
    use std::process::Stdio;
    let mut child = Command::new(env!("CARGO_BIN_EXE_relevo"))
        .arg("classify")
        .args(args)
        // Compiled once for all tests.
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("LC_ALL", "es_ES.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn classify_answers_every_line() {
    let mut lines = b"550 5.1.1 User unknown\n\nsmtp; 552 5.2.2 Bo\xeete pleine\n450 Odd words\n".to_vec();
    lines.extend("552 5.2.2 mailbox full ".repeat(10_000).bytes());
    let categories = |said: &str| {
        let answers = said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        answers.map(|answer| answer["category"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let said = classify(&["--json", "--mx", "mx.example.com"], &lines);
    assert_eq!(
        categories(&said),
        ["recipient_unknown", "undetermined", "mailbox_full", "deferred", "mailbox_full"]
    );
    let first: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["type"], &first["action"], &first["about"]),
        (&"hard".into(), &"suppress".into(), &"recipient".into())
    );
    assert!(first["rule"].is_string() && first["explanation"]["es"].is_string() && first["doc"].is_string());
    let words = classify(&[], b"550 5.1.1 No such \x1b[31muser\n");
    assert!(
        words.contains("recipient_unknown: for good, about the recipient; send to this recipient no more"),
        "{words}"
    );
    assert!(words.contains("El destinatario no existe") && !words.contains('\x1b'), "{words}");

    let (_folder, file) = with_rules(RULES);
    let said = classify(&["--json", "--config", file.to_str().unwrap()], &lines);
    assert_eq!(categories(&said)[3], "odd");
    assert!(said.contains("\"rules_version\":\"acme-1\""), "{said}");
}
