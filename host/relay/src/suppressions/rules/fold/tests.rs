//! Only failures about the recipient suppress, whatever the order of events and batches.

use proptest::prelude::*;
use relevo_mailkit::classification::{BounceType, Classification, Explanation};
use relevo_mailkit::event::MailReport;
use relevo_mailkit::labels::{Labels, Stream};
use relevo_queue::ItemId;

use super::*;
use crate::suppressions::rules::{IncidentRule, MailboxFullRule, SuppressionOverrides};

const SUBJECTS: [Subject; 6] = [
    Subject::Recipient,
    Subject::SenderIp,
    Subject::SenderDomain,
    Subject::Message,
    Subject::RemoteSystem,
    Subject::Us,
];
const ACTIONS: [Action; 5] =
    [Action::Suppress, Action::Retry, Action::SlowDown, Action::Suspend, Action::Fix];
const HOUR: Millis = 3_600_000;

fn class(about: Subject, action: Action, category: &str) -> Classification {
    Classification {
        bounce_type: BounceType::Hard,
        category: category.into(),
        about,
        action,
        rule: format!("rule-{category}"),
        rules_version: "1".into(),
        explanation: Explanation::default(),
        doc: None,
    }
}

fn attempt(recipient: &str, classification: Option<Classification>) -> Attempt {
    Attempt {
        recipient: recipient.into(),
        mx: Some("MX1.Example.NET.".into()),
        code: Some(550),
        status: "5.1.1".into(),
        reply: Some("no such user".into()),
        classification,
        ..Attempt::default()
    }
}

fn event(at: Millis, event: Event) -> NewEvent {
    let item = Some(ItemId::new(at.max(0), [7; 10]));
    NewEvent { tenant: "acme".into(), at, item, labels: Labels::default(), event }
}

fn gone(at: Millis, recipient: &str) -> NewEvent {
    let class = class(Subject::Recipient, Action::Suppress, "bad_mailbox");
    event(at, Event::Bounced(attempt(recipient, Some(class))))
}

fn full(at: Millis, recipient: &str) -> NewEvent {
    let class = class(Subject::Recipient, Action::Retry, FULL);
    event(at, Event::Expired(attempt(recipient, Some(class))))
}

fn delivered(at: Millis, recipient: &str) -> NewEvent {
    event(at, Event::Delivered(attempt(recipient, None)))
}

fn provider(recipient: &str, _: Option<&str>) -> String {
    recipient.rsplit_once('@').map_or("", |(_, domain)| domain).to_owned()
}

/// A store of counts in memory.
#[derive(Default)]
struct Kept {
    counts: HashMap<Key, Vec<SuppressionCount>>,
    entries: Vec<RuleEntry>,
}

/// Reads events in batches of these sizes, and keeps counts between them as the store does.
fn read(settings: &SuppressionRuleSettings, events: &[NewEvent], sizes: &[usize]) -> Kept {
    let mut kept = Kept::default();
    let own = Arc::new(settings.clone());
    let of_tenant = move |_: &str| own.clone();
    let (mut left, mut sizes, mut brakes) = (events, sizes.iter().cycle(), Brakes::new(settings.incident));
    while !left.is_empty() {
        let size = sizes.next().copied().unwrap_or(1).clamp(1, left.len());
        let (batch, rest) = left.split_at(size);
        left = rest;
        let keys = counted_addresses(&of_tenant, batch.iter(), !kept.counts.is_empty());
        let counts = keys.iter().filter_map(|key| kept.counts.get(key)).flatten().cloned().collect();
        let mut fold = Fold::new(&of_tenant, &provider, brakes, counts);
        batch.iter().for_each(|event| fold.add(event));
        let (effects, after, _) = fold.finish();
        brakes = after;
        for key in &effects.forgotten {
            kept.counts.remove(key);
        }
        for count in effects.counts {
            let counts = kept.counts.entry((count.tenant.clone(), count.address.clone())).or_default();
            counts.retain(|known| known.kind != count.kind);
            counts.push(count);
        }
        kept.entries.extend(effects.entries);
    }
    kept
}

fn suppressed(settings: &SuppressionRuleSettings, events: &[NewEvent]) -> Vec<String> {
    read(settings, events, &[1]).entries.into_iter().map(|entry| entry.detail).collect()
}

#[test]
fn one_hard_bounce_about_the_recipient_is_enough() {
    let settings = SuppressionRuleSettings::default();
    let read = read(&settings, &[gone(HOUR, "Ana@Example.net")], &[1]);
    let cause = SuppressionCause {
        rule: "rule-bad_mailbox".into(),
        provider: "Example.net".into(),
        mx: "mx1.example.net".into(),
    };
    let expected = RuleEntry {
        tenant: "acme".into(),
        address: "ana@example.net".into(),
        stream: "all".into(),
        reason: "bounce",
        detail: "550 5.1.1 no such user".into(),
        message_id: Some(ItemId::new(HOUR, [7; 10]).to_string()),
        at: HOUR,
        cause,
    };
    assert_eq!(read.entries, [expected]);
}

