//! Users over a store in memory's reach: a file that is thrown away.

use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use relevo_store::{ControlStore, StoreUrl, UserSettings};

use super::totp::tests::code_at;
use super::*;
use crate::clock::RandomIds;
use crate::testing::SetClock;

const NOW: i64 = 1_795_325_621_500;
const PASSWORD: &str = "correct horse battery";
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

pub(super) struct Scene {
    _folder: tempfile::TempDir,
    pub(super) clock: Arc<SetClock>,
    pub(super) users: Arc<Users>,
}

impl Scene {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = StoreUrl::File(folder.path().join("control.sqlite"));
        let store = Arc::new(ControlStore::open(&url).await.expect("opens"));
        let clock = Arc::new(SetClock(AtomicI64::new(NOW)));
        let users = Users::new(store, clock.clone(), Arc::new(RandomIds), UsersConfig::default());
        Self { _folder: folder, clock, users: Arc::new(users) }
    }

    pub(super) fn pass(&self, millis: i64) {
        self.clock.0.fetch_add(millis, Ordering::SeqCst);
    }

    pub(super) async fn invite(&self, tenant: Option<&str>, email: &str, role: UserRole) -> (User, Link) {
        let invitation = Invitation { email: email.to_owned(), name: "Ann".to_owned(), role };
        self.users.invite(tenant, &invitation).await.expect("invites")
    }

    /// A user who has accepted.
    async fn user(&self, tenant: Option<&str>, email: &str, role: UserRole) -> NewSession {
        let (_, link) = self.invite(tenant, email, role).await;
        self.users.accept(accept(&link.token)).await.expect("accepts")
    }

    async fn sign_in(&self, password: &str, code: Option<&str>) -> Result<NewSession, SignInRefusal> {
        self.users.sign_in(SignIn { password, code, ..sign_in("Ann@Example.com ") }).await
    }

    async fn is_in(&self, session: &NewSession) -> bool {
        self.users.session(&session.token).await.expect("reads").is_some()
    }
}

fn sign_in(email: &str) -> SignIn<'_> {
    let client = "192.0.2.7".parse().ok();
    SignIn { email, password: PASSWORD, code: None, client, user_agent: "Browser/1\r\n" }
}

fn accept(token: &str) -> Accept<'_> {
    Accept {
        token,
        email: None,
        name: None,
        password: PASSWORD,
        code: None,
        client: None,
        user_agent: "Browser/1",
    }
}

#[tokio::test]
async fn a_person_signs_in_and_out() {
    let scene = Scene::new().await;
    scene.user(Some("acme"), "ann@example.com", UserRole::Owner).await;
    let new = scene.sign_in(PASSWORD, None).await.expect("signs in");
    let session = scene.users.session(&new.token).await.expect("reads").expect("is in");
    assert_eq!(session, new.session);
    assert_eq!((session.user.email.as_str(), session.user.role), ("ann@example.com", UserRole::Owner));
    assert_eq!(session.user.tenant.as_deref(), Some("acme"));
    assert_eq!(session.user.signed_in_at, Some(NOW));
    assert_eq!((session.client, session.user_agent.as_str()), ("192.0.2.7".parse().ok(), "Browser/1"));
    assert!(new.token.len() == 43 && session.csrf.len() == 43 && session.csrf != new.token);
    let shown = format!("{new:?}");
    assert!(!shown.contains(&new.token) && !shown.contains(&session.csrf));
    let other = scene.sign_in(PASSWORD, None).await.expect("signs in");
    assert!(other.token != new.token && other.session.csrf != session.csrf);

    scene.users.sign_out(&new.token).await.expect("signs out");
    assert!(!scene.is_in(&new).await && scene.is_in(&other).await);
}

