//! Claims and proofs, over a real store and a name server in the process.

use relevo_resolve::testing::{TestDns, Trouble};
use relevo_resolve::{HickoryResolver, ResolverConfig, Tuning};
use relevo_store::{ControlStore, StoreUrl, TenantRecord, TenantSettings};

use super::*;
use crate::clock::{RandomIds, SystemClock};
use crate::directory::StoreSource;

struct Scene {
    folder: tempfile::TempDir,
    dns: TestDns,
    settings: SettingsHandle,
    domains: Domains,
}

async fn scene() -> Scene {
    let folder = tempfile::tempdir().expect("a folder");
    let url = StoreUrl::File(folder.path().join("control.sqlite"));
    let store = Arc::new(ControlStore::open(&url).await.expect("opens"));
    let globex = TenantRecord { id: "globex".to_owned(), settings: TenantSettings::default() };
    store.put_tenant(&globex).await.expect("stored");
    let settings = SettingsHandle::new(crate::testing::settings());
    let source = Arc::new(StoreSource::new(store.clone(), folder.path().to_owned()));
    let directory = Arc::new(DirectoryRefresher::new(source, settings.clone()));
    directory.refresh().await.expect("reads");
    let dns = TestDns::start().await.expect("a name server");
    let config = ResolverConfig { nameservers: vec![dns.addr()], ..ResolverConfig::default() };
    let tuning = Tuning { remember: false, retries: 0, ..Tuning::default() };
    let resolve = Arc::new(HickoryResolver::tuned(config, tuning).expect("a resolver"));
    let domains = Domains::new(
        (store, Some(directory)),
        settings.clone(),
        resolve,
        folder.path().to_owned(),
        (Arc::new(SystemClock::new()), Arc::new(RandomIds)),
    );
    Scene { folder, dns, settings, domains }
}

impl Scene {
    async fn add(&self, tenant: &str, name: &str) -> Result<OwnDomain, DomainRefusal> {
        self.domains.add(tenant, name, &DomainChange::default()).await
    }

    fn publish_key(&self, own: &OwnDomain) {
        let records = records(&own.domain, &self.settings.get());
        let key = records.iter().find(|record| record.purpose == "DKIM").expect("a key");
        let (first, second) = key.value.split_at(200);
        self.dns.txt(&key.name, &[first, second]);
    }

    fn owner(&self, name: &str) -> Option<String> {
        self.settings.get().directory.domain(name).map(|domain| domain.tenant.clone())
    }

    /// Purpose, status and the words of each check.
    async fn checks(&self, tenant: &str, name: &str) -> Vec<(&'static str, RecordStatus, String)> {
        let (_, checks) = self.domains.verify(tenant, name).await.expect("there");
        checks.into_iter().map(|check| (check.record.purpose, check.status, check.detail)).collect()
    }

