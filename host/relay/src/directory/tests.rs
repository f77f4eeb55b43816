//! The file's entries beside those of a store.

use relevo_store::{
    ApiKeyRecord, ApiKeySettings, ApiKeyStore as _, ControlStore, CredentialRecord, DirectoryStore as _,
    DkimRecord, DomainRecord, DomainSettings, StoreUrl, TenantRecord, TenantSettings, TrackingRecord,
};

use super::*;
use crate::settings::{Settings, SettingsHandle};

fn grants(pools: &[&str]) -> Arc<EgressGrants> {
    Arc::new(EgressGrants {
        pools: pools.iter().map(|pool| (*pool).to_owned()).collect(),
        ..EgressGrants::default()
    })
}

fn tenant(id: &str, pools: &[&str]) -> Arc<Tenant> {
    let (id, grants) = (id.to_owned(), grants(pools));
    Arc::new(Tenant {
        id,
        networks: vec![],
        max_held: MAX_HELD,
        plugins: vec![],
        grants,
        quota: QuotaSettings::default(),
        requests_per_second: None,
        suppression: Default::default(),
        keep_content: None,
        dsn: true,
    })
}

fn domain(name: &str, tenant: &str, pools: &[&str]) -> Arc<Domain> {
    let (name, tenant, grants) = (name.to_owned(), tenant.to_owned(), grants(pools));
    Arc::new(Domain { name, tenant, dkim: vec![], tracking: None, grants, enforce_tls: false })
}

fn entries(tenants: &[Arc<Tenant>], domains: &[Arc<Domain>]) -> DirectoryEntries {
    DirectoryEntries {
        by_id: tenants.iter().map(|t| (t.id.clone(), Arc::clone(t))).collect(),
        by_domain: domains.iter().map(|d| (d.name.clone(), Arc::clone(d))).collect(),
        ..DirectoryEntries::default()
    }
}

fn conflicts(directory: &Directory) -> Vec<String> {
    directory.conflicts().iter().map(ToString::to_string).collect()
}

#[test]
fn a_domain_covers_its_subdomains_unless_another_is_more_specific() {
    let domains = [domain("shop.test", "acme", &[]), domain("news.shop.test", "acme", &[])];
    let directory = Directory::from(entries(&[tenant("acme", &[])], &domains));
    let found = |name: &str| directory.domain(name).map(|found| found.name.as_str());
    assert_eq!(found("shop.test"), Some("shop.test"));
    assert_eq!(found("a.b.shop.test"), Some("shop.test"));
    assert_eq!(found("a.news.shop.test"), Some("news.shop.test"));
    assert_eq!((found("othershop.test"), found("test"), found("")), (None, None, None));
    assert!(directory.configured_domain("a.shop.test").is_none());
}

#[test]
fn the_file_wins_and_says_so() {
    let file = entries(&[tenant("acme", &["own"])], &[domain("shop.test", "acme", &["own"])]);
    let mut store = entries(
        &[tenant("acme", &["bulk"]), tenant("globex", &["bulk"])],
        &[
            domain("shop.test", "globex", &[]),
            domain("a.shop.test", "globex", &[]),
            domain("test", "globex", &[]),
            domain("more.test", "acme", &["bulk"]),
            domain("globex.test", "globex", &["bulk"]),
            domain("lost.test", "nobody", &[]),
        ],
    );
    let credential = |tenant: &str| Credential::with_password(tenant, tenant);
    store.by_username =
        [("joe", "acme"), ("eve", "globex")].map(|(n, t)| (n.to_owned(), credential(t))).into();
    let mut file = file;
    file.by_username.insert("joe".to_owned(), credential("acme"));
    let directory = Directory::from(file).with_source(&store);
    let grants = |name: &str| directory.configured_domain(name).map(|found| found.grants.pools.join(" "));
    assert_eq!(directory.tenant("acme").map(|t| t.grants.pools.join(" ")).as_deref(), Some("own"));
    assert_eq!(directory.configured_domain("shop.test").map(|d| d.tenant.as_str()), Some("acme"));
    // The store's tenant is not granted what the file does not grant it.
    assert_eq!(
        (grants("more.test").as_deref(), grants("globex.test").as_deref()),
        (Some("own"), Some("bulk"))
    );
    assert_eq!((grants("a.shop.test"), grants("test"), grants("lost.test")), (None, None, None));
    assert_eq!(directory.credential("eve"), Some(&credential("globex")));
    assert_eq!(
        conflicts(&directory),
        [
            "domain a.shop.test of the store: it overlaps `shop.test` of tenant `acme`",
            "domain lost.test of the store: there is no tenant `nobody`",
            "domain shop.test of the store: the configuration file has it too, and counts",
            "domain test of the store: it overlaps `shop.test` of tenant `acme`",
            "tenant acme of the store: the configuration file has it too, and counts",
            "user joe of the store: the configuration file has it too, and counts",
        ]
    );
    // What the source has no longer is gone, what the file has stays.
    let later = directory.with_source(&DirectoryEntries::default());
    assert!(later.domain("more.test").is_none() && later.domain("shop.test").is_some());
    assert!(later.conflicts().is_empty());
}

