//! Templates.

use relevo_store::{
    ControlStore, ControlStoreError, TemplateChange, TemplateContent, TemplateRecord, TemplateStore,
};

fn template(id: &str, alias: Option<&str>) -> TemplateRecord {
    TemplateRecord {
        id: id.into(),
        alias: alias.map(Into::into),
        name: format!("Template {id}"),
        published: None,
        created_at: 1_000,
        changed_at: 1_000,
    }
}

fn content(subject: &str) -> TemplateContent {
    TemplateContent {
        subject: subject.into(),
        html: Some("<p>{{ n }}</p>".into()),
        ..TemplateContent::default()
    }
}

/// A template of this tenant.
pub(super) async fn add_one(store: &ControlStore, tenant: &str) {
    store.add_template(tenant, &template("t", None), &content("one"), &[]).await.expect("adds");
}

pub(super) async fn versions_are_numbered_and_stay(store: &ControlStore) {
    store.add_template("acme", &template("t1", Some("order")), &content("one"), &[]).await.expect("adds");
    let two = TemplateChange { content: Some(content("two")), ..TemplateChange::default() };
    assert!(store.change_template("acme", "t1", &two, 2_000).await.expect("adds"));
    assert!(!store.change_template("acme", "t9", &two, 2_000).await.expect("there is none"));
    let versions = store.template_versions("acme", "t1").await.expect("reads");
    assert_eq!(versions, [(2, 2_000), (1, 1_000)]);
    let first = store.template_version("acme", "t1", 1).await.expect("reads").expect("is there");
    assert_eq!((first.number, first.content, first.created_at), (1, content("one"), 1_000));
    assert_eq!(store.template_version("acme", "t1", 3).await.expect("reads"), None);

    let newest = store.newest_template_version("acme", "t1").await.expect("reads").expect("is there");
    assert_eq!((newest.number, newest.content, newest.created_at), (2, content("two"), 2_000));
    assert_eq!(store.newest_template_version("acme", "t9").await.expect("reads"), None);

    let mut changed = template("t1", Some("order"));
    assert!(store.publish_template("acme", "t1", 2, 3_000).await.expect("publishes"));
    (changed.published, changed.changed_at) = (Some(2), 3_000);
    assert_eq!(store.template("acme", "order").await.expect("reads"), Some(changed.clone()));
    let error = store.publish_template("acme", "t1", 7, 3_000).await.expect_err("no such version");
    assert!(matches!(&error, ControlStoreError::Conflict(why) if why.contains('7')), "{error:?}");

    // A new name does not undo what somebody else has published meanwhile.
    let rename = |name: &str, alias: Option<&str>| TemplateChange {
        name: Some(name.into()),
        alias: alias.map(Into::into),
        ..TemplateChange::default()
    };
    assert!(store.change_template("acme", "t1", &rename("New", None), 4_000).await.expect("renames"));
    (changed.name, changed.changed_at) = ("New".into(), 4_000);
    assert_eq!(store.template("acme", "order").await.expect("reads"), Some(changed.clone()));
    assert!(store.change_template("acme", "t1", &rename("New", Some("")), 5_000).await.expect("renames"));
    (changed.alias, changed.changed_at) = (None, 5_000);
    assert_eq!(store.template("acme", "t1").await.expect("reads"), Some(changed));

    // Nor is a version made from one that is not the newest.
    let stale = TemplateChange { base: Some(1), name: Some("Stale".into()), ..two.clone() };
    let error = store.change_template("acme", "t1", &stale, 6_000).await.expect_err("there is a newer one");
    assert!(matches!(&error, ControlStoreError::Conflict(why) if why.contains('2')), "{error:?}");
    assert_eq!(store.template("acme", "t1").await.expect("reads").expect("is there").name, "New");

    // Nothing of a change is stored if a part of it cannot be.
    store.add_template("acme", &template("t2", Some("taken")), &content("x"), &[]).await.expect("adds");
    let stolen = TemplateChange { alias: Some("taken".into()), ..two };
    let error = store.change_template("acme", "t1", &stolen, 6_000).await.expect_err("in use");
    assert!(matches!(error, ControlStoreError::Conflict(_)), "{error:?}");
    assert_eq!(store.template_versions("acme", "t1").await.expect("reads").len(), 2);
    let fresh =
        TemplateChange { base: Some(2), content: Some(content("three")), ..TemplateChange::default() };
    assert!(store.change_template("acme", "t1", &fresh, 6_000).await.expect("it is the newest"));
    assert_eq!(store.count_templates("acme").await.expect("reads"), 2);
    assert!(store.delete_template("acme", "t2").await.expect("deletes"));
    assert!(store.delete_template("acme", "t1").await.expect("deletes"));
    assert!(!store.delete_template("acme", "t1").await.expect("is gone"));
    assert_eq!(store.template_versions("acme", "t1").await.expect("reads"), []);
}

