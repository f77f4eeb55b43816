//! The contract of the store: every test runs on both databases.

mod keys;
mod shaping;
mod statistics;
mod suppressions;
mod templates;
mod tls;
mod topics;
mod users;
mod webhooks;

use relevo_store::{
    ApiKeyStore, ComponentVersion, ControlStore, ControlStoreError, CredentialRecord, DirectoryStore,
    DkimRecord, DomainRecord, DomainSettings, PluginData, PluginRecord, PluginStore, QuotaSettings,
    SuppressionFilter, SuppressionSettings, SuppressionStore, TemplateStore, TenantRecord, TenantSettings,
    TopicStore, TrackingRecord, UserStore, WebhookEndpointStore,
};

/// Runs all of it on an empty store.
pub(crate) async fn holds(store: &ControlStore) {
    users::the_first_user_comes_by_a_link(store).await;
    directory_is_read_as_it_was_written(store).await;
    names_belong_to_one_tenant(store).await;
    deletes_stay_within_a_tenant(store).await;
    a_tenant_takes_what_is_its_own_with_it(store).await;
    hostile_names_are_data(store).await;
    keys::keys_belong_to_one_tenant(store).await;
    keys::a_rotated_key_has_two_tokens(store).await;
    keys::a_domain_is_claimed_by_many_and_verified_by_one(store).await;
    keys::quotas_add_up(store).await;
    keys::the_audit_log_is_read_backwards(store).await;
    plugins_are_replaced_as_a_whole(store).await;
    components_live_as_long_as_a_version(store).await;
    plugin_data_is_replaced_in_one_step(store).await;
    a_change_of_something_stale_is_refused(store).await;
    shaping::suspensions_are_kept_until_they_end(store).await;
    shaping::early_ends_are_kept_until_they_are_over(store).await;
    shaping::counts_of_warmup_are_replaced(store).await;
    tls::policies_are_kept_until_they_lapse(store).await;
    tls::stale_policies_are_taken_in_turn(store).await;
    tls::tallies_belong_to_a_node(store).await;
    templates::versions_are_numbered_and_stay(store).await;
    templates::template_names_belong_to_one_tenant(store).await;
    templates::users_of_a_template_are_found(store).await;
    suppressions::suppressions_are_found_and_removed(store).await;
    suppressions::many_topics_hide_no_stream(store).await;
    suppressions::what_rules_added_is_told_apart(store).await;
    suppressions::rules_move_with_the_cursor(store).await;
    topics::topics_are_chosen_by_address(store).await;
    webhooks::endpoints_belong_to_one_tenant(store).await;
    webhooks::deliveries_move_with_the_cursor(store).await;
    users::users_are_read_as_they_were_written(store).await;
    users::sessions_end_with_what_they_stand_on(store).await;
    users::links_count_once(store).await;
    users::a_tenant_keeps_an_owner(store).await;
    statistics::counts_move_with_the_cursor(store).await;
    statistics::sums_are_grouped_by_interval_and_value(store).await;
    statistics::what_was_seen_is_counted_once(store).await;
    statistics::sites_are_replaced_and_what_is_old_goes(store).await;
    webhooks::attempts_are_settled_with_their_deliveries(store).await;
    webhooks::ended_deliveries_are_replayed_and_pruned(store).await;
}

fn tenant(id: &str) -> TenantRecord {
    TenantRecord { id: id.into(), settings: TenantSettings::default() }
}

fn domain(name: &str, tenant: &str) -> DomainRecord {
    let settings = DomainSettings::default();
    DomainRecord { name: name.into(), tenant: tenant.into(), verified_at: Some(1_000), settings }
}

async fn clear(store: &ControlStore) {
    for tenant in store.directory().await.expect("reads").tenants {
        store.delete_tenant(&tenant.id).await.expect("deletes");
    }
    let found = store.plugins().await.expect("reads");
    let mut revision = found.revision;
    for plugin in found.plugins {
        revision = store.delete_plugin(revision, &plugin.tenant, &plugin.name).await.expect("deletes");
    }
}

