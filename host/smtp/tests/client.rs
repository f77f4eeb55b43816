//! The client against our server, over loopback.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{authority, client, envelope, listener, start, target, trusting, trusting_nobody};
use relevo_smtp::client::{
    Auth, Connection, DialogueStep, Envelope, Failure, RecipientOutcome, TlsFailure, TlsPolicy,
};
use relevo_smtp::server::ListenerKind;

fn auth() -> Auth {
    Auth::password("u", "secret")
}

fn body(octets: &[u8]) -> Arc<Vec<u8>> {
    Arc::new(octets.to_vec())
}

fn failure(outcome: &RecipientOutcome) -> &Failure {
    match outcome {
        RecipientOutcome::Failed(failure) => failure,
        other => panic!("{other:?} is no failure"),
    }
}

#[tokio::test]
async fn several_messages_over_one_connection() {
    let (server, memory) = start(listener(ListenerKind::Relay, None));
    let target = target(server.local_addr(), TlsPolicy::Opportunistic);
    let mut connection = Connection::open(&target, &client(), None, &trusting_nobody()).await.unwrap();
    let abilities = connection.abilities();
    assert!(abilities.eight_bit && abilities.smtputf8 && abilities.pipelining && abilities.size.is_some());
    assert_eq!(connection.tls().cipher, None);
    for (i, content) in [&b"a\r\n.b\r\n"[..], b"no end of line", b""].into_iter().enumerate() {
        assert!(connection.is_alive().await);
        let result = connection.transact(&envelope(&["x@b.test"], content.len()), body(content)).await;
        assert!(
            matches!(&result.outcomes[..], [(0, RecipientOutcome::Delivered(r))] if r.code == 250),
            "{result:?}"
        );
        assert!(result.reusable);
        let received = memory.received.lock().unwrap();
        let got = &received[i].body;
        assert!(got.starts_with(content) && got.len() <= content.len() + 2, "{got:?}");
    }
    connection.quit().await;
}

