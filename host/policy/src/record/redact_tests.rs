use std::collections::BTreeMap;
use std::sync::Arc;

use relevo_mailkit::policy::{Attribute, Decision, Envelope, HeaderField, Message, Part, Recipient, Verdict};
use relevo_runtime::policy::{Export, KeyValues};

use super::super::entry::Answer;
use super::super::pseudonyms::KEY;
use super::super::reads::Noted;
use super::*;
use crate::kv::KvData;

fn message() -> Message {
    let field =
        |name: &str, value: &str| HeaderField { name: name.into(), value: format!(" {value}").into() };
    let recipient = |address: &str, domain: &str| Recipient {
        address: address.into(),
        domain: domain.into(),
        parameters: vec![Parameter { keyword: "ORCPT".into(), value: "rfc822;olga@secret.test".into() }],
    };
    Message {
        id: "01J0000000000000000000000A".into(),
        stage: "data".into(),
        tenant: "acme".into(),
        identity: Some("lovelace".into()),
        envelope: Envelope {
            sender: "shop@brand.test".into(),
            sender_domain: "brand.test".into(),
            parameters: Vec::new(),
            recipients: vec![
                recipient("Olga.Secret@mail.secret.test", "mail.secret.test"),
                recipient("\"eve secret\"@secret.test", "secret.test"),
            ],
        },
        headers: vec![
            field("From", "Brand Secret <shop@brand.test>"),
            field(
                "To",
                "Olga Secret\r\n <olga.secret@MAIL.secret.test>, \"eve secret\"@secret.test (Eve Secret)",
            ),
            field("Subject", "=?utf-8?Q?Dear_Olga_secret=40secret.test?="),
            field("Message-ID", "<1.secret@secret.test>"),
            field("Received", "from secret.test ([198.51.100.7])"),
            field("Content-Type", "text/plain; name=\"olga secret.pdf\""),
            field("Precedence", "bulk"),
            field("X-Secret@secret.test", "secret"),
        ],
        size: 500,
        parts: vec![Part {
            parent: None,
            media_type: "text/plain".into(),
            charset: Some("utf-8".into()),
            transfer_encoding: "7bit".into(),
            attachment: false,
            offset: 0,
            length: 10,
        }],
        facts: [
            ("source", "smtp"),
            ("auth", "password"),
            ("peer", "198.51.100.7"),
            ("helo", "host.secret.test"),
            ("author", "shop@brand.test"),
            ("message-id", "<1.secret@secret.test>"),
            ("subject", "Dear Olga secret@secret.test"),
            ("unheard-of", "secret"),
            ("parts", "1"),
        ]
        .map(|(name, value)| Attribute::new(name, value))
        .to_vec(),
        attributes: vec![Attribute::new("campaign", "secret-plan"), Attribute::new("pool", "best")],
        now: 7,
    }
}

/// With what a block list reads for its first recipient, and a scan.
fn recording() -> Recording {
    let data = "address:olga.secret@mail.secret.test\tasked secret@secret.test of secret.test to stop\n\
                mode\tstrict\nprefix:eve@elsewhere-secret.test\t1\n";
    let data = Arc::new(KvData::parse(data.as_bytes(), 10_000).expect("fits"));
    let noted = Noted::new(data, Arc::default());
    noted.enters(Export::Decide);
    for key in
        ["address:olga.secret@mail.secret.test", "domain:mail.secret.test", "domain:secret.test", "mode"]
    {
        noted.get(key).expect("in memory");
    }
    noted.get("domain:test").expect("in memory");
    noted.get("peer:198.51.100.7").expect("in memory");
    noted.get("user:lovelace").expect("in memory");
    noted.scan("prefix:", None, 100, 1_000).expect("in memory");
    Recording {
        digest: [1; 32],
        settings: [2; 8],
        redacted: false,
        message: message(),
        body: KeptBody::Whole(b"Dear Olga, secret@secret.test\r\n".to_vec()),
        data: noted.reads(),
        answer: Answer::Verdicts((&Decision::from(Verdict::Hold("olga@secret.test".into()))).into()),
    }
}

fn redacted(key: u8) -> Recording {
    let mut recording = recording();
    Pseudonyms::new([key; KEY]).redact(&mut recording);
    recording
}

