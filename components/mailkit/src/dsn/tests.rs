use proptest::prelude::*;

use super::*;

#[test]
fn words() {
    assert_eq!(Ret::parse("full"), Some(Ret::Full));
    assert_eq!(Ret::parse("HDRS").map(|ret| ret.to_string()).as_deref(), Some("HDRS"));
    assert_eq!(Ret::parse("BODY"), None);
    assert_eq!(Notify::parse("never"), Some(Notify::NEVER));
    let both = Notify::parse("delay,SUCCESS").unwrap();
    assert_eq!((both, both.to_string().as_str()), (Notify::SUCCESS | Notify::DELAY, "SUCCESS,DELAY"));
    assert!(both.contains(Notify::SUCCESS) && !both.contains(Notify::FAILURE));
    assert!(!both.contains(Notify::NEVER) && Notify::NEVER.contains(Notify::NEVER));
    for wrong in ["", "NEVER,SUCCESS", "SUCCESS,", "SUCCESS FAILURE", "ALWAYS", "DELAY,DELAY"] {
        assert_eq!(Notify::parse(wrong), None, "{wrong:?}");
    }
}

#[test]
fn envelope_ids() {
    let id = EnvelopeId::parse("QQ314159+20a+3Db").unwrap();
    assert_eq!((id.as_str(), id.to_string().as_str()), ("QQ314159 a=b", "QQ314159+20a+3Db"));
    assert!(EnvelopeId::new("x".repeat(100)).is_some());
    assert_eq!(EnvelopeId::new("=".repeat(34)), None);
    let long = "x".repeat(101);
    for wrong in ["", "a+0D+0Ab", "a b", "+C3+A9", long.as_str()] {
        assert_eq!(EnvelopeId::parse(wrong), None, "{wrong:?}");
    }
}

#[test]
fn original_recipients() {
    let of = |text: &str| OriginalRecipient::parse(text).unwrap();
    let plain = of("rfc822;Bob+2Bx@a.example");
    assert_eq!((plain.kind(), plain.address()), ("rfc822", "Bob+x@a.example"));
    assert_eq!(plain.to_string(), "rfc822;Bob+2Bx@a.example");
    let unicode = OriginalRecipient::of_address("grå@a.example").unwrap();
    assert_eq!(unicode.to_string(), "utf-8;gr\\x{E5}@a.example");
    assert_eq!(of(&unicode.to_string()), unicode);
    assert_eq!(plain.to_field(), "rfc822; Bob+x@a.example");
    assert_eq!(unicode.to_field(), "utf-8; gr\\x{E5}@a.example");
    assert_eq!(of("utf-8;grå@a.example"), unicode);
    let long = format!("rfc822;{}", "x".repeat(500));
    for wrong in [
        "",
        "rfc822",
        "rfc822;",
        ";a@b",
        "a b;c",
        "rfc822;a+0Ab",
        "rfc822;+FF",
        "rfc822;+C3+A5",
        long.as_str(),
    ] {
        assert_eq!(OriginalRecipient::parse(wrong), None, "{wrong:?}");
    }
}

#[test]
fn a_relay_adds_the_address_that_it_was_given() {
    let asked = RecipientDsn { notify: Some(Notify::NEVER), orcpt: None };
    assert!(!asked.wants_failure() && RecipientDsn::default().wants_failure());
    let relayed = asked.relayed("a@b.example");
    assert_eq!(relayed.notify, Some(Notify::NEVER));
    assert_eq!(relayed.orcpt.map(|o| o.to_string()).as_deref(), Some("rfc822;a@b.example"));
    let given = RecipientDsn { notify: None, orcpt: OriginalRecipient::parse("rfc822;x@y.example") };
    assert_eq!(given.relayed("a@b.example"), given);
}

#[test]
fn they_are_stored_as_text() {
    let asked =
        RecipientDsn { notify: Some(Notify::FAILURE), orcpt: OriginalRecipient::of_address("a+b@c.example") };
    let json = serde_json::to_string(&asked).unwrap();
    assert_eq!(json, r#"{"notify":"FAILURE","orcpt":"rfc822;a+2Bb@c.example"}"#);
    assert_eq!(serde_json::from_str::<RecipientDsn>(&json).unwrap(), asked);
    serde_json::from_str::<RecipientDsn>(r#"{"notify":"SOMETIMES"}"#).unwrap_err();
}

proptest! {
    #[test]
    fn values_survive(id in "[ -~]{1,33}", kind in "rfc822|utf-8|x-any", address in "\\PC{1,60}") {
        let id = EnvelopeId::new(id).unwrap();
        prop_assert_eq!(EnvelopeId::parse(&id.to_string()), Some(id));
        if let Some(original) = OriginalRecipient::new(&kind, address) {
            let text = original.to_string();
            prop_assert!(text.bytes().all(|b| b.is_ascii_graphic() && b != b'='), "{}", text);
            prop_assert_eq!(OriginalRecipient::parse(&text), Some(original));
        }
    }

    #[test]
    fn nothing_that_is_parsed_breaks_a_line(text in "\\PC{0,80}|[!-~]{0,80}") {
        let shown = [
            EnvelopeId::parse(&text).map(|v| v.to_string()),
            OriginalRecipient::parse(&text).map(|v| v.to_string()),
            Notify::parse(&text).map(|v| v.to_string()),
        ];
        for shown in shown.into_iter().flatten() {
            prop_assert!(shown.bytes().all(|b| b.is_ascii_graphic()), "{}", shown);
        }
    }
}

#[test]
fn parameters_of_an_envelope() {
    let parameter = |keyword: &str, value: &str| Parameter { keyword: keyword.into(), value: value.into() };
    let mail = [parameter("ENVID", "a+20b"), parameter("RET", "hdrs"), parameter("SIZE", "5")];
    let asked = MessageDsn::of_parameters(&mail);
    assert_eq!((asked.ret, asked.envid), (Some(Ret::Hdrs), EnvelopeId::new("a b")));
    let rcpt = [parameter("NOTIFY", "SOMETIMES"), parameter("ORCPT", "RFC822;a@b.example")];
    let asked = RecipientDsn::of_parameters(&rcpt);
    assert_eq!((asked.notify, asked.orcpt), (None, OriginalRecipient::of_address("a@b.example")));
    assert!(MessageDsn::of_parameters(&[]).is_empty() && RecipientDsn::of_parameters(&[]).is_empty());
}
