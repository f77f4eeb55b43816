//! Users, their sessions and links.

use relevo_store::{
    ControlStore, ControlStoreError, DirectoryStore, SessionRecord, SessionsAfter, UserLinkRecord,
    UserRecord, UserSessionStore, UserSettings, UserStore, UserWrite,
};

fn user(id: &str, tenant: Option<&str>, role: &str) -> UserRecord {
    UserRecord {
        id: id.into(),
        email: format!("{id}@example.com"),
        tenant: tenant.map(Into::into),
        role: role.into(),
        subject: None,
        settings: UserSettings {
            name: "Ann".into(),
            password_hash: Some("$argon2id$".into()),
            recovery: vec!["00".into()],
            ..UserSettings::default()
        },
        created_at: 1_000,
        signed_in_at: None,
        revision: 0,
    }
}

fn session(user: &str, id: &str, n: u8) -> SessionRecord {
    SessionRecord {
        user: user.into(),
        id: id.into(),
        hash: [n; 32],
        created_at: i64::from(n),
        seen_at: i64::from(n),
        expires_at: 10_000,
        client: Some("192.0.2.1".into()),
        user_agent: "test".into(),
    }
}

fn link(user: &str, n: u8) -> UserLinkRecord {
    UserLinkRecord { user: user.into(), kind: "invite".into(), hash: [n; 32], expires_at: 5_000 }
}

fn with(link: &[u8; 32]) -> UserWrite<'_> {
    UserWrite { used_link: Some(link), ..UserWrite::default() }
}

async fn add(store: &ControlStore, user: &UserRecord) -> UserRecord {
    store.add_user(user, UserWrite::default(), 10).await.expect("adds");
    read(store, &user.id).await
}

async fn read(store: &ControlStore, id: &str) -> UserRecord {
    store.user(id).await.expect("reads").expect("is there")
}

fn length(text: &str) -> u8 {
    u8::try_from(text.len()).expect("short")
}

async fn begin(store: &ControlStore, session: &SessionRecord) {
    let user = read(store, &session.user).await;
    let write = UserWrite { new_session: Some(session), ..UserWrite::default() };
    store.put_user(&user, write).await.expect("begins");
}

/// A user of this tenant with a session.
pub(super) async fn add_one(store: &ControlStore, tenant: &str) {
    let id = format!("user-{tenant}");
    add(store, &user(&id, Some(tenant), "owner")).await;
    begin(store, &session(&id, "s1", length(tenant))).await;
    store.put_user_link(&link(&id, length(tenant))).await.expect("stores");
}

async fn clear(store: &ControlStore) {
    store.delete_tenant("acme").await.expect("deletes");
    store.delete_tenant("other").await.expect("deletes");
}