#[tokio::test]
async fn nothing_tells_who_there_is() {
    let scene = Scene::new().await;
    let session = scene.user(Some("acme"), "ann@example.com", UserRole::Viewer).await;
    scene.invite(Some("acme"), "invited@example.com", UserRole::Viewer).await;
    for (email, password) in [
        ("ann@example.com", "wrong"),
        ("ann@example.com", ""),
        ("nobody@example.com", PASSWORD),
        ("invited@example.com", ""),
        ("", ""),
    ] {
        let refused = scene.users.sign_in(SignIn { password, client: None, ..sign_in(email) }).await;
        assert_eq!(refused, Err(SignInRefusal::Wrong), "{email}");
    }
    let change = UserChange { disabled: Some(true), ..UserChange::default() };
    let id = &session.session.user.id;
    scene.users.change(Some("acme"), id, &change).await.expect("disables");
    assert_eq!(scene.sign_in(PASSWORD, None).await, Err(SignInRefusal::Wrong));
    assert!(!scene.is_in(&session).await, "it counts at once");
    let change = UserChange { disabled: Some(false), ..UserChange::default() };
    scene.users.change(Some("acme"), id, &change).await.expect("enables");
    assert!(!scene.is_in(&session).await, "a session that ended does not come back");
    scene.sign_in(PASSWORD, None).await.expect("signs in");
}

#[tokio::test]
async fn guesses_wait() {
    let scene = Scene::new().await;
    scene.user(Some("acme"), "ann@example.com", UserRole::Owner).await;
    for _ in 0..5 {
        assert_eq!(scene.sign_in("wrong", None).await, Err(SignInRefusal::Wrong));
    }
    let refused = scene.sign_in(PASSWORD, None).await;
    assert_eq!(refused, Err(SignInRefusal::Throttled { retry_after: Duration::from_secs(1) }));
    scene.pass(1_000);
    scene.sign_in(PASSWORD, None).await.expect("the right one");
    scene.sign_in(PASSWORD, None).await.expect("failures are forgotten");
}

#[tokio::test]
async fn sessions_end_in_time() {
    let scene = Scene::new().await;
    scene.user(Some("acme"), "ann@example.com", UserRole::Owner).await;
    let seen = async |new: &NewSession| {
        scene.users.session(&new.token).await.expect("reads").map(|session| session.seen_at)
    };
    let idle = scene.sign_in(PASSWORD, None).await.expect("signs in");
    scene.pass(12 * HOUR - 1);
    assert_eq!(seen(&idle).await, Some(NOW));
    scene.pass(MINUTE - 1);
    assert_eq!(seen(&idle).await, Some(NOW + 12 * HOUR - 1), "the last request");
    assert_eq!(seen(&idle).await, Some(NOW + 12 * HOUR - 1), "it is written once a minute");
    scene.pass(12 * HOUR);
    assert_eq!(seen(&idle).await, None, "nothing was asked for 12 hours");

    let used = scene.sign_in(PASSWORD, None).await.expect("signs in");
    for _ in 0..6 * 4 + 3 {
        scene.pass(6 * HOUR);
        assert!(scene.is_in(&used).await);
    }
    scene.pass(6 * HOUR);
    assert!(!scene.is_in(&used).await, "seven days have passed");
    assert_eq!(scene.users.sessions(&used.session.user.id).await.expect("reads"), []);
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let scene = Scene::new().await;
    let first = scene.user(Some("acme"), "ann@example.com", UserRole::Owner).await;
    let user = &first.session.user.id;
    scene.pass(1_000);
    let second = scene.sign_in(PASSWORD, None).await.expect("signs in");
    scene.pass(1_000);
    let third = scene.sign_in(PASSWORD, None).await.expect("signs in");
    let ids = async || {
        let found = scene.users.sessions(user).await.expect("reads");
        found.into_iter().map(|session| session.id).collect::<Vec<_>>()
    };
    let [a, b, c] = [&third, &second, &first].map(|new| new.session.id.clone());
    assert_eq!(ids().await, [a.clone(), b.clone(), c]);
    assert!(scene.users.revoke(user, &b).await.expect("ends"));
    assert!(!scene.users.revoke(user, &b).await.expect("there is none"));
    assert!(!scene.users.revoke("another", &a).await.expect("not theirs"));
    assert!(!scene.is_in(&second).await);
    assert_eq!(scene.users.revoke_others(user, Some(&a)).await.expect("ends"), 1);
    assert_eq!(ids().await, [a]);
}

