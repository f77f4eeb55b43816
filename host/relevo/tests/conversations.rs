//! What is said by SMTP, in the events of attempts.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use serde_json::{Value, json};
use support::relay::Relay;
use support::wait_for;

const PASSWORD: &str = "top secret";
/// `\0relay\0top secret`.
const RESPONSE: &str = "AHJlbGF5AHRvcCBzZWNyZXQ=";

/// A smarthost that asks for AUTH, and repeats the credentials in its answer.
fn smarthost() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || session(&stream));
        }
    });
    addr
}

fn session(stream: &TcpStream) -> Option<()> {
    let (mut lines, mut out) = (BufReader::new(stream).lines(), stream);
    out.write_all(b"220 smart.example ESMTP\r\n").ok()?;
    while let Some(Ok(line)) = lines.next() {
        let answer = match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => "250-smart.example\r\n250-AUTH PLAIN\r\n250 8BITMIME".to_owned(),
            "AUTH" => format!("235 welcome {}", line.rsplit(' ').next().unwrap_or_default()),
            "DATA" => {
                out.write_all(b"354 go on\r\n").ok()?;
                lines.by_ref().map_while(Result::ok).take_while(|line| line != ".").for_each(drop);
                "250 2.0.0 Ok: queued as 17".to_owned()
            }
            "QUIT" => "221 bye".to_owned(),
            _ => "250 2.1.0 Ok".to_owned(),
        };
        out.write_all(format!("{answer}\r\n").as_bytes()).ok()?;
    }
    Some(())
}

fn relay(record: bool) -> Relay {
    let addr = smarthost();
    let mut relay = Relay::start(addr, "", false);
    relay.stop();
    std::fs::write(relay.folder.join("pw"), PASSWORD).unwrap();
    let set = std::process::Command::new("chmod").arg("600").arg(relay.folder.join("pw")).status().unwrap();
    assert!(set.success());
    let text = std::fs::read_to_string(relay.config()).unwrap();
    let auth = "tls = \"none\", username = \"relay\", password_file = \"pw\" }";
    let text = text.replace("tls = \"none\" }", auth);
    let text = text.replace("[delivery]\n", &format!("[delivery]\nrecord_conversations = {record}\n"));
    std::fs::write(relay.config(), text).unwrap();
    relay.spawn();
    relay
}

fn delivered(relay: &Relay) -> Value {
    let body = json!({"from": "a@example.test", "to": "b@example.net", "subject": "Private matter", "text": "Whisper"});
    let (status, answer) = relay.call("POST", "/emails", &body);
    assert_eq!(status, 202, "{answer}");
    let path = format!("/emails/{}", answer["id"].as_str().unwrap());
    wait_for("delivered", || {
        let (_, email) = relay.call("GET", &path, &Value::Null);
        let events = email["events"].as_array().unwrap().clone();
        events.into_iter().find(|event| event["type"] == "email.delivered")
    })
}

#[test]
fn a_conversation_is_recorded_without_content_and_credentials() {
    let relay = relay(true);
    let event = delivered(&relay);
    let lines = event["conversation"].as_array().unwrap();
    let said: Vec<String> = lines
        .iter()
        .map(|line| format!("{}: {}", line["from"].as_str().unwrap(), line["text"].as_str().unwrap()))
        .collect();
    let has = |text: &str| assert!(said.iter().any(|line| line.starts_with(text)), "{text}: {said:#?}");
    assert!(said[0].starts_with("note: connecting to"), "{said:#?}");
    has("server: 220 smart.example ESMTP");
    has("client: EHLO relay.example.test");
    has("server: 250 smart.example\nAUTH PLAIN\n8BITMIME");
    has("client: AUTH PLAIN ****");
    has("server: 235 welcome ****");
    has("client: MAIL FROM:<a@example.test>");
    has("client: RCPT TO:<b@example.net>");
    has("server: 250 2.0.0 Ok: queued as 17");
    let all = event.to_string();
    for secret in [PASSWORD, RESPONSE, "Whisper", "Private matter"] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
    assert!(lines.iter().all(|line| line["at_ms"].is_u64()), "{lines:?}");

    let again = delivered(&relay);
    let first = again["conversation"][0].clone();
    assert_eq!(first["from"], "note");
    let events = relay.events("email.delivered");
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|event| event.get("conversation").is_none()), "{events:?}");
}

#[test]
fn nothing_is_recorded_unless_it_is_wanted() {
    let relay = relay(false);
    assert_eq!(delivered(&relay).get("conversation"), None);
}