pub(super) async fn users_are_read_as_they_were_written(store: &ControlStore) {
    let ann =
        UserRecord { subject: Some("https://id.example a".into()), ..user("ann", Some("acme"), "owner") };
    let stored = add(store, &ann).await;
    assert_eq!(stored, UserRecord { revision: 1, ..ann.clone() });
    assert_eq!(store.user_by_email("ann@example.com").await.expect("reads"), Some(stored.clone()));
    assert_eq!(store.user_by_subject("https://id.example a").await.expect("reads"), Some(stored.clone()));
    assert_eq!(store.user_by_email("Ann@example.com").await.expect("reads"), None);
    assert_eq!(store.user("bob").await.expect("reads"), None);

    let same = UserRecord { id: "b".into(), subject: None, tenant: Some("other".into()), ..ann.clone() };
    let taken = store.add_user(&same, UserWrite::default(), 10).await.expect_err("the address is taken");
    assert!(matches!(&taken, ControlStoreError::Conflict(why) if why.contains("address")), "{taken:?}");
    let bob = user("bob", Some("acme"), "viewer");
    let full = store.add_user(&bob, UserWrite::default(), 1).await.expect_err("there is one already");
    assert!(matches!(full, ControlStoreError::Conflict(_)), "{full:?}");
    add(store, &bob).await;
    add(store, &user("eve", Some("other"), "owner")).await;
    let ids = |users: Vec<UserRecord>| users.into_iter().map(|user| user.id).collect::<Vec<_>>();
    assert_eq!(ids(store.users(Some("acme"), "", 10).await.expect("reads")), ["ann", "bob"]);
    assert_eq!(ids(store.users(Some("acme"), "ann", 10).await.expect("reads")), ["bob"]);
    assert_eq!(ids(store.users(None, "", 10).await.expect("reads")), ["root"]);

    let changed = UserRecord { signed_in_at: Some(7), ..stored.clone() };
    store.put_user(&changed, UserWrite::default()).await.expect("changes");
    assert_eq!(read(store, "ann").await, UserRecord { revision: 2, ..changed.clone() });
    let stale = store.put_user(&changed, UserWrite::default()).await.expect_err("changed since");
    assert!(matches!(stale, ControlStoreError::Stale), "{stale:?}");
    let unknown = store.put_user(&user("nobody", None, "viewer"), UserWrite::default()).await;
    assert!(matches!(unknown, Err(ControlStoreError::Stale)), "{unknown:?}");
    clear(store).await;
}

pub(super) async fn a_tenant_keeps_an_owner(store: &ControlStore) {
    let ann = add(store, &user("ann", Some("acme"), "owner")).await;
    add(store, &user("eve", Some("other"), "owner")).await;
    let mut invited = user("bob", Some("acme"), "owner");
    invited.settings.password_hash = None;
    add(store, &invited).await;
    let demoted = UserRecord { role: "viewer".into(), ..ann.clone() };
    let mut disabled = ann.clone();
    disabled.settings.disabled = true;
    for refused in [
        store.put_user(&demoted, UserWrite::default()).await,
        store.put_user(&disabled, UserWrite::default()).await,
        store.delete_user("ann").await.map(drop),
    ] {
        let error = refused.expect_err("the last one");
        assert!(matches!(&error, ControlStoreError::Conflict(why) if why.contains("acme")), "{error:?}");
    }
    assert_eq!(read(store, "ann").await, ann, "nothing of it took effect");
    add(store, &user("dan", Some("acme"), "owner")).await;
    store.put_user(&demoted, UserWrite::default()).await.expect("there is another one");
    assert!(store.delete_user("bob").await.expect("deletes"), "nobody signed in with it");
    assert!(!store.delete_user("bob").await.expect("there is none"));
    store.delete_user("dan").await.expect_err("the last one");

    let last = store.delete_user("root").await.expect_err("the last operator");
    assert!(last.to_string().contains("operator"), "{last}");
    add(store, &user("root2", None, "operator")).await;
    assert!(store.delete_user("root").await.expect("deletes"));
    let root2 = read(store, "root2").await;
    store.put_user(&root2, UserWrite::default()).await.expect("stays what it is");
    clear(store).await;
    assert_eq!(store.users(None, "", 10).await.expect("reads").len(), 1, "operators are no tenant's");
}