#[test]
fn what_is_not_about_the_recipient_adds_nothing() {
    let settings = SuppressionRuleSettings::default();
    for about in SUBJECTS {
        for action in ACTIONS {
            let bounce = event(0, Event::Bounced(attempt("a@example.net", Some(class(about, action, "x")))));
            let expected = usize::from(about == Subject::Recipient && action == Action::Suppress);
            assert_eq!(suppressed(&settings, &[bounce]).len(), expected, "{about:?} {action:?}");
        }
    }
    let hard = || attempt("a@example.net", Some(class(Subject::Recipient, Action::Suppress, "x")));
    for other in [
        Event::Bounced(attempt("a@example.net", None)),
        Event::Expired(hard()),
        Event::DeliveryDelayed(hard()),
        Event::Failed(Failure::Delivery(hard())),
        Event::Bounced(Attempt { recipient: "postmaster".into(), ..hard() }),
    ] {
        assert_eq!(suppressed(&settings, &[event(0, other.clone())]), Vec::<String>::new(), "{other:?}");
    }
    let nobodys = NewEvent { tenant: String::new(), ..gone(0, "a@example.net") };
    assert_eq!(suppressed(&settings, &[nobodys]), Vec::<String>::new());
}

#[test]
fn several_hard_bounces_can_be_asked_for() {
    let settings = SuppressionRuleSettings { hard_bounces: 2, ..SuppressionRuleSettings::default() };
    let (first, second) = (gone(0, "a@example.net"), gone(HOUR, "a@example.net"));
    assert_eq!(suppressed(&settings, std::slice::from_ref(&first)).len(), 0);
    assert_eq!(suppressed(&settings, &[first.clone(), second.clone()]).len(), 1);
    let between = [first.clone(), delivered(1, "a@example.net"), second.clone()];
    assert_eq!(suppressed(&settings, &between).len(), 0, "a delivery makes the first one void");
    let none = SuppressionRuleSettings { hard_bounces: 0, ..settings };
    assert_eq!(suppressed(&none, &[first, second]).len(), 0);
}

#[test]
fn a_full_mailbox_needs_several_failures_over_days() {
    let settings = SuppressionRuleSettings::default();
    let on = |days: &[i64]| days.iter().map(|day| full(day * DAY, "a@example.net")).collect::<Vec<_>>();
    assert_eq!(suppressed(&settings, &on(&[0, 1, 2, 7])), Vec::<String>::new(), "four times");
    assert_eq!(suppressed(&settings, &on(&[0, 0, 1, 1, 2, 6])), Vec::<String>::new(), "in six days");
    let said = "6 times since 1970-01-01: 550 no such user";
    assert_eq!(suppressed(&settings, &on(&[0, 0, 1, 1, 2, 7])), [said]);
    let mut events = on(&[0, 2, 3, 4]);
    events.push(delivered(5 * DAY, "A@example.net"));
    events.extend(on(&[7, 8]));
    assert_eq!(suppressed(&settings, &events), Vec::<String>::new(), "it was emptied");
    let kept = read(&settings, &events, &[3]);
    let counts = &kept.counts[&("acme".to_owned(), "a@example.net".to_owned())];
    assert_eq!((counts[0].times, counts[0].first_at), (2, 7 * DAY));
    let none = SuppressionRuleSettings { mailbox_full: MailboxFullRule { times: 0, days: 7 }, ..settings };
    assert_eq!(suppressed(&none, &on(&[0, 1, 2, 3, 4, 5, 6, 7])), Vec::<String>::new());
}

#[test]
fn a_complaint_stops_all_streams_or_that_of_the_message() {
    let report = MailReport { reported_by: "Yahoo!".into(), action: "abuse".into(), ..MailReport::default() };
    let complained = Complained { recipient: "Ana@example.net".into(), report, ..Complained::default() };
    let labels = Labels { stream: Stream::Marketing, ..Labels::default() };
    let event = NewEvent { labels, ..event(HOUR, Event::Complained(complained)) };
    let all = SuppressionRuleSettings { hard_bounces: 0, ..SuppressionRuleSettings::default() };
    let stream = SuppressionRuleSettings { complaints: ComplaintScope::Stream, ..all.clone() };
    for (settings, expected) in [(all, "all"), (stream, "marketing")] {
        let entries = read(&settings, std::slice::from_ref(&event), &[1]).entries;
        assert_eq!(entries.len(), 1);
        let found = (&*entries[0].address, &*entries[0].stream, entries[0].reason, &*entries[0].detail);
        assert_eq!(found, ("ana@example.net", expected, "complaint", "abuse reported by Yahoo!"));
    }
}

