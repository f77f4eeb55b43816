//! SMTP AUTH beside passwords, over TLS: SCRAM, access tokens, client certificates.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use rcgen::{KeyPair, PKCS_ED25519, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use support::client::get;
use support::relay::{DOMAIN, PASSWORD, Relay, USER, free_port};
use support::sink::Sink;
use support::tls::{Authority, Identity, TlsClient};
use support::wait_for;

/// A relay with everything, and what its clients have.
struct Scene {
    relay: Relay,
    submissions: SocketAddr,
    authority: Authority,
    client: Identity,
    issuer: Issuer,
    _sink: Sink,
}

fn host() -> String {
    format!("relay.{DOMAIN}")
}

impl Scene {
    fn start() -> Self {
        let sink = Sink::start();
        let mut relay = Relay::start(sink.addr, "", false);
        relay.stop();
        let authority = Authority::new();
        let (server, client) = (authority.issue(&host()), authority.issue("app.test"));
        authority.write(&server, &relay.folder);
        let (issuer, submissions) = (Issuer::start(), free_port());
        let digest = Sha256::digest(&client.certificate);
        let digest: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
        let text = fs::read_to_string(relay.config()).unwrap();
        assert!(text.contains("scram = \"SCRAM-SHA-256$"), "{text}");
        let smtp = format!(
            "[smtp]\nsubmissions = [\"{submissions}\"]\ntls_certificate = \"cert.pem\"\n\
             tls_key = \"key.pem\"\nclient_ca = \"ca.pem\"\noauth = {{ issuer = \"{}\", \
             audience = \"relay\", username_claim = \"sub\", scope = \"mail\" }}\n",
            issuer.url
        );
        let text = text.replace("[smtp]\n", &smtp).replacen(
            "\" }]",
            &format!("\", oauth = true, certificates = [\"sha256:{digest}\"] }}]"),
            1,
        );
        fs::write(relay.config(), text).unwrap();
        relay.spawn();
        Self { relay, submissions, authority, client, issuer, _sink: sink }
    }

    fn connect(&self) -> TlsClient {
        self.authority.connect(self.submissions, &host(), None)
    }

    /// A new session and its reply to one AUTH command.
    fn auth(&self, mechanism: &str, initial: &str) -> (TlsClient, String) {
        let mut client = self.connect();
        let reply = client.command(&format!("AUTH {mechanism} {}", STANDARD.encode(initial)));
        (client, reply)
    }

    fn withdraw(&self, what: &str) {
        let text = fs::read_to_string(self.relay.config()).unwrap();
        assert!(text.contains(what), "{text}");
        fs::write(self.relay.config(), text.replace(what, "")).unwrap();
        let before = self.relay.log().matches("reloaded").count();
        self.relay.reload();
        wait_for("the reload", || (self.relay.log().matches("reloaded").count() > before).then_some(()));
    }
}

/// The code of the reply to MAIL.
fn mail(client: &mut TlsClient) -> String {
    let reply = client.command(&format!("MAIL FROM:<a@{DOMAIN}>"));
    client.command("RSET");
    reply[..3].to_owned()
}

/// Says of itself and its key over HTTP what is asked.
struct Issuer {
    url: String,
    key: KeyPair,
}

impl Issuer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let x = URL_SAFE_NO_PAD.encode(key.public_key_raw());
        let about = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") });
        let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x }] });
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut read = BufReader::new(&stream);
                let (mut request, mut line) = (String::new(), String::new());
                read.read_line(&mut request).unwrap();
                while line != "\r\n" {
                    line.clear();
                    read.read_line(&mut line).unwrap();
                }
                let body = if request.starts_with("GET /keys ") { &keys } else { &about }.to_string();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                (&stream).write_all((head + &body).as_bytes()).unwrap();
            }
        });
        Self { url, key }
    }

    fn token(&self, user: &str, seconds: i64) -> String {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({ "iss": self.url, "aud": "relay", "sub": user, "exp": now + seconds });
        let signed = format!("{}.{}", part(json!({ "alg": "EdDSA", "kid": "k1" })), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()).unwrap());
        format!("{signed}.{signature}")
    }
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().into()
}

fn xor(a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
    std::array::from_fn(|i| a[i] ^ b[i])
}

