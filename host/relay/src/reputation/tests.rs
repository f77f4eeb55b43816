use std::sync::atomic::{AtomicI64, Ordering};

use relevo_resolve::testing::TestDns;
use relevo_resolve::{HickoryResolver, ResolverConfig, Tuning};

use super::*;
use crate::testing::World;

const LIST: &str = "list.test";
const OURS: &str = "9.2.0.192.list.test";

/// Time that is set.
#[derive(Default)]
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

struct Listed {
    dns: TestDns,
    clock: Arc<SetClock>,
    folder: tempfile::TempDir,
}

impl Listed {
    async fn start() -> Self {
        let dns = TestDns::start().await.expect("listens");
        let clock = Arc::new(SetClock::default());
        clock.0.store(1_795_000_000_000, Ordering::Relaxed);
        Self { dns, clock, folder: tempfile::tempdir().expect("a directory") }
    }

    fn reputation(&self, on_fail: OnFail) -> Reputation {
        let servers = ResolverConfig { nameservers: vec![self.dns.addr()], ..ResolverConfig::default() };
        let tuning = Tuning { remember: false, ..Tuning::default() };
        let world = World::with(|settings| {
            settings.delivery.source_ipv4 = Some("192.0.2.9".parse().expect("an address"));
        });
        Reputation::open(
            ReputationConfig { blocklists: vec![LIST.to_owned()], on_fail },
            Arc::new(HickoryResolver::tuned(servers, tuning).expect("a resolver")),
            world.settings.clone(),
            self.clock.clone(),
            self.folder.path().join(FILE),
            ReputationMetrics::default(),
        )
    }

    fn pass(&self, millis: i64) {
        self.clock.0.fetch_add(millis, Ordering::Relaxed);
    }

    fn list(&self, name: &str, answer: &str) {
        self.dns.address(name, &[answer.parse().expect("an address")]);
    }

    fn asked(&self, name: &str) -> usize {
        self.dns.queries().iter().filter(|query| **query == format!("A {name}")).count()
    }
}

fn answer(reputation: &Reputation) -> Listing {
    let listings = reputation.listings();
    assert_eq!(listings.len(), 1, "test entries are not ours: {listings:?}");
    listings[0].answer.clone()
}

#[tokio::test]
async fn an_address_is_asked_for_once_an_hour_over_restarts() {
    let of = Listed::start().await;
    of.list("2.0.0.127.list.test", "127.0.0.2");
    of.list(OURS, "127.0.0.2");
    for _ in 0..3 {
        let reputation = of.reputation(OnFail::Warn);
        reputation.ask_lists().await;
        assert_eq!(answer(&reputation), Listing::Listed(vec!["127.0.0.2".to_owned()]));
        of.pass(HOUR / 4);
    }
    for name in [OURS, "2.0.0.127.list.test", "1.0.0.127.list.test"] {
        assert_eq!(of.asked(name), 1, "{name}");
    }
    of.pass(HOUR);
    of.dns.remove(OURS);
    let reputation = of.reputation(OnFail::Warn);
    reputation.ask_lists().await;
    assert_eq!((answer(&reputation), of.asked(OURS)), (Listing::NotListed, 2));
}

#[tokio::test]
async fn a_list_that_fails_its_test_is_not_asked_about_us() {
    for (listed, unlisted) in
        [(None, None), (Some("127.0.0.2"), Some("127.0.0.2")), (Some("127.255.255.254"), None)]
    {
        let of = Listed::start().await;
        of.list(OURS, "127.0.0.2");
        listed.into_iter().for_each(|answer| of.list("2.0.0.127.list.test", answer));
        unlisted.into_iter().for_each(|answer| of.list("1.0.0.127.list.test", answer));
        let reputation = of.reputation(OnFail::Warn);
        reputation.ask_lists().await;
        assert!(matches!(answer(&reputation), Listing::Unknown(why) if why.contains("not believed")));
        assert_eq!(of.asked(OURS), 0);
    }
}