#[test]
fn what_looks_like_an_incident_suppresses_nobody() {
    let incident = IncidentRule { bounces: 3, percent: 50, minutes: 15 };
    let settings = SuppressionRuleSettings { incident, ..SuppressionRuleSettings::default() };
    let events: Vec<_> = (0..10).map(|n| gone(n, &format!("{n}@example.net"))).collect();
    assert_eq!(suppressed(&settings, &events).len(), 3);
    let later = [events, vec![gone(HOUR, "later@example.net")]].concat();
    assert_eq!(suppressed(&settings, &later).len(), 4);
}

#[test]
fn a_pause_is_told_once_and_tenants_have_rules_of_their_own() {
    let all = Arc::new(SuppressionRuleSettings {
        incident: IncidentRule { bounces: 3, percent: 50, minutes: 15 },
        ..SuppressionRuleSettings::default()
    });
    let own = SuppressionOverrides { hard_bounces: Some(2), ..SuppressionOverrides::default() };
    let strict = Arc::new(all.with(&own));
    let incident = all.incident;
    let of_tenant = move |tenant: &str| if tenant == "strict" { strict.clone() } else { all.clone() };
    let of = |tenant: &str, event| NewEvent { tenant: tenant.into(), ..event };
    let mut fold = Fold::new(&of_tenant, &provider, Brakes::new(incident), Vec::new());
    for n in 0..6 {
        fold.add(&of("acme", gone(n, &format!("{n}@example.net"))));
    }
    for recipient in ["once@example.org", "twice@example.org", "twice@example.org"] {
        fold.add(&of("strict", gone(0, recipient)));
    }
    let (effects, _, seen) = fold.finish();
    let added: Vec<_> = effects.entries.iter().map(|entry| entry.address.as_str()).collect();
    assert_eq!(added, ["0@example.net", "1@example.net", "2@example.net", "twice@example.org"]);
    let pause = SuppressionPause {
        provider: "example.net".into(),
        bounces: 4,
        attempts: 4,
        until: "1970-01-01T00:15:00.003Z".into(),
    };
    assert_eq!(seen.pauses, [("acme".to_owned(), pause)]);
    assert_eq!((seen.counts.withheld, seen.counts.incidents), (3, 1));
}

/// An event of the property: kind, recipient, subject, action, category, and hours since the last one.
type Made = (u8, u8, u8, u8, bool, i64);

fn made(list: &[Made], subjects: &[Subject]) -> Vec<NewEvent> {
    let mut at = 0;
    let one = |&(kind, recipient, about, action, is_full, hours): &Made| {
        at += hours * HOUR;
        let about = subjects[usize::from(about) % subjects.len()];
        let action = ACTIONS[usize::from(action) % ACTIONS.len()];
        let class = class(about, action, if is_full { FULL } else { "x" });
        let recipient = format!("{recipient}@example.net");
        let attempt = attempt(&recipient, (kind > 0).then_some(class));
        event(
            at,
            match kind {
                0 | 1 => Event::Bounced(attempt),
                2 => Event::Expired(attempt),
                3 => Event::DeliveryDelayed(attempt),
                4 => Event::Failed(Failure::Delivery(attempt)),
                _ => Event::Delivered(attempt),
            },
        )
    };
    list.iter().map(one).collect()
}

fn list() -> impl Strategy<Value = Vec<Made>> {
    proptest::collection::vec((0..6_u8, 0..3_u8, 0..6_u8, 0..5_u8, any::<bool>(), 0..100_i64), 0..60)
}

fn settings() -> impl Strategy<Value = SuppressionRuleSettings> {
    (0..4_u32, 0..4_u32, 0..8_u32, 0..4_u32).prop_map(|(hard_bounces, times, days, bounces)| {
        SuppressionRuleSettings {
            hard_bounces,
            mailbox_full: MailboxFullRule { times, days },
            incident: IncidentRule { bounces, percent: 50, minutes: 15 },
            ..SuppressionRuleSettings::default()
        }
    })
}

proptest! {
    #[test]
    fn nothing_that_is_not_about_the_recipient_ever_suppresses(list in list(), settings in settings()) {
        let events = made(&list, &SUBJECTS[1..]);
        prop_assert_eq!(read(&settings, &events, &[7]).entries, []);
    }

    #[test]
    fn batches_make_no_difference(
        list in list(),
        settings in settings(),
        sizes in proptest::collection::vec(1..9_usize, 1..5),
    ) {
        let events = made(&list, &SUBJECTS);
        let (one, many) = (read(&settings, &events, &[1]), read(&settings, &events, &sizes));
        let sorted = |counts: HashMap<Key, Vec<SuppressionCount>>| {
            let mut all: Vec<_> = counts.into_values().flatten().collect();
            all.sort_by(|a, b| (&a.address, &a.kind).cmp(&(&b.address, &b.kind)));
            all
        };
        prop_assert_eq!(one.entries, many.entries);
        prop_assert_eq!(sorted(one.counts), sorted(many.counts));
    }
}
