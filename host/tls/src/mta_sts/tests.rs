//! Policies over time: found, kept, renewed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use relevo_store::{ControlStoreError, StsPolicyRecord, TlsStore, TlsTallyRecord};

use super::*;

const GOOD: &str = "version: STSv1\r\nmode: enforce\r\nmx: mx.example\r\nmax_age: 604800\r\n";
const TESTING: &str = "version: STSv1\nmode: testing\nmx: mx.example\nmax_age: 604800\n";
const DAY: i64 = 86_400_000;

#[derive(Default)]
struct World {
    txt: Mutex<Option<Vec<String>>>,
    policy: Mutex<Option<Result<String, StsFailure>>>,
    fetches: AtomicUsize,
    stored: Mutex<HashMap<String, StsPolicyRecord>>,
    /// The store cannot be read.
    is_broken: AtomicBool,
    /// What the store has beside `stored`.
    others: AtomicU64,
}

impl World {
    fn publish(&self, id: &str, policy: &str) {
        *self.txt.lock() = Some(vec![format!("v=STSv1; id={id};")]);
        *self.policy.lock() = Some(Ok(policy.to_owned()));
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl PolicySource for World {
    async fn txt(&self, name: &str) -> Result<Vec<String>, String> {
        assert!(name.starts_with("_mta-sts."));
        self.txt.lock().clone().ok_or_else(|| "SERVFAIL".to_owned())
    }

    async fn policy(&self, domain: &str) -> Result<Vec<u8>, StsFailure> {
        if domain.contains("hangs") {
            return std::future::pending().await;
        }
        self.fetches.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let policy = self.policy.lock().clone();
        policy.unwrap_or_else(|| Err(StsFailure::Fetch("404".into()))).map(String::into_bytes)
    }
}

#[async_trait]
impl TlsStore for World {
    async fn sts_policy(&self, domain: &str, now: i64) -> Result<Option<StsPolicyRecord>, ControlStoreError> {
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(ControlStoreError::File("broken".into()));
        }
        Ok(self.stored.lock().get(domain).filter(|policy| policy.expires_at > now).cloned())
    }

    async fn put_sts_policy(&self, policy: &StsPolicyRecord) -> Result<(), ControlStoreError> {
        self.stored.lock().insert(policy.domain.clone(), policy.clone());
        Ok(())
    }

    async fn take_stale_sts_policies(
        &self,
        now: i64,
        retry_at: i64,
        most: u32,
    ) -> Result<Vec<StsPolicyRecord>, ControlStoreError> {
        let mut stored = self.stored.lock();
        let mut due: Vec<_> = stored.values_mut().filter(|policy| policy.renew_at <= now).collect();
        due.sort_by_key(|policy| policy.renew_at);
        due.truncate(most as usize);
        let taken = due.into_iter().map(|policy| {
            policy.renew_at = retry_at;
            policy.clone()
        });
        Ok(taken.collect())
    }

    async fn count_sts_policies(&self) -> Result<u64, ControlStoreError> {
        Ok(self.stored.lock().len() as u64 + self.others.load(Ordering::SeqCst))
    }

    async fn tls_tallies(&self, _: &str) -> Result<Vec<TlsTallyRecord>, ControlStoreError> {
        Ok(Vec::new())
    }

    async fn put_tls_tallies(&self, _: &[TlsTallyRecord]) -> Result<(), ControlStoreError> {
        Ok(())
    }

    async fn delete_tls_tally(&self, _: i64, _: &str, _: &str) -> Result<(), ControlStoreError> {
        Ok(())
    }
}

/// Policies that remember nothing in memory, as after a restart.
fn fresh(world: &Arc<World>) -> StsPolicies {
    StsPolicies::new(world.clone(), world.clone(), StsSettings::default())
}

fn mode(answer: &StsAnswer) -> Option<StsMode> {
    answer.policy.as_ref().map(|policy| policy.mode)
}

#[tokio::test(start_paused = true)]
async fn a_policy_is_fetched_once_and_survives_a_restart() {
    let world = Arc::new(World::default());
    world.publish("1", GOOD);
    let policies = fresh(&world);
    let (a, b) = tokio::join!(policies.of("a.example", 0), policies.of("a.example", 0));
    assert_eq!((mode(&a), a.reported.lines.len()), (Some(StsMode::Enforce), 4));
    assert_eq!(a, b);
    assert_eq!(fresh(&world).of("a.example", DAY).await, a);
    assert_eq!(world.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_but_time_and_a_new_policy_ends_one() {
    let world = Arc::new(World::default());
    world.publish("1", GOOD);
    assert!(fresh(&world).of("a.example", 0).await.in_force().is_some());
    for txt in [Some(Vec::new()), Some(vec!["v=STSv1; id=?".to_owned()]), None] {
        *world.txt.lock() = txt;
        assert_eq!(mode(&fresh(&world).of("a.example", DAY).await), Some(StsMode::Enforce));
    }
    let broken = [Err(StsFailure::Fetch("404".into())), Ok("<html>".to_owned())];
    for (id, policy) in ["2", "3"].into_iter().zip(broken) {
        *world.txt.lock() = Some(vec![format!("v=STSv1; id={id}")]);
        *world.policy.lock() = Some(policy);
        let answer = fresh(&world).of("a.example", DAY).await;
        assert_eq!(mode(&answer), Some(StsMode::Enforce));
        let result = answer.failure.map(|failure| failure.result_type());
        assert_eq!(result, Some(if id == "2" { "sts-policy-fetch-error" } else { "sts-policy-invalid" }));
    }
    assert_eq!(mode(&fresh(&world).of("a.example", 7 * DAY).await), None, "it lapsed");
    world.publish("4", GOOD);
    assert!(fresh(&world).of("a.example", 0).await.in_force().is_some());
    world.publish("5", "version: STSv1\nmode: none\nmax_age: 60\n");
    assert_eq!(fresh(&world).of("a.example", 1).await.in_force(), None);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_remembered_for_minutes_and_a_record_is_looked_at_again() {
    let world = Arc::new(World::default());
    *world.txt.lock() = Some(vec!["v=STSv1; id=1".to_owned()]);
    let policies = fresh(&world);
    for _ in 0..3 {
        assert!(policies.of("a.example", 0).await.failure.is_some());
    }
    assert_eq!(world.fetches(), 1);
    world.publish("1", TESTING);
    tokio::time::advance(Duration::from_secs(301)).await;
    assert_eq!(mode(&policies.of("a.example", 0).await), Some(StsMode::Testing));
    world.publish("2", GOOD);
    assert_eq!(mode(&policies.of("a.example", 0).await), Some(StsMode::Testing), "not asked yet");
    tokio::time::advance(Duration::from_secs(601)).await;
    assert_eq!(mode(&policies.of("a.example", 0).await), Some(StsMode::Enforce));
}

#[tokio::test(start_paused = true)]
async fn a_policy_is_renewed_a_day_after_it_was_fetched() {
    let world = Arc::new(World::default());
    world.publish("1", GOOD);
    let policies = fresh(&world);
    policies.of("a.example", 0).await;
    let expires_at = || world.stored.lock()["a.example"].expires_at;
    policies.renew(DAY - 1).await;
    assert_eq!(expires_at(), 7 * DAY);
    policies.renew(DAY).await;
    assert_eq!(expires_at(), 8 * DAY);
    *world.policy.lock() = None;
    policies.renew(3 * DAY).await;
    assert_eq!(expires_at(), 8 * DAY, "kept until it lapses");
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_holds_for_a_day_is_renewed_before() {
    let world = Arc::new(World::default());
    world.publish("1", "version: STSv1\nmode: none\nmax_age: 86400\n");
    fresh(&world).of("a.example", 0).await;
    assert_eq!(world.stored.lock()["a.example"].renew_at, DAY / 2);
}

#[tokio::test(start_paused = true)]
async fn hosts_that_hang_hold_up_renewals_for_a_bounded_time() {
    let world = Arc::new(World::default());
    world.publish("1", GOOD);
    let policies = fresh(&world);
    policies.of("a.example", 0).await;
    let good = world.stored.lock()["a.example"].clone();
    for number in 0..200 {
        let domain = format!("{number}.hangs.example");
        let hangs = StsPolicyRecord { domain: domain.clone(), renew_at: 0, ..good.clone() };
        world.stored.lock().insert(domain, hangs);
    }
    let begun = tokio::time::Instant::now();
    while policies.renew(DAY).await {}
    assert_eq!(world.stored.lock()["a.example"].fetched_at, DAY, "it had its turn");
    assert!(begun.elapsed() <= Duration::from_secs(17 * 60), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_is_no_proof_that_there_is_no_policy() {
    let world = Arc::new(World::default());
    *world.txt.lock() = Some(Vec::new());
    world.is_broken.store(true, Ordering::SeqCst);
    let policies = fresh(&world);
    assert!(policies.of("a.example", 0).await.is_unknown);
    world.is_broken.store(false, Ordering::SeqCst);
    tokio::time::advance(Duration::from_secs(16)).await;
    assert!(!policies.of("a.example", 0).await.is_unknown, "it is asked again soon");
    world.is_broken.store(true, Ordering::SeqCst);
    world.publish("1", GOOD);
    let answer = policies.of("b.example", 0).await;
    assert_eq!((mode(&answer), answer.is_unknown), (Some(StsMode::Enforce), false), "it is published");
}

#[tokio::test(start_paused = true)]
async fn a_full_store_takes_new_versions_of_what_it_has() {
    let world = Arc::new(World::default());
    world.publish("1", GOOD);
    let policies = fresh(&world);
    policies.of("a.example", 0).await;
    world.others.store(1_000_000, Ordering::SeqCst);
    policies.of("b.example", 0).await;
    assert!(!world.stored.lock().contains_key("b.example"), "it is full");
    policies.renew(DAY).await;
    assert_eq!(world.stored.lock()["a.example"].fetched_at, DAY);
    world.publish("2", TESTING);
    fresh(&world).of("a.example", DAY).await;
    assert_eq!(world.stored.lock()["a.example"].id, "2");
}
