//! Idempotency keys: clients that go away, requests that come again, and keys of SMTP.

use std::time::Duration;

use relevo_api::{Limits, check};
use relevo_mailkit::model::{MessageOptions, Report};
use relevo_queue::testing::FailingCall;
use relevo_queue::{IdempotentRequest, Queue as _, StoreError};
use relevo_store::{ControlStore, StoreUrl};
use rustls::RootCertStore;

use super::*;
use crate::clock::RandomIds;
use crate::directory::QuotaSettings;
use crate::quota::Quotas;
use crate::testing::{NoNames, World, no_suppressions, submission};

/// A request as it comes, and the same one by SMTP.
const REQUEST: &str =
    r#"{"from": "a@example.com", "to": ["b@b.example", "c@b.example"], "subject": "s", "text": "t"}"#;
const MESSAGE: &str = "From: a@example.com\r\n\r\nHello\r\n";

struct Scene {
    _folder: tempfile::TempDir,
    world: World,
    quotas: Arc<Quotas>,
    sending: Sending,
    sender: Sender,
}

async fn scene() -> Scene {
    let folder = tempfile::tempdir().expect("a folder");
    let url = StoreUrl::File(folder.path().join("control.sqlite"));
    let store = Arc::new(ControlStore::open(&url).await.expect("opens"));
    let mut world = World::new();
    let quotas = Arc::new(Quotas::new(store.clone(), world.clock.clone()));
    world.pipeline.quotas = Some(quotas.clone());
    let templates =
        Templates::new(store, world.pipeline.sandbox.clone(), world.clock.clone(), Arc::new(RandomIds));
    let suppressions = no_suppressions(world.queue.clone(), world.clock.clone()).await;
    let fetcher = Fetcher::new(Arc::new(NoNames), RootCertStore::empty(), Vec::new()).expect("TLS");
    let sending = Sending::new(world.pipeline.clone(), templates, suppressions, fetcher);
    let sender = Sender {
        settings: world.settings.get(),
        tenant: "acme".to_owned(),
        name: "test".to_owned(),
        only_domain: None,
        peer: None,
    };
    Scene { _folder: folder, world, quotas, sending, sender }
}

fn key(digest: u8) -> RequestKey {
    RequestKey { key: "order-7".to_owned(), digest: [digest; 32] }
}

impl Scene {
    fn checked(&self) -> CheckedRequest {
        let request = relevo_api::json::read(REQUEST.as_bytes()).expect("a request");
        let now = u64::try_from(self.sending.now()).expect("after 1970");
        check::check(request, &Limits::default(), now).expect("valid")
    }

    async fn claim(&self, digest: u8) -> ClaimedKey {
        match self.sending.begin("acme", Some(key(digest))).await {
            Ok(Begun::Now(Some(key))) => key,
            other => panic!("{other:?}"),
        }
    }

    async fn send(&self, key: ClaimedKey) -> Result<JsonAnswer, SendRefusal> {
        self.sending.send(&self.sender, self.checked(), Some(key)).await
    }