#[tokio::test]
async fn outcomes_are_for_each_recipient() {
    let (server, memory) = start(listener(ListenerKind::Relay, None));
    let target = target(server.local_addr(), TlsPolicy::None);
    let mut connection = Connection::open(&target, &client(), None, &trusting_nobody()).await.unwrap();
    let many: Vec<String> = (0..10).map(|i| format!("r{i}@b.test")).collect();
    let mut to = vec!["refuse@b.test", "full@b.test"];
    to.extend(many.iter().map(String::as_str));
    to.push("eleventh@b.test");
    let result = connection.transact(&envelope(&to, 5), body(b"hi\r\n")).await;
    let outcome = |i: usize| &result.outcomes[i].1;
    assert_eq!((failure(outcome(0)).permanent, failure(outcome(0)).status), (true, (5, 1, 1).into()));
    assert_eq!((failure(outcome(1)).permanent, failure(outcome(1)).status), (false, (4, 2, 2).into()));
    assert!((2..12).all(|i| matches!(outcome(i), RecipientOutcome::Delivered(_))), "{result:?}");
    assert_eq!(outcome(12), &RecipientOutcome::NextTransaction);
    let result = connection.transact(&envelope(&["refuse@b.test"], 5), body(b"hi\r\n")).await;
    assert!(result.reusable, "{result:?}");
    let result = connection.transact(&envelope(&["x@b.test"], 5), body(b"hi\r\n")).await;
    assert!(matches!(result.outcomes[0].1, RecipientOutcome::Delivered(_)));
    assert_eq!(memory.received.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn tls_verified_or_not() {
    let ours = authority();
    let (server, _memory) = start(listener(ListenerKind::Relay, Some(ours.server.clone())));
    for (tls, policy, expected) in [
        (trusting(&ours), TlsPolicy::Verified, Some(true)),
        (trusting(&ours), TlsPolicy::Opportunistic, Some(true)),
        (trusting(&authority()), TlsPolicy::Opportunistic, Some(false)),
        (trusting_nobody(), TlsPolicy::Required, Some(false)),
        (trusting(&authority()), TlsPolicy::Verified, None),
        (trusting_nobody(), TlsPolicy::Verified, None),
    ] {
        let opened = Connection::open(&target(server.local_addr(), policy), &client(), None, &tls).await;
        match (opened, expected) {
            (Ok(mut connection), Some(verified)) => {
                let state = connection.tls();
                assert!(state.cipher.is_some_and(|c| c.starts_with("TLSv1.3 TLS_")));
                assert_eq!(state.verified, verified, "{policy:?}");
                assert!(connection.is_alive().await);
                let result = connection.transact(&envelope(&["x@b.test"], 5), body(b"hi\r\n")).await;
                assert!(matches!(result.outcomes[0].1, RecipientOutcome::Delivered(_)));
            }
            (Err(failure), None) => {
                assert_eq!((failure.command, failure.permanent), (DialogueStep::Handshake, false));
                assert_eq!(failure.tls, Some(TlsFailure::CertificateUntrusted));
                assert!(failure.try_next_host);
            }
            (result, _) => panic!("{policy:?}: {result:?}"),
        }
    }
    let wrong = relevo_smtp::client::Target {
        host: "other.test".to_owned(),
        ..target(server.local_addr(), TlsPolicy::Verified)
    };
    let failure = Connection::open(&wrong, &client(), None, &trusting(&ours)).await.unwrap_err();
    assert_eq!(failure.tls, Some(TlsFailure::CertificateName));
    let mut named = wrong;
    named.tls.names = vec!["third.test".to_owned(), "localhost".to_owned()];
    let connection = Connection::open(&named, &client(), None, &trusting(&ours)).await.unwrap();
    assert!(connection.tls().verified, "the certificate may be for any of the names");
}

#[tokio::test]
async fn authentication() {
    let ours = authority();
    for (kind, policy) in [
        (ListenerKind::Submission, TlsPolicy::Verified),
        (ListenerKind::Submission, TlsPolicy::Opportunistic),
        (ListenerKind::Submissions, TlsPolicy::Implicit),
    ] {
        let (server, memory) = start(listener(kind, Some(ours.server.clone())));
        let target = target(server.local_addr(), policy);
        let mut connection =
            Connection::open(&target, &client(), Some(&auth()), &trusting(&ours)).await.unwrap();
        let result = connection.transact(&envelope(&["x@b.test"], 5), body(b"hi\r\n")).await;
        assert!(matches!(result.outcomes[0].1, RecipientOutcome::Delivered(_)));
        let received = memory.received.lock().unwrap();
        assert_eq!((received[0].username.as_deref(), received[0].tls), (Some("u"), true));
    }
    let (server, _memory) = start(listener(ListenerKind::Submission, Some(ours.server.clone())));
    let wrong = Auth::password("u", "wrong");
    let target = target(server.local_addr(), TlsPolicy::Verified);
    let failure = Connection::open(&target, &client(), Some(&wrong), &trusting(&ours)).await.unwrap_err();
    assert_eq!(
        (failure.command, failure.permanent, failure.status),
        (DialogueStep::Auth, false, (4, 7, 8).into())
    );
}

#[tokio::test]
async fn a_large_message_over_tls() {
    let ours = authority();
    let (server, memory) = start(listener(ListenerKind::Relay, Some(ours.server.clone())));
    let target = target(server.local_addr(), TlsPolicy::Required);
    let mut connection = Connection::open(&target, &client(), None, &trusting(&ours)).await.unwrap();
    let content = ".dots and text\r\n".repeat(200_000).into_bytes();
    let result = connection.transact(&envelope(&["x@b.test"], content.len()), body(&content)).await;
    assert!(matches!(result.outcomes[0].1, RecipientOutcome::Delivered(_)), "{result:?}");
    assert!(memory.received.lock().unwrap()[0].body == content);
}

#[tokio::test]
async fn a_bare_line_end_does_not_leave() {
    let (server, memory) = start(listener(ListenerKind::Relay, None));
    let target = target(server.local_addr(), TlsPolicy::None);
    let long = format!("{}\n.\r\nx", "line\r\n".repeat(100_000));
    for content in ["a\n.\r\nMAIL FROM:<x@y>\r\n", long.as_str()] {
        let mut connection = Connection::open(&target, &client(), None, &trusting_nobody()).await.unwrap();
        let result =
            connection.transact(&envelope(&["x@b.test"], content.len()), body(content.as_bytes())).await;
        let failure = failure(&result.outcomes[0].1);
        assert_eq!((failure.permanent, failure.status, result.reusable), (true, (5, 6, 0).into(), false));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(memory.received.lock().unwrap().is_empty());
}

struct Broken;

impl relevo_mailkit::source::Source for Broken {
    fn size(&self) -> u64 {
        1_000_000
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<usize> {
        if offset > 500_000 {
            return Err(std::io::Error::other("disk error"));
        }
        buf.fill(b'x');
        Ok(buf.len())
    }
}

#[tokio::test]
async fn a_source_that_fails_is_temporary() {
    let (server, memory) = start(listener(ListenerKind::Relay, None));
    let target = target(server.local_addr(), TlsPolicy::None);
    let mut connection = Connection::open(&target, &client(), None, &trusting_nobody()).await.unwrap();
    let result = connection.transact(&envelope(&["x@b.test"], 1_000_000), Arc::new(Broken)).await;
    let failure = failure(&result.outcomes[0].1);
    assert_eq!((failure.permanent, failure.try_next_host, failure.status), (false, false, (4, 3, 0).into()));
    drop(connection);
    assert!(memory.received.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_stopped_server_is_noticed() {
    let (server, _memory) = start(listener(ListenerKind::Relay, None));
    let target = target(server.local_addr(), TlsPolicy::None);
    let mut connection = Connection::open(&target, &client(), None, &trusting_nobody()).await.unwrap();
    server.stop(Duration::from_millis(1500)).await;
    assert!(!connection.is_alive().await);
    let result = connection.transact(&envelope(&["x@b.test"], 5), body(b"hi\r\n")).await;
    let failure_421 = failure(&result.outcomes[0].1);
    assert!(failure_421.try_next_host && !failure_421.permanent && !result.reusable, "{result:?}");
    let refused = Connection::open(&target, &client(), None, &trusting_nobody()).await.unwrap_err();
    assert_eq!(
        (refused.command, refused.status, refused.try_next_host),
        (DialogueStep::Connect, (4, 4, 1).into(), true)
    );
}

#[tokio::test]
async fn smtputf8_and_eight_bit() {
    let (server, memory) = start(listener(ListenerKind::Relay, None));
    let target = target(server.local_addr(), TlsPolicy::None);
    let mut connection = Connection::open(&target, &client(), None, &trusting_nobody()).await.unwrap();
    let envelope = Envelope { smtputf8: true, eight_bit: true, ..envelope(&["grå@blå.test"], 6) };
    let result = connection.transact(&envelope, body("å\r\n".as_bytes())).await;
    assert!(matches!(result.outcomes[0].1, RecipientOutcome::Delivered(_)), "{result:?}");
    assert_eq!(memory.received.lock().unwrap()[0].to, ["grå@xn--bl-zia.test"]);
}

/// An address of ours that is not there is no fault of the remote's, which is up.
#[tokio::test]
async fn a_source_that_cannot_be_bound_is_our_own_fault() {
    let (server, _) = start(listener(ListenerKind::Relay, None));
    let mut target = target(server.local_addr(), TlsPolicy::None);
    target.source = Some("192.0.2.1".parse().unwrap());
    let failure = Connection::open(&target, &client(), None, &trusting_nobody()).await.unwrap_err();
    assert_eq!((failure.permanent, failure.try_next_host, failure.status), (false, true, (4, 3, 5).into()));
    assert!(failure.detail.starts_with("cannot send from 192.0.2.1: "), "{}", failure.detail);
    target.source = Some("127.0.0.3".parse().unwrap());
    Connection::open(&target, &client(), None, &trusting_nobody()).await.unwrap();
}
