//! What holds for every reply and every file of rules.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::LazyLock;

use proptest::prelude::*;
use relevo_classify::{DEFAULT_RULES, Rules};
use relevo_mailkit::classification::{Action, BounceType, ReceiverReply, Subject};

static RULES: LazyLock<Rules> = LazyLock::new(|| Rules::parse(DEFAULT_RULES).unwrap());

fn reply(text: &str) -> ReceiverReply {
    ReceiverReply { text: text.to_owned(), ..ReceiverReply::default() }
}

/// Words of real replies among anything else.
fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => prop::sample::select(vec![
            "550", "450-4.2.1", "5.1.1", "user", "unknown", "mailbox", "full", "blocked", "<u@a.example>",
            "192.0.2.1", "[192.0.2.1]:25", "=C3=A9", "said:", "smtp;", "(in reply to RCPT TO command)", "mes-", "sage",
            "2001:db8::1", "@", "..", "\u{3099}", "邮箱已满", "не найден", "host mx.example[192.0.2.1]",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    prop::collection::vec(word, 0..30).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn every_reply_has_one_answer_and_always_the_same(text in text(), other in text()) {
        let answer = RULES.classify(&reply(&text));
        let _ = RULES.classify(&reply(&other));
        prop_assert_eq!(&RULES.classify(&reply(&text)), &answer);
        prop_assert!(!answer.category.is_empty() && !answer.explanation.en.is_empty() && !answer.explanation.es.is_empty());
        prop_assert_eq!(&answer.rules_version, RULES.version());
    }

    #[test]
    fn only_a_hard_answer_about_the_recipient_suppresses(text in text()) {
        let answer = RULES.classify(&reply(&text));
        if answer.action == Action::Suppress {
            prop_assert_eq!((answer.bounce_type, answer.about), (BounceType::Hard, Subject::Recipient));
        }
    }

    #[test]
    fn a_reply_that_quotes_our_name_suppresses_nobody(text in text(), before in any::<bool>()) {
        let quoted = if before { format!("mta7.example {text}") } else { format!("{text} mta7.example") };
        let own = vec!["mta7.example".to_owned()];
        let answer = RULES.classify(&ReceiverReply { own, ..reply(&quoted) });
        prop_assert_ne!(answer.action, Action::Suppress, "{}", quoted);
    }

    #[test]
    fn the_words_of_a_recipient_or_sender_do_not_count(local in "[a-z.]{1,20}") {
        for local in [local.as_str(), "full.mailbox", "spam", "user.unknown", "blocked"] {
            let known = RULES.classify(&reply(&format!("550 5.1.1 <{local}@a.example>: User unknown")));
            prop_assert_eq!(known.category.as_str(), "recipient_unknown");
            let full = RULES.classify(&reply(&format!("552 5.2.2 <{local}@a.example>: Mailbox full")));
            prop_assert_eq!(full.category.as_str(), "mailbox_full");
        }
    }

    #[test]
    fn a_file_of_rules_is_read_or_its_mistake_is_named(cut in 0..DEFAULT_RULES.len(), junk in any::<String>()) {
        let mut at = cut;
        while !DEFAULT_RULES.is_char_boundary(at) {
            at -= 1;
        }
        // The last part keeps it short.
        let from = DEFAULT_RULES[..at].rfind("\n[[rule]]").unwrap_or(0);
        let text = format!("version = \"1\"\n{}{junk}", &DEFAULT_RULES[from..at]);
        if let Err(error) = Rules::parse(&text) {
            prop_assert!(!error.message.is_empty());
        }
    }
}

#[test]
fn no_answer_but_a_hard_one_suppresses() {
    for (answer, cases) in RULES.answers() {
        let is_hard = answer.bounce_type == BounceType::Hard && answer.about == Subject::Recipient;
        assert_eq!(answer.action == Action::Suppress, is_hard, "{}", answer.rule);
        assert!(!cases.is_empty(), "{}", answer.rule);
    }
}

#[test]
fn a_mistake_is_named_with_its_line_and_rule() {
    let head = "version = \"1\"\n[category.c]\ntype = \"soft\"\nabout = \"us\"\naction = \"retry\"\nen = \"E\"\nes = \"S\"\n";
    let wrong = |rules: &str| Rules::parse(&format!("{head}{rules}")).err().unwrap().to_string();
    for (rules, said) in [
        ("[[rule]]\nname = \"a\"\ncategory = \"d\"\ncases = [\"5\"]", "line 9: a: there is no category d"),
        ("[[rule]]\nname = \"a\"\ncategory = \"c\"", "line 9: a: has no case: a reply that it decides"),
        ("[[rule]]\nname = \"A b\"\ncategory = \"c\"", "a name has 1 to 64"),
        (
            "[[rule]]\nname = \"a\"\ncategory = \"c\"\nany = [\"?\"]\ncases = [\"5\"]",
            "the phrase \"?\" has no words",
        ),
        (
            "[[rule]]\nname = \"a\"\ncategory = \"c\"\ncode = [\"250\"]\ncases = [\"5\"]",
            "\"250\" is not a code",
        ),
        (
            "[[rule]]\nname = \"a\"\ncategory = \"c\"\nenhanced = [\"5.1\"]\ncases = [\"5\"]",
            "\"5.1\" is not an enhanced",
        ),
        (
            "[[rule]]\nname = \"a\"\ncategory = \"c\"\ncommand = [\"RSET\"]\ncases = [\"5\"]",
            "\"RSET\" is not a command",
        ),
        (
            "[[rule]]\nname = \"a\"\ncategory = \"c\"\nprovider = [\"p\"]\ncases = [\"5\"]",
            "there is no provider p",
        ),
        ("[[rule]]\nname = \"a\"\ncategory = \"c\"\nphrases = [\"p\"]", "line 11: unknown field `phrases`"),
        (
            "[[rule]]\nname = \"a\"\ncategory = \"c\"\ndoc = \"http://a\"\ncases = [\"5\"]",
            "doc is not an https",
        ),
        (
            "[[rule]]\nname = \"a\"\ncategory = \"c\"\ncases = [\"5\"]\n[[rule]]\nname = \"b\"\ncategory = \"c\"\ncases = [\"5\"]",
            "line 13: b: is never asked: a before it has no conditions",
        ),
        (
            "[[rule]]\nname = \"a\"\ncategory = \"c\"\ncode = [\"5xx\"]\ncases = [\"5\"]\n[[rule]]\nname = \"a\"\ncategory = \"c\"",
            "line 14: a: there is another rule of this name",
        ),
        ("", "there are no rules"),
    ] {
        let found = wrong(rules);
        assert!(found.contains(said), "{found:?} does not say {said:?}");
    }
    let found = Rules::parse("version = 1").err().unwrap();
    assert_eq!(found.line, Some(1));
}

#[test]
fn own_rules_may_stand_before_the_default_ones() {
    let own = "version = \"mine\"\ninclude_default = true\n[[rule]]\nname = \"mine\"\ncategory = \"policy\"\n\
               any = [\"no such user\"]\ncases = [\"550 No such user\"]\n";
    let rules = Rules::parse(own);
    // A category of the default rules is known to the file.
    let rules = rules.unwrap();
    assert_eq!(rules.classify(&reply("550 5.1.1 No such user")).rule, "mine");
    let full = rules.classify(&reply("552 5.2.2 Mailbox full"));
    assert_eq!((full.category.as_str(), full.rules_version.as_str()), ("mailbox_full", "mine"));
}
