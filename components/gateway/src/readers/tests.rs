//! Genuine tokens, forged ones, and what the core says.

use relevo_api::unsubscribe::SubscriberList;
use relevo_mailkit::token::unsubscribe::Subscription;
use relevo_mailkit::token::{TokenKey, TokenKeys};

use super::*;

const SCOPE: Scope<'static> = Scope { tenant: "acme", host: "t.example.com" };
const NOW: u64 = 1_795_325_621_500;

fn key(id: &str, octet: u8) -> TokenKey {
    TokenKey { id: id.to_owned(), secret: vec![octet; 32] }
}

fn settings(keys: &[TokenKey]) -> Tracking {
    Tracking { keys: TokenKeys(keys.to_vec()), tenant: "acme".to_owned(), address_field: String::new() }
}

fn click(key: TokenKey, to: &str) -> ReaderPath {
    let token = TokenKeys(vec![key]).mint_click(&SCOPE, &[1; 16], 3, to).expect("a key");
    ReaderPath::parse(&format!("/c/{token}")).expect("a path")
}

fn reader() -> Reader {
    Reader {
        host: "t.example.com".to_owned(),
        user_agent: Some("Mozilla/5.0".to_owned()),
        ..Reader::default()
    }
}

#[test]
fn a_click_is_answered_and_reported() {
    let settings = settings(&[key("k", 1)]);
    let path = click(key("k", 1), "https://shop.example/a b?q=ü");
    let (answer, report) = visit(&settings, &path, &reader(), NOW);
    assert_eq!((answer.status, answer.field("location")), (302, Some("https://shop.example/a%20b?q=%C3%BC")));
    let report = report.expect("a report");
    assert_eq!((report.kind, report.token.as_str()), (ReportedKind::Click, path.token.as_str()));
    assert_eq!(
        (report.at.as_str(), report.user_agent.as_deref()),
        ("2026-11-22T05:33:41.500Z", Some("Mozilla/5.0"))
    );
    let looks = Reader { only_looks: true, ..reader() };
    assert_eq!(visit(&settings, &path, &looks, NOW), (answer, None));
}

#[test]
fn the_host_of_a_token_may_have_a_port_and_a_dot() {
    let (settings, path) = (settings(&[key("k", 1)]), click(key("k", 1), "https://shop.example/"));
    for host in ["T.Example.com", "t.example.com:443", "t.example.com.:8080"] {
        let (answer, report) = visit(&settings, &path, &Reader { host: host.to_owned(), ..reader() }, NOW);
        assert_eq!((answer.status, report.expect("a report").host.as_str()), (302, host));
    }
    for host in ["", "example.com", "x.t.example.com", "t.example.com.evil.example"] {
        let (answer, report) = visit(&settings, &path, &Reader { host: host.to_owned(), ..reader() }, NOW);
        assert_eq!((answer.status, report), (404, None), "{host}");
    }
}

#[test]
fn keys_rotate_without_a_gap() {
    let (old, new) = (click(key("old", 1), "https://a.example/"), click(key("new", 2), "https://b.example/"));
    let statuses =
        |keys: &[TokenKey]| [&old, &new].map(|path| visit(&settings(keys), path, &reader(), NOW).0.status);
    assert_eq!(statuses(&[key("old", 1)]), [302, 404]);
    assert_eq!(statuses(&[key("new", 2), key("old", 1)]), [302, 302]);
    assert_eq!(statuses(&[key("new", 2)]), [404, 302]);
}

#[test]
fn a_stranger_is_sent_nowhere() {
    let settings = settings(&[key("k", 1)]);
    let genuine = click(key("k", 1), "https://shop.example/");
    let forged = click(key("k", 2), "https://evil.example/");
    let as_open = ReaderPath { kind: Kind::Open, ..genuine.clone() };
    let scripts = click(key("k", 1), "javascript:alert(1)");
    let other_tenant = Tracking { tenant: "other".to_owned(), ..settings.clone() };
    for (settings, path) in
        [(&settings, &forged), (&settings, &as_open), (&settings, &scripts), (&other_tenant, &genuine)]
    {
        let (answer, report) = visit(settings, path, &reader(), NOW);
        assert_eq!((answer.status, answer.field("location"), report), (404, None, None));
        assert_eq!(answer.body, b"not found\n");
    }
    // Whoever has the key cannot add a field either.
    let split = click(key("k", 1), "https://shop.example/\r\nset-cookie: a=b\r\n\r\n<script>");
    let answer = visit(&settings, &split, &reader(), NOW).0;
    assert_eq!(answer.field("location"), Some("https://shop.example/set-cookie:%20a=b%3Cscript%3E"));
}

