//! `relevo sendmail` as programs call it, against a relay.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use support::relay::{PASSWORD, Relay, USER, free_port};
use support::sink::Sink;

const SHOP: &str = "shop@example.test";

/// A command line, what it reads, and the environment that it finds.
struct Call<'a> {
    program: &'a Path,
    arguments: Vec<&'a str>,
    environment: Vec<(&'a str, String)>,
}

impl<'a> Call<'a> {
    fn new(arguments: &[&'a str], environment: Vec<(&'a str, String)>) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_relevo"));
        Self { program, arguments: [&["sendmail"], arguments].concat(), environment }
    }

    /// Exit code and words.
    fn run(&self, message: &str) -> (i32, String) {
        let mut child = Command::new(self.program)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that refuses its arguments does not read.
        let _ = child.stdin.take().unwrap().write_all(message.as_bytes());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), said)
    }
}

/// The variables that name a relay's submission listener.
fn variables(relay: &Relay, password: &str) -> Vec<(&'static str, String)> {
    let file = relay.folder.join(format!("password-{}", password.len()));
    fs::write(&file, format!("{password}\n")).unwrap();
    vec![
        ("RELEVO_SENDMAIL_URL", format!("smtp://{}", relay.submission)),
        ("RELEVO_SENDMAIL_USERNAME", USER.to_owned()),
        ("RELEVO_SENDMAIL_PASSWORD_FILE", file.to_str().unwrap().to_owned()),
    ]
}

fn relay() -> (Sink, Relay) {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    (sink, relay)
}

#[test]
fn the_header_names_the_recipients() {
    let (sink, relay) = relay();
    let message = "From: Shop <shop@example.test>\nTo: Ada <ada@reader.test>\nCc: bo@reader.test\n\
        Bcc: secret@reader.test\nSubject: header\nX-Relevo-Tag: cron\n\nHello.\n.\nThe end: é\n";
    let (code, said) = Call::new(&["-t", "-i"], variables(&relay, PASSWORD)).run(message);
    assert_eq!((code, said.as_str()), (0, ""));
    let received = sink.wait("Subject: header");
    let mut to: Vec<String> = sink.all().into_iter().flat_map(|received| received.to).collect();
    to.sort();
    assert_eq!(to, ["ada@reader.test", "bo@reader.test", "secret@reader.test"]);
    assert_eq!(received.from, SHOP);
    assert!(
        !received.message.contains("secret@") && !received.message.contains("X-Relevo"),
        "{}",
        received.message
    );
    assert!(
        received.message.contains("Message-ID: ") && received.message.contains("Date: "),
        "{}",
        received.message
    );
    assert!(received.message.contains("The end: é"), "{}", received.message);
    assert_eq!(relay.events("email.queued")[0]["tags"][0]["name"], "cron");
}

#[test]
fn the_command_line_names_recipients_sender_and_author() {
    let (sink, relay) = relay();
    let arguments = ["-FCronDaemon", "-oem", "-f", SHOP, "-v", "--", "ada@reader.test"];
    let (code, said) =
        Call::new(&arguments, variables(&relay, PASSWORD)).run("Subject: line\n\nBefore.\n.\nAfter.\n");
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("ada@reader.test: 250 "), "{said}");
    let received = sink.wait("Subject: line");
    assert!(received.message.contains("From: \"CronDaemon\" <shop@example.test>"), "{}", received.message);
    assert!(
        received.message.contains("Before.") && !received.message.contains("After."),
        "{}",
        received.message
    );
}

/// `/usr/sbin/sendmail` is a link, and the settings stand in a file.
#[test]
fn a_link_named_sendmail_reads_its_file() {
    let (sink, relay) = relay();
    let link = relay.folder.join("sendmail");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_relevo"), &link).unwrap();
    fs::write(relay.folder.join("pw"), PASSWORD).unwrap();
    let file = relay.folder.join("sendmail.toml");
    let text = format!(
        "server = \"smtp://{}\"\nusername = \"{USER}\"\npassword_file = \"pw\"\nsender = \"{SHOP}\"\ndomain = \"reader.test\"\n",
        relay.submission
    );
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let call = Call {
        program: &link,
        arguments: vec!["-i", "ada"],
        environment: vec![("RELEVO_SENDMAIL_CONFIG", file)],
    };
    let (code, said) = call.run("Subject: linked\n\nHello.\n");
    assert_eq!(code, 0, "{said}");
    let received = sink.wait("Subject: linked");
    assert_eq!((received.from.as_str(), received.to), (SHOP, vec!["ada@reader.test".to_owned()]));
    assert!(received.message.contains("From: shop@example.test"), "{}", received.message);
}

#[test]
fn exit_codes_are_those_of_sysexits() {
    let (sink, relay) = relay();
    let good = || variables(&relay, PASSWORD);
    let message = "From: shop@example.test\nTo: ada@reader.test\nSubject: x\n\nHello.\n";
    let code = |arguments: &[&'static str], environment, message: &str| {
        Call::new(arguments, environment).run(message)
    };
    for (arguments, environment, message, expected, words) in [
        (&["-bp"][..], good(), message, 64, "relevo queue list"),
        (&["-i"], good(), message, 64, "no recipients"),
        (
            &["-t"],
            good(),
            "To: Ada ada@reader.test\n\nx\n",
            65,
            "To: `Ada ada@reader.test` is not an address",
        ),
        (
            &["-t"],
            good(),
            "From: shop@example.test\nTo: ada@reader.test\nX-Relevo-Tag: a b\n\nx\n",
            65,
            "X-Relevo-Tag",
        ),
        (&["-t"], good(), "From: a@elsewhere.test\nTo: ada@reader.test\n\nx\n", 69, "550 5.7.1"),
        (&["-t"], variables(&relay, "not the password"), message, 77, "535 5.7.8"),
        (
            &["-t"],
            vec![("RELEVO_SENDMAIL_URL", format!("smtp://{}", free_port()))],
            message,
            75,
            "cannot connect",
        ),
        (&["-t"], vec![("RELEVO_SENDMAIL_URL", "nowhere".to_owned())], message, 78, "RELEVO_SENDMAIL_URL"),
        (&["-t", "-C", "/nonexistent/sendmail.toml"], good(), message, 78, "/nonexistent/sendmail.toml"),
    ] {
        let (found, said) = code(arguments, environment, message);
        assert!(found == expected && said.contains(words), "{arguments:?}: {found}, {said}");
    }
    assert!(sink.all().is_empty());
}

/// A trusted machine needs no credentials on the relay port.
#[test]
fn a_trusted_machine_needs_no_password() {
    let (sink, relay) = relay();
    let environment = vec![("RELEVO_SENDMAIL_URL", format!("smtp://{}", relay.relay))];
    let message = "From: shop@example.test\r\nTo: ada@reader.test\r\nSubject: trusted\r\n\r\nHello.\r\n";
    let (code, said) = Call::new(&["-t"], environment).run(message);
    assert_eq!(code, 0, "{said}");
    assert!(sink.wait("Subject: trusted").message.contains("Hello."));
}