#[tokio::test]
async fn another_password_ends_other_sessions() {
    let scene = Scene::new().await;
    let first = scene.user(Some("acme"), "ann@example.com", UserRole::Owner).await;
    let second = scene.sign_in(PASSWORD, None).await.expect("signs in");
    let change = async |old: &str, new: &str| scene.users.change_password(&second.session, old, new).await;
    let wrong = change("wrong", "another horse battery").await;
    assert!(matches!(wrong, Err(UsersError::Invalid { param: "current_password", .. })), "{wrong:?}");
    let weak = change(PASSWORD, "short").await;
    assert!(matches!(weak, Err(UsersError::Invalid { param: "password", .. })), "{weak:?}");
    assert!(scene.is_in(&first).await);
    change(PASSWORD, "another horse battery").await.expect("changes");
    assert!(!scene.is_in(&first).await && scene.is_in(&second).await);
    assert_eq!(scene.sign_in(PASSWORD, None).await, Err(SignInRefusal::Wrong));
    scene.sign_in("another horse battery", None).await.expect("signs in");
    for _ in 0..3 {
        change("wrong", "x").await.expect_err("wrong");
    }
    for _ in 0..2 {
        drop(change("wrong", "x").await);
    }
    let throttled = change("wrong", "x").await;
    assert!(matches!(throttled, Err(UsersError::Throttled { .. })), "{throttled:?}");
}

#[tokio::test]
async fn an_authenticator_is_needed_once_it_has_shown_a_code() {
    let scene = Scene::new().await;
    let new = scene.user(Some("acme"), "ann@example.com", UserRole::Owner).await;
    let user = new.session.user;
    let early = scene.users.confirm_totp(&user, "123456").await;
    assert!(matches!(early, Err(UsersError::Conflict(_))), "{early:?}");
    let made = scene.users.begin_totp(&user).await.expect("begins");
    scene.sign_in(PASSWORD, None).await.expect("it is not set up yet");
    let now = || scene.clock.now();
    let wrong = scene.users.confirm_totp(&user, "000000x").await;
    assert!(matches!(wrong, Err(UsersError::Invalid { param: "code", .. })), "{wrong:?}");
    let code = code_at(&made.secret, now());
    let recovery = scene.users.confirm_totp(&user, &code).await.expect("is set up");
    assert!(matches!(scene.users.begin_totp(&user).await, Err(UsersError::Conflict(_))));

    assert_eq!(scene.sign_in(PASSWORD, None).await, Err(SignInRefusal::CodeNeeded));
    assert_eq!(scene.sign_in(PASSWORD, Some(" ")).await, Err(SignInRefusal::CodeNeeded));
    assert_eq!(scene.sign_in("wrong", Some(&code)).await, Err(SignInRefusal::Wrong));
    assert_eq!(scene.sign_in(PASSWORD, Some(&code)).await, Err(SignInRefusal::WrongCode), "it was used");
    scene.pass(30_000);
    let code = code_at(&made.secret, now());
    let found = scene.sign_in(PASSWORD, Some(&code)).await.expect("signs in").session.user;
    assert!(found.has_totp && found.recovery_codes == 10);
    assert_eq!(scene.sign_in(PASSWORD, Some(&code)).await, Err(SignInRefusal::WrongCode), "it was used");
    scene.sign_in(PASSWORD, Some(&recovery[2])).await.expect("signs in");
    assert_eq!(scene.sign_in(PASSWORD, Some(&recovery[2])).await, Err(SignInRefusal::WrongCode));

    assert!(scene.users.remove_totp(&user, "wrong").await.is_err());
    scene.users.remove_totp(&user, PASSWORD).await.expect("removes");
    let found = scene.sign_in(PASSWORD, None).await.expect("signs in").session.user;
    assert!(!found.has_totp && found.recovery_codes == 0);
}