#[test]
fn paths_are_read() {
    let parsed = |path| ReaderPath::parse(path).map(|path| (path.kind, path.token, path.button));
    assert_eq!(parsed("/c/A-b_9"), Some((Kind::Click, "A-b_9".to_owned(), None)));
    assert_eq!(parsed("/o/A%2Db%5f9"), Some((Kind::Open, "A-b_9".to_owned(), None)));
    assert_eq!(parsed("/u/A"), Some((Kind::Unsubscribe, "A".to_owned(), None)));
    assert_eq!(
        parsed("/u/A/leave"),
        Some((Kind::Unsubscribe, "A".to_owned(), Some(UnsubscribeAction::Leave)))
    );
    assert_eq!(
        parsed("/u/A/return"),
        Some((Kind::Unsubscribe, "A".to_owned(), Some(UnsubscribeAction::Return)))
    );
    for path in
        ["", "/", "/c", "/c/", "/x/A", "/c/A/leave", "/u/A/show", "/u/A/leave/", "/c/A/", "/c/%zz", "/c/%2"]
    {
        assert_eq!(parsed(path), None, "{path}");
    }
}

#[test]
fn the_last_address_is_the_hosts() {
    for (field, address) in [
        ("192.0.2.7", Some("192.0.2.7")),
        ("192.0.2.7:50123", Some("192.0.2.7")),
        ("[2001:db8::1]:443", Some("2001:db8::1")),
        ("::ffff:192.0.2.7", Some("192.0.2.7")),
        ("203.0.113.9, 198.51.100.1", Some("198.51.100.1")),
        ("203.0.113.9, nonsense", None),
        ("", None),
    ] {
        assert_eq!(client_address(field), address.map(|a| a.parse().expect("an address")), "{field}");
    }
}

#[test]
fn the_core_is_asked_about_genuine_tokens_only() {
    let of = Subscription { address: "ana@reader.example", topic: "", sender: "example.com" };
    let token = TokenKeys(vec![key("k", 1)]).mint_unsubscribe(&SCOPE, &[1; 16], 0, &of).expect("a key");
    let both = settings(&[key("new", 2), key("k", 1)]);
    assert!(is_genuine(&both, "t.example.com:443", &token) && !is_genuine(&both, "example.com", &token));
    assert!(!is_genuine(&settings(&[key("k", 2)]), "t.example.com", &token));
    assert!(!is_genuine(&both, "t.example.com", &token[1..]));
}

#[test]
fn the_answer_is_the_cores() {
    let subscriber = SubscriberAnswer {
        email: "ana@reader.example".to_owned(),
        sender: "example.com".to_owned(),
        list: SubscriberList::marketing(),
        has_left: true,
        is_suppressed: false,
        gets_marketing: false,
        topics: Vec::new(),
        changed: Some(SubscriberList::marketing()),
    };
    let body = serde_json::to_vec(&subscriber).expect("JSON");
    let reader = Reader { languages: "es".to_owned(), ..reader() };
    let leave =
        PageVisit { token: "T", reader: &reader, action: UnsubscribeAction::Leave, is_one_click: false };
    let click = PageVisit { is_one_click: true, ..leave };
    let page = String::from_utf8(leave.answer(200, &body).body).expect("UTF-8");
    assert!(page.contains("Se ha dado de baja") && page.contains("action=\"/u/T/return\""), "{page}");
    assert_eq!(click.answer(200, &body), unsubscribe::one_click_done());
    for (status, body, expected) in [
        (422, "{}", 404),
        (429, "{}", 429),
        (401, "{}", 503),
        (404, "{}", 503),
        (500, "", 503),
        (200, "{", 503),
    ] {
        for visit in [&leave, &click] {
            let answer = visit.answer(status, body.as_bytes());
            let retry = (expected != 404).then_some("10");
            assert_eq!((answer.status, answer.field("retry-after")), (expected, retry), "{status}");
        }
    }
    assert_eq!(leave.question(b"list=01T").list.as_deref(), Some("01T"));
    let asked = click.question(b"List-Unsubscribe=One-Click&list=01T");
    assert_eq!((asked.method, asked.list), (UnsubscribeMethod::OneClick, None));
}
