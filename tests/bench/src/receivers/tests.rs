use relevo_delivery::Classify;
use relevo_mailkit::classification::{Action, ReceiverReply, Subject};

use super::habits::{GREYLISTED, NO_SUCH_USER, SESSION_OVER, Words};
use super::*;

/// A few days of a sender that is wanted.
const SHORT: Scenario = Scenario { days: 1, daily: 1_000, complaints: 50, seed: 7 };

/// The words of the receivers are known to the rules: without that the simulation means nothing.
#[test]
fn the_rules_understand_the_receivers() {
    let known = KnownReplies::new(Rules::parse(DEFAULT_RULES).expect("rules"));
    let understand = |mx: &str, Words(code, [class, subject, detail], text): Words| {
        let status = format!("{class}.{subject}.{detail}");
        let reply = ReceiverReply {
            host: Some(mx.to_owned()),
            code: Some(code),
            text: format!("{status} {}", text.replace("{ip}", "192.0.2.1")),
            status: Some(status),
            command: Some("RCPT".to_owned()),
            own: vec!["192.0.2.1".to_owned()],
        };
        known.classify(&reply).expect("an answer")
    };
    for habits in &RECEIVERS {
        for words in [habits.too_fast, habits.too_much, habits.too_many, SESSION_OVER] {
            let found = understand(habits.mx, words);
            let slows = matches!(found.action, Action::SlowDown | Action::Suspend | Action::Retry);
            assert!(slows && found.about != Subject::Recipient, "{words:?}: {found:?}");
        }
        let found = understand(habits.mx, habits.blocked);
        assert!(
            found.action == Action::Suspend && found.about == Subject::SenderIp,
            "{}: {found:?}",
            habits.name
        );
        assert_eq!(understand(habits.mx, NO_SUCH_USER).action, Action::Suppress);
    }
    assert_eq!(understand("mx.university.example", GREYLISTED).category, "greylisted");
}

#[test]
fn the_same_seed_gives_the_same_days_and_no_message_is_lost() {
    let gmail = &RECEIVERS[..1];
    let found = simulate(SHORT, gmail, &Way::ALL).expect("runs");
    assert_eq!(simulate(SHORT, gmail, &Way::ALL).expect("runs"), found);
    for month in &found.months {
        let total = month.total();
        let ended = total.delivered + total.blocked + total.expired + total.no_such_user;
        let made = gmail[0].of(SHORT.daily) * SHORT.days;
        assert_eq!(usize::try_from(ended).expect("small") + month.waiting, made as usize, "{:?}", month.way);
    }
}

/// Addresses of a sender that is wanted are blocked when it begins with all of its mail, and not
/// when they are warmed up. No day has more than the cap of the ladder.
#[test]
fn warm_up_keeps_addresses_from_being_blocked() {
    let scenario = Scenario { days: 3, daily: 4_000, ..SHORT };
    let ways = [Way::Plain, Way::WarmedUp];
    let found = simulate(scenario, &RECEIVERS[1..3], &ways).expect("runs");
    let [plain, warmed_up] = &found.months[..] else { unreachable!("two ways") };
    assert!(plain.blocks() > 0);
    assert_eq!((warmed_up.blocks(), warmed_up.total().blocked), (0, 0));
    for receiver in &warmed_up.receivers {
        for (day, addresses) in receiver.caps.iter().enumerate() {
            for (cap, accepted) in addresses {
                let cap = cap.expect("no address is warm so soon");
                assert!(*accepted <= cap, "{} on day {day}: {accepted} of {cap}", receiver.name);
            }
        }
        let caps = |day: usize| receiver.caps[day].map(|(cap, _)| cap);
        assert!(caps(2) > caps(0), "{}: the caps do not rise: {:?}", receiver.name, receiver.caps);
    }
}
