#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::super::holder::Allotters;
use super::super::metrics::LimitMetrics;
use super::super::{Ask, LimitId, LimitKind};
use super::*;
use crate::engine::Engine;
use crate::memory::MemoryEngine;

fn secret(letter: &str) -> ClusterSecret {
    ClusterSecret::new(&letter.repeat(32)).unwrap()
}

/// A node that holds nothing, so that it answers so.
async fn node() -> (String, tokio::task::JoinHandle<()>) {
    let allotters = Arc::new(Allotters::new(MemoryEngine::new().leases(), "a", "a:1", "1"));
    let carry = Arc::new(TcpCarry::new(secret("s")));
    let shares = Arc::new(NodeShares::new(allotters, carry, LimitMetrics::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (address, tokio::spawn(serve(listener, secret("s"), shares)))
}

fn question() -> Question {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let limit = LimitId::of([&b"x"[..]]);
    let ask = Ask { limit, kind: LimitKind::Rate, cap: 10, wanted: 10, has: 0 };
    Question { from: "b".into(), number: 1, at: at.try_into().unwrap(), asks: vec![ask; 3] }
}

#[tokio::test]
async fn a_question_is_answered_and_another_secret_is_not() {
    let (address, serving) = node().await;
    let answer = TcpCarry::new(secret("s")).ask(&address, &question()).await;
    assert_eq!(answer, Ok(Answer { granted: vec![None; 3] }));
    assert!(TcpCarry::new(secret("t")).ask(&address, &question()).await.is_err());
    serving.abort();
}

#[tokio::test]
async fn who_sends_nothing_or_too_much_is_dropped() {
    let (address, serving) = node().await;
    let mut long = TcpStream::connect(&address).await.unwrap();
    long.write_u32(u32::MAX).await.unwrap();
    assert_eq!(long.read(&mut [0]).await.unwrap_or(0), 0);
    // As many as are served at once, which say nothing: others are served soon all the same.
    let began = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS {
        silent.push(TcpStream::connect(&address).await.unwrap());
    }
    assert!(TcpCarry::new(secret("s")).ask(&address, &question()).await.is_ok());
    assert!(began.elapsed() < SERVES * 3, "{:?}", began.elapsed());
    serving.abort();
}
