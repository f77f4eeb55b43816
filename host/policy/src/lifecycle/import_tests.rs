//! Key-value data that are imported while something else happens to their plugin.

use std::fs;
use std::sync::Arc;

use relevo_runtime::policy::KeyValues;

use super::*;
use crate::Plugins;
use crate::digest::{digest_of, hex};
use crate::test_world::{World, add, settings, shown, version};

/// 40 entries with the same value: of two imports, or of a part of one, there is nothing in it.
fn content(value: usize) -> Vec<u8> {
    (0..40).flat_map(|key| format!("{key}\t{value}\n").into_bytes()).collect()
}

/// What the plugin's data say, and its file; both of one import, and the same.
fn imported(world: &World, plugins: &Plugins) -> Vec<u8> {
    let file = fs::read(world.plugins("kv/a.list")).expect("was imported");
    if let Some(plugin) = plugins.active.get("a", "list") {
        let found = plugin.data.scan("", None, 1_000, 1 << 20).expect("in memory");
        let mut lines: Vec<_> =
            found.iter().map(|(k, v)| format!("{k}\t{}\n", String::from_utf8_lossy(v))).collect();
        let text = String::from_utf8(file.clone()).expect("ASCII");
        let mut expected: Vec<_> = text.split_inclusive('\n').map(str::to_owned).collect();
        lines.sort();
        expected.sort();
        assert_eq!(lines, expected);
    }
    file
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
        let file = imported(&world, &plugins);
        assert!([1, 2].map(|n| content(10 * round + n)).contains(&file));
        // What the state says is what is in use.
        let entry = plugins.lifecycle.entry("a", "list").await;
        let digest = plugins.active.get("a", "list").map(|plugin| plugin.digest.clone());
        assert_eq!(digest, entry.active.filter(|_| entry.enabled));
        plugins.lifecycle.enable("a", "list").await.expect("is known");
        assert_eq!(imported(&world, &plugins), file);
    }
    assert_eq!(fs::read_dir(world.plugins("work")).expect("ours").count(), 0);
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
        assert_eq!(imported(&world, &plugins), content(1), "nothing is in use yet");
        import
    };

    // It would be asked again, though it is switched off.
    let import = prepared().await;
    plugins.lifecycle.disable("a", "list").await.expect("is switched off");
    assert!(!plugins.lifecycle.put_imported(import).await.expect("nothing is wrong"));
    assert_eq!(
        (shown(&plugins, "a").await["state"].as_str(), imported(&world, &plugins)),
        (Some("disabled"), content(1))
    );

    // Less is granted than was counted with, before anything was made with that.
    plugins.lifecycle.enable("a", "list").await.expect("is known");
    let import = prepared().await;
    world.settings.replace(settings(4));
    assert!(!plugins.lifecycle.put_imported(import).await.expect("nothing is wrong"));
    world.settings.replace(settings(1_000));
    plugins.refresh().await;
    assert_eq!(imported(&world, &plugins), content(1));

    // The same settings and version, and another plugin.
    let import = prepared().await;
    plugins.refresh().await;
    assert!(!plugins.lifecycle.put_imported(import).await.expect("nothing is wrong"));
    let import = prepared().await;
    assert!(plugins.lifecycle.put_imported(import).await.expect("nothing is wrong"));
    assert_eq!(imported(&world, &plugins), content(2));
    assert_eq!(
        fs::read_dir(world.plugins("work")).expect("ours").count(),
        0,
        "nothing is left of the others"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_cannot_be_written_changes_nothing() {
    let world = World::new();
    let plugins = world.open().await;
    add(&plugins, "a", 1).await.expect("is added");
    plugins.lifecycle.import("a", "list", content(1)).await.expect("fits");
    fs::rename(world.plugins("kv"), world.plugins("elsewhere")).expect("ours");
    let failed = plugins.lifecycle.import("a", "list", content(2)).await.expect_err("no directory");
    assert!(matches!(failed, ActionError::Failed(_)), "{failed}");
    fs::rename(world.plugins("elsewhere"), world.plugins("kv")).expect("ours");
    assert_eq!(imported(&world, &plugins), content(1));
    assert_eq!(fs::read_dir(world.plugins("work")).expect("ours").count(), 0);
    plugins.lifecycle.import("a", "list", content(3)).await.expect("others go on");
    assert_eq!(imported(&world, &plugins), content(3));
}
