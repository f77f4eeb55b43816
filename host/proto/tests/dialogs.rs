//! Runs the conversations in `tests/dialogs`. Its README has the format.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use relevo_mailkit::dsn::RecipientDsn;
use relevo_mailkit::envelope::Recipient;
use relevo_proto::Reply;
use relevo_proto::server::{
    AuthPolicy, BareNewlines, Event, FutureRelease, MailFrom, Offers, ProxiedClient, ProxiedLogin,
    ScramVerifier, ServerSession, SessionConfig, SessionLimits, TlsFacts,
};

/// The session, the product behind it, and what came out.
struct Conversation {
    session: ServerSession,
    octet_by_octet: bool,
    pending: Vec<u8>,
    lines: VecDeque<String>,
    messages: VecDeque<String>,
    facts: VecDeque<String>,
    from: String,
    to: Vec<String>,
    content: Vec<u8>,
    closed: bool,
}

/// That of the server in the example of RFC 7677 section 3.
const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

/// `user` and `locked` have the password of the example; `busy` cannot be looked up.
fn verifier(username: &str) -> Result<ScramVerifier, Reply> {
    let salt = b"\x5b\x6d\x99\x68\x9d\x12\x35\x8e\xec\xa0\x4b\x14\x12\x36\xfa\x81".to_vec();
    match username {
        "user" | "locked" => Ok(ScramVerifier::derive("pencil", salt, 4096).unwrap()),
        "busy" => Err(reply(454, (4, 7, 0))),
        _ => Ok(ScramVerifier::decoy(b"secret", username, 4096)),
    }
}

fn reply(code: u16, enhanced: (u8, u16, u16)) -> Reply {
    Reply::new(code, enhanced, "as told")
}

impl Conversation {
    fn new(config: SessionConfig, tls: Option<TlsFacts>, octet_by_octet: bool) -> Self {
        let mut conversation = Self {
            session: ServerSession::new(config, tls),
            octet_by_octet,
            pending: Vec::new(),
            lines: VecDeque::new(),
            messages: VecDeque::new(),
            facts: VecDeque::new(),
            from: String::new(),
            to: Vec::new(),
            content: Vec::new(),
            closed: false,
        };
        conversation.session.greet(Ok(()));
        conversation.poll();
        conversation
    }

    /// Delivers the segment that was collected.
    fn deliver(&mut self) {
        let segment = std::mem::take(&mut self.pending);
        let size = if self.octet_by_octet { 1 } else { segment.len().max(1) };
        for part in segment.chunks(size) {
            if !self.closed {
                self.session.receive(part);
                self.poll();
            }
        }
    }

    fn poll(&mut self) {
        loop {
            match self.session.poll() {
                Event::NeedInput => break,
                Event::Close => {
                    self.closed = true;
                    break;
                }
                event => self.answer(event),
            }
        }
        let output = String::from_utf8(self.session.take_output()).unwrap();
        assert!(output.is_empty() || output.ends_with("\r\n"));
        self.lines.extend(output.split_terminator("\r\n").map(str::to_owned));
    }