#[test]
fn nothing_that_names_somebody_is_left() {
    let recording = redacted(1);
    assert!(recording.redacted && recording.body == KeptBody::LeftOut);
    let mut shown = format!("{recording:?}").to_lowercase();
    // Octets are shown as numbers: header fields and values as text too.
    for field in &recording.message.headers {
        shown += &String::from_utf8_lossy(&field.value).to_lowercase();
    }
    let values = recording.data.gets.values().flatten();
    for value in values.chain(recording.data.scans.values().flatten().map(|(_, value)| value)) {
        shown += &String::from_utf8_lossy(value);
    }
    for name in ["secret", "olga", "eve", "brand", "shop", "198.51", "lovelace", "dear", ".pdf", "elsewhere"]
    {
        assert!(!shown.contains(name), "{name} in {shown}");
    }
}

#[test]
fn the_same_is_the_same_and_only_with_the_same_key() {
    let (one, other) = (redacted(1), redacted(2));
    assert_eq!(one, redacted(1));
    let to = |recording: &Recording, n: usize| recording.message.envelope.recipients[n].address.clone();
    assert_ne!(to(&one, 0), to(&other, 0));
    assert_ne!(to(&one, 0), to(&one, 1));
    let pseudonyms = Pseudonyms::new([1; KEY]);
    assert_eq!(pseudonyms.address("olga.secret@MAIL.Secret.test."), to(&one, 0));
    assert_eq!(pseudonyms.address("a@b\u{fc}cher.test"), pseudonyms.address("A@xn--bcher-kva.test"));
    // Envelope, header and facts agree on who is who.
    let field = |name: &str| {
        let found = one.message.headers.iter().find(|f| f.name == name).expect("there");
        String::from_utf8(found.value.clone()).expect("text")
    };
    assert_eq!(field("To"), format!(" {}, {}", to(&one, 0), to(&one, 1)));
    assert_eq!(field("From"), format!(" {}", one.message.envelope.sender));
    let fact = |name: &str| one.message.facts.iter().find(|f| f.name == name).map(|f| f.value.as_str());
    assert_eq!(fact("author"), Some(one.message.envelope.sender.as_str()));
    assert_eq!(fact("message-id"), Some(field("Message-ID").trim()));
    // What names nobody is what it was.
    assert_eq!((field("Precedence").as_str(), field("Content-Type").as_str()), (" bulk", " text/plain"));
    assert_eq!((fact("source"), fact("parts")), (Some("smtp"), Some("1")));
    let attributes = &one.message.attributes;
    assert_eq!((attributes[1].name.as_str(), attributes[1].value.as_str()), ("pool", "best"));
    assert!(fact("peer").is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_ok()));
}

#[test]
fn domains_keep_their_labels() {
    let recording = redacted(1);
    let recipients = &recording.message.envelope.recipients;
    let (mail, domain) = (&recipients[0].domain, &recipients[1].domain);
    assert!(mail.ends_with(&format!(".{domain}")), "{mail} is below {domain}");
    assert_eq!((mail.split('.').count(), domain.split('.').count()), (3, 2));
    assert!(recipients[0].address.ends_with(&format!("@{mail}")));
    let pseudonyms = Pseudonyms::new([1; KEY]);
    let long = "a.".repeat(500) + "test";
    assert!(pseudonyms.domain(&long).len() < 200);
    assert!(pseudonyms.domain("[192.0.2.1]").starts_with('['));
    assert_eq!(pseudonyms.address(""), "@d".to_owned() + &pseudonyms.hex("domain", "", 6));
}