#[test]
fn domains_of_a_store_do_not_overlap_either() {
    let store = entries(
        &[tenant("acme", &[]), tenant("globex", &[])],
        &[
            domain("shop.test", "acme", &[]),
            domain("a.b.shop.test", "globex", &[]),
            domain("c.shop.test", "acme", &[]),
        ],
    );
    let directory = Directory::default().with_source(&store);
    assert_eq!(
        conflicts(&directory),
        ["domain a.b.shop.test of the store: it overlaps `shop.test` of tenant `acme`"]
    );
    assert_eq!(directory.domains().count(), 2);
}

struct Scene {
    folder: tempfile::TempDir,
    store: Arc<ControlStore>,
    settings: SettingsHandle,
    refresher: DirectoryRefresher,
}

async fn scene() -> Scene {
    let folder = tempfile::tempdir().expect("a folder");
    let url = StoreUrl::File(folder.path().join("control.sqlite"));
    let store = Arc::new(ControlStore::open(&url).await.expect("opens"));
    let settings = SettingsHandle::new(crate::testing::settings());
    let source = StoreSource::new(Arc::clone(&store) as _, folder.path().to_owned());
    let refresher = DirectoryRefresher::new(Arc::new(source), settings.clone());
    Scene { folder, store, settings, refresher }
}

async fn put_globex(scene: &Scene, dkim: Vec<DkimRecord>) {
    let settings = TenantSettings { networks: vec!["10.2.0.0/16".to_owned()], ..TenantSettings::default() };
    scene.store.put_tenant(&TenantRecord { id: "globex".to_owned(), settings }).await.expect("stored");
    let tracking = TrackingRecord {
        url: "https://T.globex.test/".to_owned(),
        opens: true,
        clicks: true,
        text_links: false,
        rewrite_signed: false,
    };
    let settings = DomainSettings { dkim, tracking: Some(tracking), ..DomainSettings::default() };
    let (name, tenant) = ("globex.test".to_owned(), "globex".to_owned());
    scene
        .store
        .put_domain(&DomainRecord { name, tenant, verified_at: Some(1), settings })
        .await
        .expect("stored");
}

