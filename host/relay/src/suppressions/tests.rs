//! One form for every spelling of a mailbox, and the verdicts of the check.

use relevo_queue::RecipientState;

use super::*;
use crate::testing::{FixedSuppressions, TENANT, World, forward, open_suppressions, submission, suppressed};

#[test]
fn every_spelling_of_a_mailbox_has_one_form() {
    for (spelling, form) in [
        (" Ana@EXAMPLE.net ", "ana@example.net"),
        (r#""ana"@example.net"#, "ana@example.net"),
        (r#""an\a"@example.net"#, "ana@example.net"),
        (r#""\A\n\A"@bücher.example"#, "ana@xn--bcher-kva.example"),
        (r#""Ana.B"@example.net"#, "ana.b@example.net"),
        (r#""A b"@example.net"#, r#""a b"@example.net"#),
        (r#""a\ b"@example.net"#, r#""a b"@example.net"#),
        (r#""a..b"@example.net"#, r#""a..b"@example.net"#),
        (r#""a@b"@example.net"#, r#""a@b"@example.net"#),
        (r#""a\"\\b"@example.net"#, r#""a\"\\b"@example.net"#),
        (r#""\"a\""@example.net"#, r#""\"a\""@example.net"#),
    ] {
        assert_eq!(canonical(spelling).as_deref(), Ok(form), "{spelling}");
        assert_eq!(canonical(form).as_deref(), Ok(form), "{form}");
    }
    // Lower case has more octets: it is not parsed again.
    let long = format!("{}@example.net", "İ".repeat(32));
    assert_eq!(canonical(&long), Ok(format!("{}@example.net", "i\u{307}".repeat(32))));
    assert!(matches!(canonical("postmaster"), Err(SuppressionError::Address(_))));
}

async fn world(store: FixedSuppressions) -> World {
    let mut world = World::new();
    let lists = open_suppressions(store, world.queue.clone(), world.clock.clone()).await;
    world.pipeline.checks = vec![lists as Arc<dyn Check>];
    world
}

#[tokio::test]
async fn only_entries_that_concern_the_stream_refuse() {
    let entries = vec![
        suppressed("b@b.example", "transactional"),
        suppressed("c@b.example", "marketing"),
        suppressed("d@b.example", ALL_STREAMS),
    ];
    let world = world(FixedSuppressions { entries, broken: None }).await;
    let mut mail = submission(&world, "From: a@example.com\r\n\r\nHello\r\n");
    mail.envelope.recipients = [r#""B"@b.example"#, "c@b.example", "D@b.example"].map(forward).to_vec();
    world.pipeline.submit(mail).await.expect("one gets it");
    let item = world.queue.last_item();
    let pending = item.deliveries.iter().flat_map(|d| &d.recipients);
    let pending = pending.filter(|r| r.state == RecipientState::Pending).map(|r| r.address.as_str());
    assert_eq!(pending.collect::<Vec<_>>(), ["c@b.example"]);
}

#[tokio::test]
async fn a_store_that_fails_for_one_refuses_all_for_now() {
    let entries = vec![suppressed("b@b.example", ALL_STREAMS)];
    let world = world(FixedSuppressions { entries, broken: Some("d@b.example") }).await;
    let mut mail = submission(&world, "From: a@example.com\r\n\r\nHello\r\n");
    mail.envelope.recipients = ["b@b.example", "c@b.example", "d@b.example"].map(forward).to_vec();
    let rejection = world.pipeline.submit(mail).await.expect_err("nobody gets it");
    assert_eq!(rejection.reply.code, 451);
    assert_eq!(world.queue.items().len(), 0);
}

#[tokio::test]
async fn an_address_that_is_not_listed_is_not_looked_up_in_the_store() {
    let entries = vec![suppressed("b@b.example", ALL_STREAMS)];
    // The store fails whenever it is asked about this address.
    let store = FixedSuppressions { entries, broken: Some("c@b.example") };
    let world = World::new();
    let lists = open_suppressions(store, world.queue.clone(), world.clock.clone()).await;
    lists
        .of(TENANT, "c@b.example")
        .await
        .expect_err("every address is looked up before the filter is filled");
    lists.fill().await;
    assert_eq!(lists.of(TENANT, "c@b.example").await, Ok(Vec::new()));
    let listed = lists.of(TENANT, "b@b.example").await.expect("the store answers");
    assert_eq!(listed.len(), 1);
}