pub(super) async fn sessions_end_with_what_they_stand_on(store: &ControlStore) {
    add(store, &user("ann", Some("acme"), "owner")).await;
    for n in 1..=52_u8 {
        begin(store, &session("ann", &format!("s{n}"), n)).await;
    }
    let ids = async || {
        let found = store.sessions("ann", 10).await.expect("reads");
        found.into_iter().map(|session| session.id).collect::<Vec<_>>()
    };
    let newest: Vec<String> = (3..=52).rev().map(|n| format!("s{n}")).collect();
    assert_eq!(store.sessions("ann", 100).await.expect("reads").len(), newest.len());
    assert_eq!(ids().await, newest[..10]);
    store.end_sessions("ann", SessionsAfter::Only(Some("s3"))).await.expect("ends");
    begin(store, &session("ann", "s2", 2)).await;
    let ann = read(store, "ann").await;
    let (found, owner) = store.session(&[3; 32]).await.expect("reads").expect("is there");
    assert_eq!((found, owner), (session("ann", "s3", 3), ann.clone()));
    assert_eq!(store.session(&[1; 32]).await.expect("reads"), None);
    store.touch_session(&[3; 32], 500).await.expect("notes");
    store.touch_session(&[3; 32], 400).await.expect("an older one");
    assert_eq!(store.session(&[3; 32]).await.expect("reads").expect("is there").0.seen_at, 500);

    assert!(!store.delete_user_session("eve", "s2").await.expect("not hers"));
    assert!(store.delete_user_session("ann", "s2").await.expect("deletes"));
    let write = UserWrite { sessions: SessionsAfter::Only(Some("s3")), ..UserWrite::default() };
    store.put_user(&ann, write).await.expect("changes");
    assert_eq!(ids().await, ["s3"]);
    begin(store, &session("ann", "s5", 5)).await;
    store.prune_users(1_000, 100).await.expect("prunes");
    assert_eq!(ids().await, ["s3"], "the other one was not seen for long");
    store.prune_users(10_000, 100).await.expect("prunes");
    assert_eq!(ids().await, [""; 0]);
    begin(store, &session("ann", "s6", 6)).await;
    begin(store, &session("ann", "s7", 7)).await;
    store.delete_session(&[6; 32]).await.expect("deletes");
    assert_eq!(store.end_sessions("ann", SessionsAfter::Only(None)).await.expect("ends"), 1);
    begin(store, &session("ann", "s8", 8)).await;
    clear(store).await;
    assert_eq!(store.session(&[8; 32]).await.expect("reads"), None, "it went with its user");
}

pub(super) async fn links_count_once(store: &ControlStore) {
    let invited = user("ann", Some("acme"), "owner");
    let first = link("ann", 1);
    let write = UserWrite { new_link: Some(&first), ..UserWrite::default() };
    store.add_user(&invited, write, 10).await.expect("adds");
    assert_eq!(store.user_link(&[1; 32]).await.expect("reads"), Some(first));
    let second = link("ann", 2);
    store.put_user_link(&second).await.expect("replaces");
    assert_eq!(store.user_link(&[1; 32]).await.expect("reads"), None);
    let ann = read(store, "ann").await;
    let write = with(&[2; 32]);
    store.put_user(&ann, write).await.expect("accepts");
    let ann = read(store, "ann").await;
    let again = store.put_user(&ann, write).await.expect_err("used");
    assert!(matches!(again, ControlStoreError::Stale), "{again:?}");
    assert_eq!(read(store, "ann").await, ann, "nothing of it took effect");

    store.put_user_link(&link("", 9)).await.expect("stores");
    let first = store.add_first_user(&user("root3", None, "operator"), with(&[9; 32])).await;
    assert!(matches!(first, Err(ControlStoreError::Conflict(_))), "{first:?}");
    assert!(store.user_link(&[9; 32]).await.expect("reads").is_some());
    store.prune_users(5_000, 0).await.expect("prunes");
    assert!(store.user_link(&[9; 32]).await.expect("reads").is_none());
    clear(store).await;
}

/// On a store without users.
pub(super) async fn the_first_user_comes_by_a_link(store: &ControlStore) {
    assert!(!store.has_users().await.expect("reads"));
    let root = user("root", None, "operator");
    let unknown = store.add_first_user(&root, with(&[9; 32])).await.expect_err("no link");
    assert!(matches!(unknown, ControlStoreError::Stale), "{unknown:?}");
    store.put_user_link(&link("", 9)).await.expect("stores");
    store.add_first_user(&root, with(&[9; 32])).await.expect("the first one");
    assert!(store.has_users().await.expect("reads"));
    assert_eq!(store.users(None, "", 10).await.expect("reads").len(), 1);
    assert!(store.user_link(&[9; 32]).await.expect("reads").is_none());
}