#[tokio::test]
async fn entries_of_the_store_are_in_force_without_a_reload() {
    let scene = scene().await;
    let before = scene.settings.snapshot();
    let key = SigningKey::generate(relevo_mailkit::model::Algorithm::Ed25519Sha256).expect("randomness");
    key.write(&scene.folder.path().join("s1.pem")).expect("written");
    let (selector, algorithm, key) = ("s1".to_owned(), "ed25519-sha256".to_owned(), "s1.pem".to_owned());
    put_globex(&scene, vec![DkimRecord { selector, algorithm, key }]).await;
    let (username, tenant) = ("globex".to_owned(), "globex".to_owned());
    let credential =
        CredentialRecord { username, tenant: tenant.clone(), password_hash: "$argon2id$".to_owned() };
    scene.store.put_credential(&credential).await.expect("stored");
    let settings = ApiKeySettings { scopes: vec!["read".to_owned()], ..ApiKeySettings::default() };
    let key = ApiKeyRecord {
        tenant: tenant.clone(),
        id: "01J".to_owned(),
        name: "ci".to_owned(),
        hash: [7; 32],
        previous: None,
        settings,
        created_at: 0,
        used_at: None,
    };
    scene.store.add_api_key(&key, 10).await.expect("stored");
    scene.store.rotate_api_key(&tenant, &key.id, (&[8; 32], "rv_"), 5_000).await.expect("stored");
    let claim = DomainRecord {
        name: "claimed.test".to_owned(),
        tenant,
        verified_at: None,
        settings: DomainSettings::default(),
    };
    scene.store.put_domain(&claim).await.expect("stored");
    assert!(scene.refresher.refresh().await.expect("reads"));

    let (generation, settings) = scene.settings.snapshot();
    assert_eq!(generation, before.0 + 1);
    let directory = &settings.directory;
    let found = directory.domain("mail.globex.test").expect("the store's");
    assert_eq!((found.dkim.len(), found.tenant.as_str()), (1, "globex"));
    assert_eq!(directory.tenant("globex").map(|t| t.networks.len()), Some(1));
    assert_eq!(directory.tracking_host("t.globex.test"), Some(("t.globex.test", "globex")));
    assert_eq!(directory.credential("globex").map(|c| c.tenant.as_str()), Some("globex"));
    let key = |hash: u8| directory.api_key(&[hash; 32]).expect("a token of the key");
    assert_eq!((key(7).name.as_str(), key(7).expires_at, key(8).expires_at), ("ci", Some(5_000), None));
    assert!(key(8).scopes.allow(Scope::Read) && !key(8).scopes.allow(Scope::Send));
    assert!(directory.domain("claimed.test").is_none(), "nobody has proven that it is theirs");
    assert!(directory.domain("example.com").is_some(), "the file's are still there");
    // A session that began before keeps what it began with.
    assert!(before.1.directory.domain("globex.test").is_none());

    assert!(!scene.refresher.refresh().await.expect("reads"), "nothing has changed");
    assert_eq!(scene.settings.snapshot().0, generation);
    // A reload of the file does not lose the store's entries.
    scene.settings.replace(crate::testing::settings());
    assert!(scene.settings.get().directory.domain("globex.test").is_some());
    scene.store.delete_tenant("globex").await.expect("deleted");
    assert!(scene.refresher.refresh().await.expect("reads"));
    let settings = scene.settings.get();
    assert!(
        settings.directory.domain("globex.test").is_none() && settings.directory.tenant("globex").is_none()
    );
}

#[tokio::test]
async fn a_wrong_entry_is_left_out_and_the_others_count() {
    let scene = scene().await;
    let (selector, algorithm, key) = ("s1".to_owned(), "ed25519-sha256".to_owned(), "missing.pem".to_owned());
    put_globex(&scene, vec![DkimRecord { selector, algorithm, key }]).await;
    let settings = TenantSettings { networks: vec!["10.0.0.0/33".to_owned()], ..TenantSettings::default() };
    scene.store.put_tenant(&TenantRecord { id: "wrong".to_owned(), settings }).await.expect("stored");
    let source = StoreSource::new(Arc::clone(&scene.store) as _, scene.folder.path().to_owned());
    let loaded = source.load().await.expect("reads");
    assert_eq!(loaded.mistakes.len(), 2, "{:?}", loaded.mistakes);
    assert!(
        loaded.mistakes[0].starts_with("tenant wrong: `10.0.0.0/33` is no network"),
        "{:?}",
        loaded.mistakes
    );
    assert!(loaded.mistakes[1].starts_with("domain globex.test: "), "{:?}", loaded.mistakes);
    assert_eq!(loaded.entries.by_id.keys().collect::<Vec<_>>(), ["globex"]);
    assert!(loaded.entries.by_domain.is_empty());
}

/// A store that cannot be read changes nothing.
#[tokio::test]
async fn a_store_that_fails_leaves_the_directory_as_it_was() {
    let scene = scene().await;
    put_globex(&scene, vec![]).await;
    scene.refresher.refresh().await.expect("reads");
    scene.store.close().await;
    assert!(scene.refresher.refresh().await.is_err());
    let settings: Arc<Settings> = scene.settings.get();
    assert!(settings.directory.domain("globex.test").is_some());
}