async fn directory_is_read_as_it_was_written(store: &ControlStore) {
    let before = store.directory_revision().await.expect("reads");
    let settings = TenantSettings {
        networks: vec!["10.1.0.0/16".into()],
        max_held: Some(7),
        pools: vec!["bulk".into()],
        routes: vec!["direct".into()],
        max_priority: Some(3),
        quota: QuotaSettings { hour: Some(10), day: None, month: Some(1_000) },
        requests_per_second: Some(5),
        suppression: SuppressionSettings {
            complaints: Some("stream".into()),
            ..SuppressionSettings::default()
        },
        keep_content_seconds: Some(86_400),
        dsn: Some(false),
    };
    let acme = TenantRecord { id: "acme".into(), settings };
    store.put_tenant(&tenant("acme")).await.expect("adds");
    store.put_tenant(&acme).await.expect("replaces");
    let key = DkimRecord { selector: "s1".into(), algorithm: "rsa-sha256".into(), key: "s1.pem".into() };
    let tracking = TrackingRecord {
        url: "https://t.example.com".into(),
        opens: true,
        clicks: false,
        text_links: true,
        rewrite_signed: false,
    };
    let settings = DomainSettings {
        dkim: vec![key],
        tracking: Some(tracking),
        pools: vec!["bulk".into()],
        enforce_tls: true,
        created_at: 900,
    };
    let example = DomainRecord { settings, ..domain("example.com", "acme") };
    // By octets, hyphens come before letters: the order does not depend on the database's
    // collation.
    let other = domain("example-x.com", "acme");
    store.put_domain(&example).await.expect("adds");
    store.put_domain(&other).await.expect("adds");
    let credential = CredentialRecord {
        username: "acme".into(),
        tenant: "acme".into(),
        password_hash: "$argon2id$".into(),
    };
    store.put_credential(&credential).await.expect("adds");
    let api_key = keys::key("acme", "ci", 7);
    store.add_api_key(&api_key, 10).await.expect("adds");
    let revision = store.directory_revision().await.expect("reads");

    let found = store.directory().await.expect("reads");
    assert_eq!(found.tenants, [acme]);
    assert_eq!(found.domains, [other, example]);
    assert_eq!(found.credentials, [credential]);
    assert_eq!(found.api_keys, [api_key]);
    assert_eq!(found.revision, revision);
    assert_eq!(revision, before + 6, "each change is counted once");
    assert_eq!(store.directory_revision().await.expect("reads"), revision);
    clear(store).await;
}

async fn names_belong_to_one_tenant(store: &ControlStore) {
    for id in ["acme", "other"] {
        store.put_tenant(&tenant(id)).await.expect("adds");
    }
    store.put_domain(&domain("example.com", "acme")).await.expect("adds");
    let revision = store.directory_revision().await.expect("reads");
    let stolen = store.put_domain(&domain("example.com", "other")).await.expect_err("acme's");
    assert!(matches!(&stolen, ControlStoreError::Conflict(why) if why.contains("example.com")), "{stolen:?}");

    let credential = |tenant: &str, hash: &str| CredentialRecord {
        username: "shop".into(),
        tenant: tenant.into(),
        password_hash: hash.into(),
    };
    store.put_credential(&credential("acme", "one")).await.expect("adds");
    let stolen = store.put_credential(&credential("other", "two")).await.expect_err("acme's");
    assert!(matches!(stolen, ControlStoreError::Conflict(_)), "{stolen:?}");
    store.put_credential(&credential("acme", "three")).await.expect("a new password");

    let orphan = CredentialRecord { tenant: "nobody".into(), ..credential("acme", "four") };
    let orphan = store.put_credential(&CredentialRecord { username: "new".into(), ..orphan }).await;
    assert!(matches!(orphan, Err(ControlStoreError::Conflict(_))), "{orphan:?}");

    let found = store.directory().await.expect("reads");
    assert_eq!(found.domains, [domain("example.com", "acme")]);
    assert_eq!(found.credentials, [credential("acme", "three")]);
    assert_eq!(found.revision, revision + 2, "a call that failed changes nothing");
    clear(store).await;
}

