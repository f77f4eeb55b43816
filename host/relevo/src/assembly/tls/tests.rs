//! The three works beside each other, and how long attempts wait.

use std::sync::atomic::{AtomicUsize, Ordering};

use relevo_relay::delivery::HostTls;
use relevo_store::{ControlStoreError, StsPolicyRecord, TlsTallyRecord};
use relevo_tls::decision::WantedTable;
use relevo_tls::mta_sts::{PolicySource, StsFailure};
use relevo_tls::report::{PolicyKind, SessionOutcome, TallyPolicy};
use tokio::time::Instant;

use super::*;

const DAY: i64 = 86_400_000;

/// Hosts that never answer, and a store that always does.
#[derive(Default)]
struct HangingWorld {
    written: AtomicUsize,
    renewals: AtomicUsize,
    reports: AtomicUsize,
}

#[async_trait]
impl PolicySource for HangingWorld {
    async fn txt(&self, _: &str) -> Result<Vec<String>, String> {
        std::future::pending().await
    }

    async fn policy(&self, _: &str) -> Result<Vec<u8>, StsFailure> {
        std::future::pending().await
    }
}

#[async_trait]
impl ReportCarrier for HangingWorld {
    async fn txt(&self, _: &str) -> Result<Vec<String>, String> {
        self.reports.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }

    async fn mail(&self, _: &str, _: Vec<u8>, _: &str, _: &str) -> Result<(), String> {
        Ok(())
    }

    async fn post(&self, _: &str, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

#[async_trait]
impl TlsStore for HangingWorld {
    async fn sts_policy(&self, _: &str, _: i64) -> Result<Option<StsPolicyRecord>, ControlStoreError> {
        Ok(None)
    }

    async fn put_sts_policy(&self, _: &StsPolicyRecord) -> Result<(), ControlStoreError> {
        Ok(())
    }

    /// There are always as many as are asked for.
    async fn take_stale_sts_policies(
        &self,
        _: i64,
        retry_at: i64,
        most: u32,
    ) -> Result<Vec<StsPolicyRecord>, ControlStoreError> {
        self.renewals.fetch_add(1, Ordering::SeqCst);
        let policy = |number: u32| StsPolicyRecord {
            domain: format!("{number}.example"),
            id: "1".into(),
            body: String::new(),
            fetched_at: 0,
            expires_at: i64::MAX,
            renew_at: retry_at,
        };
        Ok((0..most).map(policy).collect())
    }

    async fn count_sts_policies(&self) -> Result<u64, ControlStoreError> {
        Ok(0)
    }

    async fn tls_tallies(&self, _: &str) -> Result<Vec<TlsTallyRecord>, ControlStoreError> {
        Ok(Vec::new())
    }

    async fn put_tls_tallies(&self, tallies: &[TlsTallyRecord]) -> Result<(), ControlStoreError> {
        self.written.fetch_add(tallies.len(), Ordering::SeqCst);
        Ok(())
    }

    async fn delete_tls_tally(&self, _: i64, _: &str, _: &str) -> Result<(), ControlStoreError> {
        Ok(())
    }
}

struct LateClock;

impl Clock for LateClock {
    fn now(&self) -> i64 {
        3 * DAY
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

fn services(world: &Arc<HangingWorld>) -> Arc<TlsServices> {
    let sts = StsPolicies::new(world.clone(), world.clone(), StsSettings::default());
    let policies = DomainPolicies {
        dane: None,
        sts: Some(Arc::new(sts)),
        wanted: WantedTable::default(),
        tallies: Arc::default(),
    };
    let name = ReporterName {
        organization: "us".into(),
        contact: "us@mta.example".into(),
        from: "tls@mta.example".into(),
        node: "n".into(),
    };
    Arc::new(TlsServices {
        policies: Arc::new(policies),
        store: world.clone(),
        node: "n".into(),
        clock: Arc::new(LateClock),
        reports: Some((Reporter::new(name), world.clone())),
    })
}

fn count(services: &TlsServices, now: i64, domain: &str) {
    let policy = TallyPolicy { kind: PolicyKind::None, lines: Vec::new(), mx: Vec::new() };
    services.policies.tallies.count(now, domain, &Arc::new(policy), SessionOutcome::Success);
}

#[tokio::test(start_paused = true)]
async fn hosts_that_hang_hold_up_neither_counts_nor_each_other() {
    let world = Arc::new(HangingWorld::default());
    let services = services(&world);
    for number in 0..1_000 {
        count(&services, DAY, &format!("{number}.example"));
    }
    let running = tokio::spawn(services.clone().run());
    tokio::time::sleep(Duration::from_secs(65)).await;
    assert_eq!(world.written.swap(0, Ordering::SeqCst), 1_000);
    assert_eq!(world.renewals.load(Ordering::SeqCst), 1);
    assert_eq!(world.reports.load(Ordering::SeqCst), 16, "so many at a time");
    for minute in 1..5 {
        count(&services, 3 * DAY, "today.example");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(world.written.load(Ordering::SeqCst), minute, "counts are written each minute");
    }
    assert!(world.renewals.load(Ordering::SeqCst) >= 2, "a round of renewals ends though all hang");
    assert!(world.reports.load(Ordering::SeqCst) >= 16 * 6);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn an_attempt_waits_five_seconds_for_policies_and_mail_waits() {
    let world = Arc::new(HangingWorld::default());
    let services = services(&world);
    let question = TlsQuestion {
        domain: "a.example",
        hosts: vec!["mx.a.example"],
        is_demanded: false,
        is_exempt: false,
    };
    let begun = Instant::now();
    let plan = services.plan(question).await;
    assert_eq!(begun.elapsed().as_secs(), 5);
    let HostTls::Refuse(failure) = plan.of("mx.a.example") else { panic!("it is connected to") };
    assert_eq!(failure.tls, Some(TlsFailure::Unproved));
    assert!(failure.detail.contains("not known yet"), "{}", failure.detail);
}

#[tokio::test]
async fn what_the_operator_needs_of_a_domain_counts_at_smarthosts() {
    let mut services = Arc::into_inner(services(&Arc::default())).unwrap();
    let entries =
        [("a.example", Wanted::Required), ("b.example", Wanted::Dane), (".example", Wanted::Opportunistic)];
    let wanted = WantedTable::new(entries.map(|(domain, need)| (domain.to_owned(), need)));
    let policies = Arc::get_mut(&mut services.policies).unwrap();
    policies.wanted = wanted;
    for (domain, least) in [
        ("a.example", TlsPolicy::Required),
        ("b.example", TlsPolicy::Verified),
        ("c.example", TlsPolicy::None),
        ("a.test", TlsPolicy::None),
    ] {
        assert_eq!(services.least(domain), least, "{domain}");
    }
}
