//! What is found by which words.

use relevo_mailkit::event::Suppressed;
use relevo_mailkit::labels::Labels;

use super::*;

fn queued() -> NewEvent {
    let tag = |name: &str, value: &str| Tag { name: name.to_owned(), value: value.to_owned() };
    NewEvent {
        tenant: "acme".to_owned(),
        at: 1_000,
        item: Some(ItemId::new(1_000, [7; 10])),
        labels: Labels { tags: vec![tag("campaign", "Spring")], ..Labels::default() },
        event: Event::Queued(Queued {
            sender: "News@example.com".to_owned(),
            recipients: vec!["ann@example.net".to_owned(), "Bob@Example.org".to_owned()],
            subject: "Grüße aus ÖSTERREICH".to_owned(),
            message_id_header: "<Abc.1@example.com>".to_owned(),
            ..Queued::default()
        }),
    }
}

fn suppressed(index: u32) -> NewEvent {
    let event = Event::Suppressed(Suppressed {
        recipient: "cy@example.net".to_owned(),
        recipient_index: index,
        sender: "news@example.com".to_owned(),
        ..Suppressed::default()
    });
    NewEvent { event, ..queued() }
}

#[test]
fn a_search_looks_in_subject_addresses_tags_and_ids() {
    let id = ItemId::new(1_000, [7; 10]).to_string();
    for (search, found) in [
        ("österreich", true),
        ("news@", true),
        ("example.org", true),
        ("campaign:spr", true),
        ("spring", true),
        (id.to_lowercase().as_str(), true),
        (&id.to_lowercase()[..10], false),
        ("<abc.1@example.com>", true),
        ("abc.1@example.com", true),
        ("abc.1", false),
        ("autumn", false),
    ] {
        let filter = EmailFilter { search: Some(search.to_owned()), ..EmailFilter::default() };
        assert_eq!(filter.concerns(&queued()), found, "{search}");
    }
}

#[test]
fn a_subject_is_matched_by_a_part_of_it() {
    let by = |subject: &str| EmailFilter { subject: Some(subject.to_owned()), ..EmailFilter::default() };
    assert!(by("grüße").concerns(&queued()));
    assert!(!by("news").concerns(&queued()), "the sender is no part of the subject");
    assert!(!by("grüße").concerns(&suppressed(0)), "a suppressed message has none that is known");
}

#[test]
fn a_domain_stands_for_all_its_addresses() {
    let to = |to: &str| EmailFilter { to: Some(to.to_owned()), ..EmailFilter::default() };
    assert!(to("@example.net").concerns(&queued()) && to("@example.org").concerns(&queued()));
    assert!(!to("@ample.net").concerns(&queued()) && !to("@example").concerns(&queued()));
    assert!(to("bob@example.org").concerns(&queued()) && !to("example.org").concerns(&queued()));
    assert!(to("@example.net").concerns(&suppressed(2)) && to("cy@example.net").concerns(&suppressed(2)));
    assert!(!EmailFilter::default().concerns(&suppressed(2)));
}
