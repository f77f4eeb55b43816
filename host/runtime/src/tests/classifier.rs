//! The classifier in the sandbox.

use relevo_mailkit::classification::{Action, ReceiverReply};

use super::guests::dummy;
use crate::{Classifier, RulesLoadError, RuntimeConfig, Stage};

fn reply(text: &str) -> ReceiverReply {
    ReceiverReply { text: text.to_owned(), ..ReceiverReply::default() }
}

const OWN: &str = r#"
version = "mine"
[category.odd]
type = "soft"
about = "us"
action = "slow_down"
en = "Odd."
es = "Raro."
[[rule]]
name = "odd"
category = "odd"
any = ["no such user"]
cases = ["550 No such user"]
"#;

#[test]
fn a_reply_leaves_nothing_behind() {
    let classifier = Classifier::new(&RuntimeConfig::beside_executable(), None).unwrap();
    let unknown = classifier.classify(&reply("550 5.1.1 No such user")).unwrap();
    assert_eq!((unknown.action, unknown.category.as_str()), (Action::Suppress, "recipient_unknown"));
    let huge = classifier.classify(&reply(&"552 5.2.2 mailbox full ".repeat(100_000))).unwrap();
    assert_eq!(huge.category, "mailbox_full");
    for _ in 0..100 {
        assert_eq!(classifier.classify(&reply("550 5.1.1 No such user")).unwrap(), unknown);
    }
    assert_eq!(classifier.stats().faults, 0);
}

#[test]
fn other_rules_count_at_once_and_wrong_ones_change_nothing() {
    let classifier = Classifier::new(&RuntimeConfig::beside_executable(), Some(OWN.to_owned())).unwrap();
    let odd = classifier.classify(&reply("550 No such user")).unwrap();
    assert_eq!((odd.category.as_str(), odd.rules_version.as_str()), ("odd", "mine"));
    let wrong = OWN.replace("category = \"odd\"", "category = \"even\"");
    let Err(RulesLoadError::Rules(error)) = classifier.load(Some(wrong)) else {
        panic!("there is a mistake")
    };
    assert_eq!(error.to_string(), "line 10: odd: there is no category even");
    assert_eq!(classifier.version(), "mine");
    assert_eq!(classifier.classify(&reply("550 No such user")).unwrap(), odd);
    classifier.load(None).unwrap();
    assert_eq!(classifier.classify(&reply("550 No such user")).unwrap().category, "recipient_unknown");
}

#[test]
fn a_component_that_breaks_is_a_fault_of_its_own() {
    let config = RuntimeConfig { calls: 1, ..RuntimeConfig::default() };
    let broken = Classifier::with_component(&config, Some(dummy(Stage::Classify)), None);
    assert!(matches!(broken, Err(RulesLoadError::Fault(_))), "{:?}", broken.err());
}

#[test]
fn the_same_answer_natively_and_in_the_sandbox() {
    let classifier = Classifier::new(&RuntimeConfig::beside_executable(), None).unwrap();
    let rules = relevo_classify::Rules::parse(relevo_classify::DEFAULT_RULES).unwrap();
    for (_, cases) in rules.answers() {
        for case in cases {
            assert_eq!(classifier.classify(case).unwrap(), rules.classify(case), "{}", case.text);
        }
    }
}
