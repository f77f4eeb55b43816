//! Contents of messages that wait, that are kept, and that are gone.

use relevo_queue::{LastAttempt, Settlement};

use super::*;
use crate::testing::{NOW, World, forward, read, submission};

const PLAIN: &str = "From: a@example.com\r\nTo: b@b.example\r\nSubject: Hi\r\n\r\nHello\r\n";

/// A world whose tenant keeps content for a day, and its contents.
struct Scene {
    world: World,
    queue: KeepingQueue,
    contents: Contents,
    _data: tempfile::TempDir,
}

fn scene(keep: Option<std::time::Duration>) -> Scene {
    scene_with(keep, 0)
}

fn scene_with(keep: Option<std::time::Duration>, min_free: u64) -> Scene {
    let world = World::with(|settings| {
        settings.directory.edit(|entries| {
            entries.by_id.get_mut("acme").map(Arc::make_mut).expect("configured").keep_content = keep;
        });
    });
    let data = tempfile::tempdir().expect("a directory");
    let kept = Arc::new(KeptMessages::new(data.path()));
    let queue = KeepingQueue::new(
        world.queue.clone(),
        Arc::clone(&kept),
        world.settings.clone(),
        world.clock.clone(),
        min_free,
    );
    let sandbox = Sandbox::new(world.stages.clone());
    let copies =
        Copies::new(world.queue.clone(), sandbox.clone(), world.settings.clone(), world.clock.clone());
    let emails = Emails::new(world.queue.clone());
    let contents = Contents::new(ContentsParts { queue: world.queue.clone(), kept, copies, emails, sandbox });
    Scene { world, queue, contents, _data: data }
}

fn day() -> Option<std::time::Duration> {
    Some(std::time::Duration::from_secs(86_400))
}

impl Scene {
    async fn accept(&self, to: &[&str]) -> ItemId {
        let mut message = submission(&self.world, PLAIN);
        message.envelope.recipients = to.iter().map(|to| forward(to)).collect();
        self.world.pipeline.submit(message).await.expect("accepted").id
    }

    /// Delivers all that is due.
    async fn deliver(&self) {
        let keys: Vec<QueueKey> =
            self.queue.due(NOW, &|_| false, 10).await.expect("due").into_iter().map(|due| due.key).collect();
        for lease in self.queue.lease(&keys, NOW, NOW + 1_000, 10).await.expect("leases") {
            let done = |recipient: &Recipient| (recipient.index, RecipientState::Delivered);
            let settlement = Settlement {
                recipients: lease.delivery.recipients.iter().map(done).collect(),
                lease: Arc::new(lease),
                next_attempt: None,
                last: Some(LastAttempt { at: NOW, ..LastAttempt::default() }),
                reasons: Vec::new(),
                events: Vec::new(),
            };
            self.queue.settle(vec![Arc::new(settlement)], Vec::new()).await.expect("settled");
        }
    }
}

#[tokio::test]
async fn a_message_that_waits_is_read_from_the_queue() {
    let scene = scene(None);
    let id = scene.accept(&["b@b.example"]).await;
    let found = scene.contents.find("acme", id).await.expect("there");
    assert_eq!(read(&*found.body), PLAIN.as_bytes());
    let other = scene.contents.find("other", id).await.err();
    assert_eq!(other, Some(ContentError::NotFound(id)), "another tenant's");
    let copy = scene.contents.source(&found, Some("B@b.example")).await.expect("a copy");
    let copy = String::from_utf8(read(&*copy)).expect("UTF-8");
    assert!(copy.contains("DKIM-Signature:") && copy.contains("Received:"), "{copy}");
    let stranger = scene.contents.source(&found, Some("x@b.example")).await.err();
    assert!(matches!(stranger, Some(ContentError::Recipient(_))), "{stranger:?}");
    let (to, changes) = scene.contents.changes(&found, None).expect("changes");
    assert_eq!((to.as_str(), changes.signatures.len()), ("b@b.example", 2));
}

