use super::*;
use proptest::prelude::*;

const MESSAGE_ID: [u8; 16] = *b"0123456789abcdef";

fn keys(ids: &[&str]) -> TokenKeys {
    TokenKeys(
        ids.iter()
            .map(|id| TokenKey { id: (*id).to_owned(), secret: Sha256::digest(id.as_bytes()).to_vec() })
            .collect(),
    )
}

fn scope() -> Scope<'static> {
    Scope { tenant: "acme", host: "t.example.com" }
}

fn click(to: &str) -> String {
    keys(&["2026a"]).mint_click(&scope(), &MESSAGE_ID, 7, to).unwrap()
}

#[test]
fn a_token_says_what_was_minted() {
    let claims = keys(&["2026a"]).verify(Kind::Click, &scope(), &click("https://x.example/?q=1")).unwrap();
    assert_eq!(
        claims,
        Claims { message: MESSAGE_ID, recipient: 7, destination: "https://x.example/?q=1".to_owned() }
    );
}

#[test]
fn a_token_does_not_change_from_release_to_release() {
    assert_eq!(click("https://x.example/"), click("https://x.example/"));
    assert_eq!(
        keys(&["2026a"]).mint_open(&scope(), &MESSAGE_ID, 1).unwrap(),
        "AfSeOz4wMTIzNDU2Nzg5YWJjZGVmAAAAAQm4W1WMo0UeeHW7209FaXY"
    );
}

#[test]
fn kind_tenant_and_host_are_under_the_mac() {
    let (keys, token) = (keys(&["2026a"]), click("https://x.example/"));
    let other = |tenant, host| keys.verify(Kind::Click, &Scope { tenant, host }, &token);
    assert!(other("acme", "t.example.com").is_some());
    assert_eq!(other("evil", "t.example.com"), None);
    assert_eq!(other("acme", "t.evil.example"), None);
    assert_eq!(other("acmet", ".example.com"), None);
    assert_eq!(keys.verify(Kind::Open, &scope(), &token), None);
    let open = keys.mint_open(&scope(), &MESSAGE_ID, 7).unwrap();
    assert_eq!(keys.verify(Kind::Unsubscribe, &scope(), &open), None);
    assert_eq!(keys.verify_unsubscribe(&scope(), &open), None);
    assert_eq!(keys.verify(Kind::Click, &scope(), &open), None);
    assert!(keys.verify(Kind::Open, &scope(), &open).is_some());
}

#[test]
fn old_keys_verify_until_they_are_removed() {
    let token = click("https://x.example/");
    assert!(keys(&["2026b", "2026a"]).verify(Kind::Click, &scope(), &token).is_some());
    assert_eq!(keys(&["2026b"]).verify(Kind::Click, &scope(), &token), None);
    assert_eq!(TokenKeys::default().verify(Kind::Click, &scope(), &token), None);
    assert_eq!(TokenKeys::default().mint_open(&scope(), &MESSAGE_ID, 0), None);
}

#[test]
fn a_key_of_the_same_id_with_another_secret_does_not_verify() {
    let mut keys = keys(&["2026a"]);
    keys.0[0].secret[0] ^= 1;
    assert_eq!(keys.verify(Kind::Click, &scope(), &click("https://x.example/")), None);
}

#[test]
fn every_altered_character_is_refused() {
    let (keys, token) = (keys(&["2026a"]), click("https://x.example/a"));
    for at in 0..token.len() {
        for c in "AQgw09-_=.".chars() {
            let mut altered: Vec<char> = token.chars().collect();
            if std::mem::replace(&mut altered[at], c) != c {
                let altered: String = altered.into_iter().collect();
                assert_eq!(keys.verify(Kind::Click, &scope(), &altered), None, "{altered}");
            }
        }
        assert_eq!(keys.verify(Kind::Click, &scope(), &token[..at]), None);
    }
    assert_eq!(keys.verify(Kind::Click, &scope(), &format!("{token}=")), None);
    assert_eq!(keys.verify(Kind::Click, &scope(), &"A".repeat(MAX_TOKEN + 1)), None);
}

#[test]
fn the_host_is_the_authority() {
    assert_eq!(host_of("https://T.Example.com"), "t.example.com");
    assert_eq!(host_of("http://127.0.0.1:8025/"), "127.0.0.1:8025");
}

#[test]
fn urls_of_a_copy_verify() {
    let (keys, links) =
        (keys(&["k"]), vec!["https://a.example/".to_owned(), "https://b.example/".to_owned()]);
    let urls = CopyUrls {
        keys: &keys,
        tenant: "acme",
        base_url: "https://t.example.com",
        message: MESSAGE_ID,
        recipient: 3,
        links: &links,
        unsubscribe: unsubscribe::Subscription { address: "b@b.example", ..Default::default() },
    };
    let url = urls.click(1);
    let claims =
        keys.verify(Kind::Click, &scope(), url.strip_prefix("https://t.example.com/c/").unwrap()).unwrap();
    assert_eq!((claims.recipient, claims.destination.as_str()), (3, "https://b.example/"));
    assert!(urls.open().starts_with("https://t.example.com/o/"));
    let url = urls.unsubscribe();
    let token = url.strip_prefix("https://t.example.com/u/").unwrap();
    assert_eq!(keys.verify_unsubscribe(&scope(), token).unwrap().address, "b@b.example");
    assert_eq!(urls.click(2), "");
}

proptest! {
    #[test]
    fn a_url_is_no_longer_than_promised(to in "\\PC{0,200}", host in "[a-z.]{1,60}") {
        let base = format!("https://{host}");
        let token = click(&to);
        let url = url(&base, Kind::Click, &token);
        let promised = usize::try_from(url_overhead(&base)).unwrap() + to.len().div_ceil(3) * 4;
        prop_assert!(url.len() <= promised);
        prop_assert!(url.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._~:/".contains(&c)));
        prop_assert_eq!(keys(&["2026a"]).verify(Kind::Click, &scope(), &token).unwrap().destination, to);
    }

    #[test]
    fn noise_is_refused(token in "\\PC{0,200}") {
        prop_assert_eq!(keys(&["2026a"]).verify(Kind::Click, &scope(), &token), None);
    }
}
