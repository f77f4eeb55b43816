//! `POST /emails/check` and `relevo check-content`, with the real binary, the real component and
//! spam filters of the test.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use serde_json::{Value, json};
use support::client::{Answer, request_with};
use support::relay::{API_HOST, Relay, free_port, relevo};
use support::sink::Sink;

/// Answers each message with a score of spamd. The filter is gone when it is dropped by the process.
fn spamd(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = String::new();
            stream.read_to_string(&mut asked).unwrap();
            assert!(asked.starts_with("SYMBOLS SPAMC/1.5\r\nContent-length: "), "{asked}");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    addr
}

const GTUBE: &str =
    "SPAMD/1.1 0 EX_OK\r\nContent-length: 19\r\nSpam: True ; 1000.0 / 5.0\r\n\r\nGTUBE,NO_RECEIVED\r\n";
const HTML: &str = "<p>Your account has been locked. Open it again before tomorrow evening, please.</p>\n\
    <a href=\"https://login.evil.test/x\">www.bank.example.net</a> <a href=\"https://bit.ly/x\">or here</a>";

fn message(html: &str) -> String {
    format!(
        "From: shop@example.test\r\nTo: ana@reader.test\r\nSubject: Your account\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/html; charset=utf-8\r\n\r\n{}\r\n",
        html.replace('\n', "\r\n")
    )
}

fn check(relay: &Relay, path: &str, message: &str) -> Answer {
    let fields = [("Content-Type", "message/rfc822")];
    request_with(relay.http, API_HOST, ("POST", path), Some(&relay.key), &fields, message)
}

/// Name, severity and location of each finding.
fn findings(answer: &Value) -> Vec<(String, String, String)> {
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let found = |f: &Value| (text(f, "check"), text(f, "severity"), text(f, "location"));
    answer["findings"].as_array().unwrap().iter().map(found).collect()
}

fn expected(all: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    all.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect()
}

#[test]
fn relay_and_command_line_agree_about_content() {
    let sink = Sink::start();
    let away = free_port();
    let filters = format!("[content]\nspamassassin = \"{}\"\nrspamd = \"http://{away}\"", spamd(GTUBE));
    let relay = Relay::start(sink.addr, &filters, false);

    let answer = check(&relay, "/emails/check?stream=marketing", &message(HTML));
    assert_eq!(answer.status, 200, "{}", answer.json());
    let by_relay = answer.json();
    assert_eq!(by_relay["object"], "content_check");
    assert_eq!(by_relay["size"], message(HTML).len());
    let all = expected(&[
        ("spam_score", "error", ""),
        ("link_mismatch", "error", "html line 2"),
        ("text_part", "warning", ""),
        ("link_shortener", "warning", "html line 2"),
        ("unsubscribe", "warning", ""),
        // Rspamd does not listen, which fails nothing.
        ("spam_score", "unknown", ""),
    ]);
    assert_eq!(findings(&by_relay), all, "{by_relay:#}");
    let score = json!([{"filter": "spamassassin", "score": 1000.0, "threshold": 5.0, "is_spam": true,
        "rules": ["GTUBE", "NO_RECEIVED"]}]);
    assert_eq!(by_relay["spam_scores"], score);
    let unknown = by_relay["findings"][5]["message"].as_str().unwrap();
    assert!(unknown.starts_with("rspamd gave no score: "), "{unknown}");

    // The command finds the same, and fails because one finding is an error.
    let (config, file) = (relay.config(), relay.folder.join("message.eml"));
    fs::write(&file, message(HTML).replace("\r\n", "\n")).unwrap();
    let (config, file) = (config.to_str().unwrap(), file.to_str().unwrap());
    let (done, said) = relevo(&["check-content", "--marketing", "--json", "--config", config, file], "");
    assert!(!done, "{said}");
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), by_relay);

    // Without a configuration no filter is asked.
    let (done, said) = relevo(&["check-content", "-"], &message(HTML));
    assert!(!done, "{said}");
    assert!(said.starts_with("error  link_mismatch (html line 2): The text of a link names "), "{said}");
    assert!(!said.contains("spam") && !said.contains("unsubscribe"), "{said}");
    let plain = "From: shop@example.test\nSubject: Your order\n\nYour order has been shipped.\n";
    assert_eq!(relevo(&["check-content", "-"], plain), (true, "nothing was found\n".to_owned()));
}

#[test]
fn the_message_of_a_request_is_looked_at_as_it_would_be_sent() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    let email = |html: &str| {
        json!({"from": "Shop <shop@example.test>", "to": "ana@reader.test", "subject": "News of {{ month }}",
            "stream": "transactional", "html": html, "text": "Your account has been locked."})
    };
    let (status, answer) = relay.call("POST", "/emails/check", &email(HTML));
    assert_eq!(status, 200, "{answer}");
    let all = expected(&[
        ("placeholder", "error", "subject"),
        ("link_mismatch", "error", "html line 2"),
        ("link_shortener", "warning", "html line 2"),
    ]);
    assert_eq!((findings(&answer), &answer["spam_scores"]), (all, &json!([])), "{answer:#}");

    // Mistakes of the request are those of `POST /emails`.
    let mut wrong = email(HTML);
    wrong["from"] = json!("shop of example.test");
    let (by_check, by_sending) =
        (relay.call("POST", "/emails/check", &wrong), relay.call("POST", "/emails", &wrong));
    assert_eq!((by_check.0, &by_check.1["message"]), (by_sending.0, &by_sending.1["message"]));
    assert!(by_check.0 >= 400, "{by_check:?}");
    let (status, answer) = relay.call("POST", "/emails/check?stream=bulk", &email(HTML));
    assert_eq!((status, &answer["param"]), (422, &json!("stream")), "{answer}");

    // Nothing was sent.
    assert_eq!(relay.events("email.accepted"), Vec::<Value>::new());
    assert_eq!(sink.all().len(), 0);
}

#[test]
fn hostile_content_is_bounded() {
    let sink = Sink::start();
    let relay = Relay::start(sink.addr, "", false);
    let megabytes = 15 << 20;
    // 15 MB of links take about the second that they may: whether they are looked at is chance.
    let large = 4 << 20;
    // A tag of a million attributes, each compared with all before it.
    let attributes: String = (0..1_000_000).map(|n| format!(" a{n}")).collect();
    let attached = format!(
        "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nThe invoice is attached.\r\n--b\r\n\
         Content-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}--b--\r\n",
        format!("{}\r\n", "QUJD".repeat(19)).repeat(large / 78)
    );
    for (name, message, status) in [
        ("a large text", message(&"<p>lorem ipsum</p>\n".repeat(large / 20)), 200),
        ("a large attachment", attached, 200),
        ("deep elements", message(&"<div><table>".repeat(megabytes / 12)), 422),
        ("links", message(&"<a href=http://a.test>b.test</a>".repeat(large / 32)), 200),
        ("attributes", message(&format!("<a{attributes}>")), 422),
        (
            "parts",
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_owned() + &"--b\r\n\r\n".repeat(1 << 20),
            422,
        ),
        ("too large", message(&"x".repeat(17 << 20)), 413),
    ] {
        let answer = check(&relay, "/emails/check", &message);
        assert_eq!(answer.status, status, "{name}: {}", answer.json());
        if status == 200 {
            assert!(answer.json()["findings"].as_array().unwrap().len() <= 100, "{name}");
        }
    }
    let answer = check(&relay, "/emails/check", "Subject: A\r\n\r\nStill here.\r\n");
    assert_eq!((answer.status, findings(&answer.json())), (200, Vec::new()));
}