    /// The answer that the key has, as soon as it is no longer in use.
    async fn answer_of(&self, digest: u8) -> JsonAnswer {
        let wait = async {
            loop {
                match self.sending.begin("acme", Some(key(digest))).await {
                    Ok(Begun::Before(answer)) => return answer,
                    Err(SendRefusal::KeyInUse) => tokio::task::yield_now().await,
                    other => panic!("{other:?}"),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("the commit ends")
    }

    /// Recipients that were counted in this hour.
    fn counted(&self) -> u64 {
        self.quotas.uses("acme", &QuotaSettings::default())[0].used
    }

    /// Messages that come by SMTP have this idempotency key.
    fn key_by_smtp(&self) {
        let options = MessageOptions { idempotency_key: Some("order-7".to_owned()), ..Default::default() };
        self.world.stages.tamper_report(move |report| Report { options: Ok(options.clone()), ..report });
    }

    /// No messages that come have one.
    fn no_key_by_smtp(&self) {
        self.world.stages.tamper_report(|report| report);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_during_the_commit_is_counted_once() {
    let scene = scene().await;
    let key = scene.claim(1).await;
    let answers = scene.world.queue.hold_answers().await;
    tokio::select! {
        early = scene.send(key) => panic!("{early:?}"),
        () = scene.world.queue.stored() => {}
    }
    let again = scene.sending.begin("acme", Some(self::key(1))).await.expect_err("not answered yet");
    assert_eq!(again, SendRefusal::KeyInUse);
    drop(answers);
    let answer = scene.answer_of(1).await;
    assert!(answer.kept && answer.repeated);
    let id = scene.world.queue.last_item().id;
    assert!(String::from_utf8_lossy(&answer.json).contains(&id.to_string()), "{answer:?}");
    assert_eq!((scene.world.queue.items().len(), scene.counted()), (1, 2));
    assert_eq!(scene.world.steps.names().last(), Some(&"commit"));
}

#[tokio::test]
async fn a_session_that_ends_during_the_commit_is_counted_once() {
    let scene = scene().await;
    let answers = scene.world.queue.hold_answers().await;
    tokio::select! {
        early = scene.world.pipeline.submit(submission(&scene.world, MESSAGE)) => panic!("{early:?}"),
        () = scene.world.queue.stored() => {}
    }
    drop(answers);
    let is_done = async {
        while scene.world.steps.names().last() != Some(&"commit") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), is_done).await.expect("the commit ends");
    assert_eq!((scene.world.queue.items().len(), scene.counted()), (1, 1));
}

#[tokio::test]
async fn a_request_that_cannot_be_stored_is_not_counted_and_may_come_again() {
    let scene = scene().await;
    let key = scene.claim(1).await;
    scene.world.queue.fail(FailingCall::Accept, || StoreError::Full);
    let refused = scene.send(key).await.expect_err("the disk is full");
    assert!(matches!(refused, SendRefusal::TryLater { .. }), "{refused:?}");
    assert_eq!(scene.counted(), 0);
    scene.world.queue.heal(FailingCall::Accept);
    let key = scene.claim(1).await;
    let answer = scene.send(key).await.expect("accepted");
    assert!(answer.kept && !answer.repeated);
    assert_eq!(scene.answer_of(1).await.json, answer.json);
    assert_eq!(scene.counted(), 2);
}

/// Another node, or SMTP, does not see which keys are in use here: the commit does.
#[tokio::test]
async fn a_key_that_was_taken_in_between_gets_the_answer_that_it_has() {
    for (digest, is_same) in [(1, true), (2, false)] {
        let scene = scene().await;
        let late = scene.claim(1).await;
        let request = IdempotentRequest {
            tenant: "acme".to_owned(),
            key: "order-7".to_owned(),
            digest: [digest; 32],
            at: scene.sending.now(),
            answer: b"{}".to_vec(),
        };
        scene.world.queue.accept_request(request, Vec::new(), Vec::new()).await.expect("stored");
        let expected = match is_same {
            true => Ok(JsonAnswer { json: b"{}".to_vec(), kept: true, repeated: true }),
            false => Err(SendRefusal::KeyOfAnother),
        };
        assert_eq!(scene.send(late).await, expected);
        assert_eq!((scene.world.queue.items().len(), scene.counted()), (0, 0));
    }
}

#[tokio::test]
async fn a_key_of_the_api_is_refused_by_smtp_and_the_other_way_round() {
    let scene = scene().await;
    let key = scene.claim(1).await;
    scene.send(key).await.expect("accepted");
    scene.key_by_smtp();
    let by_smtp = scene.world.pipeline.submit(submission(&scene.world, MESSAGE)).await;
    let refused = by_smtp.expect_err("the key is that of a request");
    assert_eq!((refused.reply.code, refused.rule.as_str()), (550, "idempotency-key"));
    assert_eq!((scene.world.queue.items().len(), scene.counted()), (1, 2));

    let scene = self::scene().await;
    scene.key_by_smtp();
    let late = scene.claim(1).await;
    scene.world.pipeline.submit(submission(&scene.world, MESSAGE)).await.expect("accepted");
    scene.no_key_by_smtp();
    assert_eq!(scene.send(late).await, Err(SendRefusal::KeyOfAnother));
    let by_http = scene.sending.begin("acme", Some(self::key(1))).await.expect_err("that of a message");
    assert_eq!(by_http, SendRefusal::KeyOfAnother);
    assert_eq!((scene.world.queue.items().len(), scene.counted()), (1, 1));
}

/// An answer of the API under the digest of a message would be no id: it is refused, not misread.
#[tokio::test]
async fn an_answer_that_is_no_id_is_no_answer_to_smtp() {
    let scene = scene().await;
    scene.key_by_smtp();
    let message: Arc<dyn relevo_mailkit::source::Source> = Arc::new(MESSAGE.as_bytes().to_vec());
    let digest = crate::pipeline::digest("a@example.com", vec!["b@b.example".to_owned()], &message)
        .await
        .expect("one");
    let answer = br#"{"object":"email"}"#.to_vec();
    let (tenant, key, at) = ("acme".to_owned(), "order-7".to_owned(), scene.sending.now());
    let request = IdempotentRequest { tenant, key, digest, at, answer };
    scene.world.queue.accept_request(request, Vec::new(), Vec::new()).await.expect("stored");
    let refused = scene.world.pipeline.submit(submission(&scene.world, MESSAGE)).await.expect_err("no id");
    assert_eq!((refused.reply.code, refused.rule.as_str()), (550, "idempotency-key"));
}