/// A plugin that makes its keys of what it is told asks, in a replay, for keys that are there.
#[test]
fn what_was_read_is_found_by_pseudonym() {
    let recording = redacted(1);
    let message = &recording.message;
    let value = |key: &str| recording.data.gets.get(key).cloned().unwrap_or_else(|| panic!("no {key}"));
    let first = &message.envelope.recipients[0];
    let stop = value(&format!("address:{}", first.address.to_lowercase())).expect("it was there");
    assert!(stop.starts_with(b"asked u"), "{}", String::from_utf8_lossy(&stop));
    for (at, _) in first.domain.match_indices('.') {
        assert_eq!(value(&format!("domain:{}", &first.domain[at + 1..])), None);
    }
    assert_eq!(value(&format!("domain:{}", first.domain)), None);
    assert_eq!(value("mode"), Some(b"strict".to_vec()));
    assert_eq!(value(&format!("user:{}", message.identity.as_deref().expect("kept"))), None);
    let peer = message.facts.iter().find(|f| f.name == "peer").expect("kept");
    assert_eq!(value(&format!("peer:{}", peer.value)), None);
    let (range, found) = recording.data.scans.iter().next().expect("one");
    assert_eq!((range.prefix.as_str(), range.limit), ("prefix:", 100));
    let gets: BTreeMap<_, _> = found.iter().cloned().collect();
    assert_eq!(gets.len(), 1);
}