    fn answer(&mut self, event: Event) {
        let decide =
            |refused: bool, code, enhanced| if refused { Err(reply(code, enhanced)) } else { Ok(()) };
        match event {
            Event::Authenticate(c) => self.session.decide(decide(c.password != "secret", 535, (5, 7, 8))),
            Event::Token(token) => {
                let good = token.token == "good";
                let name = token.username.unwrap_or_else(|| "somebody".to_owned());
                self.session.authenticated(if good { Ok(name) } else { Err(reply(535, (5, 7, 8))) });
            }
            Event::External(identity) => {
                let good = identity.is_none_or(|identity| identity == "holder");
                let name = "holder".to_owned();
                self.session.authenticated(if good { Ok(name) } else { Err(reply(535, (5, 7, 8))) });
            }
            Event::Proxied(client) => {
                self.note(proxied_facts(&client));
                let refused = client.addr.value() == "192.0.2.66".parse().ok();
                self.reset();
                let login = match client.login.value().as_deref() {
                    Some("nobody") => ProxiedLogin::Unknown,
                    _ => ProxiedLogin::Known,
                };
                self.session.restart(decide(refused, 554, (5, 7, 1)).map(|()| login));
            }
            Event::ScramUser(username) => self.session.scram_verifier(verifier(&username), NONCE),
            Event::ScramFailed(_) => self.session.decide(Err(reply(535, (5, 7, 8)))),
            Event::ScramProven(username) => {
                self.note(format!("proven={username}"));
                self.session.decide(decide(username == "locked", 535, (5, 7, 8)));
            }
            Event::Mail(from) => {
                self.note(mail_facts(&from));
                self.session.decide(decide(from.address.starts_with("refuse"), 550, (5, 7, 1)));
                self.from = from.address;
            }
            Event::Rcpt(to) => {
                self.note(rcpt_facts(&to));
                let refused = to.address.starts_with("refuse");
                self.session.decide(decide(refused, 550, (5, 1, 1)));
                if !refused {
                    self.to.push(to.address);
                }
            }
            Event::Data => {
                self.content.clear();
                let later = self.from.starts_with("later");
                self.session.decide(decide(later, 451, (4, 3, 0)));
                if later {
                    self.reset();
                }
            }
            Event::Content if self.from.starts_with("disk") => {
                self.session.refuse_content(reply(452, (4, 3, 1)))
            }
            Event::Content => self.content.extend_from_slice(self.session.content()),
            Event::Finish => self.finish(),
            Event::Reset => self.reset(),
            Event::StartTls => {
                self.reset();
                self.session.tls_started("TLSv1.3".to_owned());
            }
            Event::NeedInput | Event::Close => {}
        }
    }

    fn note(&mut self, facts: String) {
        if !facts.is_empty() {
            self.facts.push_back(facts);
        }
    }

    fn finish(&mut self) {
        if self.from.starts_with("spam") {
            self.session.finished(&reply(550, (5, 6, 0)));
        } else {
            self.session.finished(&Reply::new(250, (2, 0, 0), "Queued"));
            let content = escape(&self.content);
            self.messages.push_back(format!("{} -> {}: {content}", self.from, self.to.join(", ")));
        }
        self.reset();
    }

    fn reset(&mut self) {
        self.from.clear();
        self.to.clear();
        self.content.clear();
    }
}

fn escape(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, &octet| {
        match octet {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\\' => text.push_str("\\\\"),
            0 => text.push_str("\\0"),
            0x20..0x7f => text.push(char::from(octet)),
            _ => write!(text, "\\x{octet:02x}").unwrap(),
        }
        text
    })
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        if octet != b'\\' {
            out.push(octet);
            continue;
        }
        match octets.next().unwrap() {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b'0' => out.push(0),
            b'\\' => out.push(b'\\'),
            b'x' => {
                let digits = [octets.next().unwrap(), octets.next().unwrap()];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            }
            other => panic!("unknown escape {}", char::from(other)),
        }
    }
    out
}

