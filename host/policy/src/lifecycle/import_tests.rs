//! Key-value data that are imported while something else happens to their plugin.

use std::sync::Arc;

use relevo_store::PluginStore as _;

use super::*;
use crate::Plugins;
use crate::digest::{digest_of, hex};
use crate::test_world::{World, add, settings, shown, version};

/// 40 entries with the same value: of two imports, or of a part of one, there is nothing in it.
fn content(value: usize) -> Vec<u8> {
    (0..40).flat_map(|key| format!("{key}\t{value}\n").into_bytes()).collect()
}

/// The data in the store, as an import would have them; those in use are the same.
async fn imported(world: &World, plugins: &Plugins) -> Vec<u8> {
    let stored = world.store().await.plugin_data("a", "list").await.expect("reads");
    if let Some(plugin) = plugins.active.get("a", "list") {
        assert_eq!(*plugin.data.entries(), stored);
    }
    let mut lines: Vec<_> =
        stored.into_iter().map(|(key, value)| (key.parse::<u32>().expect("a number"), value)).collect();
    lines.sort();
    lines
        .into_iter()
        .flat_map(|(key, value)| [format!("{key}\t").into_bytes(), value, b"\n".to_vec()].concat())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_imports_at_once_one_is_in_use_whole() {
    let world = World::new();
    let plugins = world.open().await;
    for number in [1, 2] {
        add(&plugins, "a", number).await.expect("is added");
    }
    let first = hex(&digest_of(&version(1)));
    for round in 0..5 {
        let imports = [1, 2].map(|n| {
            let (plugins, content) = (Arc::clone(&plugins), content(10 * round + n));
            tokio::spawn(async move { plugins.lifecycle.import("a", "list", content).await })
        });
        let (rolled, added, switched) = {
            let [one, two, three] = [(); 3].map(|()| Arc::clone(&plugins));
            let digest = first.clone();
            (
                tokio::spawn(async move { one.lifecycle.rollback("a", "list", Some(&digest)).await }),
                tokio::spawn(async move { add(&two, "a", 3).await }),
                // Waits for nobody's turn.
                tokio::spawn(async move {
                    let disabled = three.lifecycle.disable("a", "list").await;
                    three.refresh().await;
                    disabled
                }),
            )
        };
        for import in imports {
            import.await.expect("ends").expect("fits, whatever else happens");
        }
        switched.await.expect("ends").expect("is switched off");
        // Done, or refused because of that.
        let others = [rolled.await.expect("ends").map(drop), added.await.expect("ends")];
        for refused in others.into_iter().filter_map(Result::err) {
            assert!(refused.to_string().contains("disabled meanwhile"), "{refused}");
        }
        let stored = imported(&world, &plugins).await;
        assert!([1, 2].map(|n| content(10 * round + n)).contains(&stored));
        // What the table says is what is in use.
        let record = plugins.lifecycle.record("a", "list").await;
        let digest = plugins.active.get("a", "list").map(|plugin| plugin.digest.clone());
        assert_eq!(digest, record.active.filter(|_| record.enabled));
        plugins.lifecycle.enable("a", "list").await.expect("is known");
        assert_eq!(imported(&world, &plugins).await, stored);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_overtaken_is_made_again() {
    let world = World::new();
    let plugins = world.open().await;
    add(&plugins, "a", 1).await.expect("is added");
    plugins.lifecycle.import("a", "list", content(1)).await.expect("fits");
    let prepared = async || {
        let import =
            plugins.lifecycle.prepare_import("a", "list", &Arc::new(content(2))).await.expect("fits");
        assert_eq!(imported(&world, &plugins).await, content(1), "nothing is in use yet");
        import
    };

    // It would be asked again, though it is switched off.
    let import = prepared().await;
    plugins.lifecycle.disable("a", "list").await.expect("is switched off");
    assert!(!plugins.lifecycle.put_imported(import).await.expect("nothing is wrong"));
    assert_eq!(
        (shown(&plugins, "a").await["state"].as_str(), imported(&world, &plugins).await),
        (Some("disabled"), content(1))
    );

    // Less is granted than was counted with, before anything was made with that.
    plugins.lifecycle.enable("a", "list").await.expect("is known");
    let import = prepared().await;
    world.settings.replace(settings(4));
    assert!(!plugins.lifecycle.put_imported(import).await.expect("nothing is wrong"));
    world.settings.replace(settings(1_000));
    plugins.refresh().await;
    assert_eq!(imported(&world, &plugins).await, content(1));

    // The same settings and version, and another plugin.
    let import = prepared().await;
    plugins.refresh().await;
    assert!(!plugins.lifecycle.put_imported(import).await.expect("nothing is wrong"));
    let import = prepared().await;
    assert!(plugins.lifecycle.put_imported(import).await.expect("nothing is wrong"));
    assert_eq!(imported(&world, &plugins).await, content(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_cannot_be_stored_changes_nothing() {
    let world = World::new();
    let store = world.store().await;
    let plugins = world.open_with(store.clone(), true).await;
    add(&plugins, "a", 1).await.expect("is added");
    plugins.lifecycle.import("a", "list", content(1)).await.expect("fits");
    store.close().await;
    let failed = plugins.lifecycle.import("a", "list", content(2)).await.expect_err("no store");
    assert!(matches!(failed, ActionError::Failed(_)), "{failed}");
    assert_eq!(imported(&world, &plugins).await, content(1));
    // What is in use stays, also over a reload.
    plugins.refresh().await;
    assert_eq!(shown(&plugins, "a").await["state"], "active");
    drop(plugins);
    let plugins = world.open().await;
    plugins.lifecycle.import("a", "list", content(3)).await.expect("there is one again");
    assert_eq!(imported(&world, &plugins).await, content(3));
}
