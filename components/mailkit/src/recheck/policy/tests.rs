use super::*;
use crate::policy::Override;
use crate::recheck::header_fields;
use proptest::prelude::*;

const OCTETS: usize = 256 << 10;

fn field(name: &str, value: &[u8]) -> Decision {
    let headers = vec![HeaderField { name: name.into(), value: value.to_vec() }];
    Decision { headers, ..Verdict::Accept.into() }
}

fn rejected(code: u16, enhanced: &str, text: &str) -> Decision {
    Verdict::Reject(Reply { code, enhanced: enhanced.parse().ok(), text: text.into() }).into()
}

fn check(answer: Decision) -> Result<Checked, &'static str> {
    decision(answer, 3, &HeaderNames::default(), OCTETS)
}

#[test]
fn fields_that_may_be_added() {
    for (name, value) in [
        ("X-A", &b""[..]),
        ("x-a", b"b\tc"),
        ("X-Spam-Score", b"1.5"),
        ("X-RelevoX", b"~ !"),
        ("X-A", &[b'v'; 900]),
    ] {
        let answer = field(name, value);
        assert_eq!(check(answer.clone()), Ok(Checked { decision: answer, replaced: None }), "{name}");
    }
}

#[test]
fn fields_that_may_not() {
    let long = format!("X-{}", "a".repeat(63));
    for (name, value) in [
        ("X-A", &b"v\r\nBcc: victim@reader.test"[..]),
        ("X-A", b"v\n"),
        ("X-A", b"v\r"),
        ("X-A", b"v\0"),
        ("X-A", b"\x7f"),
        ("X-A", b"\xc3\xa9"),
        ("X-A", &[b'v'; 901]),
        ("", b"v"),
        ("X-A ", b"v"),
        ("X-A:", b"v"),
        ("X-A: v\r\nBcc", b"v"),
        ("X-\u{e9}", b"v"),
        (&long, b"v"),
        ("From", b"v"),
        ("fROM", b"v"),
        ("List-Id", b"v"),
        ("X-Relevo-Tenant", b"v"),
        ("Precedence", b"bulk"),
    ] {
        assert!(check(field(name, value)).is_err(), "{name}: {}", value.escape_ascii());
    }
    let many = Decision {
        headers: vec![HeaderField { name: "X-A".into(), value: Vec::new() }; MAX_HEADERS + 1],
        ..Verdict::Accept.into()
    };
    assert!(check(many).is_err());
}

#[test]
fn an_allow_list_can_add_but_not_what_is_never_allowed() {
    let names = |patterns: &[&str]| HeaderNames::new(patterns.iter().map(|p| (*p).to_owned()).collect());
    let list = names(&["Precedence", "Feedback-*"]).unwrap();
    assert!(list.allow("precedence") && list.allow("Feedback-ID"));
    assert!(!list.allow("X-A") && !list.allow("Precedence2") && !list.allow("Feedback"));
    for wrong in ["", "*", "X A", "a:", "X-*-*", "From", "subject", "List-*", "X-Relevo-*", "DKIM-Signature"]
    {
        assert!(names(&[wrong]).is_err(), "{wrong}");
    }
    // A prefix that forbidden ones begin with is allowed; they are not.
    let wide = names(&["D*"]).unwrap();
    assert!(wide.allow("Disposition") && !wide.allow("Date") && !wide.allow("DKIM-Signature"));
}

#[test]
fn recipients_do_not_widen() {
    let over = |recipients: &[u32]| Decision {
        overrides: recipients.iter().map(|r| Override { recipient: *r, verdict: Verdict::Accept }).collect(),
        ..Verdict::Discard("all".into()).into()
    };
    assert!(check(over(&[0, 2, 1])).is_ok());
    for wrong in [&[3][..], &[u32::MAX], &[0, 0], &[0, 1, 2, 0]] {
        assert!(check(over(wrong)).is_err(), "{wrong:?}");
    }
}

#[test]
fn replies_that_break_a_rule_are_replaced() {
    for answer in [rejected(550, "5.7.509", "No"), rejected(451, "4.0.999", &"n".repeat(400))] {
        assert_eq!(check(answer.clone()), Ok(Checked { decision: answer, replaced: None }));
    }
    for (code, enhanced, text) in [
        (550, "5.7.1", "No\r\n250 2.0.0 Yes"),
        (550, "5.7.1", ""),
        (550, "5.7.1", "Nein, \u{f6}"),
        (250, "2.0.0", "Yes"),
        (421, "4.3.2", "Closing"),
        (560, "5.7.1", "No"),
        (550, "4.7.1", "No"),
        (450, "5.7.1", "No"),
        (550, "5.7", "No"),
        (550, "5.7.1.1", "No"),
        (550, "5.07.1", "No"),
        (550, "5.1000.1", "No"),
        (550, "5.7.1 250", "No"),
        (550, "", "No"),
    ] {
        let checked = check(rejected(code, enhanced, text)).unwrap();
        assert!(checked.replaced.is_some(), "{code} {enhanced} {text}");
        let Verdict::Reject(new) = checked.decision.verdict else { panic!("it is no longer a refusal") };
        assert_eq!(
            (new.to_string().as_str(), reply(&new)),
            ("451 4.3.5 Refused by a policy that gave no proper reply", Ok(()))
        );
    }
}

#[test]
fn attributes_are_bounded() {
    let with = |name: &str, value: &str, n: usize| Decision {
        attributes: vec![Attribute::new(name, value); n],
        ..Verdict::Accept.into()
    };
    assert!(check(with("pool.a-1", "B \u{e9}", MAX_ATTRIBUTES)).is_ok());
    let long = "v".repeat(MAX_ATTRIBUTE_VALUE + 1);
    for (name, value, n) in [
        ("", "", 1),
        ("Pool", "", 1),
        ("a b", "", 1),
        ("a", "\n", 1),
        ("a", "\u{85}", 1),
        ("a", &long, 1),
        ("a", "", 33),
    ] {
        assert!(check(with(name, value, n)).is_err(), "{name}");
    }
}

