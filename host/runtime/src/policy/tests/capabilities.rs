//! Quotas of what is granted.

use super::*;
use crate::{Blame, FaultKind};

async fn judged(bench: &Bench, name: &str, data: Memory) -> CallOutcome<Judgement> {
    bench.patient(name).judge(case_of(message(), b"", Some(Arc::new(data)))).await
}

#[tokio::test]
async fn a_flood_of_lines_is_cut_and_counted() {
    let bench = bench();
    let outcome = judged(&bench, "huge-log", Memory::default()).await;
    assert_eq!((outcome.log.len(), outcome.log_dropped), (20, 180));
    assert!(outcome.log.iter().all(|line| line.level == LogLevel::Error && line.text.len() <= 1024));
    assert!(outcome.log[0].text.starts_with("l\\r\\n\\u{1b}[2J"), "{}", outcome.log[0].text);
    outcome.result.unwrap();
}

#[tokio::test]
async fn what_is_printed_is_logged_where_log_is_granted() {
    let bench = bench();
    let outcome = judged(&bench, "huge-output", Memory::default()).await;
    outcome.result.unwrap();
    let printed: usize = outcome.log.iter().map(|line| line.text.len()).sum();
    assert!((1..=4096).contains(&printed), "{printed}");
}

#[tokio::test]
async fn a_flood_of_lookups_ends_in_an_error_that_the_plugin_sees() {
    let bench = bench();
    let outcome = judged(&bench, "kv-flood", Memory::of([("k", "v")])).await;
    let decision = outcome.result.unwrap().decision;
    assert_eq!(decision.headers[0].value, b"refused=true exhausted=true");
}

#[tokio::test]
async fn time_in_host_calls_is_the_plugins_time() {
    let bench = bench();
    let slow = Memory { slow: Duration::from_millis(30), ..Memory::of([("k", "v")]) };
    let plugin = bench.load("hostile", |config| {
        config.limits.call_wall = Duration::from_millis(500);
        config.settings = vec![Attribute::new("case", "slow-kv")];
    });
    let outcome = plugin.judge(case_of(message(), b"", Some(Arc::new(slow)))).await;
    let fault = outcome.result.unwrap_err();
    assert_eq!((fault.blame, fault.kind), (Blame::Guest, FaultKind::Deadline), "{fault}");
    assert!(fault.detail.contains("500 ms of time in one call"), "{fault}");
    assert!(outcome.cost.wall < Duration::from_secs(5), "{:?}", outcome.cost);
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_told() {
    let bench = bench();
    let broken = Memory { broken: true, ..Memory::default() };
    let plugin = bench.load("everything", |_| {});
    let fault = plugin.judge(case_of(message(), b"", Some(Arc::new(broken)))).await.result.unwrap_err();
    // It passes the error on.
    assert_eq!((fault.blame, fault.kind), (Blame::Guest, FaultKind::Error));
}

/// Which calls were announced to the data.
#[derive(Default)]
struct Account(Mutex<Vec<Export>>);

impl KeyValues for Account {
    fn get(&self, _: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        Ok(None)
    }

    fn scan(
        &self,
        _: &str,
        _: Option<&str>,
        _: usize,
        _: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, Unavailable> {
        Ok(Vec::new())
    }

    fn enters(&self, export: Export) {
        self.0.lock().unwrap().push(export);
    }
}

#[tokio::test]
async fn the_data_are_told_which_call_begins() {
    let bench = bench();
    let plugin = bench.load("everything", |config| config.class = Class::Large);
    let calls = async || {
        let account = Arc::new(Account::default());
        plugin.judge(case_of(message(), b"", Some(account.clone()))).await.result.unwrap();
        let mut calls = account.0.lock().unwrap().clone();
        calls.dedup();
        calls
    };
    assert_eq!(calls().await, [Export::Configure, Export::Decide, Export::Inspect]);
    assert_eq!(calls().await, [Export::Decide, Export::Inspect], "a warm instance");
}