async fn deletes_stay_within_a_tenant(store: &ControlStore) {
    for id in ["acme", "other"] {
        store.put_tenant(&tenant(id)).await.expect("adds");
        store.put_domain(&domain(&format!("{id}.example"), id)).await.expect("adds");
    }
    store.delete_domain("other", "acme.example").await.expect("nothing of other's");
    assert_eq!(store.directory().await.expect("reads").domains.len(), 2);
    store.delete_tenant("acme").await.expect("deletes");
    let found = store.directory().await.expect("reads");
    assert_eq!(
        (found.tenants, found.domains),
        (vec![tenant("other")], vec![domain("other.example", "other")])
    );
    clear(store).await;
}

async fn a_tenant_takes_what_is_its_own_with_it(store: &ControlStore) {
    for id in ["acme", "other"] {
        store.put_tenant(&tenant(id)).await.expect("adds");
        templates::add_one(store, id).await;
        suppressions::add_one(store, id).await;
        topics::add_one(store, id).await;
        webhooks::add_one(store, id).await;
        keys::add_one(store, id).await;
        statistics::add_one(store, id).await;
        users::add_one(store, id).await;
    }
    store.delete_tenant("acme").await.expect("deletes");
    for (id, count) in [("acme", 0), ("other", 1)] {
        assert_eq!(store.templates(id, "", 10).await.expect("reads").len(), count, "{id}");
        let all = SuppressionFilter::default();
        assert_eq!(store.suppressions(id, &all, ("", ""), 10).await.expect("reads").len(), count, "{id}");
        assert_eq!(store.api_keys(id, "", 10).await.expect("reads").len(), count, "{id}");
        assert_eq!(store.users(Some(id), "", 10).await.expect("reads").len(), count, "{id}");
        assert_eq!(store.topics(id).await.expect("reads").len(), count, "{id}");
        let endpoints = store.webhook_endpoints().await.expect("reads");
        assert_eq!(endpoints.iter().filter(|e| e.tenant == id).count(), count, "{id}");
        assert_eq!(statistics::sent(store, id).await, i64::try_from(count).expect("small"), "{id}");
    }
    clear(store).await;
}

async fn hostile_names_are_data(store: &ControlStore) {
    for name in ["'; DROP TABLE tenant; --", "\" OR 1=1", "%", "$1", "ü\u{202e}"] {
        store.put_tenant(&tenant(name)).await.expect("adds");
        store.put_domain(&domain(name, name)).await.expect("adds");
        store.delete_tenant(&format!("{name}x")).await.expect("nothing");
        let found = store.directory().await.expect("reads");
        assert_eq!((found.tenants, found.domains), (vec![tenant(name)], vec![domain(name, name)]));
        clear(store).await;
    }
}

fn version(n: u64) -> ComponentVersion {
    ComponentVersion { digest: format!("{n:064x}"), added_at: 1_700_000_000_000, octets: n }
}

fn plugin(tenant: &str, name: &str, versions: &[u64]) -> PluginRecord {
    PluginRecord {
        tenant: tenant.into(),
        name: name.into(),
        versions: versions.iter().copied().map(version).collect(),
        ..PluginRecord::default()
    }
}

/// Stores a plugin whose last version has this content.
async fn put(store: &ControlStore, plugin: &PluginRecord, content: Option<&[u8]>) {
    let revision = store.plugin_revision().await.expect("reads");
    let next = store.put_plugin(revision, plugin, content).await.expect("stores");
    assert_eq!(next, revision + 1);
}

async fn plugins(store: &ControlStore) -> Vec<PluginRecord> {
    store.plugins().await.expect("reads").plugins
}

async fn plugins_are_replaced_as_a_whole(store: &ControlStore) {
    let directory = store.directory_revision().await.expect("reads");
    for n in 1..=4 {
        let versions: Vec<u64> = (1..=n).collect();
        put(store, &plugin("acme", "list", &versions), Some(b"wasm")).await;
    }
    put(store, &plugin("acme", "hold", &[]), None).await;
    let mut list = plugin("acme", "list", &[3, 1, 2, 4]);
    put(store, &list, None).await;
    assert_eq!(plugins(store).await, [plugin("acme", "hold", &[]), list.clone()]);
    list.enabled = true;
    list.active = Some(version(2).digest);
    list.previous = Some(version(1).digest);
    list.shadow = Some(version(4).digest);
    list.versions = vec![version(1), version(2), version(4)];
    put(store, &list, None).await;
    let revision = store.plugin_revision().await.expect("reads");
    let revision = store.delete_plugin(revision, "acme", "hold").await.expect("deletes");
    let found = store.plugins().await.expect("reads");
    assert_eq!((found.revision, found.plugins), (revision, vec![list]));
    assert_eq!(store.directory_revision().await.expect("reads"), directory, "it is not the directory's");
    clear(store).await;
}