/// Both read the user before one of them uses the code up.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_counts_once_for_two_at_the_same_time() {
    let scene = Scene::new().await;
    let user = scene.user(Some("acme"), "ann@example.com", UserRole::Owner).await.session.user;
    let made = scene.users.begin_totp(&user).await.expect("begins");
    let code = code_at(&made.secret, scene.clock.now());
    scene.users.confirm_totp(&user, &code).await.expect("is set up");
    scene.pass(30_000);
    let code = code_at(&made.secret, scene.clock.now());
    let (a, b) = tokio::join!(scene.sign_in(PASSWORD, Some(&code)), scene.sign_in(PASSWORD, Some(&code)));
    assert_eq!([&a, &b].iter().filter(|outcome| outcome.is_ok()).count(), 1, "{a:?} {b:?}");
}

#[tokio::test]
async fn links_count_once_and_in_time() {
    let scene = Scene::new().await;
    let (user, link) = scene.invite(Some("acme"), " Ann@Example.com", UserRole::Marketer).await;
    assert_eq!((user.email.as_str(), user.has_password), ("ann@example.com", false));
    assert_eq!(link.expires_at, NOW + 72 * HOUR);
    assert!(!format!("{link:?}").contains(&link.token));
    let target = scene.users.link(&link.token).await.expect("reads").expect("counts");
    assert_eq!((target.kind, target.user, target.needs_code), (LinkKind::Invite, Some(user.clone()), false));
    let weak = scene.users.accept(Accept { password: "short", ..accept(&link.token) }).await;
    assert!(matches!(weak, Err(AcceptRefusal::Invalid { param: "password", .. })), "{weak:?}");
    let named = Accept { name: Some("Ann B"), ..accept(&link.token) };
    let new = scene.users.accept(named).await.expect("accepts");
    assert_eq!((new.session.user.name.as_str(), new.session.user.role), ("Ann B", UserRole::Marketer));
    assert!(scene.is_in(&new).await);
    assert_eq!(scene.users.accept(accept(&link.token)).await, Err(AcceptRefusal::Link));

    let before = scene.users.reset_link(Some("acme"), &user.id).await.expect("a link");
    let link = scene.users.reset_link(Some("acme"), &user.id).await.expect("a link");
    assert_eq!(link.expires_at, NOW + 24 * HOUR);
    assert_eq!(scene.users.link(&before.token).await.expect("reads"), None, "it was replaced");
    let kind = scene.users.link(&link.token).await.expect("reads").map(|target| target.kind);
    assert_eq!(kind, Some(LinkKind::Reset));
    scene.pass(24 * HOUR);
    assert_eq!(scene.users.link(&link.token).await.expect("reads"), None);
    assert_eq!(scene.users.accept(accept(&link.token)).await, Err(AcceptRefusal::Link));

    let link = scene.users.reset_link(Some("acme"), &user.id).await.expect("a link");
    let old = scene.sign_in(PASSWORD, None).await.expect("signs in");
    let other = Accept { password: "another horse battery", ..accept(&link.token) };
    let new = scene.users.accept(other).await.expect("accepts");
    assert!(!scene.is_in(&old).await && scene.is_in(&new).await, "sessions end with the password");
    let link = scene.users.reset_link(Some("acme"), &user.id).await.expect("a link");
    let change = UserChange { disabled: Some(true), ..UserChange::default() };
    scene.users.change(Some("acme"), &user.id, &change).await.expect("disables");
    assert_eq!(scene.users.accept(accept(&link.token)).await, Err(AcceptRefusal::Link));
    assert_eq!(scene.users.reset_link(Some("other"), &user.id).await, Err(UsersError::NotFound));
}