#[tokio::test]
async fn the_copy_of_a_message_that_is_kept_is_the_same() {
    let scene = scene(day());
    let id = scene.accept(&["b@b.example", "c@c.example"]).await;
    let found = scene.contents.find("acme", id).await.expect("there");
    let several = scene.contents.changes(&found, None).err();
    assert!(matches!(several, Some(ContentError::Recipient(_))), "{several:?}");
    let before = read(&*scene.contents.source(&found, Some("c@c.example")).await.expect("a copy"));
    scene.deliver().await;
    assert!(scene.queue.item(id).await.expect("read").is_none(), "it is finished");
    let found = scene.contents.find("acme", id).await.expect("kept");
    assert!(!found.is_queued);
    assert_eq!(read(&*found.body), PLAIN.as_bytes());
    let after = read(&*scene.contents.source(&found, Some("c@c.example")).await.expect("a copy"));
    assert_eq!(before, after);
    let states: Vec<_> = found.recipients().map(|(_, recipient)| recipient.state.clone()).collect();
    assert!(states.contains(&RecipientState::Delivered), "{states:?}");
    let other = scene.contents.find("other", id).await.err();
    assert!(matches!(other, Some(ContentError::NotFound(_))), "{other:?}");
}

#[tokio::test]
async fn without_the_setting_it_is_gone() {
    let scene = scene(None);
    let id = scene.accept(&["b@b.example"]).await;
    scene.deliver().await;
    assert_eq!(scene.contents.find("acme", id).await.err(), Some(ContentError::Gone));
    assert!(ContentError::Gone.to_string().contains("keep_content"));
    let unknown = ItemId::new(1, [9; 10]);
    assert_eq!(scene.contents.find("acme", unknown).await.err(), Some(ContentError::NotFound(unknown)));
}

#[tokio::test]
async fn a_message_is_sent_again_to_its_own_recipients() {
    let scene = scene(day());
    let id = scene.accept(&["b@b.example", "c@c.example"]).await;
    let to = |addresses: &[&str]| addresses.iter().map(|&to| to.to_owned()).collect::<Vec<_>>();
    let pending = scene.contents.resent("acme", id, Some(&to(&["b@b.example"])), NOW).await.err();
    assert!(format!("{pending:?}").contains("still being tried"), "{pending:?}");
    scene.deliver().await;
    let stranger = scene.contents.resent("acme", id, Some(&to(&["x@b.example"])), NOW).await.err();
    assert!(format!("{stranger:?}").contains("to[0]"), "{stranger:?}");
    let nobody = scene.contents.resent("acme", id, None, NOW).await.err();
    assert!(format!("{nobody:?}").contains("every recipient got"), "{nobody:?}");
    let again = scene.contents.resent("acme", id, Some(&to(&["C@c.example"])), NOW).await.expect("again");
    assert_eq!(again.to.iter().map(|(to, _)| to.to_string()).collect::<Vec<_>>(), ["c@c.example"]);
    assert_eq!(read(&*again.body), PLAIN.as_bytes());
    assert_eq!((again.tracking.opens, again.tracking.clicks), (Some(false), Some(false)));
}

#[tokio::test]
async fn what_is_not_sent_yet_is_not_sent_again() {
    let scene = scene(day());
    let mut message = submission(&scene.world, PLAIN);
    message.options.send_at = Some(NOW + 60_000);
    let id = scene.world.pipeline.submit(message).await.expect("accepted").id;
    let refused = scene.contents.resent("acme", id, None, NOW).await.err();
    assert!(format!("{refused:?}").contains("not sent before"), "{refused:?}");
}

#[tokio::test]
async fn nothing_is_kept_without_room() {
    let scene = scene_with(day(), u64::MAX / 2);
    let id = scene.accept(&["b@b.example"]).await;
    scene.deliver().await;
    assert_eq!(scene.contents.find("acme", id).await.err(), Some(ContentError::Gone));
}

#[tokio::test]
async fn a_canceled_message_is_kept() {
    let scene = scene(day());
    let id = scene.accept(&["b@b.example"]).await;
    let acted = scene.queue.act(id, relevo_queue::OperatorAction::Cancel, NOW, Vec::new()).await;
    assert_eq!(acted.expect("acted"), relevo_queue::Acted::Done);
    let found = scene.contents.find("acme", id).await.expect("kept");
    assert!(!found.is_queued && !found.is_pending("b@b.example"));
}
