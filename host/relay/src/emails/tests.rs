//! What an answer holds, and that it is bounded.

use relevo_mailkit::event::Rescheduled;

use super::*;
use crate::testing::{World, submission};

#[tokio::test]
async fn an_answer_is_bounded_and_says_so() {
    let world = World::new();
    let message = submission(&world, "From: a@example.com\r\n\r\nHello\r\n");
    let id = world.pipeline.submit(message).await.expect("accepted").id;
    let moved = |number: i64| NewEvent {
        tenant: "acme".to_owned(),
        at: number,
        item: Some(id),
        labels: Labels::default(),
        event: Event::Rescheduled(Rescheduled { scheduled_at: timestamp(number), previous: timestamp(0) }),
    };
    world.pipeline.events.append((1..=5).map(moved).collect()).await.expect("appended");
    let find = async |events, octets| {
        let budget = Budget { events, octets };
        let emails = Emails { events: world.queue.clone(), budget };
        emails.find("acme", id).await.expect("read").expect("known")
    };
    let whole = find(100, 1 << 20).await;
    assert_eq!((whole.timeline.len(), whole.truncated), (6, false));
    let exact = find(6, 1 << 20).await;
    assert_eq!(exact.timeline.len(), 6);
    let short = find(3, 1 << 20).await;
    assert_eq!((short.timeline.len(), short.truncated), (3, true));
    let narrow = find(100, 700).await;
    assert!(narrow.truncated && narrow.timeline.len() < 6, "{}", narrow.timeline.len());
    assert_eq!(narrow.scheduled_at, whole.scheduled_at, "the state follows every event");
}

#[tokio::test]
async fn a_page_ends_when_an_answer_is_full_and_the_next_goes_on() {
    let world = World::new();
    let mut sent = Vec::new();
    for _ in 0..3 {
        let message = submission(&world, "From: a@example.com\r\n\r\nHello\r\n");
        sent.push(world.pipeline.submit(message).await.expect("accepted").id);
    }
    let emails = Emails { events: world.queue.clone(), budget: Budget { events: 2, octets: 1 << 20 } };
    let (mut before, mut found) = (EventPosition::newest(), Vec::new());
    for _ in 0..5 {
        let page = emails.list("acme", &EmailFilter::default(), before.clone(), 10).await.expect("a page");
        assert!(page.emails.len() < 3, "a page is bounded");
        found.extend(page.emails.into_iter().map(|email| email.id));
        let Some(next) = page.next else { break };
        before = next;
    }
    sent.reverse();
    assert_eq!(found, sent);
}

#[tokio::test]
async fn a_message_that_waits_longer_than_its_events_is_known() {
    let world = World::new();
    let mut message = submission(&world, "From: a@example.com\r\n\r\nHello\r\n");
    message.options.send_at = Some(world.pipeline.clock.now() + 1_000_000);
    world.pipeline.submit(message).await.expect("accepted");
    let items = world.pipeline.queue.list(None, 10).await.expect("a list").items;
    let email = Email::waiting(&items).expect("it waits");
    assert_eq!((email.last_event.as_str(), email.truncated), ("scheduled", true));
    assert!(email.scheduled_at.is_some() && !email.recipients.is_empty());
    assert_eq!(Email::waiting(&[]), None);
}

#[tokio::test]
async fn a_message_that_matches_twice_is_listed_once() {
    let world = World::new();
    let message = submission(&world, "From: a@example.com\r\nSubject: Spring\r\n\r\nHello\r\n");
    let id = world.pipeline.submit(message).await.expect("accepted").id;
    let suppressed = NewEvent {
        tenant: "acme".to_owned(),
        at: 5,
        item: Some(id),
        labels: Labels::default(),
        event: Event::Suppressed(relevo_mailkit::event::Suppressed {
            recipient: "spring@example.net".to_owned(),
            recipient_index: 1,
            ..Default::default()
        }),
    };
    world.pipeline.events.append(vec![suppressed]).await.expect("appended");
    let emails = Emails::new(world.queue.clone());
    for search in ["spring".to_owned(), id.to_string().to_lowercase()] {
        let filter = EmailFilter { search: Some(search.clone()), ..EmailFilter::default() };
        let page = emails.list("acme", &filter, EventPosition::newest(), 10).await.expect("a page");
        assert_eq!(page.emails.iter().map(|email| email.id).collect::<Vec<_>>(), [id], "{search}");
        assert!(
            emails
                .list("other", &filter, EventPosition::newest(), 10)
                .await
                .expect("a page")
                .emails
                .is_empty()
        );
    }
}