#[tokio::test]
async fn a_link_does_not_go_round_the_authenticator() {
    let scene = Scene::new().await;
    let user = scene.user(Some("acme"), "ann@example.com", UserRole::Owner).await.session.user;
    let made = scene.users.begin_totp(&user).await.expect("begins");
    let code = code_at(&made.secret, scene.clock.now());
    scene.users.confirm_totp(&user, &code).await.expect("is set up");
    let link = scene.users.reset_link(Some("acme"), &user.id).await.expect("a link");
    assert!(scene.users.link(&link.token).await.expect("reads").expect("counts").needs_code);
    let refused = scene.users.accept(accept(&link.token)).await;
    assert_eq!(refused, Err(AcceptRefusal::SignIn(SignInRefusal::CodeNeeded)));
    let refused = scene.users.accept(Accept { code: Some(&code), ..accept(&link.token) }).await;
    assert_eq!(refused, Err(AcceptRefusal::SignIn(SignInRefusal::WrongCode)), "it was used");
    let change = UserChange { remove_totp: true, ..UserChange::default() };
    scene.users.change(Some("acme"), &user.id, &change).await.expect("removes");
    scene.users.accept(accept(&link.token)).await.expect("accepts");
}

#[tokio::test]
async fn the_first_operator_comes_by_a_link() {
    let scene = Scene::new().await;
    let before = scene.users.first_start_link().await.expect("reads").expect("nobody is there");
    let link = scene.users.first_start_link().await.expect("reads").expect("nobody is there");
    let first = |token| Accept { email: Some("Root@example.com"), ..accept(token) };
    assert_eq!(scene.users.accept(first(&before.token)).await, Err(AcceptRefusal::Link), "a new start");
    let nameless = scene.users.accept(accept(&link.token)).await;
    assert!(matches!(nameless, Err(AcceptRefusal::Invalid { param: "email", .. })), "{nameless:?}");
    let target = scene.users.link(&link.token).await.expect("reads").expect("counts");
    assert_eq!((target.kind, target.user), (LinkKind::First, None));
    let root = scene.users.accept(first(&link.token)).await.expect("accepts").session.user;
    assert_eq!((root.role, root.tenant, root.email.as_str()), (UserRole::Operator, None, "root@example.com"));
    assert_eq!(scene.users.accept(first(&link.token)).await, Err(AcceptRefusal::Link));
    assert_eq!(scene.users.first_start_link().await.expect("reads"), None);
}

#[tokio::test]
async fn a_first_link_counts_no_longer_when_somebody_is_there() {
    let scene = Scene::new().await;
    let link = scene.users.first_start_link().await.expect("reads").expect("nobody is there");
    scene.invite(Some("acme"), "ann@example.com", UserRole::Owner).await;
    let first = Accept { email: Some("root@example.com"), ..accept(&link.token) };
    assert_eq!(scene.users.accept(first).await, Err(AcceptRefusal::Link));
    assert_eq!(scene.users.link(&link.token).await.expect("reads"), None);
}

#[tokio::test]
async fn an_owner_and_an_operator_stay() {
    let scene = Scene::new().await;
    let ann = scene.user(Some("acme"), "ann@example.com", UserRole::Owner).await.session.user;
    let root = scene.user(None, "root@example.com", UserRole::Operator).await.session.user;
    let demote = UserChange { role: Some(UserRole::Viewer), ..UserChange::default() };
    let refused = scene.users.change(Some("acme"), &ann.id, &demote).await;
    assert!(matches!(&refused, Err(UsersError::Conflict(why)) if why.contains("last owner")), "{refused:?}");
    let refused = scene.users.delete(Some("acme"), &ann.id).await;
    assert!(matches!(&refused, Err(UsersError::Conflict(_))), "{refused:?}");
    let refused = scene.users.delete(None, &root.id).await;
    assert!(matches!(&refused, Err(UsersError::Conflict(why)) if why.contains("operator")), "{refused:?}");
    assert_eq!(scene.users.delete(None, &ann.id).await, Err(UsersError::NotFound), "another tenant's");
    assert_eq!(scene.users.get(Some("other"), &ann.id).await, Err(UsersError::NotFound));

    let bob = scene.user(Some("acme"), "bob@example.com", UserRole::Owner).await;
    let developer = UserChange { role: Some(UserRole::Developer), ..UserChange::default() };
    scene.users.change(Some("acme"), &bob.session.user.id, &developer).await.expect("ann stays");
    let session = scene.users.session(&bob.token).await.expect("reads").expect("goes on");
    assert_eq!(session.user.role, UserRole::Developer, "it counts at once");
    scene.users.delete(Some("acme"), &bob.session.user.id).await.expect("deletes");
    assert!(!scene.is_in(&bob).await);
    let operator = UserChange { role: Some(UserRole::Operator), ..UserChange::default() };
    let refused = scene.users.change(Some("acme"), &ann.id, &operator).await;
    assert!(matches!(refused, Err(UsersError::Invalid { param: "role", .. })), "{refused:?}");
    assert_eq!(scene.users.list(Some("acme"), "", 10).await.expect("reads").len(), 1);
    assert_eq!(scene.users.find("ANN@example.com").await.expect("reads").map(|user| user.id), Some(ann.id));
}