/// The settings at the top of a file.
fn settings(text: &str) -> (SessionConfig, Option<TlsFacts>, bool) {
    let mut config = SessionConfig {
        hostname: "mx.test".to_owned(),
        starttls: false,
        auth: AuthPolicy::Off,
        auth_required: false,
        bare_newlines: BareNewlines::Refuse,
        offers: Offers::default(),
        limits: SessionLimits { message_size: 1000, ..SessionLimits::default() },
    };
    let (mut tls, mut fixed) = (None, false);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("listener: ") {
            (config.starttls, config.auth) = match name {
                "relay" => (false, AuthPolicy::Off),
                "submission" => (true, AuthPolicy::AfterTls),
                "loopback" => (true, AuthPolicy::Always),
                "submissions" => (true, AuthPolicy::AfterTls),
                _ => panic!("unknown listener {name}"),
            };
            tls = (name == "submissions").then(|| TlsFacts::from("TLSv1.3".to_owned()));
            config.auth_required = name != "relay";
        } else if let Some(limit) = line.strip_prefix("limit: ") {
            let (name, value) = limit.split_once(' ').unwrap();
            match name {
                "size" => config.limits.message_size = value.parse().unwrap(),
                "errors" => config.limits.errors = value.parse().unwrap(),
                "idle" => config.limits.idle_commands = value.parse().unwrap(),
                "refusals" => config.limits.refusals = value.parse().unwrap(),
                "chunks" => config.limits.small_chunks = value.parse().unwrap(),
                _ => panic!("unknown limit {name}"),
            }
        } else if let Some(offer) = line.strip_prefix("offer: ") {
            offered(&mut config.offers, offer);
        }
        if let (Some(fact), Some(tls)) = (line.strip_prefix("tls: "), &mut tls) {
            match fact {
                "exporter" => tls.exporter = Some([7; 32]),
                "certificate" => tls.client_certificate = Some(b"der".as_slice().into()),
                _ => panic!("unknown fact {fact}"),
            }
        }
        fixed |= line == "segments: fixed";
        if line == "bare newlines: normalize" {
            config.bare_newlines = BareNewlines::Normalize;
        }
    }
    (config, tls, fixed)
}

fn offered(offers: &mut Offers, line: &str) {
    match line {
        "chunking" => offers.chunking = true,
        "binarymime" => offers.binarymime = true,
        "dsn" => offers.dsn = true,
        "requiretls" => offers.requiretls = true,
        "limits" => (offers.rcpt_max, offers.mail_max) = (Some(2), Some(2)),
        "futurerelease" => {
            offers.future_release = Some(FutureRelease { max_interval: 3600, now: 1_700_000_000 });
        }
        "deliverby" => offers.deliver_by = Some(60),
        "xclient" => offers.xclient = true,
        "scram" => offers.mechanisms.scram_sha_256 = true,
        "external" => offers.mechanisms.external = true,
        "oauthbearer" => offers.mechanisms.oauthbearer = true,
        "xoauth2" => offers.mechanisms.xoauth2 = true,
        "no passwords" => (offers.mechanisms.plain, offers.mechanisms.login) = (false, false),
        "mt-priority" => offers.mt_priority = Some("MIXER".to_owned()),
        _ => panic!("unknown offer {line}"),
    }
}

/// What MAIL said beyond the address, as a line of a dialogue.
fn mail_facts(from: &MailFrom) -> String {
    let mut facts = Vec::new();
    let asked = &from.options;
    facts.extend(asked.dsn.ret.map(|ret| format!("ret={ret}")));
    facts.extend(asked.dsn.envid.as_ref().map(|envid| format!("envid={}", envid.as_str())));
    facts.extend(asked.require_tls.then(|| "requiretls".to_owned()));
    facts.extend(from.hold.map(|hold| format!("hold={hold:?}")));
    facts.extend(asked.deliver_by.map(|by| format!("by={by}")));
    facts.extend(asked.priority.map(|priority| format!("priority={priority}")));
    facts.extend(from.auth.as_ref().filter(|auth| !auth.is_empty()).map(|auth| format!("auth={auth}")));
    facts.join(" ")
}

/// The same for XCLIENT.
fn proxied_facts(client: &ProxiedClient) -> String {
    let ProxiedClient { name, addr, port, extended, helo, login } = client;
    format!("{name:?} {addr:?} {port:?} {extended:?} {helo:?} {login:?}")
}

/// The same for RCPT.
fn rcpt_facts(to: &Recipient) -> String {
    let mut facts = Vec::new();
    let asked = RecipientDsn::of_parameters(&to.parameters);
    facts.extend(asked.notify.map(|notify| format!("notify={notify}")));
    facts.extend(asked.orcpt.map(|orcpt| format!("orcpt={};{}", orcpt.kind(), orcpt.address())));
    facts.join(" ")
}