pub(super) async fn template_names_belong_to_one_tenant(store: &ControlStore) {
    store.add_template("acme", &template("a", Some("order")), &content("acme"), &[]).await.expect("adds");
    store.add_template("other", &template("a", Some("order")), &content("other"), &[]).await.expect("adds");
    for (id, alias) in [("a", None), ("b", Some("order"))] {
        let error =
            store.add_template("acme", &template(id, alias), &content("x"), &[]).await.expect_err("in use");
        assert!(matches!(error, ControlStoreError::Conflict(_)), "{error:?}");
    }
    // An id goes before an alias of the same text; what failed has left nothing behind.
    store.add_template("acme", &template("order", None), &content("x"), &[]).await.expect("adds");
    assert_eq!(store.template("acme", "order").await.expect("reads").expect("is there").id, "order");
    let ids = |list: Vec<TemplateRecord>| list.into_iter().map(|t| t.id).collect::<Vec<_>>();
    assert_eq!(ids(store.templates("acme", "", 10).await.expect("reads")), ["a", "order"]);
    assert_eq!(ids(store.templates("acme", "a", 1).await.expect("reads")), ["order"]);
    let other = store.template_version("other", "a", 1).await.expect("reads").expect("is there");
    assert_eq!(other.content.subject, "other");
    for (tenant, id) in [("acme", "a"), ("acme", "order"), ("other", "a")] {
        assert!(store.delete_template(tenant, id).await.expect("deletes"));
    }
}

pub(super) async fn users_of_a_template_are_found(store: &ControlStore) {
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let add = async |id: &str, alias: Option<&str>, references: &[&str]| {
        let references = names(references);
        store.add_template("acme", &template(id, alias), &content("x"), &references).await.expect("adds");
    };
    add("footer", Some("foot"), &["footer"]).await;
    add("u1", None, &["foot", "foot"]).await;
    add("u2", None, &["footer"]).await;
    store.add_template("other", &template("u3", None), &content("x"), &names(&["foot"])).await.expect("adds");
    let users = async |alias: &str| store.template_users("acme", "footer", alias).await.expect("reads");
    assert_eq!(users("foot").await, ["u1", "u2"], "of this tenant, and not itself");
    assert_eq!(users("other").await, ["u2"]);

    // A version that is neither published nor the newest uses nothing.
    let without = TemplateChange { content: Some(content("y")), ..TemplateChange::default() };
    assert!(store.publish_template("acme", "u2", 1, 2_000).await.expect("publishes"));
    for id in ["u1", "u2"] {
        assert!(store.change_template("acme", id, &without, 2_000).await.expect("changes"));
    }
    assert_eq!(users("foot").await, ["u2"], "the published version still uses it");
    assert!(store.publish_template("acme", "u2", 2, 3_000).await.expect("publishes"));
    assert!(users("foot").await.is_empty());
    let again = TemplateChange { references: names(&["foot"]), ..without };
    assert!(store.change_template("acme", "u1", &again, 4_000).await.expect("changes"));
    assert_eq!(users("foot").await, ["u1"]);
    for id in ["u1", "u2", "footer"] {
        assert!(store.delete_template("acme", id).await.expect("deletes"));
    }
    assert!(store.delete_template("other", "u3").await.expect("deletes"));
}