#[tokio::test]
async fn wrong_values_are_named() {
    let scene = Scene::new().await;
    let invite = async |tenant, email: &str, name: &str, role| {
        let invitation = Invitation { email: email.to_owned(), name: name.to_owned(), role };
        match scene.users.invite(tenant, &invitation).await {
            Err(UsersError::Invalid { param, .. }) => Some(param),
            _ => None,
        }
    };
    let (acme, role) = (Some("acme"), UserRole::Viewer);
    for email in
        ["", "ann", "ann@", "@example.com", "a b@example.com", "ann@[192.0.2.1]", "\"a\"@example.com"]
    {
        assert_eq!(invite(acme, email, "", role).await, Some("email"), "{email}");
    }
    assert_eq!(invite(acme, "a@example.com", "\u{202e}", role).await, Some("name"));
    assert_eq!(invite(acme, "a@example.com", &"x".repeat(129), role).await, Some("name"));
    assert_eq!(invite(acme, "a@example.com", "", UserRole::Operator).await, Some("role"));
    assert_eq!(invite(None, "a@example.com", "", UserRole::Owner).await, Some("role"));
    let user = scene.user(acme, "ann@example.com", role).await.session.user;
    let taken = Invitation { email: "ANN@example.com".to_owned(), name: String::new(), role };
    assert!(matches!(scene.users.invite(Some("other"), &taken).await, Err(UsersError::Conflict(_))));
    scene.users.set_language(&user, Some("pt-BR")).await.expect("sets");
    scene.users.set_name(&user, " Ann ").await.expect("sets");
    let found = scene.users.get(acme, &user.id).await.expect("reads");
    assert_eq!((found.language.as_deref(), found.name.as_str()), (Some("pt-BR"), "Ann"));
    scene.users.set_language(&user, None).await.expect("sets");
    for tag in ["", "pt_BR", "-", "a-", &"a-".repeat(20), "ü"] {
        assert!(scene.users.set_language(&user, Some(tag)).await.is_err(), "{tag}");
    }
}

/// Whatever is sent as a token, a code or an address, it is only wrong.
#[test]
fn what_is_sent_breaks_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let scene = runtime.block_on(Scene::new());
    let sent = (prop_oneof![".{0,80}", "[A-Za-z0-9_-]{43}"], ".{0,80}", ".{0,20}");
    let run = TestRunner::default().run(&sent, |(token, text, code)| {
        prop_assert!(token::hash(&token).is_none() || token.len() == 43);
        let step = totp::step_of("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", &text, NOW, 0);
        prop_assert!(step.is_none_or(|step| step > 0));
        drop((folded(&text), checked_email(&text), checked_name(&text), token::csrf(&token)));
        prop_assert!(!totp::use_code(&mut UserSettings::default(), &code, NOW));
        runtime.block_on(async {
            prop_assert_eq!(scene.users.session(&token).await, Ok(None));
            prop_assert_eq!(scene.users.link(&token).await, Ok(None));
            prop_assert_eq!(scene.users.sign_out(&token).await, Ok(()));
            Ok(())
        })
    });
    run.expect("nothing breaks");
}