async fn components_live_as_long_as_a_version(store: &ControlStore) {
    let found = async |n| store.component(&version(n).digest).await.expect("reads");
    // As large as a component of an interpreted language.
    let content = vec![0xa5; 18_000_000];
    put(store, &plugin("acme", "list", &[1]), Some(&content)).await;
    put(store, &plugin("other", "list", &[1]), Some(b"the first one stays")).await;
    put(store, &plugin("acme", "list", &[1, 2]), Some(b"small")).await;
    put(store, &plugin("acme", "list", &[2]), None).await;
    assert!(found(1).await.is_some_and(|found| found == content), "the other plugin remembers it");
    put(store, &plugin("other", "list", &[]), None).await;
    assert_eq!((found(1).await, found(2).await), (None, Some(b"small".to_vec())));

    let revision = store.plugin_revision().await.expect("reads");
    let unknown = store.put_plugin(revision, &plugin("acme", "list", &[2, 3]), None).await;
    let unknown = unknown.expect_err("a version without a component");
    assert!(matches!(unknown, ControlStoreError::Conflict(_)), "{unknown:?}");
    assert_eq!(store.plugin_revision().await.expect("reads"), revision, "nothing of it took effect");
    clear(store).await;
    assert_eq!(found(2).await, None);
}

async fn plugin_data_is_replaced_in_one_step(store: &ControlStore) {
    let revision = store.plugin_revision().await.expect("reads");
    let many: PluginData =
        (0..2_500_u32).map(|n| (format!("key-{n:05}"), n.to_be_bytes().to_vec())).collect();
    let revision = store.replace_plugin_data(revision, "acme", "list", &many).await.expect("stores");
    assert_eq!(plugins(store).await, [plugin("acme", "list", &[])], "before its first version");
    assert_eq!(store.plugin_data("acme", "list").await.expect("reads"), many);

    let two = PluginData::from([("B".to_owned(), Vec::new()), ("a".to_owned(), b"\0\xff".to_vec())]);
    let stale = store.replace_plugin_data(revision - 1, "acme", "list", &two).await.expect_err("stale");
    assert!(matches!(stale, ControlStoreError::Stale), "{stale:?}");
    assert_eq!(store.plugin_data("acme", "list").await.expect("reads"), many, "nothing of it took effect");
    store.replace_plugin_data(revision, "acme", "list", &two).await.expect("replaces");
    assert_eq!(store.plugin_data("acme", "list").await.expect("reads"), two);
    assert_eq!(store.plugin_data("other", "list").await.expect("reads"), PluginData::new());
    put(store, &plugin("acme", "list", &[1]), Some(b"wasm")).await;
    assert_eq!(store.plugin_data("acme", "list").await.expect("reads"), two, "a version leaves the data");
    clear(store).await;
    assert_eq!(store.plugin_data("acme", "list").await.expect("reads"), PluginData::new());
}

async fn a_change_of_something_stale_is_refused(store: &ControlStore) {
    let revision = store.plugin_revision().await.expect("reads");
    put(store, &plugin("acme", "list", &[1]), Some(b"wasm")).await;
    let before = store.plugins().await.expect("reads");
    for stale in [
        store.put_plugin(revision, &plugin("acme", "list", &[2]), Some(b"other")).await,
        store.delete_plugin(revision, "acme", "list").await,
    ] {
        let error = stale.expect_err("stale");
        assert!(matches!(error, ControlStoreError::Stale), "{error:?}");
    }
    assert_eq!(store.plugins().await.expect("reads"), before);
    clear(store).await;
}