/// With a peer, and recipients that make trouble: of one letter or number, in quotes, with what parts words in it.
fn names_of(peer: &str, test: impl Fn(&Names<'_>)) {
    let mut message = message();
    message.facts.iter_mut().filter(|f| f.name == "peer").for_each(|f| f.value = peer.into());
    for (address, domain) in [
        ("1@de", "de"),
        ("olga_secret-x@reader.test", "reader.test"),
        ("ada@[IPv6:2001:db8:9::9]", "[IPv6:2001:db8:9::9]"),
    ] {
        let (address, domain) = (address.to_owned(), domain.to_owned());
        message.envelope.recipients.push(Recipient { address, domain, parameters: Vec::new() });
    }
    let pseudonyms = Pseudonyms::new([1; KEY]);
    test(&Names::of(&pseudonyms, &message));
}

#[test]
fn names_are_found_inside_of_words() {
    names_of("198.51.100.7", |names| {
        let pseudonyms = names.pseudonyms;
        let (domain, peer) = (pseudonyms.domain("secret.test"), names.key("198.51.100.7"));
        let (olga, quoted) =
            ("olga.secret@mail.secret.test", pseudonyms.address("\"eve secret\"@secret.test"));
        let olga = pseudonyms.address(olga);
        let eve = quoted.split('@').next().expect("a local part").to_owned();
        for (text, becomes) in [
            ("domain=secret.test", format!("domain={domain}")),
            ("d/secret.test.", format!("d/{domain}.")),
            ("secret.test-x1", format!("{domain}-x1")),
            // It may be a name of its own.
            ("d-secret.test", pseudonyms.domain("d-secret.test")),
            ("user=lovelace", format!("user={}", pseudonyms.word("lovelace"))),
            ("user-Lovelace_1x", format!("user-{}_1x", pseudonyms.word("lovelace"))),
            ("ip=198.51.100.7", format!("ip={peer}")),
            ("198.51.100.7/32", format!("{peer}/32")),
            ("rate-198.51.100.7", format!("rate-{peer}")),
            ("net:198.51.100", format!("net:{}", pseudonyms.word("198.51.100"))),
            (
                "https://secret.test/u?e=Olga.Secret%40mail.secret.test&n=2",
                format!("https://{domain}/u?e={}&n=2", olga.replace('@', "%40")),
            ),
            ("mailto:olga.secret@mail.secret.test?n=2", format!("mailto:{olga}?n=2")),
            (
                "lovelace/to=olga.secret@mail.secret.test&n",
                format!("{}/to={olga}&n", pseudonyms.word("lovelace")),
            ),
            ("local:\"Eve Secret\"", format!("local:{eve}")),
            ("local:eve secret.", format!("local:{eve}.")),
            ("eve secret@secret.test", quoted),
            ("olga_secret-x", pseudonyms.local("olga_secret-x", "reader.test")),
            ("local=olga_secret-x", format!("local={}", pseudonyms.local("olga_secret-x", "reader.test"))),
            ("to:ada@[IPv6:2001:db8:9::9]", format!("to:{}", pseudonyms.address("ada@[IPv6:2001:db8:9::9]"))),
            ("mode strict, version 12.5 at 10:30", "mode strict, version 12.5 at 10:30".to_owned()),
        ] {
            assert_eq!(String::from_utf8_lossy(&names.text(text.as_bytes())), becomes, "{text}");
        }
        assert_eq!(names.key("tld=de"), format!("tld={}", pseudonyms.domain("de")));
        let other = names.key("e=unknown%40other.test d/x.other.test 203.0.113.9-x ada@other.test");
        for name in ["unknown", "other", "203", "ada"] {
            assert!(!other.contains(name), "{name} in {other}");
        }
    });
}

#[test]
fn every_ipv6_address_is_replaced_however_it_is_written() {
    names_of("2001:db8:1:2::de:1", |names| {
        let ip = |text: &str| names.pseudonyms.ip(text.parse().expect("an address")).to_string();
        let (peer, network) = (ip("2001:db8:1:2::de:1"), ip("2001:db8:1:2::"));
        for (text, becomes) in [
            ("2001:db8:1:2::de:1", peer.clone()),
            ("peer:2001:DB8:1:2:0:0:de:1", format!("peer:{peer}")),
            ("face:2001:db8:1:2::de:1", format!("face:{peer}")),
            ("peer=2001:0db8:0001:0002::de:1/128", format!("peer={peer}/128")),
            ("rate:2001:db8:1:2::/64", format!("rate:{network}/64")),
            ("[IPv6:2001:db8:1:2::de:1]:25", format!("[IPv6:{peer}]:25")),
            ("2001:db8:1:2::de:1:25", format!("{peer}:25")),
            ("from fe80::1.", format!("from {}.", ip("fe80::1"))),
            ("x ::ffff:198.51.100.7", format!("x {}", ip("::ffff:198.51.100.7"))),
            ("net 2001:db8:1:2", format!("net {}", names.pseudonyms.word("2001:db8:1:2"))),
            ("std::string at 10:30:00, a ::", "std::string at 10:30:00, a ::".to_owned()),
        ] {
            let found = names.text(text.as_bytes());
            assert_eq!(String::from_utf8_lossy(&found), becomes, "{text}");
        }
    });
}

#[test]
fn fields_and_parameters_are_kept_by_their_words() {
    let mut recording = recording();
    let field = |name: &str, value: &str| HeaderField { name: name.into(), value: value.into() };
    recording.message.headers = vec![
        field("Importance", "high"),
        field("Importance", "Olga +49 171 1"),
        field("Date", "22 Nov 2026 10:00 GMT"),
    ];
    recording.message.envelope.parameters = [("SIZE", "1234"), ("BODY", "8BITMIME"), ("AUTH", "<>")]
        .map(|(keyword, value)| Parameter { keyword: keyword.into(), value: value.into() })
        .to_vec();
    recording.message.parts[0].charset = Some("olga secret".into());
    let pseudonyms = Pseudonyms::new([1; KEY]);
    pseudonyms.redact(&mut recording);
    let message = &recording.message;
    let values: Vec<_> =
        message.headers.iter().map(|f| String::from_utf8_lossy(&f.value).into_owned()).collect();
    let hidden = format!(" {}", pseudonyms.word("Olga +49 171 1"));
    assert_eq!(values, [" high", hidden.as_str(), " 22 Nov 2026 10:00 GMT"]);
    let values: Vec<_> = message.envelope.parameters.iter().map(|p| p.value.as_str()).collect();
    assert_eq!(values, ["1234", "8BITMIME", pseudonyms.word("<>").as_str()]);
    assert_eq!(message.parts[0].charset, Some(pseudonyms.word("olga secret")));
}

/// A thousand recipients whose domains have as many labels as can be.
#[test]
fn many_labels_take_little_time() {
    let mut recording = recording();
    for n in 0..1_000 {
        let domain = format!("r{n}.{}test", "a.".repeat(120));
        let recipient = Recipient { address: format!("ada@{domain}"), domain, parameters: Vec::new() };
        recording.message.envelope.recipients.push(recipient);
    }
    let pseudonyms = Pseudonyms::new([1; KEY]);
    let names = Names::of(&pseudonyms, &recording.message);
    assert!(names.known_domains() < 1_100, "{}", names.known_domains());
    let deep = &recording.message.envelope.recipients[2].domain;
    assert_eq!(names.key(&format!("d:{deep}")), format!("d:{}", pseudonyms.domain(deep)));
}
