//! The life of versions, with a compiler that is a script.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use relevo_store::{PluginData, PluginRecord, PluginStore as _};

use super::*;
use crate::Plugins;
use crate::digest::{digest_of, hex};
use crate::test_world::{DatalessStore, World, add, settings, shown, until, version};

async fn all_active(plugins: &Arc<Plugins>) -> bool {
    let all = plugins.lifecycle.list(None).await;
    all.as_array().expect("a list").iter().all(|plugin| plugin["state"] == "active")
}

fn files(directory: &Path) -> usize {
    fs::read_dir(directory).map_or(0, Iterator::count)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_compilation_is_for_all_places_and_a_failed_one_is_tried_again() {
    let world = World::new();
    let plugins = world.open().await;
    for tenant in ["a", "b", "c"] {
        add(&plugins, tenant, 1).await.expect("is added");
    }
    assert_eq!(world.calls(), 1);
    drop(plugins);

    world.upgraded();
    let plugins = world.open().await;
    until("compiled in the background", || all_active(&plugins)).await;
    assert_eq!(world.calls(), 2, "once for all of them");
    drop(plugins);

    world.upgraded();
    world.sets("fail");
    let plugins = world.open().await;
    until("it failed", async || {
        shown(&plugins, "c").await["problem"].as_str().is_some_and(|why| why.contains("tried again: refused"))
    })
    .await;
    // As the one that `open` has started, but sooner.
    let (ask, asked) = tokio::sync::mpsc::channel(1);
    tokio::spawn(compile::run(Arc::downgrade(&plugins.lifecycle), asked, Duration::from_millis(20)));
    ask.try_send(()).expect("room");
    until("it failed again", async || world.calls() >= 5).await;
    world.unsets("fail");
    until("it worked at last", || all_active(&plugins)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_beside_the_active_one_is_compiled_too() {
    let world = World::new();
    let plugins = world.open().await;
    add(&plugins, "a", 1).await.expect("is added");
    plugins.lifecycle.add("a", "list", version(2), true).await.expect("is beside it");
    drop(plugins);
    world.upgraded();
    let plugins = world.open().await;
    until("both are there", async || !shown(&plugins, "a").await["shadow"].is_null()).await;
    assert_eq!((shown(&plugins, "a").await["state"].as_str(), world.calls()), (Some("active"), 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_reloading_and_switching_off_wait_for_no_compiler() {
    let world = World::new();
    let plugins = world.open().await;
    add(&plugins, "a", 1).await.expect("is added");
    world.sets("wait");
    let uploads = ["a", "b"].map(|tenant| {
        let plugins = Arc::clone(&plugins);
        tokio::spawn(async move { add(&plugins, tenant, if tenant == "a" { 2 } else { 3 }).await })
    });
    until("one is being compiled", async || world.calls() == 2).await;

    assert_eq!(shown(&plugins, "a").await["state"], "active");
    world.settings.replace(settings(2_000));
    plugins.refresh().await;
    plugins.lifecycle.disable("a", "list").await.expect("is switched off");
    assert_eq!(shown(&plugins, "a").await["state"], "disabled");

    world.unsets("wait");
    let [refused, added] = uploads;
    // It would have been switched on again by what was begun before.
    let refused = refused.await.expect("ends").expect_err("disabled").to_string();
    assert!(refused.contains("disabled meanwhile"), "{refused}");
    let store = world.store().await;
    let component = store.component(&hex(&digest_of(&version(2)))).await.expect("reads");
    assert_eq!(component, None, "nothing is left of it");
    // Made again with the settings that hold now.
    added.await.expect("ends").expect("is added");
    assert_eq!(files(&world.plugins("code")), 4, "code and checksum of two versions");
    let plugin = plugins.active.get("b", "list").expect("is in use");
    assert!(plugin.policy.is_ok() && plugin.settings.kv_size == 2_000);
    assert!(!world.path("overlaps").exists(), "one compiler at a time");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_made_room_are_gone_from_the_disk() {
    let world = World::new();
    let plugins = world.open().await;
    // Another plugin remembers the first.
    add(&plugins, "b", 0).await.expect("is added");
    for number in 0..13 {
        add(&plugins, "a", number).await.expect("is added");
    }
    let remembered = shown(&plugins, "a").await["versions"].as_array().map_or(0, Vec::len) + 1;
    assert_eq!(files(&world.plugins("code")), 2 * remembered, "with checksums");
    let store = world.store().await;
    for (number, there) in [(0, true), (1, false), (2, false), (3, true), (12, true)] {
        let component = store.component(&hex(&digest_of(&version(number)))).await.expect("reads");
        assert_eq!(component.is_some(), there, "{number}");
    }
    plugins
        .lifecycle
        .rollback("b", "list", Some(&hex(&digest_of(&version(0)))))
        .await
        .expect("is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_refers_to_is_removed_at_the_start() {
    let world = World::new();
    let plugins = world.open().await;
    add(&plugins, "a", 1).await.expect("is added");
    drop(plugins);
    let (known, orphan) = (hex(&digest_of(&version(1))), "ab".repeat(32));
    let code = |digest: &str| world.plugins("code").join(format!("plugin-{digest}-0123456789abcdef.cwasm"));
    let left = [code(&orphan), code(&known), code(&known).with_extension("cwasm.sha256")];
    for file in &left {
        fs::write(file, "orphan").expect("writes");
    }
    let plugins = world.open().await;
    until("they are removed", async || left.iter().all(|file| !file.exists())).await;
    assert_eq!(shown(&plugins, "a").await["state"], "active");
    assert_eq!(files(&world.plugins("code")), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_left_the_configuration_stays_until_it_is_forgotten() {
    let world = World::new();
    let store = world.store().await;
    let gone = PluginRecord { tenant: "gone".into(), name: "list".into(), ..PluginRecord::default() };
    let data = PluginData::from([("key".to_owned(), b"value".to_vec())]);
    let revision = store.plugin_revision().await.expect("reads");
    let revision = store.put_plugin(revision, &gone, None).await.expect("stores");
    store.replace_plugin_data(revision, "gone", "list", &data).await.expect("stores");

    let plugins = world.open().await;
    add(&plugins, "a", 1).await.expect("is added");
    assert_eq!(shown(&plugins, "gone").await["state"], "unconfigured");
    let configured = plugins.lifecycle.forget_plugin("a", "list").await.expect_err("in use").to_string();
    assert!(configured.contains("remove it there first"), "{configured}");
    assert_eq!(store.plugin_data("gone", "list").await.expect("reads"), data, "nothing else deletes it");
    plugins.lifecycle.forget_plugin("gone", "list").await.expect("is deleted");
    assert_eq!(store.plugin_data("gone", "list").await.expect("reads"), PluginData::new());
    assert!(plugins.lifecycle.forget_plugin("gone", "list").await.is_err(), "nothing is left");
    plugins.lifecycle.disable("a", "list").await.expect("changes go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_another_process_are_taken_up() {
    let world = World::new();
    // Without the task that follows the store.
    let [one, two] = [world.store().await, world.store().await].map(|store| world.open_with(store, false));
    let (one, two) = (one.await, two.await);
    add(&one, "a", 1).await.expect("is added");
    let stale = add(&two, "b", 2).await.expect_err("it does not know of that");
    assert!(matches!(stale, ActionError::Busy(_)), "{stale}");
    assert!(two.active.get("b", "list").is_none(), "nothing of it took effect");
    two.lifecycle.follow().await.expect("reads");
    assert_eq!(shown(&two, "a").await["state"], "active");
    add(&two, "b", 2).await.expect("is added");

    // Its own changes leave alone what is in use.
    let active = two.active.get("b", "list").expect("is in use");
    let read = PluginTable::new(world.store().await.plugins().await.expect("reads"));
    two.lifecycle.take_up(read).await.expect("reads");
    assert!(Arc::ptr_eq(&active, &two.active.get("b", "list").expect("still is")));

    one.lifecycle.follow().await.expect("reads");
    one.lifecycle.import("a", "list", b"k\tv\n".to_vec()).await.expect("fits");
    two.lifecycle.follow().await.expect("reads");
    assert_eq!(shown(&two, "a").await["kv_entries"], 1);
    one.lifecycle.disable("a", "list").await.expect("is disabled");
    two.lifecycle.follow().await.expect("reads");
    assert!(two.active.get("a", "list").is_none(), "there too");
}

/// Whatever is compiled before the rest of the change is taken up.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_disables_is_out_of_use_at_once() {
    let world = World::new();
    let [one, two] = [world.store().await, world.store().await].map(|store| world.open_with(store, false));
    let (one, two) = (one.await, two.await);
    for tenant in ["a", "b"] {
        add(&one, tenant, 1).await.expect("is added");
    }
    two.lifecycle.follow().await.expect("reads");
    one.lifecycle.disable("a", "list").await.expect("is disabled");
    let read = PluginTable::new(world.store().await.plugins().await.expect("reads"));
    two.lifecycle.take_out(&read).await.expect("reads");
    assert!(two.active.get("a", "list").is_none() && two.active.get("b", "list").is_some());
    assert!(add(&two, "b", 2).await.is_err(), "the rest of the change comes first");
    two.lifecycle.follow().await.expect("reads");
    add(&two, "b", 2).await.expect("is added");
    assert_eq!(shown(&two, "a").await["state"], "disabled");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_the_store_did_not_give_are_read_again() {
    let world = World::new();
    let one = world.open_with(world.store().await, false).await;
    add(&one, "a", 1).await.expect("is added");
    one.lifecycle.import("a", "list", b"k\tv\n".to_vec()).await.expect("fits");

    // At the start.
    let store = Arc::new(DatalessStore { store: world.store().await, fails: true.into() });
    let two = world.open_with(store.clone(), false).await;
    assert_eq!(shown(&two, "a").await["state"], "broken");
    two.lifecycle.follow().await.expect_err("still fails");
    store.fails.store(false, Ordering::Relaxed);
    two.lifecycle.follow().await.expect("reads");
    assert_eq!(shown(&two, "a").await["kv_entries"], 1);

    // When another process has changed them.
    one.lifecycle.import("a", "list", b"k\tv\nl\tw\n".to_vec()).await.expect("fits");
    store.fails.store(true, Ordering::Relaxed);
    two.lifecycle.follow().await.expect_err("fails");
    let before = shown(&two, "a").await;
    assert_eq!((before["state"].as_str(), before["kv_entries"].as_u64()), (Some("active"), Some(1)));
    store.fails.store(false, Ordering::Relaxed);
    two.lifecycle.follow().await.expect("reads");
    assert_eq!(shown(&two, "a").await["kv_entries"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_has_changed_nothing() {
    let world = World::new();
    let plugins = world.open().await;
    for number in [1, 2] {
        add(&plugins, "a", number).await.expect("is added");
    }
    plugins.lifecycle.import("a", "list", b"key\tvalue\n".to_vec()).await.expect("fits");
    let shared = Arc::clone(&plugins.active.get("a", "list").expect("in use").data);
    plugins.refresh().await;
    assert!(Arc::ptr_eq(&shared, &plugins.active.get("a", "list").expect("in use").data), "read once");

    // Less is granted than the data have.
    world.settings.replace(settings(4));
    plugins.refresh().await;
    assert_eq!(shown(&plugins, "a").await["state"], "broken");
    let store = world.store().await;
    let before = store.plugins().await.expect("reads");
    for refused in
        [plugins.lifecycle.rollback("a", "list", None).await.map(drop), add(&plugins, "a", 3).await]
    {
        assert!(refused.expect_err("broken").to_string().contains("key-value data"));
    }
    assert_eq!(store.plugins().await.expect("reads"), before);
    plugins.lifecycle.import("a", "list", b"key\tvalue\n".to_vec()).await.expect_err("too large");
    let stored = store.plugin_data("a", "list").await.expect("reads");
    assert_eq!(stored, PluginData::from([("key".to_owned(), b"value".to_vec())]));
    plugins.lifecycle.import("a", "list", b"k\tv\n".to_vec()).await.expect("fits");
    assert_eq!(shown(&plugins, "a").await["state"], "active");

    // A version that cannot be used stays one, and has the new data when it can be again.
    drop(plugins);
    world.upgraded();
    world.sets("fail");
    let plugins = world.open().await;
    until("it failed", async || shown(&plugins, "a").await["state"] == "broken").await;
    plugins.lifecycle.import("a", "list", b"l\tw\n".to_vec()).await.expect("data are data");
    assert_eq!(shown(&plugins, "a").await["state"], "broken");
    world.unsets("fail");
    plugins.lifecycle.enable("a", "list").await.expect("compiles");
    let plugin = plugins.active.get("a", "list").expect("in use");
    assert!(relevo_runtime::policy::KeyValues::get(&*plugin.data, "l").is_ok_and(|found| found.is_some()));
}