fn rates(complained: u64) -> HashMap<String, TenantRates> {
    let rate = ProviderRate {
        provider: "all".to_owned(),
        delivered: 10_000,
        complained,
        bounced: 0,
        origin: "events".to_owned(),
        reported: None,
    };
    let domains = BTreeMap::from([("example.com".to_owned(), rate)]);
    HashMap::from([("acme".to_owned(), TenantRates { domains, providers: Vec::new() })])
}

#[tokio::test]
async fn a_domain_is_stopped_by_rule_and_let_go_again() {
    let of = Listed::start().await;
    let tenant = |reputation: &Reputation| {
        let settings = reputation.settings.get();
        settings.directory.tenant("acme").cloned().expect("a tenant")
    };
    for (on_fail, complained, is_stopped) in
        [(OnFail::Stop, 10, false), (OnFail::Stop, 30, true), (OnFail::Warn, 30, false)]
    {
        let reputation = of.reputation(on_fail);
        reputation.set_rates(rates(complained));
        assert_eq!(reputation.applies_to(&tenant(&reputation)), is_stopped, "{on_fail:?} {complained}");
        let (_, failing) = reputation.of_tenant("acme");
        assert_eq!(failing.len(), usize::from(complained == 30));
        assert_eq!(reputation.of("acme", "example.com").rates.len(), 1);
        reputation.set_rates(HashMap::new());
        assert!(!reputation.applies_to(&tenant(&reputation)));
    }
}

#[tokio::test]
async fn a_failing_domain_is_slowed_down_to_a_tenth() {
    let of = Listed::start().await;
    let reputation = of.reputation(OnFail::SlowDown);
    let mut rates = rates(160);
    for rate in rates.values_mut().flat_map(|of| of.domains.values_mut()) {
        rate.delivered = 50_400;
    }
    reputation.set_rates(rates.clone());
    let take = |domain: &str, recipients, now| {
        let taken = reputation.take("acme", domain, recipients, now);
        taken.map_err(|refused| refused.reply)
    };
    assert_eq!(take("example.com", 20, HOUR), Ok(()));
    // Rates that are counted anew give no second hour.
    reputation.set_rates(rates);
    assert_eq!(take("example.com", 10, HOUR + 1), Ok(()));
    let refused = take("example.com", 1, HOUR + 2).expect_err("31 of 30");
    assert_eq!(refused.code, 450);
    let words =
        "mail of example.com is slowed down to 30 recipients an hour, the next begins at 1970-01-01T02:00:00";
    assert!(refused.text.starts_with(words) && refused.text.contains("0.32 % complaints"), "{refused:?}");
    assert_eq!(take("other.example", 100, HOUR + 2), Ok(()));
    assert_eq!(take("example.com", 500, 2 * HOUR), Ok(()), "one message goes at least");
    assert!(take("example.com", 1, 2 * HOUR + 1).is_err());
}

#[tokio::test]
async fn the_latest_day_of_an_import_counts_and_survives() {
    let of = Listed::start().await;
    let row = |day, spam_rate| PostmasterRow {
        domain: "example.com".to_owned(),
        day: serde_json::from_str(&format!(r#"{{"year":2026,"month":11,"day":{day}}}"#)).expect("a day"),
        spam_rate,
    };
    of.reputation(OnFail::Warn)
        .import_postmaster("acme", vec![row(27, 0.1), row(29, 0.001), row(28, 0.2)])
        .await;
    let again = of.reputation(OnFail::Warn);
    again.import_postmaster("acme", vec![row(26, 0.5)]).await;
    let rates = again.of("acme", "example.com").rates;
    assert_eq!((rates.len(), rates[0].reported), (1, Some(0.001)));
    assert!(
        again.of("acme", "other.example").rates.is_empty()
            && again.of("globex", "example.com").rates.is_empty()
    );
}