#[test]
fn too_much_is_refused() {
    assert!(check(Verdict::Hold("r".repeat(OCTETS + 1)).into()).is_err());
    let cut = check(Verdict::Hold("r".repeat(OCTETS)).into()).unwrap();
    assert_eq!(cut.decision.verdict, Verdict::Hold("r".repeat(MAX_REASON)));
}

#[test]
fn long_fields_are_folded() {
    let fields = [
        HeaderField { name: "X-A".into(), value: b"  v \t ".to_vec() },
        HeaderField { name: "X-Empty".into(), value: b" ".to_vec() },
        HeaderField { name: "X-Long".into(), value: b"word  ".repeat(30) },
    ];
    let block = String::from_utf8(header_block(&fields)).unwrap();
    assert!(block.starts_with("X-A: v\r\nX-Empty:\r\nX-Long: word  word"), "{block}");
    assert!(block.lines().all(|line| line.len() <= 78), "{block}");
    assert_eq!(block.lines().filter(|line| line.starts_with("  word")).count(), 2);
    assert_eq!(header_fields(block.as_bytes()), Ok(()));
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[ -~]{0,500}", "[\\r\\n\\x00 a:-]{0,8}"]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let codes = prop_oneof![any::<u16>(), 448_u16..462, 548_u16..562];
    let enhanced = prop_oneof![text(), "[245]\\.[0-9]{1,4}\\.[0-9]{1,4}"];
    prop_oneof![
        Just(Verdict::Accept),
        (codes, enhanced, text()).prop_map(|(code, enhanced, text)| Verdict::Reject(Reply {
            code,
            enhanced: enhanced.parse().ok(),
            text
        })),
        text().prop_map(Verdict::Hold),
        text().prop_map(Verdict::Discard),
    ]
}

fn an_answer() -> impl Strategy<Value = Decision> {
    let own = (0_u32..6, verdict()).prop_map(|(recipient, verdict)| Override { recipient, verdict });
    let name = prop_oneof!["[Xx]-[!-~]{0,20}", text()];
    let value = prop_oneof!["[\\t -~]{0,950}".prop_map(String::into_bytes), any::<Vec<u8>>()];
    let header = (name, value).prop_map(|(name, value)| HeaderField { name, value });
    let attribute = ("[a-z.-]{1,20}", text()).prop_map(|(name, value)| Attribute { name, value });
    (
        verdict(),
        prop::collection::vec(own, 0..4),
        prop::collection::vec(header, 0..4),
        prop::collection::vec(attribute, 0..3),
    )
        .prop_map(|(verdict, overrides, headers, attributes)| Decision {
            verdict,
            overrides,
            headers,
            attributes,
        })
}

proptest! {
    /// Whatever passes can be used without another look.
    #[test]
    fn what_passes_smuggles_nothing(answer in an_answer()) {
        let Ok(checked) = check(answer.clone()) else { return Ok(()) };
        let decision = checked.decision;
        for verdict in std::iter::once(&decision.verdict).chain(decision.overrides.iter().map(|o| &o.verdict)) {
            match verdict {
                Verdict::Accept => {}
                Verdict::Reject(answer) => prop_assert_eq!(reply(answer), Ok(())),
                Verdict::Hold(reason) | Verdict::Discard(reason) => {
                    prop_assert!(reason.len() <= MAX_REASON && !reason.chars().any(char::is_control));
                }
            }
        }
        // Nobody is let through who was not: each recipient's verdict is of the same kind as
        // answered.
        for recipient in 0..3 {
            prop_assert_eq!(decision.verdict_for(recipient).name(), answer.verdict_for(recipient).name());
        }
        let block = header_block(&decision.headers);
        prop_assert_eq!(header_fields(&block), Ok(()));
        let fields = block.split(|b| *b == b'\n').filter(|line| !line.is_empty() && !matches!(line[0], b' ' | b'\t'));
        prop_assert_eq!(fields.count(), decision.headers.len());
        // It passes again as it is.
        prop_assert_eq!(check(decision.clone()), Ok(Checked { decision, replaced: None }));
    }

    #[test]
    fn folding_keeps_the_words(value in "[ \\tA-Za-z]{0,900}") {
        let fields = [HeaderField { name: "X-A".into(), value: value.clone().into_bytes() }];
        let block = String::from_utf8(header_block(&fields)).unwrap();
        prop_assert_eq!(header_fields(block.as_bytes()), Ok(()));
        let unfolded = block.replace("\r\n", "");
        prop_assert_eq!(unfolded.strip_prefix("X-A:").unwrap().trim_ascii(), value.trim_ascii());
    }
}

#[test]
fn two_answers_together_have_the_limits_of_one() {
    let field = || HeaderField { name: "X-A".into(), value: vec![b'v'; MAX_HEADER_VALUE] };
    let mut both = Decision::from(Verdict::Accept);
    both.headers = (0..18).map(|_| field()).collect();
    assert_eq!(together(&both), Ok(()));
    both.headers.push(field());
    assert_eq!(together(&both), Err("more than 16 KiB of header fields"));
    both.headers.clear();
    both.attributes = vec![Attribute::new("a", "v"); MAX_ATTRIBUTES];
    assert_eq!(together(&both), Ok(()));
    both.attributes.push(Attribute::new("a", "v"));
    assert_eq!(together(&both), Err("more than 16 attributes"));
}
