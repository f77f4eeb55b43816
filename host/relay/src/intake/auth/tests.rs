//! Right, wrong, unknown, busy, remembered, forgotten.

use super::*;
use crate::settings::Credential;
use crate::testing::{World, credentials, hash};

fn granted() -> Verdict {
    Verdict::Granted("acme".into())
}

#[tokio::test]
async fn only_the_right_password_of_a_known_user() {
    let settings = World::new().settings.get();
    let auth = Authenticator::new(2, [1; 64]);
    for (username, password, verdict) in [
        ("acme", "acme", granted()),
        ("acme", "Acme", Verdict::Denied),
        ("acme", "", Verdict::Denied),
        ("acme", "other", Verdict::Denied),
        ("ACME", "acme", Verdict::Denied),
        ("nobody", "nobody", Verdict::Denied),
        // The password of the user whose hash unknown users are checked against.
        ("nobody", "acme", Verdict::Denied),
        ("", "", Verdict::Denied),
    ] {
        assert_eq!(auth.verify(0, &settings, credentials(username, password)).await, verdict, "{username}");
    }
}

#[tokio::test]
async fn without_users_there_is_still_something_to_check() {
    let mut settings = crate::testing::settings();
    settings.directory.edit(|entries| entries.by_username.clear());
    let auth = Authenticator::new(1, [1; 64]);
    assert_eq!(auth.verify(0, &settings, credentials("a", "relevo-nobody")).await, Verdict::Denied);
}

#[tokio::test]
async fn a_damaged_hash_lets_nobody_in() {
    let mut settings = crate::testing::settings();
    let broken = Credential::with_password("acme", "plain");
    settings.directory.edit(|entries| drop(entries.by_username.insert("broken".into(), broken)));
    let auth = Authenticator::new(1, [1; 64]);
    assert_eq!(auth.verify(0, &settings, credentials("broken", "plain")).await, Verdict::Denied);
}

#[tokio::test(start_paused = true)]
async fn too_many_at_once_are_told_to_come_back() {
    let settings = World::new().settings.get();
    let auth = Authenticator::new(1, [1; 64]);
    assert_eq!(auth.verify(0, &settings, credentials("acme", "acme")).await, granted());
    let _turn = Arc::clone(&auth.permits).acquire_owned().await.expect("open");
    assert_eq!(auth.verify(0, &settings, credentials("other", "other")).await, Verdict::Busy);
    // What is remembered needs no turn.
    assert_eq!(auth.verify(0, &settings, credentials("acme", "acme")).await, granted());
    // Unless the settings were loaded again since.
    assert_eq!(auth.verify(1, &settings, credentials("acme", "acme")).await, Verdict::Busy);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_not_remembered() {
    let settings = World::new().settings.get();
    let auth = Authenticator::new(1, [1; 64]);
    assert_eq!(auth.verify(0, &settings, credentials("acme", "wrong")).await, Verdict::Denied);
    let _turn = Arc::clone(&auth.permits).acquire_owned().await.expect("open");
    assert_eq!(auth.verify(0, &settings, credentials("acme", "wrong")).await, Verdict::Busy);
}

#[tokio::test]
async fn an_older_generation_does_not_bring_passwords_back() {
    let mut changed = crate::testing::settings();
    let auth = Authenticator::new(1, [1; 64]);
    let settings = World::new().settings.get();
    assert_eq!(auth.verify(0, &settings, credentials("acme", "acme")).await, granted());
    let new = Credential::with_password("acme", hash("new"));
    changed.directory.edit(|entries| drop(entries.by_username.insert("acme".into(), new)));
    assert_eq!(auth.verify(1, &changed, credentials("acme", "acme")).await, Verdict::Denied);
    assert_eq!(auth.verify(0, &settings, credentials("acme", "acme")).await, granted());
    let right = auth.right.lock();
    assert_eq!((right.generation, right.digests.len()), (1, 0));
}

/// A short cut would tell who there is: hashing takes milliseconds.
#[tokio::test]
async fn unknown_users_are_as_much_work_as_known_ones() {
    let settings = crate::testing::settings();
    let known =
        settings.directory.credential("acme").and_then(|c| c.password_hash.clone()).expect("a password");
    let hashed = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&hashed);
    let count = move |hash: &str, password: &str| {
        seen.lock().push(hash.to_owned());
        matches(hash, password)
    };
    let auth = Authenticator { matches: Arc::new(count), ..Authenticator::new(1, [1; 64]) };
    for user in ["acme", "nobody", "acme", "nobody"] {
        assert_eq!(auth.verify(0, &settings, credentials(user, "wrong")).await, Verdict::Denied);
    }
    assert_eq!(*hashed.lock(), [&known[..]; 4], "the same hash, so the same parameters");
}

/// It is what most hashes are made with, and `matches` takes time only for one that can be read.
#[test]
fn the_hash_of_nobody_takes_as_long_as_others() {
    let nobody = argon2::Params::try_from(&PasswordHash::new(NOBODY).expect("a hash")).expect("parameters");
    let usual = Argon2::default();
    assert_eq!(
        (nobody.m_cost(), nobody.t_cost(), nobody.p_cost()),
        (usual.params().m_cost(), usual.params().t_cost(), usual.params().p_cost())
    );
}