    async fn status(&self, purpose: &str) -> (RecordStatus, String) {
        let checks = self.checks("acme", "shop.example").await;
        checks.into_iter().find(|check| check.0 == purpose).map(|check| (check.1, check.2)).expect("there")
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, DomainRefusal>) -> String {
    result.expect_err("refused").to_string()
}

#[tokio::test]
async fn the_tenant_that_publishes_its_key_owns_the_domain() {
    let scene = scene().await;
    let acme = scene.add("acme", "Shop.Example").await.expect("claims");
    let globex = scene.add("globex", "shop.example").await.expect("claims too");
    assert!(!acme.is_verified && acme.created_at.is_some());
    assert_eq!(acme.domain.name, "shop.example");
    assert_ne!(acme.domain.dkim[0].key.public_record(), globex.domain.dkim[0].key.public_record());
    assert_eq!(refused(scene.add("acme", "shop.example").await), "you have the domain shop.example already");

    scene.publish_key(&globex);
    let (own, _) = scene.domains.verify("acme", "shop.example").await.expect("looks");
    assert!(!own.is_verified, "the key that is published is another one");
    assert_eq!(scene.owner("shop.example"), None, "a claim gives no right to send");
    let (own, _) = scene.domains.verify("globex", "shop.example").await.expect("looks");
    assert!(own.is_verified);
    assert_eq!(scene.owner("mail.shop.example").as_deref(), Some("globex"), "without a reload");

    scene.publish_key(&acme);
    let refusal = refused(scene.domains.verify("acme", "shop.example").await);
    assert!(refusal.contains("shop.example is another tenant's"), "{refusal}");
    let refusal = refused(scene.add("acme", "news.shop.example").await);
    assert!(refusal.contains("overlaps shop.example of another tenant"), "{refusal}");
    assert_eq!(scene.domains.remove("globex", "shop.example").await, Ok("shop.example".to_owned()));
    assert_eq!(scene.owner("shop.example"), None);
    assert_eq!(std::fs::read_dir(scene.folder.path().join(KEY_FOLDER)).expect("there").count(), 1);
    let (own, _) = scene.domains.verify("acme", "shop.example").await.expect("nobody else's any more");
    assert!(own.is_verified);
}

#[tokio::test]
async fn domains_of_the_file_are_shown_and_not_taken() {
    let scene = scene().await;
    for (tenant, name, words) in [
        ("acme", "example.com", "is in the relay's configuration file"),
        ("globex", "example.com", "is in the relay's configuration file"),
        ("globex", "mail.example.com", "overlaps example.com"),
        ("globex", "example", "must be a domain name"),
        ("globex", "a..b", ""),
    ] {
        let refusal = refused(scene.add(tenant, name).await);
        assert!(refusal.contains(words), "{name}: {refusal}");
    }
    scene.add("acme", "z.example").await.expect("claims");
    let names = |found: Vec<OwnDomain>| {
        found.into_iter().map(|own| (own.domain.name.clone(), own.is_verified)).collect::<Vec<_>>()
    };
    let pair = |name: &str, verified| (name.to_owned(), verified);
    let all = [pair("example.com", true), pair("tracked.example", true), pair("z.example", false)];
    assert_eq!(names(scene.domains.list("acme", "", 10).await.expect("lists")), all);
    assert_eq!(names(scene.domains.list("acme", "example.com", 1).await.expect("lists")), all[1..2]);
    assert_eq!(names(scene.domains.list("globex", "", 10).await.expect("lists")), []);

    let keys = scene.folder.path().join(KEY_FOLDER);
    std::fs::rename(&keys, scene.folder.path().join("away")).expect("there");
    assert_eq!(names(scene.domains.list("acme", "", 10).await.expect("lists")), all, "a lost key hides none");
    std::fs::rename(scene.folder.path().join("away"), &keys).expect("there");

    let change = DomainChange { enforce_tls: Some(true), ..DomainChange::default() };
    let refusal = refused(scene.domains.change("acme", "example.com", &change).await);
    assert!(refusal.contains("changed there"), "{refusal}");
    for name in ["example.com", "z.example", "none.example"] {
        let refusal = scene.domains.change("globex", name, &change).await.expect_err("not globex's");
        assert_eq!(refusal, DomainRefusal::NotFound, "{name}");
        assert_eq!(
            scene.domains.get("globex", name).await.expect_err("not globex's"),
            DomainRefusal::NotFound
        );
    }
}

#[tokio::test]
async fn tracking_and_tls_change() {
    let scene = scene().await;
    scene.add("acme", "shop.example").await.expect("claims");
    let change = DomainChange { clicks: Some(true), enforce_tls: Some(true), ..DomainChange::default() };
    let own = scene.domains.change("acme", "shop.example", &change).await.expect("changes");
    let tracking = own.domain.tracking.clone().expect("on");
    assert_eq!((tracking.host(), tracking.clicks, tracking.opens), ("links.shop.example", true, false));
    assert!(own.domain.enforce_tls);
    let name = |label: &str| DomainChange {
        tracking_subdomain: Some(label.to_owned()),
        opens: Some(true),
        ..DomainChange::default()
    };
    let own = scene.domains.change("acme", "shop.example", &name("go")).await.expect("changes");
    let tracking = own.domain.tracking.clone().expect("on");
    assert_eq!((tracking.host(), tracking.clicks, tracking.opens), ("go.shop.example", true, true));
    for label in ["", "a b", "a/b", "a@b", "-"] {
        let refusal = scene.domains.change("acme", "shop.example", &name(label)).await;
        let refusal = refusal.map(|own| own.domain.tracking.clone());
        assert!(
            matches!(refusal, Err(DomainRefusal::Invalid { param: "tracking_subdomain", .. })),
            "{label}: {refusal:?}"
        );
    }
}

#[tokio::test]
async fn each_record_is_judged_in_words() {
    let scene = scene().await;
    let change = DomainChange { clicks: Some(true), ..DomainChange::default() };
    let own = scene.domains.add("acme", "shop.example", &change).await.expect("claims");
    let key = records(&own.domain, &scene.settings.get())[0].name.clone();
    let all = scene.checks("acme", "shop.example").await;
    assert_eq!(all.iter().map(|check| check.0).collect::<Vec<_>>(), ["DKIM", "SPF", "DMARC", "tracking"]);
    assert!(all.iter().all(|check| check.1 == RecordStatus::Missing), "{all:?}");

    use RecordStatus::{Different, Unanswered, Verified};
    for (text, word) in [("hello", "no DKIM key"), ("v=DKIM1; p=AAAA", "another key")] {
        scene.dns.remove(&key).txt(&key, &[text]);
        let (status, words) = scene.status("DKIM").await;
        assert!(status == Different && words.contains(word), "{status:?} {words}");
    }
    scene.dns.trouble(&key, None, Trouble::ServFail);
    assert_eq!(scene.status("DKIM").await.0, Unanswered);

    let host = "mta1.example";
    let ours = "192.0.2.1".parse().expect("an address");
    scene.dns.address(host, &[ours]).txt("spf.example", &["v=spf1 ip4:192.0.2.0/24 -all"]);
    for (text, expected, word) in [
        ("v=spf1 a:mta1.example ~all", Verified, "leave from here"),
        ("V=SPF1 +A:MTA1.example -all", Verified, "leave from here"),
        ("v=spf1 ip4:192.0.2.1 -all", Verified, "leave from here"),
        ("v=spf1 include:spf.example -all", Verified, "leave from here"),
        ("v=spf1 redirect=spf.example", Verified, "leave from here"),
        ("v=spf1 -a:mta1.example -all", Different, "does not name a:mta1.example"),
        ("v=spf1 ip4:192.0.2.2 include:none.example -all", Different, "does not name a:mta1.example"),
        ("v=spf1 include:shop.example -all", Different, "does not name"),
    ] {
        scene.dns.remove("shop.example").txt("shop.example", &["another text"]).txt("shop.example", &[text]);
        let (status, words) = scene.status("SPF").await;
        assert!(status == expected && words.contains(word), "{text}: {status:?} {words}");
    }
    scene.dns.txt("shop.example", &["v=spf1 -all"]);
    assert!(scene.status("SPF").await.1.contains("several"));

    for (text, expected, word) in [
        ("v=DMARC1; p=reject; rua=mailto:d@shop.example", Verified, "reject"),
        ("v=DMARC1; rua=mailto:d@shop.example", Different, "no `p=`"),
    ] {
        scene.dns.remove("_dmarc.shop.example").txt("_dmarc.shop.example", &[text]);
        let (status, words) = scene.status("DMARC").await;
        assert!(status == expected && words.contains(word), "{text}: {status:?} {words}");
    }

    scene.dns.address("links.shop.example", &["192.0.2.9".parse().expect("an address")]);
    let (status, words) = scene.status("tracking").await;
    assert!(status == Different && words.contains("elsewhere"), "{words}");
    scene.dns.remove("links.shop.example").cname("links.shop.example", host);
    assert_eq!(scene.status("tracking").await.0, Verified);
}
