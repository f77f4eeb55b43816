//! Replies of receivers: every text has one answer, nothing of one reply counts for the next, and
//! one that quotes our name suppresses nobody. Files of rules: read, or a mistake named.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use relevo_classify::{DEFAULT_RULES, Rules};
use relevo_fuzz::{octet, seeded_bug};
use relevo_mailkit::classification::{Action, BounceType, ReceiverReply, Subject};

static RULES: LazyLock<Rules> = LazyLock::new(|| Rules::parse(DEFAULT_RULES).expect("the default rules"));

const OWN: &str = "mta7.example.net";
/// What follows does not count.
const COUNTS: usize = 4096;

fn reply(text: &str) -> ReceiverReply {
    ReceiverReply { text: text.to_owned(), ..ReceiverReply::default() }
}

fn classify(text: &str) {
    let answer = RULES.classify(&reply(text));
    if answer.action == Action::Suppress {
        assert_eq!((answer.bounce_type, answer.about), (BounceType::Hard, Subject::Recipient));
    }
    let _ = RULES.classify(&reply("552 5.2.2 Mailbox full"));
    assert_eq!(RULES.classify(&reply(text)), answer, "an earlier reply counts");
    if text.len() >= COUNTS {
        assert_eq!(RULES.classify(&reply(&format!("{text} 550 5.1.1 user unknown"))), answer, "the end counts");
    }
}

fn quoting(text: &str) {
    let quoted = format!("{OWN} {text}");
    let own = if seeded_bug() { Vec::new() } else { vec![OWN.to_owned()] };
    let answer = RULES.classify(&ReceiverReply { own, ..reply(&quoted) });
    assert_ne!(answer.action, Action::Suppress, "it quotes our name");
}

fn rules(text: &str) {
    match Rules::parse(text) {
        Ok(rules) => {
            let _ = rules.wrong_cases();
        }
        Err(error) => assert!(!error.message.is_empty()),
    }
}

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let mode = octet(&mut rest);
    let text = String::from_utf8_lossy(rest);
    match mode % 3 {
        0 => classify(&text),
        1 => quoting(&text),
        _ => rules(&text),
    }
});