fn run(text: &str, octet_by_octet: bool) -> Result<(), String> {
    let (config, tls, _) = settings(text);
    let mut talk = Conversation::new(config, tls, octet_by_octet);
    for (number, line) in text.lines().enumerate() {
        step(&mut talk, line).map_err(|e| format!("line {}: {e}", number + 1))?;
    }
    talk.deliver();
    match (talk.lines.pop_front(), talk.messages.pop_front(), talk.facts.pop_front()) {
        (None, None, None) => Ok(()),
        (line, message, facts) => Err(format!("at the end: unexpected {line:?} {message:?} {facts:?}")),
    }
}

fn step(talk: &mut Conversation, line: &str) -> Result<(), String> {
    let (kind, text) = line.split_at(line.len().min(3));
    match kind {
        "C: " => talk.pending.extend_from_slice(format!("{text}\r\n").as_bytes()),
        "C> " => talk.pending.extend_from_slice(&unescape(text)),
        "C* " => {
            let (count, text) = text.split_once(' ').unwrap();
            let text = text.repeat(count.parse().unwrap());
            talk.pending.extend_from_slice(format!("{text}\r\n").as_bytes());
        }
        "|" => talk.deliver(),
        "S: " => return expect_line(talk, text),
        "F: " => {
            talk.deliver();
            let got = talk.facts.pop_front();
            if got.as_deref() != Some(text) {
                return Err(format!("facts {got:?}"));
            }
        }
        "M: " => {
            talk.deliver();
            let got = talk.messages.pop_front();
            if got.as_deref() != Some(text) {
                return Err(format!("message {got:?}"));
            }
        }
        _ if line.starts_with("! ") => {
            talk.deliver();
            match line {
                "! stop" => talk.session.stop(),
                "! timeout" => talk.session.time_out(),
                _ => return Err("unknown order".to_owned()),
            }
            talk.poll();
        }
        _ => {
            let known = ["#", "listener: ", "limit: ", "offer: ", "tls: ", "segments: ", "bare newlines: "]
                .iter()
                .any(|k| line.starts_with(k));
            if !known && !line.is_empty() {
                return Err("unknown line".to_owned());
            }
        }
    }
    Ok(())
}

fn expect_line(talk: &mut Conversation, expected: &str) -> Result<(), String> {
    talk.deliver();
    if expected == "<closed>" {
        return if talk.closed && talk.lines.is_empty() { Ok(()) } else { Err("not closed".to_owned()) };
    }
    let Some(got) = talk.lines.pop_front() else { return Err("no reply".to_owned()) };
    let fits = match expected.strip_suffix('*') {
        Some(prefix) => got.starts_with(prefix),
        None => got == expected,
    };
    if fits { Ok(()) } else { Err(format!("the server said {got:?}")) }
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/dialogs");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "dialog"))
        .collect();
    files.sort();
    files
}

#[test]
fn all_dialogs() {
    let files = files();
    let mut failures = Vec::new();
    for path in &files {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        for octet_by_octet in [false, true] {
            if octet_by_octet && settings(&text).2 {
                continue;
            }
            if let Err(error) = run(&text, octet_by_octet) {
                let how = if octet_by_octet { " octet by octet" } else { "" };
                failures.push(format!("{name}{how}: {error}"));
            }
        }
    }
    println!("{} dialogs", files.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(files.len() >= 30, "only {} dialogs", files.len());
}

/// The runner notices what it should.
#[test]
fn wrong_dialogs_fail() {
    let greeting = "S: 220 mx.test ESMTP Relevo\n";
    assert_eq!(run(greeting, false), Ok(()));
    for wrong in [
        "S: 221 x\n",
        "",
        "S: 220*\nC: NOOP\n",
        "S: 220*\nS: <closed>\n",
        "S: 220*\nS: 250 x\n",
        "S: 220*\nM: a\n",
        "X\n",
    ] {
        assert!(run(wrong, false).is_err(), "{wrong:?}");
    }
}