/// A login by SCRAM (RFC 5802 section 3): the last reply. The server must prove that it knows the
/// password, too.
fn scram(client: &mut TlsClient, plus: bool, password: &str) -> String {
    let (name, header, binding) = match plus {
        true => ("SCRAM-SHA-256-PLUS", "p=tls-exporter,,", client.exporter().to_vec()),
        false => ("SCRAM-SHA-256", "n,,", Vec::new()),
    };
    let bare = format!("n={USER},r=nonce-of-the-client");
    let challenge = client.command(&format!("AUTH {name} {}", STANDARD.encode(format!("{header}{bare}"))));
    let decoded = |reply: &str| {
        let text = reply.strip_prefix("334 ").unwrap_or_else(|| panic!("{reply}"));
        String::from_utf8(STANDARD.decode(text.trim_end()).unwrap()).unwrap()
    };
    let first = decoded(&challenge);
    let field = |name: &str| first.split(',').find_map(|part| part.strip_prefix(name)).unwrap();
    let salt = STANDARD.decode(field("s=")).unwrap();
    let mut block = hmac(password.as_bytes(), &[&salt[..], &[0, 0, 0, 1]].concat());
    let mut salted = block;
    for _ in 1..field("i=").parse::<u32>().unwrap() {
        block = hmac(password.as_bytes(), &block);
        salted = xor(salted, block);
    }
    let binding = STANDARD.encode([header.as_bytes(), &binding].concat());
    let unproven = format!("c={binding},r={}", field("r="));
    let signed = format!("{bare},{first},{unproven}");
    let client_key = hmac(&salted, b"Client Key");
    let stored_key: [u8; 32] = Sha256::digest(client_key).into();
    let proof = xor(client_key, hmac(&stored_key, signed.as_bytes()));
    let reply = client.respond(&format!("{unproven},p={}", STANDARD.encode(proof)));
    if !reply.starts_with("334 ") {
        return reply;
    }
    let signature = hmac(&hmac(&salted, b"Server Key"), signed.as_bytes());
    assert_eq!(decoded(&reply), format!("v={}", STANDARD.encode(signature)));
    client.command("")
}

#[test]
fn logins_beside_passwords() {
    let scene = Scene::start();
    let hello = scene.connect().hello;
    let offered = hello.lines().find(|line| line.contains("AUTH ")).unwrap();
    for name in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "OAUTHBEARER", "XOAUTH2"] {
        assert!(offered.split(' ').any(|word| word.trim_end() == name), "{name}: {hello}");
    }
    assert!(!offered.contains("EXTERNAL"), "no certificate was shown: {hello}");
    scram_logins(&scene);
    token_logins(&scene);
    certificate_logins(&scene);
    let metrics = String::from_utf8(get(scene.relay.http, "x", "/metrics", None).body).unwrap();
    assert!(metrics.contains("smtp_logins_total{result=\"granted\"} 6"), "{metrics}");
    assert!(metrics.contains("smtp_logins_total{result=\"denied\"} 4"), "{metrics}");
}

fn scram_logins(scene: &Scene) {
    for plus in [false, true] {
        let mut client = scene.connect();
        assert_eq!(mail(&mut client), "530");
        let reply = scram(&mut client, plus, PASSWORD);
        assert!(reply.starts_with("235 "), "{plus}: {reply}");
        assert_eq!(mail(&mut client), "250");
    }
    let reply = scram(&mut scene.connect(), true, "wrong");
    assert!(reply.starts_with("535 "), "{reply}");
    let key = fs::metadata(scene.relay.folder.join("data/scram.key")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
}

fn token_logins(scene: &Scene) {
    let good = scene.issuer.token(USER, 300);
    let bearer = |user: &str, token: &str, host: &str| {
        format!("n,a={user},\x01host={host}\x01port=465\x01auth=Bearer {token}\x01\x01")
    };
    let (mut client, reply) = scene.auth("OAUTHBEARER", &bearer(USER, &good, &host()));
    assert!(reply.starts_with("235 "), "{reply}");
    assert_eq!(mail(&mut client), "250");
    let (_, reply) = scene.auth("XOAUTH2", &format!("user={USER}\x01auth=Bearer {good}\x01\x01"));
    assert!(reply.starts_with("235 "), "{reply}");
    for refused in [
        bearer(USER, &scene.issuer.token(USER, -300), &host()),
        bearer(USER, &scene.issuer.token("nobody", 300), &host()),
        bearer(USER, &good, "elsewhere.test"),
    ] {
        let (mut client, reply) = scene.auth("OAUTHBEARER", &refused);
        let error = STANDARD.decode(reply.strip_prefix("334 ").unwrap().trim_end()).unwrap();
        let error: Value = serde_json::from_slice(&error).unwrap();
        assert_eq!((&error["status"], &error["scope"]), (&json!("invalid_token"), &json!("mail")));
        let about = format!("{}/.well-known/openid-configuration", scene.issuer.url);
        assert_eq!(error["openid-configuration"], json!(about));
        assert!(client.respond("\x01").starts_with("535 "));
    }
    scene.withdraw("oauth = true, ");
    assert_eq!(mail(&mut client), "530", "the reload has withdrawn it");
}

fn certificate_logins(scene: &Scene) {
    let connect = || scene.authority.connect(scene.submissions, &host(), Some(&scene.client));
    for identity in ["=".to_owned(), STANDARD.encode(USER)] {
        let mut client = connect();
        assert!(client.hello.contains("EXTERNAL"), "{}", client.hello);
        let reply = client.command(&format!("AUTH EXTERNAL {identity}"));
        assert!(reply.starts_with("235 "), "{reply}");
        assert_eq!(mail(&mut client), "250");
    }
    let strangers = Authority::new().issue("app.test");
    let mut client = scene.authority.connect(scene.submissions, &host(), Some(&strangers));
    assert!(!client.hello.contains("EXTERNAL"), "{}", client.hello);
    assert!(client.command("AUTH EXTERNAL =").starts_with("5"));
}
